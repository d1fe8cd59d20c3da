//! Numbers that no process draws twice: lease and entry stamps, first versions of tags, and the
//! writers of fences. And fractions, which may repeat.
//!
//! A forked process begins with all that its parent has in memory, and so does a virtual machine
//! that is restored from a snapshot: two of them that drew their numbers from memory would draw the
//! same. So each number is drawn from the operating system. None is drawn on the path of a hit.

use std::hash::{BuildHasher, RandomState};
use std::process;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::sabotage::{self, Rule};

/// 64 bits that no other process can predict, and that equal another number only by chance.
pub(crate) fn number() -> u64 {
    if !sabotage::keeps(Rule::Forks) {
        return scrambled(());
    }
    let mut drawn = [0; 8];
    // Where the operating system refuses, or repeats itself in the copy of a virtual machine, the
    // second part still differs: by the process in a fork, and by the time in a copy.
    let _ = getrandom::fill(&mut drawn);
    u64::from_ne_bytes(drawn) ^ scrambled((process::id(), SystemTime::now()))
}

/// A fraction in `0.0..1.0`. Forked processes may draw the same.
pub(crate) fn fraction() -> f64 {
    let drawn = u32::try_from(scrambled(()) >> 32).unwrap_or_default();
    f64::from(drawn) / (f64::from(u32::MAX) + 1.0)
}

/// A counter and what `differs`, hashed under a key that the operating system drew for this
/// process.
fn scrambled(differs: impl std::hash::Hash) -> u64 {
    static KEYED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    KEYED.hash_one((count, differs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_fraction_is_below_one() {
        assert!(
            (0..10_000)
                .map(|_| fraction())
                .all(|f| (0.0..1.0).contains(&f))
        );
    }

    #[test]
    fn numbers_differ_and_use_all_bits() {
        let numbers: HashSet<u64> = (0..10_000).map(|_| number()).collect();
        assert_eq!(numbers.len(), 10_000);
        assert_eq!(numbers.iter().fold(0, |all, number| all | number), u64::MAX);
    }
}
