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

mod circle;
mod progress;
#[cfg(test)]
mod tests;
pub(crate) mod together;

use std::hash::BuildHasher;
use std::mem::take;
use std::pin::{Pin, pin};
use std::sync::{Arc, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use hashbrown::{DefaultHashBuilder, HashMap};
use tokio::sync::Notify;

use self::circle::{FlightId, Polling, Waiting};
use self::progress::Progress;
use crate::clock::{self, Moment};
use crate::key::Key;
use crate::sabotage::{self, Rule};
use crate::sync::{Mutex, MutexGuard};
use crate::value::{SharedError, SharedValue};

const SHARDS: usize = 64;

/// How often a flight with waiters is checked.
const CHECK_PAUSE: Duration = Duration::from_millis(50);

/// How long an attempt that was woken may stay without a poll. The scheduler of the interleavings has
/// no time.
const PATIENCE: Duration = Duration::from_millis(if cfg!(shuttle) { 0 } else { 50 });

/// The same for an attempt that took over from another: where polls are late because there is too
/// much work, more loads do not help.
const PATIENCE_AFTER_TAKEOVER: Duration =
    Duration::from_millis(if cfg!(shuttle) { 0 } else { 100 });

/// How many waiters begin an attempt after the first attempt failed, and how many more after each
/// later one of these waves.
const WAVE: usize = 8;

/// After so many waves have failed, each waiter loads for itself.
const MAX_WAVES: u32 = 3;

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

#[derive(Debug)]
struct FlightState<Evidence> {
    phase: Phase,
    /// What the leader saw before its load began. `None` while boarding, and for a load whose
    /// leader saw nothing that an invalidation would have changed.
    evidence: Option<Arc<Evidence>>,
    /// The flight that this one replaced while that one loaded. It is put back if this one ends
    /// before its load begins.
    previous: Option<Weak<Flight<Evidence>>>,
    /// Whether its leader watches the load of another process.
    is_watch: bool,
    /// Whether its load has begun.
    has_begun: bool,
    waiters: usize,
    /// The attempts that are under way, also those that were taken over from.
    attempts: usize,
    /// Those of them that were not taken over from.
    moving: usize,
    /// Counted up each time that the attempts under way are taken over from. Each attempt keeps the
    /// generation in which it began.
    generation: u32,
    /// How many callers wait for a task that runs their attempt.
    task_waits: usize,
    /// How many further attempts the waiters are to begin.
    wanted: usize,
    /// Those of the attempts that have been pending, the newest last, each with its generation.
    pending: Vec<(u32, Arc<Progress>)>,
    /// When a check first saw the newest attempt, or 0.
    seen_at: Moment,
    /// How many waves of attempts have failed.
    failed_waves: u32,
    /// The generation of the attempt that has a value which it has not handed out: it has no waiters,
    /// or is about to land.
    claimed_by: Option<u32>,
    /// For how long the waiters let an attempt go on that is not woken.
    hedge: Duration,
    /// Whether the timer checks this flight.
    is_checked: bool,
}

#[derive(Debug)]
enum Phase {
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
struct LandedValue {
    value: SharedValue,
    /// Whether it is also for callers that boarded after the load had begun: all of its tags are in the
    /// evidence.
    is_covered: bool,
}

impl LandedValue {
    fn is_for(&self, is_late: bool) -> bool {
        self.is_covered || !is_late
    }
}

/// A caller's part in the flight that it boarded or started.
#[derive(Debug)]
pub(crate) enum Seat<Evidence> {
    Lead(Leader<Evidence>),
    Wait(Waiter<Evidence>),
}

/// How waiting ends.
#[derive(Debug)]
pub(crate) enum Landing<Evidence> {
    Value(SharedValue),
    Error(SharedError),
    /// This caller begins an attempt.
    Lead(Leader<Evidence>),
    /// The caller loads for itself: the load failed, or took longer than this caller waits, or does
    /// not end before this caller does.
    Alone,
    /// The store may show something new: the caller looks again.
    Dissolved {
        /// Whether the flight's load had begun.
        has_begun: bool,
    },
}

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

/// How long a waiter waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// At most this long.
    pub(crate) limit: Duration,
    /// For an attempt that is not woken, only this long.
    pub(crate) hedge: Duration,
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

    /// Checks the flight for `key` as the timer does.
    #[cfg(all(test, shuttle))]
    pub(crate) fn check(&self, key: &Key)
    where
        Evidence: Send + Sync + 'static,
    {
        let flight = self.lock(key).map.get(key).cloned();
        if let Some(flight) = flight
            && let Checked::WakeWaiters = flight.check()
        {
            flight.changed.notify_waiters();
        }
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
        let is_boarding = evidence.is_none();
        // Only a load that has not begun may wait for the one before it, or be replaced by it again.
        let previous = if is_boarding {
            self.previous(key)
        } else {
            None
        };
        let flight = Arc::new(Flight {
            state: Mutex::new(FlightState {
                phase: if is_boarding {
                    Phase::Boarding
                } else {
                    Phase::Loading
                },
                evidence: evidence.map(Arc::new),
                previous,
                is_watch: false,
                has_begun: !is_boarding,
                task_waits: 0,
                waiters: 0,
                attempts: 1,
                moving: 1,
                generation: 0,
                wanted: 0,
                pending: Vec::new(),
                seen_at: 0,
                failed_waves: 0,
                claimed_by: None,
                hedge: clock::FOREVER,
                is_checked: false,
            }),
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

/// A caller that loads: one attempt.
#[derive(Debug)]
pub(crate) struct Leader<Evidence> {
    flights: Flights<Evidence>,
    key: Key,
    flight: Arc<Flight<Evidence>>,
    /// The generation in which this attempt began.
    generation: u32,
    /// Set once a part of this caller's work has been pending.
    progress: Option<Arc<Progress>>,
    /// Whether this caller boarded after the load had begun.
    is_late: bool,
    /// Whether the value of this attempt is the flight's.
    has_claimed: bool,
    ended: bool,
}

impl<Evidence> Leader<Evidence> {
    fn new(
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

    fn previous(&self) -> Option<Arc<Flight<Evidence>>> {
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

/// A caller that waits for another caller's load.
#[derive(Debug)]
pub(crate) struct Waiter<Evidence> {
    flights: Flights<Evidence>,
    key: Key,
    flight: Arc<Flight<Evidence>>,
    boarded: bool,
    /// Whether the load had begun when this caller boarded.
    is_late: bool,
}

impl<Evidence: Send + Sync + 'static> Waiter<Evidence> {
    /// Waits for the value.
    pub(crate) async fn wait(mut self, patience: Patience) -> Landing<Evidence> {
        let flight = self.flight.clone();
        let Some(_waiting) = Waiting::begin(flight.id()) else {
            return Landing::Alone;
        };
        flight.check_for(patience.hedge);
        // Pinned here: a function that takes a future by value has room for it twice.
        let landing = pin!(async {
            // An attempt that was woken before this caller came may be behind it in the queue of
            // their runtime.
            if self.is_set_aside() {
                clock::let_others_run().await;
            }
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
        clock::within(sabotage::wait_limit(patience.limit), landing)
            .await
            .unwrap_or(Landing::Alone)
    }

    fn is_set_aside(&self) -> bool {
        lock(&self.flight.state).is_set_aside(clock::real())
    }

    fn look(&mut self) -> Option<Landing<Evidence>> {
        let mut state = lock(&self.flight.state);
        if state.is_set_aside(clock::real()) {
            state.take_over();
        }
        let landing = match &state.phase {
            Phase::Landed(landed) if landed.is_for(self.is_late) => {
                Landing::Value(landed.value.clone())
            }
            Phase::Landed(_) => Landing::Dissolved { has_begun: true },
            Phase::FailedWith(error) => Landing::Error(error.clone()),
            Phase::Failed => Landing::Alone,
            Phase::Dissolved => Landing::Dissolved {
                has_begun: state.has_begun,
            },
            Phase::Boarding | Phase::Loading => {
                if !state.begin_wanted() {
                    return None;
                }
                let generation = state.generation;
                Landing::Lead(Leader::new(
                    &self.flights,
                    &self.key,
                    &self.flight,
                    generation,
                    self.is_late,
                ))
            }
        };
        state.waiters -= 1;
        self.boarded = false;
        if let Landing::Dissolved { .. } = landing {
            // This waiter may have dissolved the flight.
            drop(state);
            self.flight.changed.notify_waiters();
        }
        Some(landing)
    }
}

impl<Evidence> Drop for Waiter<Evidence> {
    fn drop(&mut self) {
        if !self.boarded {
            return;
        }
        let mut shard = self.flights.lock(&self.key);
        let mut state = lock(&self.flight.state);
        state.waiters -= 1;
        if state.phase.is_over() {
            return;
        }
        // If no attempt moves, the next caller begins one.
        let at_least = usize::from(state.moving == 0);
        state.wanted = state.wanted.min(state.waiters).max(at_least);
        state.end_if_abandoned();
        if state.phase.is_over() {
            let previous = state.previous.take();
            let after = AfterLock::of(&mut state);
            drop(state);
            shard.forget_flight(&self.key, &self.flight, previous);
            drop(shard);
            after.tell(&self.flight);
        }
    }
}

impl<Evidence> Flight<Evidence> {
    fn id(&self) -> FlightId {
        std::ptr::from_ref(self).addr()
    }

    /// Waits until it is over.
    async fn ended(&self) {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Registered before the phase is read, so that no change between is missed.
            changed.as_mut().enable();
            if lock(&self.state).phase.is_over() {
                break;
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

impl<Evidence: Send + Sync + 'static> Flight<Evidence> {
    /// Has the timer check this flight for as long as it has waiters.
    fn check_for(self: &Arc<Self>, hedge: Duration) {
        let mut state = lock(&self.state);
        state.hedge = state.hedge.min(hedge);
        if !std::mem::replace(&mut state.is_checked, true) {
            drop(state);
            let check = Check(Arc::downgrade(self));
            clock::wake_at(Instant::now() + CHECK_PAUSE, Waker::from(Arc::new(check)));
        }
    }

    /// Lets a waiter begin an attempt if the newest does not move.
    fn check(&self) -> Checked {
        let mut state = lock(&self.state);
        if state.phase.is_over() || state.waiters == 0 {
            state.is_checked = false;
            return Checked::Over;
        }
        let now = clock::real();
        if state.is_hung(now) {
            state.take_over();
        }
        // If the newest attempt is set aside, the first waiter that is polled takes over. If it
        // is only late, as everything on a busy runtime is, it is polled before the waiters: they are
        // woken after it.
        if state.wanted > 0 || state.is_set_aside(now) {
            Checked::WakeWaiters
        } else {
            Checked::Moves
        }
    }
}

/// What a check of a flight shows.
enum Checked {
    /// There is nothing to check any more.
    Over,
    /// The newest attempt moves.
    Moves,
    /// One of the waiters takes over.
    WakeWaiters,
}

/// What the timer wakes to check a flight. It runs without a caller's help, since that caller's
/// future may not be polled either.
struct Check<Evidence>(Weak<Flight<Evidence>>);

impl<Evidence: Send + Sync + 'static> Wake for Check<Evidence> {
    fn wake(self: Arc<Self>) {
        let Some(flight) = self.0.upgrade() else {
            return;
        };
        let checked = flight.check();
        if let Checked::Over = checked {
            return;
        }
        // Before the waiters are woken: a waker may run any code, and panic.
        clock::wake_at(Instant::now() + CHECK_PAUSE, Waker::from(self));
        if let Checked::WakeWaiters = checked {
            flight.changed.notify_waiters();
        }
    }
}

impl<Evidence> FlightState<Evidence> {
    /// Begins one of the attempts that are wanted; false if none is.
    fn begin_wanted(&mut self) -> bool {
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
    fn take_over(&mut self) {
        if matches!(self.phase, Phase::Boarding) {
            self.phase = Phase::Dissolved;
        } else {
            self.generation += 1;
            self.moving = 0;
            self.wanted = 1;
        }
    }

    /// All attempts that move have failed. More waiters begin one, or each loads for itself.
    fn fail_wave(&mut self) {
        self.failed_waves += 1;
        if self.failed_waves >= sabotage::waves(MAX_WAVES) || self.waiters == 0 {
            self.phase = Phase::Failed;
        } else {
            self.wanted = WAVE.pow(self.failed_waves).min(self.waiters);
        }
    }

    /// Makes the value of an attempt of this generation the flight's, unless another was first.
    fn claim(&mut self, generation: u32) -> bool {
        let is_first = self.claimed_by.is_none() && !self.phase.is_over();
        if is_first {
            self.claimed_by = Some(generation);
        }
        is_first
    }

    /// Whether others than the future that runs an attempt wait for the flight.
    fn has_others(&self) -> bool {
        self.waiters > 0 || self.attempts > 1 || self.task_waits > 0
    }

    /// A flight without a caller is over.
    fn end_if_abandoned(&mut self) {
        if self.waiters + self.attempts == 0 && !self.phase.is_over() {
            self.phase = Phase::Dissolved;
        }
    }

    /// Whether a value may still come of the flight, or be stored.
    fn may_yield_value(&self) -> bool {
        match self.phase {
            Phase::Boarding | Phase::Loading => true,
            Phase::Landed(_) => self.attempts > 0,
            Phase::FailedWith(_) | Phase::Failed | Phase::Dissolved => false,
        }
    }

    /// Whether the newest attempt was woken, and not polled for a moment.
    fn is_set_aside(&self, now: Moment) -> bool {
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
    fn is_hung(&mut self, now: Moment) -> bool {
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
    fn is_over(&self) -> bool {
        matches!(
            self,
            Self::Landed(_) | Self::FailedWith(_) | Self::Failed | Self::Dissolved
        )
    }
}

/// A poisoned lock is used all the same: nothing that can panic, and no code of the user's, runs
/// under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
