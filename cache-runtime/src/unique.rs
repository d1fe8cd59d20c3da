//! Numbers that are never drawn twice: lease and entry stamps, first versions of tags, jitter.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number no other process or thread has drawn: a counter under a keyed hash
/// whose key the operating system drew for this process.
pub(crate) fn number() -> u64 {
    static KEYED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    KEYED.hash_one(COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// A fraction in `0.0..1.0`.
pub(crate) fn fraction() -> f64 {
    // The top 53 bits: as many as a mantissa holds.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a mantissa exactly")]
    let numerator = (number() >> 11) as f64;
    numerator / (1_u64 << 53) as f64
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
