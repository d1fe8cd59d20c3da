//! Single-flight: who loads, who waits, and what happens when the one who loads is dropped.
//!
//! A flight is one load of one key in this process. Whoever starts it leads it;
//! others may board it only where its value cannot be older than they are:
//!
//! * while it is *gathering*, anybody: its load has not begun yet;
//! * once its load has begun, only a caller who saw in the store what the leader
//!   saw (the same lease, tag versions and server). Had an invalidation returned
//!   before that caller began, it would have changed one of them.
//!
//! A leader that is dropped, by a cancelled caller or a panic, hands the flight
//! to a waiter, with all it saw; one without waiters disappears.

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

const SHARDS: usize = 64;

/// The flights of one cache. `Seen` is what its store shows to a caller that misses.
#[derive(Debug)]
pub(crate) struct Flights<Seen> {
    shards: Box<[Mutex<FlightMap<Seen>>]>,
    hasher: DefaultHashBuilder,
}

type FlightMap<Seen> = HashMap<Key, Arc<Flight<Seen>>>;

#[derive(Debug)]
struct Flight<Seen> {
    state: Mutex<State<Seen>>,
    /// Notified at every change of phase that a waiter acts on.
    changed: Notify,
}

#[derive(Debug)]
struct State<Seen> {
    phase: Phase,
    /// What the leader saw before its load began; `None` while gathering, and without a store.
    seen: Option<Arc<Seen>>,
    waiters: usize,
}

#[derive(Debug)]
enum Phase {
    /// The load has not begun. Next: loading, or dissolved.
    Gathering,
    /// The leader loads, or watches for another process's entry. Next: any of those below.
    Loading,
    /// The leader was dropped, and one of the waiters will lead. Next: loading, or dissolved.
    Leaderless,
    /// The value is there for the waiters, while the leader still stores it.
    Landed(SharedValue),
    /// The load failed: the waiters load for themselves.
    Failed,
    /// Over, without a value to hand out: the waiters look again.
    Dissolved,
}

/// How a caller boards.
#[derive(Debug)]
pub(crate) enum Boarding<'a, Seen> {
    Lead(Leader<'a, Seen>),
    Wait(Waiter<'a, Seen>),
}

/// How waiting ends.
#[derive(Debug)]
pub(crate) enum Landing<'a, Seen> {
    Value(SharedValue),
    /// The leader is gone; this caller leads now.
    Lead(Leader<'a, Seen>),
    /// The load failed, or took longer than this caller waits: load for yourself.
    Failed,
    /// There is something new in the store: look again.
    Dissolved,
}

/// One shard, locked.
pub(crate) struct Shard<'a, Seen> {
    flights: &'a Flights<Seen>,
    map: MutexGuard<'a, FlightMap<Seen>>,
}

impl<Seen> Default for Flights<Seen> {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl<Seen> Flights<Seen> {
    /// Locks the shard of `key`. Held for moments, never across an await.
    pub(crate) fn lock(&self, key: &Key) -> Shard<'_, Seen> {
        let shard = (self.hasher.hash_one(key) >> 32) as usize % SHARDS;
        Shard {
            flights: self,
            map: lock(&self.shards[shard]),
        }
    }

    /// Boards, or starts, the flight of those who saw `seen`.
    pub(crate) fn board_or_load(&self, key: &Key, seen: Seen) -> Boarding<'_, Seen>
    where
        Seen: PartialEq,
    {
        let mut shard = self.lock(key);
        shard
            .board(key, Some(&seen))
            .unwrap_or_else(|| Boarding::Lead(shard.load(key, seen)))
    }

    /// Boards, or starts, a flight whose load has not begun yet.
    pub(crate) fn board_or_gather(&self, key: &Key) -> Boarding<'_, Seen>
    where
        Seen: PartialEq,
    {
        let mut shard = self.lock(key);
        shard
            .board(key, None)
            .unwrap_or_else(|| Boarding::Lead(shard.gather(key)))
    }

