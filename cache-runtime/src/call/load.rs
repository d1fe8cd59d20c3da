//! One cached call that is not answered at once, top to bottom, for every tier.
//!
//! ```text
//! look ──> Hit ──> serve
//!   ├────> Lead ───────────────────> load ──> fill       a miss of the local tier
//!   └────> Miss ──> board ──> Lead ──> load ──> fill     the call loads, and stores what it loaded
//!                     ├─────> Wait ──> share             another caller loads; `load` is dropped.
//!                     │                                  An error is shared if it can be cloned
//!                     ├─────> Watch ──> serve            another process loads
//!                     ├─────> Unstored ──> load          the call loads, and stores nothing
//!                     ├─────> Alone ──> load             the call loads for itself
//!                     └─────> LookAgain ──> look
//! ```
//!
//! [`Request::get_or_load`] is the call. [`Request::next_step`] decides what the call does after a
//! miss, without knowing the value's type. [`tier`](crate::tier) says what the words mean.

use std::any;
use std::marker::PhantomData;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::compare::{self, Compare};
use super::request::{Keeping, Request};
use super::scope;
use super::shape::{Shape, View, to_return};
use crate::clock;
use crate::codec::{Codec, Reason};
use crate::error::Error;
use crate::flight::{Claim, Landing, Leader, LoadEnd, Seat, Waiter};
use crate::missed::MissReason;
use crate::observe::{Event, NotFilledReason, StaleReason, spans};
use crate::tier::{
    Boarded, Encoded, Evidence, Filled, Filling, Found, Look, Mark, Miss, Query, Renewal, Storable,
    Store as _,
};
use crate::value::{CacheValue, Outcome, SharedError, SharedValue, outcome};
use crate::weigher::Weigher;

/// The pause between two looks at another process's lease: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(8);

/// What a call does before it loads, or instead of it.
pub(super) enum BeforeLoad<R> {
    /// Return this.
    Return(R),
    /// Load, and fill.
    Lead(Leader<Evidence>),
    /// Load, and store nothing.
    Alone,
}

impl<R> BeforeLoad<R> {
    /// What a call does that another caller's load has ended for: without anything to return, it loads.
    fn return_or_load(returned: Option<R>) -> Self {
        returned.map_or(Self::Alone, Self::Return)
    }
}

/// What a caller does next.
enum Step {
    /// Serve this entry. If this caller watched for other callers, serve it to those too.
    Serve(Box<Found>, Option<Leader<Evidence>>),
    /// Serve this entry in the place of the error with which its load failed a moment ago.
    ServeOld(Box<Found>),
    /// Serve what another caller's load yielded.
    Share(SharedValue),
    /// Return the error with which another caller's load failed.
    ShareError(SharedError),
    /// Load, and fill.
    Lead(Leader<Evidence>),
    /// Load, and store nothing.
    Alone,
}

/// What began a load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Role {
    /// A call that was not answered from the cache.
    Call,
    /// A call that refreshes an entry which others are served.
    Refresh,
    /// A task that does so.
    Background,
}

/// A wait for another caller's load, which is logged if it is long, also if the caller gives up.
struct TimedWait<'a> {
    request: &'a Request,
    began: Instant,
}

impl Drop for TimedWait<'_> {
    fn drop(&mut self) {
        self.request.is_waiting.store(false, Relaxed);
        let Query { site, key, .. } = &self.request.query;
        let observer = &self.request.core.observer;
        observer.waited(*site, key, self.began.elapsed());
    }
}

