//! What was counted, added up where it is read.

use std::time::Duration;

use crate::call::site::Place;
use crate::counters::{CounterTable, Counts, Detail, DetailCounts};
use crate::load_times::Times;

/// All that was counted at one place, or at several.
pub(crate) struct Sums {
    pub(crate) counts: Counts,
    pub(crate) details: DetailCounts,
    pub(crate) times: Times,
}

impl Sums {
    pub(crate) fn at(counters: &CounterTable, place: Place) -> Self {
        let mut times = Times::default();
        counters.add_load_times(place, &mut times);
        Self {
            counts: counters.sum(place),
            details: counters.details(place),
            times,
        }
    }

    pub(crate) fn add(&mut self, counters: &CounterTable, place: Place, other: &Self) {
        self.counts.add(&other.counts);
        self.details.add(&other.details);
        counters.add_load_times(place, &mut self.times);
    }

    /// Whether nothing has happened there.
    #[cfg_attr(
        not(feature = "metrics"),
        expect(dead_code, reason = "metrics ask for it")
    )]
    pub(crate) fn is_empty(&self) -> bool {
        self.counts == Counts::default() && self.details == DetailCounts::default()
    }

    pub(crate) fn time_saved(&self) -> Duration {
        self.times.saved_by(self.counts.hits)
    }

    /// A hit that a server answered is counted as a hit first. So the difference is none of those that
    /// the process answered itself; which is not counted, since it would be on the path of such a hit.
    pub(crate) fn hits_in_front(&self, has_front: bool) -> u64 {
        let at_server = self.details.of(Detail::HitAtServer);
        let in_front = self.counts.hits.saturating_sub(at_server);
        if has_front { in_front } else { 0 }
    }

    pub(crate) fn stale(&self) -> u64 {
        let reasons = [
            Detail::StaleRevalidating,
            Detail::StaleError,
            Detail::StaleSlow,
        ];
        reasons.map(|reason| self.details.of(reason)).iter().sum()
    }
}
