//! Single-flight: which caller loads, which wait, and what happens when the loading caller is
//! dropped.
//!
//! A flight is one load of one key in this process. The caller that starts it leads it.
//! Another caller may board it only where its value cannot be older than that caller:
//!
//! * While the flight is *boarding*, any caller may board: the load has not begun.
//! * Once the load has begun, a caller may board only with the leader's *evidence*: both saw
//!   the same lease, tag versions and server. If an invalidation had returned before this
//!   caller began, it would have changed one of them.
//!
//! If a leader is dropped, because its caller was cancelled or panicked, a waiter takes over
//! the flight and its evidence. Without waiters, the flight is removed.

use std::hash::BuildHasher;
use std::mem::take;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hashbrown::{DefaultHashBuilder, HashMap};
use tokio::sync::Notify;

use crate::clock;
use crate::key::Key;
use crate::sabotage::{self, Rule};
use crate::sync::{Mutex, MutexGuard};
use crate::value::SharedValue;

#[cfg(test)]
mod tests;

const SHARDS: usize = 64;

/// The flights of one cache. `Evidence` is what a caller saw that an invalidation would have
/// changed.
#[derive(Debug)]
pub(crate) struct Flights<Evidence> {
    shards: Box<[Mutex<FlightMap<Evidence>>]>,
    hasher: DefaultHashBuilder,
}

type FlightMap<Evidence> = HashMap<Key, Arc<Flight<Evidence>>>;

#[derive(Debug)]
struct Flight<Evidence> {
    state: Mutex<FlightState<Evidence>>,
    /// Notified at each change of phase that a waiter acts on.
    changed: Notify,
}

#[derive(Debug)]
struct FlightState<Evidence> {
    phase: Phase,
    /// What the leader saw before its load began. `None` while boarding, and for a load whose
    /// leader saw nothing that an invalidation would have changed.
    evidence: Option<Arc<Evidence>>,
    waiters: usize,
}

#[derive(Debug)]
enum Phase {
    /// The load has not begun, so any caller may board. Next: loading, or dissolved.
    Boarding,
    /// The leader loads, or watches for another process's entry. Next: any phase below.
    Loading,
    /// The leader was dropped, and one of the waiters will lead. Next: loading, or dissolved.
    Leaderless,
    /// The waiters can take the value, while the leader still stores it.
    Landed(SharedValue),
    /// The load failed: each waiter loads for itself.
    Failed,
    /// The flight ended without a value for the waiters: each looks at the store again.
    Dissolved,
}

/// A caller's part in the flight that it boarded or started.
#[derive(Debug)]
pub(crate) enum Seat<'a, Evidence> {
    Lead(Leader<'a, Evidence>),
    Wait(Waiter<'a, Evidence>),
}

/// How waiting ends.
#[derive(Debug)]
pub(crate) enum Landing<'a, Evidence> {
    Value(SharedValue),
    /// The leader was dropped; this caller leads now.
    Lead(Leader<'a, Evidence>),
    /// The load failed, or took longer than this caller waits: the caller loads for itself.
    Failed,
    /// The store may show something new: the caller looks again.
    Dissolved,
}

/// One shard, locked.
pub(crate) struct Shard<'a, Evidence> {
    flights: &'a Flights<Evidence>,
    map: MutexGuard<'a, FlightMap<Evidence>>,
}

impl<Evidence> Default for Flights<Evidence> {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl<Evidence> Flights<Evidence> {
    /// Locks the shard of `key`. The lock is held for moments, and never across an await.
    pub(crate) fn lock(&self, key: &Key) -> Shard<'_, Evidence> {
        let shard = (self.hasher.hash_one(key) >> 32) as usize % SHARDS;
        Shard {
            flights: self,
            map: lock(&self.shards[shard]),
        }
    }

    /// Boards the flight for `key` if this caller may, else starts one. With evidence, the load
    /// of the new flight begins at once; without, any caller may board until the leader begins.
    pub(crate) fn board(&self, key: &Key, evidence: Option<Evidence>) -> Seat<'_, Evidence>
    where
        Evidence: PartialEq,
    {
        let mut shard = self.lock(key);
        shard
            .join(key, evidence.as_ref())
            .unwrap_or_else(|| Seat::Lead(shard.start(key, evidence)))
    }

    /// Forgets all current flights: no caller boards them any more, and none of them stores.
    pub(crate) fn forget_all<T>(&self, while_locked: impl FnOnce() -> T) -> T {
        let mut shards: Vec<_> = self.shards.iter().map(lock).collect();
        let forgotten: Vec<_> = shards.iter_mut().map(|shard| take(&mut **shard)).collect();
        let value = while_locked();
        drop(shards);
        drop(forgotten);
        value
    }
}