impl Request {
    /// The value under this key, or what `load` yields.
    pub(crate) async fn get_or_load<S, F>(&self, keep: impl Keeping<S::Value>, load: F) -> S::Return
    where
        S: Shape<Value: CacheValue>,
        F: Future<Output = S::Return>,
    {
        if let Some(why) = self.reason_to_bypass::<S::Value>() {
            return self.load_alone::<S, F>(why, load).await;
        }
        // Matched in a block of its own: what is returned is not held while anything is awaited.
        let leader = {
            let before = if self.is_refresh {
                Box::pin(self.before_refresh::<S>()).await
            } else {
                let mut look = self.core.tier.look(&self.query, None, None).await;
                if let Look::Hit(found) = &mut look
                    && let Ok(returned) = self.serve::<S>(found, None)
                {
                    return returned;
                }
                // A miss of the local tier goes on here. `before_load` would do the same, but passing the
                // leader on takes a measurable part of a local miss.
                if let Look::Lead(leader) = look {
                    return self.lead::<S, F>(leader, keep, load).await;
                }
                self.before_load::<S>(&mut look).await
            };
            match before {
                BeforeLoad::Return(returned) => return returned,
                BeforeLoad::Lead(leader) => Some(leader),
                BeforeLoad::Alone => None,
            }
        };
        match leader {
            Some(leader) => self.lead::<S, F>(leader, keep, load).await,
            None => {
                self.load_alone::<S, F>(NotFilledReason::Unstorable, load)
                    .await
            }
        }
    }

    /// Boards a load that begins after this call, whatever is stored. What another caller's load yields is
    /// returned only if that one begins later, too.
    pub(super) async fn before_refresh<S>(&self) -> BeforeLoad<S::Return>
    where
        S: Shape<Value: CacheValue>,
    {
        let began = Instant::now();
        let step = loop {
            let step = match self.core.tier.board_refresh(&self.query).await {
                Boarded::Lead(leader) => Some(Step::Lead(leader)),
                Boarded::Wait(waiter) => self.wait(waiter, &mut None).await,
                Boarded::Unstored => break self.load_unstored().await,
                Boarded::Alone => Some(Step::Alone),
                // There is nothing to watch: what another process loads began before.
                Boarded::Watch(_) | Boarded::Old(_) | Boarded::LookAgain => None,
            };
            match step {
                Some(step) => break step,
                None if began.elapsed() < self.core.settings.lease_wait => {}
                None => break self.load_unstored().await,
            }
        };
        match step {
            Step::Lead(leader) => BeforeLoad::Lead(leader),
            Step::Share(value) => BeforeLoad::return_or_load(self.share::<S>(&value)),
            Step::ShareError(error) => BeforeLoad::return_or_load(self.share_error::<S>(&error)),
            Step::Serve(..) | Step::ServeOld(_) | Step::Alone => BeforeLoad::Alone,
        }
    }

    /// Goes on after a look that did not answer the call, up to its load, or without one.
    ///
    /// It takes the look by reference: a future has room twice for an argument that it is given by
    /// value.
    pub(super) async fn before_load<S>(&self, look: &mut Look) -> BeforeLoad<S::Return>
    where
        S: Shape<Value: CacheValue>,
    {
        let mut undecodable = None;
        loop {
            match self.next_step(look, undecodable).await {
                Step::Lead(leader) => return BeforeLoad::Lead(leader),
                Step::Share(value) => {
                    return BeforeLoad::return_or_load(self.share::<S>(&value));
                }
                Step::ShareError(error) => {
                    return BeforeLoad::return_or_load(self.share_error::<S>(&error));
                }
                Step::Serve(mut found, watcher) => {
                    let mark = found.mark();
                    let error = match self.serve::<S>(&mut found, watcher) {
                        Ok(returned) => return BeforeLoad::Return(returned),
                        Err(error) => error,
                    };
                    // In the local tier, it is another function's value, and is left alone.
                    let Some(mark) = mark else {
                        self.query.missed.note(MissReason::Mismatched);
                        self.tell_other_type(any::type_name::<S::Value>(), None);
                        break;
                    };
                    self.query.missed.note(MissReason::Unreadable);
                    self.degrade(&error);
                    // The caller that gets the lease replaces the entry, if it is still this one.
                    if undecodable.replace(mark).is_some() {
                        break;
                    }
                }
                Step::ServeOld(mut found) => {
                    let outcome = found.outcome(&self.query.key, share_outcome::<S>);
                    let returned = outcome.map(to_return::<S>);
                    if let Ok(Some(returned)) = returned {
                        self.observe_old_at_once(found.is_from_server());
                        return BeforeLoad::Return(returned);
                    }
                    break;
                }
                Step::Alone => break,
            }
            *look = self.look_again(undecodable, None).await;
        }
        BeforeLoad::Alone
    }

