//! Single-flight: which caller loads, which wait, and what happens when a load does not move.
//!
//! A flight is the load of one key in this process. The caller that starts it leads it.
//! Another caller may board it only where its value cannot be older than that caller:
//!
//! * While the flight is *boarding*, any caller may board: the load has not begun.
//! * Once the load has begun, a caller may board only with the leader's *evidence*: both saw
//!   the same lease, tag versions and server. If an invalidation had returned before this
//!   caller began, it would have changed one of them.
//!
//! A load is driven by the future of the caller that leads it, so it stops if that future is not
//! polled. No other caller waits for that. A flight may have several *attempts*, loads under the
//! same evidence. A waiter begins a further one if
//!
//! * the newest attempt's future was dropped: its caller was cancelled, or panicked;
//! * it is *set aside*: it was woken, and not polled for a moment;
//! * it *hangs*: it was not woken for as long as the waiters' `hedge`;
//! * it failed, with an error that cannot be shared. Then more waiters begin one each time: 8, then
//!   64, and then each waiter loads for itself.
//!
//! The first attempt that ends with a value serves all callers of the flight, and stores the value.
//! An attempt that ends later finds that the flight is over: it only serves its own caller.
//!
//! Where only the value tells its tags, it may have some that are not in the evidence: it is *uncovered*.
//! Then the evidence of a caller that boarded after the load had begun proves nothing about the value.
//! That caller looks at the store again, and so does no caller board the flight any more.
//!
//! A flight that is boarding asks for its lease. If its leader is dropped or set aside then, the
//! flight is dissolved, and its waiters look at the store again.
mod check;
mod circle;
mod leader;
mod progress;
mod state;
#[cfg(test)]
mod tests;
pub(crate) mod together;
mod waiter;

use std::hash::BuildHasher;
use std::mem::take;
use std::pin::pin;
use std::sync::{Arc, PoisonError, Weak};
use std::task::Wake as _;

use hashbrown::{DefaultHashBuilder, HashMap};
use tokio::sync::Notify;

use self::circle::FlightId;
pub(crate) use self::leader::{Claim, Leader, LoadEnd};
use self::progress::Progress;
use self::state::{FlightState, Phase};
pub(crate) use self::waiter::{Landing, Patience, Waiter};
use crate::key::Key;
use crate::sabotage::{self, Rule};
use crate::sync::{Mutex, MutexGuard};
use crate::value::SharedValue;

const SHARDS: usize = 64;

/// The flights of one cache. `Evidence` is what a caller saw that an invalidation would have
/// changed. Clones are the same flights.
#[derive(Debug)]
pub(crate) struct Flights<Evidence>(Arc<Shards<Evidence>>);

#[derive(Debug)]
struct Shards<Evidence> {
    shards: Box<[Mutex<FlightMap<Evidence>>]>,
    hasher: DefaultHashBuilder,
}

type FlightMap<Evidence> = HashMap<Key, Arc<Flight<Evidence>>>;

#[derive(Debug)]
struct Flight<Evidence> {
    state: Mutex<FlightState<Evidence>>,
    /// Notified at each change that a waiter acts on.
    changed: Notify,
}

/// A caller's part in the flight that it boarded or started.
#[derive(Debug)]
pub(crate) enum Seat<Evidence> {
    Lead(Leader<Evidence>),
    Wait(Waiter<Evidence>),
}

/// One shard, locked.
pub(crate) struct Shard<'a, Evidence> {
    flights: &'a Flights<Evidence>,
    map: MutexGuard<'a, FlightMap<Evidence>>,
    /// A flight that is dropped after the lock is released: a value that has landed, and its `Drop`,
    /// are the user's.
    removed: Option<Arc<Flight<Evidence>>>,
}

impl<Evidence> Clone for Flights<Evidence> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Evidence> Default for Flights<Evidence> {
    fn default() -> Self {
        Self(Arc::new(Shards {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: DefaultHashBuilder::default(),
        }))
    }
}