impl<'a, Evidence: PartialEq> Shard<'a, Evidence> {
    /// Boards the flight for `key` if its value cannot be older than a caller that saw this
    /// evidence just now.
    pub(crate) fn join(
        &self,
        key: &Key,
        evidence: Option<&Evidence>,
    ) -> Option<Seat<'a, Evidence>> {
        let flight = self.map.get(key)?;
        let mut state = lock(&flight.state);
        let same_evidence = evidence.is_some() && evidence == state.evidence.as_deref()
            || !sabotage::keeps(Rule::Boarding);
        match state.phase {
            Phase::Boarding => {}
            Phase::Loading | Phase::Landed(_) if same_evidence => {}
            Phase::Leaderless if same_evidence => {
                state.phase = Phase::Loading;
                return Some(Seat::Lead(self.leader(key, flight)));
            }
            _ => return None,
        }
        state.waiters += 1;
        Some(Seat::Wait(Waiter {
            flights: self.flights,
            key: key.clone(),
            flight: flight.clone(),
            boarded: true,
        }))
    }
}

impl<'a, Evidence> Shard<'a, Evidence> {
    /// Starts a flight in the place of the current one. With evidence, its load begins at once;
    /// without, any caller may board until the leader begins.
    pub(crate) fn start(&mut self, key: &Key, evidence: Option<Evidence>) -> Leader<'a, Evidence> {
        let flight = Arc::new(Flight {
            state: Mutex::new(FlightState {
                phase: if evidence.is_some() {
                    Phase::Loading
                } else {
                    Phase::Boarding
                },
                evidence: evidence.map(Arc::new),
                waiters: 0,
            }),
            changed: Notify::new(),
        });
        let is_boarding = lock(&flight.state).evidence.is_none();
        let mut leader = self.leader(key, &flight);
        let previous = self.map.insert(key.clone(), flight);
        // Only a load that has not begun may wait for the one before it. A flight that is kept
        // keeps its lease, for which other processes wait.
        leader.previous = previous.filter(|_| is_boarding);
        leader
    }

    fn leader(&self, key: &Key, flight: &Arc<Flight<Evidence>>) -> Leader<'a, Evidence> {
        Leader::new(self.flights, key, flight)
    }

    /// Forgets the flight for `key`: no caller boards it any more, and it does not store.
    pub(crate) fn forget(&mut self, key: &Key) {
        self.map.remove(key);
    }

    /// Forgets this flight. Returns whether it was current until now.
    fn forget_flight(&mut self, key: &Key, flight: &Arc<Flight<Evidence>>) -> bool {
        let current = self
            .map
            .get(key)
            .is_some_and(|current| Arc::ptr_eq(current, flight));
        if current {
            self.map.remove(key);
        }
        current
    }
}

/// The caller that loads.
#[derive(Debug)]
pub(crate) struct Leader<'a, Evidence> {
    flights: &'a Flights<Evidence>,
    key: Key,
    flight: Arc<Flight<Evidence>>,
    /// The flight that was current when this one started.
    previous: Option<Arc<Flight<Evidence>>>,
    ended: bool,
}

impl<'a, Evidence> Leader<'a, Evidence> {
    fn new(
        flights: &'a Flights<Evidence>,
        key: &Key,
        flight: &Arc<Flight<Evidence>>,
    ) -> Leader<'a, Evidence> {
        Self {
            flights,
            key: key.clone(),
            flight: flight.clone(),
            previous: None,
            ended: false,
        }
    }

    pub(crate) fn evidence(&self) -> Option<Arc<Evidence>> {
        lock(&self.flight.state).evidence.clone()
    }

    /// Waits, at most for `limit`, until the previous flight for this key is over. Callers that
    /// come meanwhile share this flight.
    pub(crate) async fn wait_for_previous(&mut self, limit: Duration) {
        let Some(previous) = self.previous.take() else {
            return;
        };
        let end = pin!(async {
            loop {
                let mut changed = pin!(previous.changed.notified());
                // Registered before the phase is read, so that no change between is missed.
                changed.as_mut().enable();
                if lock(&previous.state).phase.is_over() {
                    break;
                }
                changed.await;
            }
        });
        clock::within(limit, end).await;
    }

    /// Whether a load was under way when this flight started.
    pub(crate) fn has_previous(&self) -> bool {
        self.previous.is_some()
    }

    /// Begins the load: from now on only callers with the same evidence may board.
    pub(crate) fn begin(&mut self, evidence: Option<Evidence>) {
        self.previous = None;
        let mut state = lock(&self.flight.state);
        state.evidence = evidence.map(Arc::new);
        state.phase = Phase::Loading;
    }

    pub(crate) fn has_waiters(&self) -> bool {
        lock(&self.flight.state).waiters > 0
    }

    /// Hands the value to the waiters, and to callers that board until the flight ends.
    pub(crate) fn land(&self, value: SharedValue) {
        self.flight.change(Phase::Landed(value));
    }

    /// Ends the flight and runs `store`, unless the flight was forgotten meanwhile. `store` runs
    /// under the lock that an invalidation takes too.
    pub(crate) fn finish_storing<T>(mut self, store: impl FnOnce() -> T) -> Option<T> {
        self.ended = true;
        let mut shard = self.flights.lock(&self.key);
        let current = shard.forget_flight(&self.key, &self.flight);
        let stored = (current || !sabotage::keeps(Rule::CompareAndFill)).then(store);
        drop(shard);
        self.flight.end(Phase::Dissolved);
        stored
    }

    /// Ends the flight. Its value is in the store by now, or is not stored at all.
    pub(crate) fn finish(self) {
        self.end(Phase::Dissolved);
    }

    /// Ends the flight without a value: each waiter loads for itself.
    pub(crate) fn fail(self) {
        self.end(Phase::Failed);
    }

    fn end(mut self, phase: Phase) {
        self.ended = true;
        self.flights
            .lock(&self.key)
            .forget_flight(&self.key, &self.flight);
        self.flight.end(phase);
    }
}

