//! Numbers that no other process draws: lease and entry stamps, first versions of tags, jitter.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// 64 bits that no other process can predict: a counter, hashed under a key that the operating
/// system drew for this process. Two numbers are equal only by chance.
pub(crate) fn number() -> u64 {
    static KEYED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    KEYED.hash_one(COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// A fraction in `0.0..1.0`.
pub(crate) fn fraction() -> f64 {
    let drawn = u32::try_from(number() >> 32).unwrap_or_default();
    f64::from(drawn) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_is_below_one() {
        assert!(
            (0..10_000)
                .map(|_| fraction())
                .all(|f| (0.0..1.0).contains(&f))
        );
    }
}
