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
    let mut drawn = [0; 8];
    draw(&mut drawn);
    u64::from_ne_bytes(drawn)
}

/// So many of them, for which the operating system is asked once.
pub(crate) fn numbers(count: usize) -> impl Iterator<Item = u64> {
    let mut drawn = vec![[0; 8]; count];
    draw(drawn.as_flattened_mut());
    drawn.into_iter().map(u64::from_ne_bytes)
}

fn draw(numbers: &mut [u8]) {
    let is_asked = sabotage::keeps(Rule::Forks);
    // Where the operating system refuses, or repeats itself in the copy of a virtual machine, the
    // second part still differs: by the process in a fork, and by the time in a copy.
    let differs = is_asked.then(|| {
        let _ = getrandom::fill(numbers);
        (process::id(), SystemTime::now())
    });
    for number in numbers.chunks_exact_mut(8) {
        let scrambled = scrambled(differs).to_ne_bytes();
        for (byte, other) in number.iter_mut().zip(scrambled) {
            *byte ^= other;
        }
    }
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
        let each = (0..5_000).map(|_| number());
        let together = (0..50).flat_map(|_| numbers(100));
        let numbers: HashSet<u64> = each.chain(together).collect();
        assert_eq!(numbers.len(), 10_000);
        assert_eq!(numbers.iter().fold(0, |all, number| all | number), u64::MAX);
    }
}