impl<Evidence> Drop for Leader<'_, Evidence> {
    fn drop(&mut self) {
        if self.ended || !sabotage::keeps(Rule::HandOver) {
            return;
        }
        let mut shard = self.flights.lock(&self.key);
        let mut state = lock(&self.flight.state);
        match state.phase {
            // The evidence holds for the next leader too: the versions were read before any
            // load began, and the flight still has its lease.
            Phase::Loading if state.waiters > 0 => state.phase = Phase::Leaderless,
            Phase::Landed(_) => {
                shard.forget_flight(&self.key, &self.flight);
            }
            _ => {
                shard.forget_flight(&self.key, &self.flight);
                state.phase = Phase::Dissolved;
            }
        }
        drop(state);
        drop(shard);
        self.flight.changed.notify_waiters();
    }
}

/// A caller that waits for another caller's load.
#[derive(Debug)]
pub(crate) struct Waiter<'a, Evidence> {
    flights: &'a Flights<Evidence>,
    key: Key,
    flight: Arc<Flight<Evidence>>,
    boarded: bool,
}

impl<'a, Evidence> Waiter<'a, Evidence> {
    /// Waits for the value, at most for `limit`.
    pub(crate) async fn wait(mut self, limit: Duration) -> Landing<'a, Evidence> {
        let flight = self.flight.clone();
        // Pinned here: a function that takes a future by value has room for it twice.
        let landing = pin!(async {
            loop {
                let mut changed = pin!(flight.changed.notified());
                // Registered before the phase is read, so that no change between is missed.
                changed.as_mut().enable();
                if let Some(landing) = self.look() {
                    return landing;
                }
                changed.await;
            }
        });
        clock::within(sabotage::wait_limit(limit), landing)
            .await
            .unwrap_or(Landing::Failed)
    }

    fn look(&mut self) -> Option<Landing<'a, Evidence>> {
        let mut state = lock(&self.flight.state);
        let landing = match &state.phase {
            Phase::Boarding | Phase::Loading => return None,
            Phase::Landed(value) => Landing::Value(value.clone()),
            Phase::Failed => Landing::Failed,
            Phase::Dissolved => Landing::Dissolved,
            Phase::Leaderless => {
                state.phase = Phase::Loading;
                Landing::Lead(Leader::new(self.flights, &self.key, &self.flight))
            }
        };
        state.waiters -= 1;
        self.boarded = false;
        Some(landing)
    }
}

impl<Evidence> Drop for Waiter<'_, Evidence> {
    fn drop(&mut self) {
        if !self.boarded {
            return;
        }
        let mut shard = self.flights.lock(&self.key);
        let mut state = lock(&self.flight.state);
        state.waiters -= 1;
        // This was the last waiter, so no caller is left to lead a leaderless flight.
        if state.waiters == 0 && matches!(state.phase, Phase::Leaderless) {
            state.phase = Phase::Dissolved;
            shard.forget_flight(&self.key, &self.flight);
        }
    }
}

impl<Evidence> Flight<Evidence> {
    fn change(&self, phase: Phase) {
        lock(&self.state).phase = phase;
        self.changed.notify_waiters();
    }

    /// Ends the flight. A value that has landed stays for the waiters.
    fn end(&self, phase: Phase) {
        let mut state = lock(&self.state);
        if !matches!(state.phase, Phase::Landed(_)) {
            state.phase = phase;
        }
        drop(state);
        self.changed.notify_waiters();
    }
}

impl Phase {
    fn is_over(&self) -> bool {
        matches!(self, Self::Landed(_) | Self::Failed | Self::Dissolved)
    }
}

/// A poisoned lock is used all the same: nothing that can panic, and no code of the user's, runs
/// under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