    /// Nobody boards any of the flights there are now, and none of them stores.
    pub(crate) fn forget_all<T>(&self, while_locked: impl FnOnce() -> T) -> T {
        let mut shards: Vec<_> = self.shards.iter().map(lock).collect();
        let forgotten: Vec<_> = shards.iter_mut().map(|shard| take(&mut **shard)).collect();
        let value = while_locked();
        drop(shards);
        drop(forgotten);
        value
    }
}

impl<'a, Seen: PartialEq> Shard<'a, Seen> {
    /// Boards the flight for `key` if its value cannot be older than a caller who saw `seen` now.
    pub(crate) fn board(&self, key: &Key, seen: Option<&Seen>) -> Option<Boarding<'a, Seen>> {
        let flight = self.map.get(key)?;
        let mut state = lock(&flight.state);
        let saw_the_same =
            seen.is_some() && seen == state.seen.as_deref() || !sabotage::keeps(Rule::Boarding);
        match state.phase {
            Phase::Gathering => {}
            Phase::Loading | Phase::Landed(_) if saw_the_same => {}
            Phase::Leaderless if saw_the_same => {
                state.phase = Phase::Loading;
                return Some(Boarding::Lead(self.leader(key, flight)));
            }
            _ => return None,
        }
        state.waiters += 1;
        Some(Boarding::Wait(Waiter {
            flights: self.flights,
            key: key.clone(),
            flight: flight.clone(),
            boarded: true,
        }))
    }
}

impl<'a, Seen> Shard<'a, Seen> {
    /// Starts a flight that anybody may board until its load begins.
    fn gather(&mut self, key: &Key) -> Leader<'a, Seen> {
        self.start(key, Phase::Gathering, None)
    }

    /// Starts a flight whose load begins at once.
    pub(crate) fn load(&mut self, key: &Key, seen: Seen) -> Leader<'a, Seen> {
        self.start(key, Phase::Loading, Some(Arc::new(seen)))
    }

    fn start(&mut self, key: &Key, phase: Phase, seen: Option<Arc<Seen>>) -> Leader<'a, Seen> {
        let flight = Arc::new(Flight {
            state: Mutex::new(State {
                phase,
                seen,
                waiters: 0,
            }),
            changed: Notify::new(),
        });
        let mut leader = self.leader(key, &flight);
        leader.previous = self.map.insert(key.clone(), flight);
        leader
    }

    fn leader(&self, key: &Key, flight: &Arc<Flight<Seen>>) -> Leader<'a, Seen> {
        Leader {
            flights: self.flights,
            key: key.clone(),
            flight: flight.clone(),
            previous: None,
            ended: false,
        }
    }

    /// From now on nobody boards the flight for `key`, and it does not store.
    pub(crate) fn forget(&mut self, key: &Key) {
        self.map.remove(key);
    }

    /// The same for this flight only; whether it was boarded until now.
    fn forget_flight(&mut self, key: &Key, flight: &Arc<Flight<Seen>>) -> bool {
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
pub(crate) struct Leader<'a, Seen> {
    flights: &'a Flights<Seen>,
    key: Key,
    flight: Arc<Flight<Seen>>,
    /// The flight that was under way when this one began to gather.
    previous: Option<Arc<Flight<Seen>>>,
    ended: bool,
}