    /// Boxed, like every await in this file that is rare: the future of each call has room for all
    /// that the call may await.
    async fn look_again(&self, undecodable: Option<Mark>, asking_since: Option<Instant>) -> Look {
        Box::pin(self.core.tier.look(&self.query, undecodable, asking_since)).await
    }

    /// Boards, waits and looks again until it is clear what to do.
    async fn next_step(&self, look: &mut Look, undecodable: Option<Mark>) -> Step {
        let mut waiting_since = None;
        let mut asking_since = None;
        loop {
            let boarded = match mem::replace(look, Look::Miss(Miss::Off)) {
                Look::Hit(found) => return Step::Serve(Box::new(found), None),
                Look::Lead(leader) => return Step::Lead(leader),
                Look::Miss(miss) => {
                    let boarding = self.core.tier.board(&self.query, miss, asking_since);
                    boarding.await
                }
            };
            // Only a caller that waits needs the clock.
            let mut since = || *waiting_since.get_or_insert_with(Instant::now);
            let step = match boarded {
                Boarded::Lead(leader) => return Step::Lead(leader),
                Boarded::Watch(leader) => {
                    since();
                    asking_since = None;
                    Box::pin(self.watch(leader)).await
                }
                Boarded::Wait(waiter) => {
                    since();
                    Box::pin(self.wait(waiter, &mut asking_since)).await
                }
                Boarded::Unstored => return Box::pin(self.load_unstored()).await,
                Boarded::Alone => return Step::Alone,
                Boarded::Old(found) => return Step::ServeOld(found),
                Boarded::LookAgain => None,
            };
            match step {
                Some(step) => return step,
                None if since().elapsed() < self.core.settings.lease_wait => {}
                None => return Box::pin(self.load_unstored()).await,
            }
            *look = self.look_again(undecodable, asking_since).await;
        }
    }

    /// Waits for another caller's load. `None` if this caller is to look again. If the other caller
    /// has only asked for the lease, this caller was asking with it.
    async fn wait(
        &self,
        waiter: Waiter<Evidence>,
        asking_since: &mut Option<Instant>,
    ) -> Option<Step> {
        let began = Instant::now();
        let _wait = self.time_wait();
        self.observe(Event::Wait {
            key: &self.query.key,
        });
        match waiter.wait(self.patience()).await {
            Landing::Value(value) => Some(Step::Share(value)),
            Landing::Error(error) => Some(Step::ShareError(error)),
            Landing::Lead(leader) if leader.is_watch() => self.watch(leader).await,
            Landing::Lead(leader) => Some(Step::Lead(leader)),
            Landing::Alone => Some(Step::Alone),
            Landing::Dissolved { has_begun: false } => {
                asking_since.get_or_insert(began);
                None
            }
            Landing::Dissolved { has_begun: true } => {
                *asking_since = None;
                None
            }
        }
    }

    /// Looks, for all callers of this process, until another process's lease becomes an entry.
    /// `None` if this caller is to look again.
    ///
    /// Each caller that boards this flight saw the lease in the store, and a lease never comes
    /// back once it is replaced. So an entry that the watcher sees in its place was
    /// read after each of them began.
    async fn watch(&self, mut leader: Leader<Evidence>) -> Option<Step> {
        self.observe(Event::Watch {
            key: &self.query.key,
        });
        let evidence = leader.evidence();
        let is_as_before = |miss: &Miss| evidence.as_deref().is_some_and(|it| miss.shows(it));
        let started = Instant::now();
        let _wait = self.time_wait();
        let mut pause = FIRST_PAUSE;
        while started.elapsed() < self.core.settings.lease_wait {
            let length = clock::around(pause);
            let paused_look = pin!(async {
                clock::pause(length).await;
                self.core.tier.look(&self.query, None, None).await
            });
            let look = leader.follow(paused_look).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
            match look {
                Look::Hit(found) => return Some(Step::Serve(Box::new(found), Some(leader))),
                Look::Miss(miss)
                    if is_as_before(&miss)
                        && leader
                            .follow(pin!(self.core.tier.is_under_way(&self.query, &miss)))
                            .await => {}
                Look::Miss(Miss::Unknown) => break,
                Look::Lead(_) | Look::Miss(_) => {
                    leader.finish();
                    return None;
                }
            }
        }
        // The load begins now, after the watcher saw the lease with these versions, so
        // it is no older than any caller that sees them too.
        leader.end_watch();
        Some(Step::Lead(leader))
    }

