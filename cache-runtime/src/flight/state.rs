//! What is known of a flight, under its lock: its phase, its attempts and its waiters.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Flight;
use super::progress::Progress;
use crate::clock::{self, Moment};
use crate::sabotage::{self, Rule};
use crate::value::{SharedError, SharedValue};

/// How long an attempt that was woken may stay without a poll. The scheduler of the interleavings has
/// no time.
pub(super) const PATIENCE: Duration = Duration::from_millis(if cfg!(shuttle) { 0 } else { 50 });

/// As [`PATIENCE`], for an attempt that took over from another: where polls are late because there is too
/// much work, more loads do not help.
const PATIENCE_AFTER_TAKEOVER: Duration =
    Duration::from_millis(if cfg!(shuttle) { 0 } else { 100 });

/// How many waiters begin an attempt after the first attempt failed, and how many more after each
/// later one of these waves.
const WAVE: usize = 8;

/// After so many waves have failed, each waiter loads for itself.
const MAX_WAVES: u32 = 3;

#[derive(Debug)]
pub(super) struct FlightState<Evidence> {
    pub(super) phase: Phase,
    /// What the leader saw before its load began. `None` while boarding, and for a load whose
    /// leader saw nothing that an invalidation would have changed.
    pub(super) evidence: Option<Arc<Evidence>>,
    /// The flight that this one replaced while that one loaded. It is put back if this one ends
    /// before its load begins.
    pub(super) previous: Option<Weak<Flight<Evidence>>>,
    /// Whether its leader watches the load of another process.
    pub(super) is_watch: bool,
    /// Whether its load has begun.
    pub(super) has_begun: bool,
    pub(super) waiters: usize,
    /// The attempts that are under way, also those that were taken over from.
    pub(super) attempts: usize,
    /// Those of them that were not taken over from.
    pub(super) moving: usize,
    /// Counted up each time that the attempts under way are taken over from. Each attempt keeps the
    /// generation in which it began.
    pub(super) generation: u32,
    /// How many callers wait for a task that runs their attempt.
    pub(super) task_waits: usize,
    /// How many further attempts the waiters are to begin.
    pub(super) wanted: usize,
    /// Those of the attempts that have been pending, the newest last, each with its generation.
    pub(super) pending: Vec<(u32, Arc<Progress>)>,
    /// When a check first saw the newest attempt, or 0.
    pub(super) seen_at: Moment,
    /// How many waves of attempts have failed.
    pub(super) failed_waves: u32,
    /// The generation of the attempt that has a value which it has not handed out: it has no waiters,
    /// or is about to land.
    pub(super) claimed_by: Option<u32>,
    /// For how long the waiters let an attempt go on that is not woken.
    pub(super) hedge: Duration,
    /// Whether the timer checks this flight.
    pub(super) is_checked: bool,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// The load has not begun, so any caller may board. Next: loading, or dissolved.
    Boarding,
    /// The attempts load, or one watches for another process's entry. Next: any phase below.
    Loading,
    /// The waiters can take the value, while an attempt still stores it.
    Landed(LandedValue),
    /// The load failed with an error for all waiters.
    FailedWith(SharedError),
    /// The load failed too often: each waiter loads for itself.
    Failed,
    /// The flight ended without a value for the waiters: each looks at the store again.
    Dissolved,
}

#[derive(Debug)]
pub(super) struct LandedValue {
    pub(super) value: SharedValue,
    /// Whether it is also for callers that boarded after the load had begun: all of its tags are in the
    /// evidence.
    pub(super) is_covered: bool,
}

impl LandedValue {
    pub(super) fn is_for(&self, is_late: bool) -> bool {
        self.is_covered || !is_late
    }
}

impl<Evidence> FlightState<Evidence> {
    /// Of a flight that starts. With evidence, its load begins at once.
    #[inline]
    pub(super) fn new(
        evidence: Option<Evidence>,
        previous: Option<Weak<Flight<Evidence>>>,
    ) -> Self {
        let is_boarding = evidence.is_none();
        Self {
            phase: if is_boarding {
                Phase::Boarding
            } else {
                Phase::Loading
            },
            evidence: evidence.map(Arc::new),
            previous,
            is_watch: false,
            has_begun: !is_boarding,
            waiters: 0,
            attempts: 1,
            moving: 1,
            generation: 0,
            task_waits: 0,
            wanted: 0,
            pending: Vec::new(),
            seen_at: 0,
            failed_waves: 0,
            claimed_by: None,
            hedge: clock::FOREVER,
            is_checked: false,
        }
    }