impl<Seen> Leader<'_, Seen> {
    pub(crate) fn seen(&self) -> Option<Arc<Seen>> {
        lock(&self.flight.state).seen.clone()
    }

    /// Waits, up to `limit`, for the load that was under way when this flight
    /// started, so that those who come meanwhile can share the next one.
    pub(crate) async fn wait_for_previous(&mut self, limit: Duration) {
        let Some(previous) = self.previous.take() else {
            return;
        };
        let end = async {
            loop {
                let mut changed = pin!(previous.changed.notified());
                changed.as_mut().enable();
                if lock(&previous.state).phase.is_over() {
                    break;
                }
                changed.await;
            }
        };
        clock::within(limit, end).await;
    }

    /// The load begins: from now on only who saw the same may board.
    pub(crate) fn begin(&self, seen: Option<Seen>) {
        let mut state = lock(&self.flight.state);
        state.seen = seen.map(Arc::new);
        state.phase = Phase::Loading;
    }

    pub(crate) fn has_waiters(&self) -> bool {
        lock(&self.flight.state).waiters > 0
    }

    /// Hands the value to the waiters, and to those who board until the flight ends.
    pub(crate) fn land(&self, value: SharedValue) {
        self.flight.change(Phase::Landed(value));
    }

    /// Ends the flight. `store` runs, under the lock that an invalidation takes
    /// too, unless the flight was forgotten meanwhile.
    pub(crate) fn finish_storing<T>(mut self, store: impl FnOnce() -> T) -> Option<T> {
        self.ended = true;
        let mut shard = self.flights.lock(&self.key);
        let current = shard.forget_flight(&self.key, &self.flight);
        let stored = (current || !sabotage::keeps(Rule::CompareAndFill)).then(store);
        drop(shard);
        self.flight.end(Phase::Dissolved);
        stored
    }

    /// Ends the flight: its value is in the store, or nowhere.
    pub(crate) fn finish(self) {
        self.end(Phase::Dissolved);
    }

    /// Ends the flight without a value: the waiters load for themselves.
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

impl<Seen> Drop for Leader<'_, Seen> {
    fn drop(&mut self) {
        if self.ended || !sabotage::keeps(Rule::HandOver) {
            return;
        }
        let mut shard = self.flights.lock(&self.key);
        let mut state = lock(&self.flight.state);
        match state.phase {
            // What was seen stays true for whoever goes on: the versions were
            // read before any load began, and the lease is still the flight's.
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

/// A caller that shares somebody's load.
#[derive(Debug)]
pub(crate) struct Waiter<'a, Seen> {
    flights: &'a Flights<Seen>,
    key: Key,
    flight: Arc<Flight<Seen>>,
    boarded: bool,
}

impl<'a, Seen> Waiter<'a, Seen> {
    /// Waits for the value, at most for `limit`.
    pub(crate) async fn wait(mut self, limit: Duration) -> Landing<'a, Seen> {
        let flight = self.flight.clone();
        let landing = async {
            loop {
                let mut changed = pin!(flight.changed.notified());
                // Registered before the phase is read: a change between the two is not missed.
                changed.as_mut().enable();
                if let Some(landing) = self.look() {
                    return landing;
                }
                changed.await;
            }
        };
        let limit = if sabotage::keeps(Rule::WaiterBound) {
            limit
        } else {
            clock::FOREVER
        };
        clock::within(limit, landing)
            .await
            .unwrap_or(Landing::Failed)
    }

    fn look(&mut self) -> Option<Landing<'a, Seen>> {
        let mut state = lock(&self.flight.state);
        let landing = match &state.phase {
            Phase::Gathering | Phase::Loading => return None,
            Phase::Landed(value) => Landing::Value(value.clone()),
            Phase::Failed => Landing::Failed,
            Phase::Dissolved => Landing::Dissolved,
            Phase::Leaderless => {
                state.phase = Phase::Loading;
                Landing::Lead(Leader {
                    flights: self.flights,
                    key: self.key.clone(),
                    flight: self.flight.clone(),
                    previous: None,
                    ended: false,
                })
            }
        };
        state.waiters -= 1;
        self.boarded = false;
        Some(landing)
    }
}

impl<Seen> Drop for Waiter<'_, Seen> {
    fn drop(&mut self) {
        if !self.boarded {
            return;
        }
        let mut shard = self.flights.lock(&self.key);
        let mut state = lock(&self.flight.state);
        state.waiters -= 1;
        // Nobody is left to take a leaderless flight over.
        if state.waiters == 0 && matches!(state.phase, Phase::Leaderless) {
            state.phase = Phase::Dissolved;
            shard.forget_flight(&self.key, &self.flight);
        }
    }
}

impl<Seen> Flight<Seen> {
    fn change(&self, phase: Phase) {
        lock(&self.state).phase = phase;
        self.changed.notify_waiters();
    }

    /// Ends the flight, unless its value has landed already.
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
        matches!(self, Phase::Landed(_) | Phase::Failed | Phase::Dissolved)
    }
}

/// Nothing that can panic runs under these locks, and nothing of the user's.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