impl<Evidence> Flights<Evidence> {
    /// Locks the shard of `key`. The lock is held for moments, and never across an await.
    pub(crate) fn lock(&self, key: &Key) -> Shard<'_, Evidence> {
        let shard = (self.0.hasher.hash_one(key) >> 32) as usize % SHARDS;
        Shard {
            flights: self,
            map: lock(&self.0.shards[shard]),
            removed: None,
        }
    }

    /// Boards the flight for `key` if this caller may, else starts one. With evidence, the load
    /// of the new flight begins at once; without, any caller may board until the leader begins.
    pub(crate) fn board(&self, key: &Key, evidence: Option<Evidence>) -> Seat<Evidence>
    where
        Evidence: PartialEq,
    {
        let mut shard = self.lock(key);
        shard
            .join(key, evidence.as_ref())
            .unwrap_or_else(|| Seat::Lead(shard.start(key, evidence)))
    }

    /// Boards the flight for `key` if this caller may, else starts one whose leader watches the load
    /// of another process. Should the watch end without an entry, it puts back the flight that it
    /// replaced.
    pub(crate) fn board_watch(&self, key: &Key, evidence: Evidence) -> Seat<Evidence>
    where
        Evidence: PartialEq,
    {
        let mut shard = self.lock(key);
        if let Some(seat) = shard.join(key, Some(&evidence)) {
            return seat;
        }
        let previous = shard.previous(key);
        let leader = shard.start(key, Some(evidence));
        let mut state = lock(&leader.flight.state);
        state.previous = previous;
        state.is_watch = true;
        drop(state);
        Seat::Lead(leader)
    }

    /// Forgets the current flights of some keys: no caller boards them any more, and none of them
    /// stores. One shard at a time is locked.
    pub(crate) fn forget_where(&self, is_meant: impl Fn(&Key) -> bool) {
        for shard in &self.0.shards {
            let mut shard = lock(shard);
            let forgotten: Vec<_> = shard.extract_if(|key, _| is_meant(key)).collect();
            drop(shard);
            // After the lock: this may drop a value of the user's.
            drop(forgotten);
        }
    }

    /// Forgets all current flights: no caller boards them any more, and none of them stores.
    pub(crate) fn forget_all<T>(&self, while_locked: impl FnOnce() -> T) -> T {
        let mut shards: Vec<_> = self.0.shards.iter().map(lock).collect();
        let forgotten: Vec<_> = shards.iter_mut().map(|shard| take(&mut **shard)).collect();
        let value = while_locked();
        drop(shards);
        drop(forgotten);
        value
    }
}

impl<Evidence: PartialEq> Shard<'_, Evidence> {
    /// Boards the flight for `key` if its value cannot be older than a caller that saw this
    /// evidence just now.
    pub(crate) fn join(&self, key: &Key, evidence: Option<&Evidence>) -> Option<Seat<Evidence>> {
        let flight = self.map.get(key)?;
        let mut state = lock(&flight.state);
        let same_evidence = evidence.is_some() && evidence == state.evidence.as_deref()
            || !sabotage::keeps(Rule::Boarding);
        let is_late = match state.phase {
            Phase::Boarding => false,
            Phase::Landed(ref landed) if !landed.is_covered => return None,
            Phase::Loading | Phase::Landed(_) if same_evidence => true,
            _ => return None,
        };
        if state.begin_wanted() {
            let generation = state.generation;
            drop(state);
            return Some(Seat::Lead(Leader::new(
                self.flights,
                key,
                flight,
                generation,
                is_late,
            )));
        }
        state.waiters += 1;
        Some(Seat::Wait(Waiter {
            flights: self.flights.clone(),
            key: key.clone(),
            flight: flight.clone(),
            boarded: true,
            is_late,
        }))
    }
}