    /// Begins one of the attempts that are wanted; false if none is.
    pub(super) fn begin_wanted(&mut self) -> bool {
        if self.wanted == 0 || !matches!(self.phase, Phase::Loading) {
            return false;
        }
        self.wanted -= 1;
        self.attempts += 1;
        self.moving += 1;
        self.seen_at = 0;
        // An attempt that has a value, and is set aside while it stores it, serves no waiter.
        self.claimed_by = None;
        true
    }

    /// Wants one more attempt. A flight that is boarding, whose leader asks for the lease, ends.
    pub(super) fn take_over(&mut self) {
        if matches!(self.phase, Phase::Boarding) {
            self.phase = Phase::Dissolved;
        } else {
            self.generation += 1;
            self.moving = 0;
            self.wanted = 1;
        }
    }

    /// All attempts that move have failed. More waiters begin one, or each loads for itself.
    pub(super) fn fail_wave(&mut self) {
        self.failed_waves += 1;
        if self.failed_waves >= sabotage::waves(MAX_WAVES) || self.waiters == 0 {
            self.phase = Phase::Failed;
        } else {
            self.wanted = WAVE.pow(self.failed_waves).min(self.waiters);
        }
    }

    /// Makes the value of an attempt of this generation the flight's, unless another was first.
    pub(super) fn claim(&mut self, generation: u32) -> bool {
        let is_first = self.claimed_by.is_none() && !self.phase.is_over();
        if is_first {
            self.claimed_by = Some(generation);
        }
        is_first
    }

    /// Whether others than the future that runs an attempt wait for the flight.
    pub(super) fn has_others(&self) -> bool {
        self.waiters > 0 || self.attempts > 1 || self.task_waits > 0
    }

    /// A flight without a caller is over.
    pub(super) fn end_if_abandoned(&mut self) {
        if self.waiters + self.attempts == 0 && !self.phase.is_over() {
            self.phase = Phase::Dissolved;
        }
    }

    /// Whether a value may still come of the flight, or be stored.
    pub(super) fn may_yield_value(&self) -> bool {
        match self.phase {
            Phase::Boarding | Phase::Loading => true,
            Phase::Landed(_) => self.attempts > 0,
            Phase::FailedWith(_) | Phase::Failed | Phase::Dissolved => false,
        }
    }

    /// Whether the newest attempt was woken, and not polled for a moment.
    pub(super) fn is_set_aside(&self, now: Moment) -> bool {
        if self.phase.is_over() || self.wanted > 0 || !sabotage::keeps(Rule::SetAside) {
            return false;
        }
        let patience = if self.generation == 0 {
            PATIENCE
        } else {
            PATIENCE_AFTER_TAKEOVER
        };
        let newest = self.newest();
        newest.is_some_and(|newest| newest.is_set_aside(now, patience))
    }

    /// Whether the newest attempt was not woken for as long as the waiters let it go on.
    pub(super) fn is_hung(&mut self, now: Moment) -> bool {
        let is_loading = matches!(self.phase, Phase::Loading);
        if !is_loading || self.wanted > 0 || !sabotage::keeps(Rule::Hedge) {
            return false;
        }
        if let Some(newest) = self.newest() {
            return newest.was_woken_before(now, self.hedge);
        }
        // Its first poll has not ended.
        if self.seen_at == 0 {
            self.seen_at = now;
        }
        now.saturating_sub(self.seen_at) >= clock::millis(self.hedge)
    }

    /// The newest of the attempts that were not taken over from, unless the first poll of one of them
    /// has not ended.
    fn newest(&self) -> Option<&Progress> {
        let moving = self.pending.iter();
        let mut moving = moving.filter(|(generation, _)| *generation == self.generation);
        let newest = moving.next_back()?;
        (1 + moving.count() == self.moving).then_some(&*newest.1)
    }
}

impl Phase {
    pub(super) fn is_over(&self) -> bool {
        matches!(
            self,
            Self::Landed(_) | Self::FailedWith(_) | Self::Failed | Self::Dissolved
        )
    }
}