    /// Decides how to load without storing: after a failure of the store, while a name is
    /// distrusted, behind a fence, or after a longer wait than `lease_wait`.
    ///
    /// Such callers share a load without evidence, so only one that begins after they came. While
    /// a load runs, the next leader waits a moment for it to end, and callers that come meanwhile
    /// board the next load.
    async fn load_unstored(&self) -> Step {
        let started = Instant::now();
        let _wait = self.time_wait();
        while started.elapsed() < self.core.settings.load_limit {
            let waiter = match self.core.tier.board_unstored(&self.query.key) {
                None => break,
                Some(Seat::Wait(waiter)) => waiter,
                Some(Seat::Lead(mut leader)) => {
                    if leader.has_previous() {
                        self.observe(Event::Wait {
                            key: &self.query.key,
                        });
                    }
                    let limit = self.core.settings.share_wait();
                    leader.wait_for_previous(limit).await;
                    leader.begin(None);
                    return Step::Lead(leader);
                }
            };
            self.observe(Event::Wait {
                key: &self.query.key,
            });
            match waiter.wait(self.patience()).await {
                Landing::Value(value) => return Step::Share(value),
                Landing::Error(error) => return Step::ShareError(error),
                Landing::Lead(leader) => return Step::Lead(leader),
                Landing::Alone => break,
                Landing::Dissolved { .. } => {}
            }
        }
        Step::Alone
    }

    /// Serves an entry. If this caller watched for other callers, serves it to those too.
    pub(super) fn serve<S: Shape<Value: CacheValue>>(
        &self,
        found: &mut Found,
        watcher: Option<Leader<Evidence>>,
    ) -> Result<S::Return, Error> {
        let outcome = found.outcome(&self.query.key, share_outcome::<S>)?;
        if let Some(copying) = found.copying() {
            let value = Loaded::<S>::new(&outcome, self.compare);
            self.core.tier.keep_copy(&self.query, copying, &value);
        }
        let watcher = watcher.map(|watcher| (watcher, share_outcome::<S>(&outcome)));
        let returned = to_return::<S>(outcome).ok_or_else(|| {
            Error::codec(self.query.key.as_str(), "decoded", &"a `None` is stored")
        })?;
        if let Some((mut watcher, value)) = watcher {
            self.observe_shared();
            if watcher.claim() != Claim::Superseded {
                // In a cluster, the look may have read a version before another caller boarded. If it
                // is not in the evidence, that caller has not compared it.
                let evidence = watcher.evidence();
                let is_covered = evidence
                    .as_deref()
                    .is_none_or(|evidence| found.is_covered_by(evidence));
                watcher.land(value, is_covered);
                watcher.finish();
            }
        } else if self.query.fresh.is_some() && self.state(found).is_stale() {
            self.observe_stale(StaleReason::Revalidating, false);
            self.note_source(found.is_from_server());
        } else {
            self.core
                .observer
                .hit(self.query.site, || self.query.key.clone());
            self.note_source(found.is_from_server());
        }
        Ok(returned)
    }

    /// Serves what another caller's load yielded, if it is of this function's type.
    pub(super) fn share<S: Shape<Value: CacheValue>>(
        &self,
        value: &SharedValue,
    ) -> Option<S::Return> {
        let returned = to_return::<S>(outcome(value)?)?;
        self.observe_shared();
        Some(returned)
    }

