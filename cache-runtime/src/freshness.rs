//! How old a value may be: what a function's options say, and what follows for an entry of some age.
//!
//! ```text
//! created ──── fresh ────── early ── ttl ── stale_while_revalidate ── stale_if_error ── gone
//!              served       perhaps         served at once, and       loaded first; served
//!                           refreshed       refreshed                 only if that fails
//! ```
//!
//! None of this knows of invalidations: an entry that was invalidated is not there, whatever its age.

use std::time::Duration;

use crate::clock;
use crate::unique;

/// What a function's options say of old values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Freshness {
    /// How eagerly entries are refreshed before their ttl ends; 0 for not at all.
    early: f64,
    /// For how long after its ttl an entry is served while it is refreshed.
    revalidate: Duration,
    /// For how long after its ttl an entry is served if its load fails.
    on_error: Duration,
    /// After how long a caller is served an old entry, rather than wait for a load.
    slow: Option<Duration>,
    /// For how long a refresh that failed is not tried again, if the cache does not say it.
    retry_after: Option<Duration>,
}

/// How old an entry is, at some moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Age {
    pub(crate) since_created: Duration,
    pub(crate) ttl: Duration,
    /// How long its load took.
    pub(crate) cost: Duration,
}

/// What may be done with an entry of some age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// It is served.
    Fresh,
    /// It is served, and its ttl ends soon: a caller may refresh it.
    Early,
    /// Its ttl has ended. It is served, and refreshed.
    Revalidate,
    /// It is served only in the place of an error, or of a load that is slow.
    OnError,
    /// It is not served.
    Gone,
}

/// An entry is refreshed early only within this part of its ttl, the last.
const LAST_PART: u32 = 4;

impl Freshness {
    /// Nothing old is served, and nothing is refreshed early.
    pub const NONE: Self = Self {
        early: 0.0,
        revalidate: Duration::ZERO,
        on_error: Duration::ZERO,
        slow: None,
        retry_after: None,
    };

    /// Sets how eagerly entries are refreshed before their ttl ends.
    #[must_use]
    pub const fn early(mut self, beta: f64) -> Self {
        self.early = beta;
        self
    }

    /// Sets for how long after its ttl an entry is served while it is refreshed.
    #[must_use]
    pub const fn revalidate(mut self, window: Duration) -> Self {
        self.revalidate = window;
        self
    }

    /// Sets for how long after its ttl an entry is served if its load fails.
    #[must_use]
    pub const fn on_error(mut self, window: Duration) -> Self {
        self.on_error = window;
        self
    }

    /// Sets after how long a caller is served an old entry, rather than wait for a load.
    #[must_use]
    pub const fn slow(mut self, after: Duration) -> Self {
        self.slow = Some(after);
        self
    }

    /// Sets for how long a refresh that failed is not tried again.
    #[must_use]
    pub const fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// For how long after its ttl an entry is kept.
    pub(crate) fn longest_window(&self) -> Duration {
        self.revalidate.max(self.on_error)
    }

    /// Whether an old value may be served in the place of an error.
    pub(crate) fn excuses(&self) -> bool {
        !self.on_error.is_zero()
    }

    pub(crate) fn after_slow(&self) -> Option<Duration> {
        self.slow
    }

    pub(crate) fn pause_after_failure(&self) -> Option<Duration> {
        self.retry_after
    }

    /// What may be done with an entry of this age.
    pub(crate) fn of(&self, age: Age) -> State {
        let Age {
            since_created, ttl, ..
        } = age;
        match since_created.checked_sub(ttl) {
            None => {
                let left = ttl.saturating_sub(since_created);
                if self.early > 0.0 && left <= ttl / LAST_PART {
                    State::Early
                } else {
                    State::Fresh
                }
            }
            Some(overdue) if overdue < self.revalidate => State::Revalidate,
            Some(overdue) if overdue < self.on_error => State::OnError,
            Some(_) => State::Gone,
        }
    }

    /// How long an entry of this age is still served without a thought of refreshing it.
    pub(crate) fn undisturbed(&self, age: Age) -> Duration {
        let left = age.ttl.saturating_sub(age.since_created);
        if self.early > 0.0 {
            left.saturating_sub(age.ttl / LAST_PART)
        } else {
            left
        }
    }

    /// Whether a caller is to refresh an entry that is served to it. Before the ttl has ended, chance
    /// decides: the more likely, the less of the ttl is left and the longer a load takes. So of many
    /// callers about one refreshes, before the ttl ends for all of them.
    pub(crate) fn draws(&self, state: State, age: Age) -> bool {
        match state {
            State::Early => {
                let left = age.ttl.saturating_sub(age.since_created);
                // Not zero, of which there is no logarithm.
                let chance = 1.0 - unique::fraction();
                let ahead = -self.early * age.cost.as_secs_f64() * chance.ln();
                ahead >= left.as_secs_f64()
            }
            State::Revalidate => true,
            State::Fresh | State::OnError | State::Gone => false,
        }
    }
}

impl State {
    /// Whether an entry is served without asking for anything first.
    pub(crate) fn is_served(self) -> bool {
        self <= Self::Revalidate
    }

    /// Whether its ttl has ended.
    pub(crate) fn is_stale(self) -> bool {
        self >= Self::Revalidate
    }
}

/// How long an entry is kept that is fresh for `ttl`.
pub(crate) fn life(freshness: Option<&Freshness>, ttl: Duration) -> Duration {
    let window = freshness.map_or(Duration::ZERO, Freshness::longest_window);
    ttl.saturating_add(window).min(clock::FOREVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn age(since_created: u64) -> Age {
        Age {
            since_created: secs(since_created),
            ttl: secs(100),
            cost: secs(1),
        }
    }

    #[test]
    fn each_age_has_its_state() {
        let all = Freshness::NONE
            .early(1.0)
            .revalidate(secs(30))
            .on_error(secs(60));
        for (since_created, state) in [
            (0, State::Fresh),
            (74, State::Fresh),
            (75, State::Early),
            (99, State::Early),
            (100, State::Revalidate),
            (129, State::Revalidate),
            (130, State::OnError),
            (159, State::OnError),
            (160, State::Gone),
        ] {
            let age = age(since_created);
            assert_eq!(all.of(age), state, "{since_created}");
            assert_eq!(all.undisturbed(age).is_zero(), state != State::Fresh);
        }
        assert_eq!(Freshness::NONE.of(age(99)), State::Fresh);
        assert_eq!(Freshness::NONE.of(age(100)), State::Gone);
    }

    #[test]
    fn the_less_is_left_the_more_callers_refresh() {
        let early = Freshness::NONE.early(1.0);
        let of = |left: u64| {
            let age = age(100 - left);
            let state = early.of(age);
            (0..10_000).filter(|_| early.draws(state, age)).count()
        };
        // At one load's length before the end, one in e of them.
        assert!((3_300..4_100).contains(&of(1)), "{}", of(1));
        assert!((10..200).contains(&of(5)), "{}", of(5));
        assert_eq!(of(26), 0, "not before the last quarter");
        let eager = Freshness::NONE.early(10.0);
        let age = age(99);
        let drawn = (0..10_000).filter(|_| eager.draws(State::Early, age));
        assert!(drawn.count() > 8_500);
    }
}
