//! The time for which the machine was asleep, for a clock that does not count it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Moment;

/// How long, in milliseconds of time awake, no reading of the clock measures anew.
const EVERY: Moment = 250;

/// How long the machine was asleep, as far as is known.
///
/// No signal tells a process that the machine slept, and measuring it takes longer than a hit may. So
/// one reading of the clock in a quarter of a second measures it. After a sleep, an entry whose ttl ended
/// meanwhile is served for no longer than that.
#[derive(Debug)]
pub(super) struct Asleep {
    /// The moment of time awake from which on a reading measures.
    measure_at: AtomicU64,
    length: AtomicU64,
}

impl Asleep {
    pub(super) const fn new() -> Self {
        Self {
            measure_at: AtomicU64::new(0),
            length: AtomicU64::new(0),
        }
    }

    /// The moment on a clock that counts time asleep, given the one on a clock that does not.
    #[inline]
    pub(super) fn added_to(&self, awake: Moment, measure: impl FnOnce() -> Moment) -> Moment {
        if awake >= self.measure_at.load(Relaxed) {
            self.set(awake, measure());
        }
        awake + self.length.load(Relaxed)
    }

    /// What is measured may be too short, by a pause between two readings. It never becomes shorter, so that
    /// the clock does not go back.
    #[cold]
    fn set(&self, awake: Moment, length: Moment) {
        self.length.fetch_max(length, Relaxed);
        self.measure_at.store(awake + EVERY, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_asleep_counts_a_quarter_of_a_second_after_it() {
        let asleep = Asleep::new();
        let now = |awake, slept| asleep.added_to(awake, || slept);
        assert_eq!(now(1_000, 0), 1_000);
        // The machine sleeps for an hour.
        assert_eq!(now(1_249, 3_600_000), 1_249);
        assert_eq!(now(1_250, 3_600_000), 3_601_250);
        assert_eq!(now(1_251, 3_600_000), 3_601_251);
    }

    #[test]
    fn the_clock_does_not_go_back() {
        let asleep = Asleep::new();
        assert_eq!(asleep.added_to(1_000, || 5_000), 6_000);
        assert_eq!(asleep.added_to(1_300, || 4_990), 6_300);
    }
}
