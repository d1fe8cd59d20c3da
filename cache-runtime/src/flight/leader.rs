//! A caller that loads, and hands what it loaded to the others of its flight.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::circle::{Polling, Waiting};
use super::progress::Progress;
use super::state::{FlightState, LandedValue, Phase};
use super::{AfterLock, Flight, Flights, Shard, lock};
use crate::clock;
use crate::key::Key;
use crate::sabotage::{self, Rule};
use crate::sync::MutexGuard;
use crate::value::{SharedError, SharedValue};

/// Whether the value of an attempt is the flight's.
#[derive(Debug, PartialEq)]
pub(crate) enum Claim {
    /// It is, and others wait for it.
    Shared,
    /// It is, and no other caller waits.
    Unshared,
    /// It is not: another attempt has ended before.
    Superseded,
}

/// How an attempt ends.
#[derive(Debug, PartialEq)]
pub(crate) enum LoadEnd<T> {
    /// With what it loaded.
    Loaded(T),
    /// With what another attempt loaded.
    Shared(T),
}

/// A caller that loads: one attempt.
#[derive(Debug)]
pub(crate) struct Leader<Evidence> {
    flights: Flights<Evidence>,
    key: Key,
    pub(super) flight: Arc<Flight<Evidence>>,
    /// The generation in which this attempt began.
    pub(super) generation: u32,
    /// Set once a part of this caller's work has been pending.
    pub(super) progress: Option<Arc<Progress>>,
    /// Whether this caller boarded after the load had begun.
    pub(super) is_late: bool,
    /// Whether the value of this attempt is the flight's.
    has_claimed: bool,
    ended: bool,
}

impl<Evidence> Leader<Evidence> {
    #[inline]
    pub(super) fn new(
        flights: &Flights<Evidence>,
        key: &Key,
        flight: &Arc<Flight<Evidence>>,
        generation: u32,
        is_late: bool,
    ) -> Leader<Evidence> {
        Self {
            flights: flights.clone(),
            key: key.clone(),
            flight: flight.clone(),
            generation,
            progress: None,
            is_late,
            has_claimed: false,
            ended: false,
        }
    }

    pub(crate) fn evidence(&self) -> Option<Arc<Evidence>> {
        lock(&self.flight.state).evidence.clone()
    }

    /// Notes that this caller waits for its own load, which a task runs. `None` if the load might
    /// wait for this caller.
    pub(crate) fn wait_for_task(&self) -> Option<TaskWait<Evidence>> {
        let flight = self.flight.clone();
        let waiting = Waiting::begin(flight.id())?;
        lock(&flight.state).task_waits += 1;
        Some(TaskWait {
            _waiting: waiting,
            flight,
            is_late: self.is_late,
        })
    }

    /// Waits, at most for `limit`, until the previous flight for this key is over. Callers that
    /// come meanwhile share this flight.
    pub(crate) async fn wait_for_previous(&mut self, limit: Duration) {
        let Some(previous) = self.previous() else {
            return;
        };
        // The previous load may not end before this caller does.
        let Some(_waiting) = Waiting::begin(previous.id()) else {
            return;
        };
        let ended = pin!(previous.ended());
        let ended = pin!(clock::within(limit, ended));
        self.follow(ended).await;
    }

    /// Whether a load was under way when this flight started.
    pub(crate) fn has_previous(&self) -> bool {
        self.previous().is_some()
    }

    pub(super) fn previous(&self) -> Option<Arc<Flight<Evidence>>> {
        lock(&self.flight.state).previous.as_ref()?.upgrade()
    }

    /// Whether the load has not begun.
    pub(crate) fn is_boarding(&self) -> bool {
        matches!(lock(&self.flight.state).phase, Phase::Boarding)
    }

    /// Whether this leader watches the load of another process.
    pub(crate) fn is_watch(&self) -> bool {
        lock(&self.flight.state).is_watch
    }

    /// Ends the watch: this attempt, and each that follows, loads.
    pub(crate) fn end_watch(&mut self) {
        let mut state = lock(&self.flight.state);
        state.is_watch = false;
        state.previous = None;
    }

    /// Begins the load: from now on only callers with the same evidence may board.
    pub(crate) fn begin(&mut self, evidence: Option<Evidence>) {
        let mut state = lock(&self.flight.state);
        state.previous = None;
        state.has_begun = true;
        state.evidence = evidence.map(Arc::new);
        // The waiters have left a flight that is over.
        if !state.phase.is_over() {
            state.phase = Phase::Loading;
        }
    }