    /// Returns the error with which another caller's load failed, if this function has it.
    fn share_error<S: Shape<Value: CacheValue>>(&self, error: &SharedError) -> Option<S::Return> {
        let returned = S::from_error(error)?;
        self.observe_shared();
        Some(returned)
    }

    /// What [`share`](Self::share) does, where this call has begun a load itself.
    pub(super) fn share_landed<S: Shape<Value: CacheValue>>(
        &self,
        value: &SharedValue,
    ) -> Option<S::Return> {
        let returned = to_return::<S>(outcome(value)?)?;
        self.observe(Event::Share {
            key: &self.query.key,
        });
        Some(returned)
    }

    /// Loads for all callers of a flight, and stores what the load yields.
    pub(super) async fn lead<S, F>(
        &self,
        leader: Leader<Evidence>,
        keep: impl Keeping<S::Value>,
        load: F,
    ) -> S::Return
    where
        S: Shape<Value: CacheValue>,
        F: Future<Output = S::Return>,
    {
        self.lead_as::<S, F>(leader, Role::Call, keep, |_| {}, load)
            .await
    }

    /// As [`lead`](Self::lead), for a load that is perhaps a refresh. `failed` is told of its error, before
    /// the callers that wait for it are.
    pub(super) async fn lead_as<S, F>(
        &self,
        mut leader: Leader<Evidence>,
        role: Role,
        keep: impl Keeping<S::Value>,
        failed: impl FnOnce(&S::Return),
        load: F,
    ) -> S::Return
    where
        S: Shape<Value: CacheValue>,
        F: Future<Output = S::Return>,
    {
        let renewal = self.core.tier.renew(&leader, self.core.settings.load_limit);
        let started = Instant::now();
        // If this future is dropped here, the leader hands the flight on, with the lease.
        let returned = {
            let load = pin!(renew_while(renewal, self.run_load::<S, F>(role, load)));
            let share = |landed: &_| self.share_landed::<S>(landed);
            match leader.load(load, share).await {
                LoadEnd::Loaded(returned) => returned,
                LoadEnd::Shared(returned) => return returned,
            }
        };
        let cost = started.elapsed();
        if scope::is_uncommitted() {
            // The call began outside of the scope in which it is polled now, so the load may have read
            // what the scope changes.
            leader.fail(None);
            if !matches!(S::view(&returned), View::Error) {
                self.loaded(cost);
            }
            self.not_filled(NotFilledReason::Uncommitted);
            return returned;
        }
        // An error is not held while the lease is given back: it need not be `Send`.
        let outcome = match S::into_outcome(returned) {
            Ok(outcome) => outcome,
            Err(returned) => {
                failed(&returned);
                leader.fail(S::share_error(&returned));
                self.load_failed(cost);
                if role != Role::Call {
                    self.observe_refresh_failed();
                }
                return returned;
            }
        };
        self.loaded(cost);
        if let (Some(site), Some(took)) = (self.query.site, leader.pending_for()) {
            site.note_load(took);
        }
        self.note_success();
        let told = self.told(&outcome, &keep);
        let filling = {
            let filling = Filling {
                value: &Loaded::<S>::new(&outcome, self.compare),
                tags: &told.tags,
                cost,
                codec: self.codec(),
                is_checked: self.core.settings.check_values,
            };
            let ttl = || match told.error {
                None => self.lifetime(&outcome, &keep),
                Some(_) => None,
            };
            self.core.tier.fill(&self.query, leader, &filling, &ttl)
        };
        let filled = told.of(filling.await);
        self.observe_filled(&filled);
        if role != Role::Call && matches!(filled, Filled::Overtaken) {
            self.observe_refresh_discarded();
        }
        to_return::<S>(outcome).expect("the outcome was made from a value of this type")
    }