impl<Evidence> Shard<'_, Evidence> {
    /// Starts a flight in the place of the current one. With evidence, its load begins at once;
    /// without, any caller may board until the leader begins.
    pub(crate) fn start(&mut self, key: &Key, evidence: Option<Evidence>) -> Leader<Evidence> {
        // Only a load that has not begun may wait for the one before it, or be replaced by it again.
        let previous = if evidence.is_none() {
            self.previous(key)
        } else {
            None
        };
        let flight = Arc::new(Flight {
            state: Mutex::new(FlightState::new(evidence, previous)),
            changed: Notify::new(),
        });
        let leader = Leader::new(self.flights, key, &flight, 0, false);
        self.removed = self.map.insert(key.clone(), flight);
        leader
    }

    /// Whether a flight for `key` is under way that may yet yield a value.
    pub(crate) fn is_under_way(&self, key: &Key) -> bool {
        let flight = self.map.get(key);
        flight.is_some_and(|flight| lock(&flight.state).may_yield_value())
    }

    /// What the leader of the current flight for `key` saw, and whether its value is uncovered.
    pub(crate) fn current(&self, key: &Key) -> Option<(Arc<Evidence>, bool)> {
        let state = lock(&self.map.get(key)?.state);
        let is_uncovered = matches!(&state.phase, Phase::Landed(landed) if !landed.is_covered);
        Some((state.evidence.clone()?, is_uncovered))
    }

    /// The flight that one which starts now replaces, and may put back.
    fn previous(&self, key: &Key) -> Option<Weak<Flight<Evidence>>> {
        self.map.get(key).and_then(Flight::or_its_previous)
    }

    /// Forgets the flight for `key`: no caller boards it any more, and it does not store.
    pub(crate) fn forget(&mut self, key: &Key) {
        self.removed = self.map.remove(key);
    }

    /// Forgets this flight. Returns whether it was current until now. If its load has not begun, the
    /// flight that it replaced, `previous`, is current again: its load holds the lease.
    fn forget_flight(
        &mut self,
        key: &Key,
        flight: &Arc<Flight<Evidence>>,
        previous: Option<Weak<Flight<Evidence>>>,
    ) -> bool {
        let is_current = |current: &Arc<Flight<Evidence>>| Arc::ptr_eq(current, flight);
        if !self.map.get(key).is_some_and(is_current) {
            return false;
        }
        // The caller holds this flight too, so neither of these drops it.
        match previous.and_then(|previous| previous.upgrade()) {
            Some(previous) if lock(&previous.state).may_yield_value() => {
                self.map.insert(key.clone(), previous);
            }
            over => {
                self.removed = over;
                self.map.remove(key);
            }
        }
        true
    }
}

impl<Evidence> Flight<Evidence> {
    fn id(&self) -> FlightId {
        std::ptr::from_ref(self).addr()
    }

    /// Waits until it is over.
    async fn ended(&self) {
        self.until(|| lock(&self.state).phase.is_over().then_some(()))
            .await;
    }

    /// Looks, now and after each change, until there is something to return.
    async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Registered before the look, so that no change between is missed.
            changed.as_mut().enable();
            if let Some(found) = look() {
                return found;
            }
            changed.await;
        }
    }

    /// The value that has landed, if it is for a caller that boarded before the load had begun, or after
    /// it.
    fn landed_for(&self, is_late: bool) -> Option<SharedValue> {
        let state = lock(&self.state);
        match &state.phase {
            Phase::Landed(landed) if landed.is_for(is_late) => Some(landed.value.clone()),
            _ => None,
        }
    }

    /// This flight if it is under way, or the one that it has replaced.
    fn or_its_previous(self: &Arc<Self>) -> Option<Weak<Self>> {
        let mut state = lock(&self.state);
        if state.may_yield_value() {
            Some(Arc::downgrade(self))
        } else {
            state.previous.take()
        }
    }
}

/// What others are told, and what is dropped, once the locks are released: wakers and `Drop` may run
/// any code.
struct AfterLock<Evidence> {
    attempts: Vec<Arc<Progress>>,
    /// The evidence of a flight that is over: its lease goes back when this is dropped.
    evidence: Option<Arc<Evidence>>,
}

impl<Evidence> AfterLock<Evidence> {
    fn of(state: &mut FlightState<Evidence>) -> Self {
        // If there is a value, the other attempts end with it.
        let attempts = if let Phase::Landed(_) = state.phase {
            let pending = state.pending.iter();
            pending.map(|(_, attempt)| attempt.clone()).collect()
        } else {
            Vec::new()
        };
        let ended = !state.may_yield_value();
        let evidence = ended.then(|| state.evidence.take()).flatten();
        Self { attempts, evidence }
    }

    #[inline]
    fn tell(self, flight: &Flight<Evidence>) {
        flight.changed.notify_waiters();
        for attempt in &self.attempts {
            attempt.wake_by_ref();
        }
        drop(self.evidence);
    }
}

/// A poisoned lock is used all the same: nothing that can panic, and no code of the user's, runs
/// under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