    /// Does a part of this caller's work in a way that shows whether it moves. Everything that a
    /// leader awaits goes through here.
    pub(crate) async fn follow<F: Future>(&mut self, mut work: Pin<&mut F>) -> F::Output {
        std::future::poll_fn(|context| self.poll(context, |context| work.as_mut().poll(context)))
            .await
    }

    /// Loads. Ends early if another attempt lands, and `share` makes use of its value.
    pub(crate) async fn load<F: Future>(
        &mut self,
        mut load: Pin<&mut F>,
        share: impl Fn(&SharedValue) -> Option<F::Output>,
    ) -> LoadEnd<F::Output> {
        let flight = self.flight.clone();
        std::future::poll_fn(move |context| {
            // The first attempt of a flight, at its first poll, has no other beside it.
            if (self.progress.is_some() || self.generation > 0)
                && let Some(landed) = flight.landed_for(self.is_late)
                && let Some(returned) = share(&landed)
            {
                return Poll::Ready(LoadEnd::Shared(returned));
            }
            let loaded = self.poll(context, |context| {
                let _polling = Polling::begin(flight.id());
                load.as_mut().poll(context)
            });
            loaded.map(LoadEnd::Loaded)
        })
        .await
    }

    /// Polls a part of the work. What is ready at its first poll costs nothing more: only when it
    /// is pending, it is polled once more, with a waker that notes its progress.
    #[inline]
    fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if let Some(progress) = &self.progress {
            return progress.poll(context, poll);
        }
        if let Poll::Ready(output) = poll(context) {
            return Poll::Ready(output);
        }
        self.is_pending().poll(context, poll)
    }

    /// From now on, the progress of this attempt is noted.
    #[cold]
    fn is_pending(&mut self) -> &Arc<Progress> {
        let progress = self.progress.insert(Arc::new(Progress::new()));
        let pending = (self.generation, progress.clone());
        lock(&self.flight.state).pending.push(pending);
        progress
    }

    /// Makes the value of this attempt the flight's, unless another attempt was first.
    pub(crate) fn claim(&mut self) -> Claim {
        let mut state = lock(&self.flight.state);
        if !state.claim(self.generation) {
            return Claim::Superseded;
        }
        self.has_claimed = true;
        if state.has_others() {
            Claim::Shared
        } else {
            Claim::Unshared
        }
    }

    /// How long the load was pending; `None` if it was ready at its first poll.
    pub(crate) fn pending_for(&self) -> Option<Duration> {
        self.progress.as_ref().map(|progress| progress.age())
    }

    /// Hands the value to the waiters, and to callers that board until the flight ends. If it is not
    /// covered, those that boarded after the load had begun look again: it has tags that are not in the
    /// evidence.
    pub(crate) fn land(&self, value: SharedValue, is_covered: bool) {
        self.land_locked(lock(&self.flight.state), value, is_covered);
    }

    /// Claims, and lands at once; false if another attempt was first.
    #[inline]
    pub(crate) fn claim_and_land(&mut self, value: SharedValue, is_covered: bool) -> bool {
        let mut state = lock(&self.flight.state);
        if !state.claim(self.generation) {
            return false;
        }
        self.has_claimed = true;
        self.land_locked(state, value, is_covered);
        true
    }

    #[inline]
    fn land_locked(
        &self,
        mut state: MutexGuard<'_, FlightState<Evidence>>,
        value: SharedValue,
        is_covered: bool,
    ) {
        state.phase = Phase::Landed(LandedValue {
            value,
            is_covered: is_covered || !sabotage::keeps(Rule::LateWaiter),
        });
        state.wanted = 0;
        // A flight that waits for this one to end is told when it does.
        if state.has_others() {
            let after = AfterLock::of(&mut state);
            drop(state);
            after.tell(&self.flight);
        }
    }

    /// Ends the flight and runs `store`, unless the flight was forgotten meanwhile. `store` runs
    /// under the lock that an invalidation takes too.
    pub(crate) fn finish_storing<T>(mut self, store: impl FnOnce() -> T) -> Option<T> {
        self.ended = true;
        let mut shard = self.flights.lock(&self.key);
        let (current, after) = self.end(&mut shard);
        let stored = (current || !sabotage::keeps(Rule::CompareAndFill)).then(store);
        drop(shard);
        after.tell(&self.flight);
        stored
    }

    /// Ends the flight. Its value is in the store by now, or is not stored at all.
    pub(crate) fn finish(mut self) {
        self.ended = true;
        let mut shard = self.flights.lock(&self.key);
        let (_, after) = self.end(&mut shard);
        drop(shard);
        after.tell(&self.flight);
    }

    /// Ends this attempt, and the flight with it: a value that has landed stays for the waiters.
    /// Returns whether the flight was current until now.
    ///
    /// The flight is forgotten under the same lock: else another flight could put it back in between.
    #[inline]
    fn end(&self, shard: &mut Shard<'_, Evidence>) -> (bool, AfterLock<Evidence>) {
        let mut state = self.leave();
        if !state.phase.is_over() {
            state.phase = Phase::Dissolved;
        }
        let previous = state.previous.take();
        let after = AfterLock::of(&mut state);
        drop(state);
        let current = shard.forget_flight(&self.key, &self.flight, previous);
        (current, after)
    }

    /// Ends this attempt without a value, and with an error for the waiters if it can be shared.
    /// While other attempts move, nothing else happens.
    pub(crate) fn fail(mut self, error: Option<SharedError>) {
        self.ended = true;
        let shard = self.flights.lock(&self.key);
        let mut state = self.leave();
        if state.moving == 0 && state.claimed_by.is_none() && !state.phase.is_over() {
            if let Some(error) = error {
                state.phase = Phase::FailedWith(error);
            } else if state.wanted == 0 {
                state.fail_wave();
            }
        }
        self.tell_and_forget(shard, state);
    }

    /// Ends this attempt.
    #[inline]
    fn leave(&self) -> MutexGuard<'_, FlightState<Evidence>> {
        let mut state = lock(&self.flight.state);
        state.attempts -= 1;
        if self.generation == state.generation {
            state.moving -= 1;
        }
        if let Some(progress) = &self.progress {
            state.pending.retain(|(_, it)| !Arc::ptr_eq(it, progress));
        }
        if self.has_claimed && state.claimed_by == Some(self.generation) {
            state.claimed_by = None;
        }
        state
    }

    /// Tells what has changed when an attempt ended without a value. Forgets the flight if it is
    /// over.
    fn tell_and_forget(
        &self,
        mut shard: Shard<'_, Evidence>,
        mut state: MutexGuard<'_, FlightState<Evidence>>,
    ) {
        state.end_if_abandoned();
        let is_over = !state.may_yield_value();
        let previous = if is_over { state.previous.take() } else { None };
        let after = AfterLock::of(&mut state);
        drop(state);
        if is_over {
            shard.forget_flight(&self.key, &self.flight, previous);
        }
        drop(shard);
        after.tell(&self.flight);
    }
}