    /// Loads for this caller only, and stores nothing, for the reason given.
    pub(super) async fn load_alone<S, F>(&self, why: NotFilledReason<'_>, load: F) -> S::Return
    where
        S: Shape,
        F: Future<Output = S::Return>,
    {
        let started = Instant::now();
        let returned = self.run_load::<S, F>(Role::Call, load).await;
        match S::view(&returned) {
            View::Error => self.load_failed(started.elapsed()),
            View::Value(_) | View::None => {
                self.loaded(started.elapsed());
                self.not_filled(why);
            }
        }
        returned
    }

    /// Runs the load, and counts it.
    async fn run_load<S, F>(&self, role: Role, load: F) -> S::Return
    where
        S: Shape,
        F: Future<Output = S::Return>,
    {
        let key = &self.query.key;
        match role {
            Role::Call => self.load_begins(),
            Role::Refresh => {
                self.observe_refresh();
                self.load_begins();
            }
            // No call is answered by it.
            Role::Background => {
                self.observe(Event::Refresh { key });
                self.observe(Event::Load { key });
            }
        }
        let load = pin!(load);
        // Boxed: a call without a span has no room for one.
        if spans::are_asked() {
            let is_refresh = role != Role::Call || self.is_refresh;
            let observer = &self.core.observer;
            let span = spans::load(observer, self.query.site, Some(key), 1, is_refresh);
            let is_error = |returned: &S::Return| matches!(S::view(returned), View::Error);
            return Box::pin(spans::of_load(span, load, is_error)).await;
        }
        load.await
    }

    /// Times a wait for another caller's load, until it is dropped.
    fn time_wait(&self) -> TimedWait<'_> {
        self.is_waiting.store(true, Relaxed);
        TimedWait {
            request: self,
            began: Instant::now(),
        }
    }
}

/// Runs a load, and renews its leases meanwhile, if it has any.
pub(super) async fn renew_while<F: Future>(renewal: Option<Renewal>, load: F) -> F::Output {
    let Some(mut renewal) = renewal else {
        return load.await;
    };
    let mut load = pin!(load);
    std::future::poll_fn(|context| match load.as_mut().poll(context) {
        Poll::Ready(returned) => Poll::Ready(returned),
        Poll::Pending => match renewal.as_mut().poll(context) {
            Poll::Ready(never) => match never {},
            Poll::Pending => Poll::Pending,
        },
    })
    .await
}

/// What a load yielded, in both of the forms in which stores keep it.
pub(super) struct Loaded<'a, S: Shape> {
    outcome: &'a Outcome<S::Value>,
    compare: Compare,
    shape: PhantomData<fn() -> S>,
}

impl<'a, S: Shape> Loaded<'a, S> {
    pub(super) fn new(outcome: &'a Outcome<S::Value>, compare: Compare) -> Self {
        Self {
            outcome,
            compare,
            shape: PhantomData,
        }
    }
}

impl<S: Shape<Value: CacheValue>> Storable for Loaded<'_, S> {
    fn share(&self) -> SharedValue {
        share_outcome::<S>(self.outcome)
    }

    fn weigh(&self, weigher: &Weigher) -> usize {
        self.outcome.weigh(weigher)
    }

    fn encode(&self, codec: Codec, is_checked: bool) -> Result<Encoded, Reason> {
        self.outcome
            .encode(codec, is_checked.then_some(self.compare))
    }
}

impl<V: CacheValue> Outcome<V> {
    pub(super) fn weigh(&self, weigher: &Weigher) -> usize {
        match self {
            Self::Value(value) => weigher.weigh(value),
            Self::None => 0,
        }
    }

    /// Encodes a value. It is compared with what would come back, if that is asked for.
    pub(super) fn encode(&self, codec: Codec, compare: Option<Compare>) -> Result<Encoded, Reason> {
        match self {
            Self::Value(value) => compare::encode(value, codec, compare).map(Encoded::Value),
            Self::None => Ok(Encoded::None),
        }
    }
}

/// A copy of an outcome for other callers.
pub(super) fn share_outcome<S: Shape<Value: CacheValue>>(
    outcome: &Outcome<S::Value>,
) -> SharedValue {
    match outcome {
        Outcome::Value(value) => S::share(value),
        Outcome::None => Arc::new(Outcome::<S::Value>::None),
    }
}