impl<Evidence> Drop for Leader<Evidence> {
    fn drop(&mut self) {
        if self.ended || !sabotage::keeps(Rule::HandOver) {
            return;
        }
        let shard = self.flights.lock(&self.key);
        let mut state = self.leave();
        if !state.phase.is_over() && state.moving == 0 && state.wanted == 0 {
            let is_loading = matches!(state.phase, Phase::Loading);
            if is_loading && !self.has_claimed && state.waiters + state.attempts > 0 {
                // The evidence holds for the next attempt too: the versions were read before any
                // load began, and the flight still has its lease.
                state.wanted = 1;
            } else {
                // The load has not begun; or no caller is left; or what this attempt has claimed
                // may be in the store, or not.
                state.phase = Phase::Dissolved;
            }
        }
        self.tell_and_forget(shard, state);
    }
}

/// While it lives, a caller waits for its own load, which a task runs.
#[derive(Debug)]
pub(crate) struct TaskWait<Evidence> {
    _waiting: Waiting,
    /// Held for as long as the wait is noted under its address.
    flight: Arc<Flight<Evidence>>,
    is_late: bool,
}

impl<Evidence> TaskWait<Evidence> {
    /// The value that the task has loaded, if it was dropped while it stored it.
    pub(crate) fn landed(&self) -> Option<SharedValue> {
        self.flight.landed_for(self.is_late)
    }
}

impl<Evidence> Drop for TaskWait<Evidence> {
    fn drop(&mut self) {
        lock(&self.flight.state).task_waits -= 1;
    }
}
