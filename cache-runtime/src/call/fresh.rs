//! Calls of functions whose options say something of old values: what comes before their load, and after
//! one that failed.
//!
//! ```text
//! look ──> Hit, fresh ────────────────────> serve
//!   ├────> Hit, to be refreshed ──> ticket ──> board beside ──> Lead ──> load ──> fill
//!   │                                 │            └──────────> serve        (another caller refreshes)
//!   │                                 └───────────────────────> serve
//!   └────> Miss ──> as in `load` ──> load ──> fill
//!                                      └────> Err ──> find the old entry ──> serve
//! ```
//!
//! With `detach`, a task refreshes, and its caller is served at once. Without, the caller that drew the
//! refresh loads in its own time, and all others are served.
//!
//! An old entry is looked for after the load has failed, and not kept from before it: it may have been
//! invalidated meanwhile.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tracing::{Instrument as _, Span};

use super::detach;
use super::load::{BeforeLoad, Role, share_outcome};
use super::request::{Keeping, Request};
use super::shape::{Shape, View, to_return};
use crate::clock::{self, Sleep};
use crate::context::{default_cache, mode};
use crate::flight::Leader;
use crate::freshness::State;
use crate::observe::{Event, NotFilledReason, StaleReason};
use crate::refreshes::{Refused, Ticket, Why};
use crate::sabotage::{self, Rule};
use crate::tier::{Beside, Evidence, Found, Look, Miss, Store as _};
use crate::value::CacheValue;

/// For how long a process does not ask again for the refresh lock that another one has.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// What a call does before it loads, or instead of it.
enum Before<R> {
    /// Return this. If it is the error of a load that others made, an old value may take its place.
    Return(R),
    /// Load, and fill.
    Lead(Leader<Evidence>),
    /// Load beside the entry that the look has shown, and fill.
    Refresh(Leader<Evidence>, Ticket),
    /// Load, and store nothing.
    Alone,
}

/// The value under this key, or what `load` yields, or an old value.
///
/// Unlike other calls, this one holds an error while it looks for the old value. So its future is `Send`
/// only if the error is.
pub(crate) async fn get_or_load<S, F>(
    request: &Request,
    keep: impl Keeping<S::Value>,
    is_excused: impl Fn(&S::Return) -> bool,
    load: F,
) -> S::Return
where
    S: Shape<Value: CacheValue>,
    F: Future<Output = S::Return>,
{
    if let Some(why) = request.reason_to_bypass::<S::Value>() {
        return request.load_alone::<S, F>(why, load).await;
    }
    if request.is_refresh {
        return request.get_or_load::<S, F>(keep, load).await;
    }
    let mut look = Look::Miss(Miss::Off);
    let returned = match request.before_fresh::<S>(&mut look).await {
        Before::Return(returned) => returned,
        Before::Lead(leader) => {
            let evidence = leader.evidence();
            let failed = |error: &S::Return| {
                request.failed(evidence.as_deref(), None, is_excused(error));
            };
            request
                .lead_as::<S, F>(leader, Role::Call, keep, failed, load)
                .await
        }
        Before::Refresh(leader, ticket) => {
            let evidence = leader.evidence();
            let mut ticket = Some(ticket);
            let failed = |error: &S::Return| {
                request.failed(evidence.as_deref(), ticket.take(), is_excused(error));
            };
            request
                .lead_as::<S, F>(leader, Role::Refresh, keep, failed, load)
                .await
        }
        Before::Alone => {
            let why = NotFilledReason::Unstorable;
            request.load_alone::<S, F>(why, load).await
        }
    };
    request.or_old::<S>(returned, is_excused).await
}

/// As [`get_or_load`], with a load that runs in a task of its own.
pub(super) async fn get_or_load_detached<S, K, X, L, F>(
    request: Arc<Request>,
    keep: K,
    is_excused: X,
    load: L,
) -> S::Return
where
    S: Shape<Value: CacheValue, Return: Send> + 'static,
    K: Keeping<S::Value> + Send + 'static,
    X: Fn(&S::Return) -> bool + Send + Sync + 'static,
    L: FnOnce() -> F,
    F: Future<Output = S::Return> + Send + 'static,
{
    if request.is_refresh || request.reason_to_bypass::<S::Value>().is_some() {
        return detach::get_or_load::<S, _, _, _>(request, keep, load).await;
    }
    let slow = request.query.fresh.and_then(|fresh| fresh.after_slow());
    let has_loaded = &AtomicBool::new(false);
    let answer = answer_detached::<S, _, _, _, _>(&request, keep, is_excused, load, has_loaded);
    let mut answer = pin!(answer);
    let Some(after) = slow else {
        return answer.await;
    };
    // What comes before the load is not given up: else, where that is slow, no call would ever load.
    let mut end = pin!(Sleep::until(Instant::now() + after.min(clock::FOREVER)));
    let mut is_late = false;
    let in_time = poll_fn(|context| {
        if let Poll::Ready(returned) = answer.as_mut().poll(context) {
            return Poll::Ready(Some(returned));
        }
        is_late = is_late || end.as_mut().poll(context).is_ready();
        let may_leave = has_loaded.load(Relaxed) || request.is_waiting.load(Relaxed);
        if is_late && may_leave {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    });
    if let Some(returned) = in_time.await {
        return returned;
    }
    // The task of the load goes on.
    match request.old::<S>(true, StaleReason::Slow).await {
        Some(returned) => {
            if !has_loaded.load(Relaxed) {
                // It has waited for another caller's load.
                request.observe_miss();
            }
            returned
        }
        None => answer.await,
    }
}

async fn answer_detached<S, K, X, L, F>(
    request: &Arc<Request>,
    keep: K,
    is_excused: X,
    load: L,
    has_loaded: &AtomicBool,
) -> S::Return
where
    S: Shape<Value: CacheValue, Return: Send> + 'static,
    K: Keeping<S::Value> + Send + 'static,
    X: Fn(&S::Return) -> bool + Send + Sync + 'static,
    L: FnOnce() -> F,
    F: Future<Output = S::Return> + Send + 'static,
{
    let mut look = Look::Miss(Miss::Off);
    let (leader, ticket) = match request.before_fresh::<S>(&mut look).await {
        Before::Return(returned) => return request.or_old::<S>(returned, is_excused).await,
        Before::Alone => {
            let why = NotFilledReason::Unstorable;
            has_loaded.store(true, Relaxed);
            let returned = request.load_alone::<S, _>(why, load()).await;
            return request.or_old::<S>(returned, is_excused).await;
        }
        Before::Refresh(leader, ticket) => {
            if let Ok(runtime) = Handle::try_current()
                && let Look::Hit(found) = &mut look
                && let Ok(returned) = request.serve::<S>(found, None)
            {
                let task = refresh_in_background::<S, _, _, _>(
                    request.clone(),
                    leader,
                    ticket,
                    keep,
                    is_excused,
                    load(),
                );
                let task = default_cache::carried(mode::carried(task.instrument(Span::current())));
                drop(runtime.spawn(task));
                return returned;
            }
            (leader, Some(ticket))
        }
        Before::Lead(leader) => (leader, None),
    };
    let evidence = leader.evidence();
    has_loaded.store(true, Relaxed);
    let returned = detach::lead::<S, _, _>(request.clone(), leader, keep, load()).await;
    if let View::Error = S::view(&returned) {
        request.failed(evidence.as_deref(), ticket, is_excused(&returned));
    }
    drop(evidence);
    request.or_old::<S>(returned, is_excused).await
}

/// Refreshes an entry that is served meanwhile. No caller waits for it, so its time is bounded here.
async fn refresh_in_background<S, K, X, F>(
    request: Arc<Request>,
    leader: Leader<Evidence>,
    ticket: Ticket,
    keep: K,
    is_excused: X,
    load: F,
) where
    S: Shape<Value: CacheValue>,
    K: Keeping<S::Value>,
    X: Fn(&S::Return) -> bool,
    F: Future<Output = S::Return>,
{
    let evidence = leader.evidence();
    let mut ticket = Some(ticket);
    let in_time = {
        let failed = |error: &S::Return| {
            request.failed(evidence.as_deref(), ticket.take(), is_excused(error));
        };
        let load = pin!(load);
        let refresh = pin!(request.lead_as::<S, _>(leader, Role::Background, keep, failed, load));
        let limit = request.core.settings.load_limit;
        clock::within(limit, refresh).await.is_some()
    };
    if !in_time {
        request.observe_refresh_failed();
        request.failed(evidence.as_deref(), ticket.take(), true);
    }
}

/// A return type that tells an error: a `Result`. `stale_if_error` and `stale_while_revalidate` serve an old
/// value in its place.
#[diagnostic::on_unimplemented(
    message = "`stale_if_error` is about the error that a function returns, and `{Self}` has none",
    label = "the function returns `{Self}`",
    note = "help: return a `Result`, or leave `stale_if_error` out"
)]
pub trait MayFail {
    /// The type of the error.
    type Error;
    /// The error, if one was returned.
    fn error(&self) -> Option<&Self::Error>;
}

#[diagnostic::do_not_recommend]
impl<T, E> MayFail for Result<T, E> {
    type Error = E;

    fn error(&self) -> Option<&E> {
        self.as_ref().err()
    }
}

/// Whether a returned error is one that `is_excused`.
pub fn may_fail<R: MayFail>(returned: &R, is_excused: impl FnOnce(&R::Error) -> bool) -> bool {
    returned.error().is_some_and(is_excused)
}

impl Request {
    /// Looks, and boards a load after a miss, or a refresh beside an entry that is to be refreshed. `look`
    /// then has that entry.
    async fn before_fresh<S>(&self, look: &mut Look) -> Before<S::Return>
    where
        S: Shape<Value: CacheValue>,
    {
        // While its load is not tried again, an old entry needs no lock.
        if let Some(excused) = self.has_failed()
            && let Some(returned) = self.old_at_once::<S>(excused).await
        {
            return Before::Return(returned);
        }
        *look = self.core.tier.look(&self.query, None, None).await;
        if let Look::Hit(found) = look {
            if let Some((leader, ticket)) = self.revalidate(found).await {
                return Before::Refresh(leader, ticket);
            }
            if let Ok(returned) = self.serve::<S>(found, None) {
                return Before::Return(returned);
            }
        }
        match self.before_load::<S>(look).await {
            BeforeLoad::Return(returned) => Before::Return(returned),
            BeforeLoad::Lead(leader) => Before::Lead(leader),
            BeforeLoad::Alone => Before::Alone,
        }
    }

    /// Boards a refresh of an entry, if it is this caller that is to refresh it.
    pub(super) async fn revalidate(&self, found: &Found) -> Option<(Leader<Evidence>, Ticket)> {
        let Self { core, query, .. } = self;
        let freshness = query.fresh.as_ref()?;
        let age = core.tier.age(query, found)?;
        if !freshness.draws(freshness.of(age), age) {
            return None;
        }
        let mut ticket = match core.refreshes.begin(&query.key) {
            Ok(ticket) => ticket,
            Err(Refused::NotNow) => return None,
            Err(Refused::TooMany) => {
                self.observe(Event::RefreshSkipped { key: &query.key });
                return None;
            }
        };
        match core.tier.board_beside(query, found).await {
            Beside::Lead(leader) => return Some((leader, ticket)),
            Beside::Held => ticket.leave_alone(ASK_AGAIN, Why::Elsewhere),
            Beside::Failed { left, excused } => ticket.leave_alone(left, Why::Failed { excused }),
            Beside::Skip => {}
        }
        None
    }

    /// What a load returned, or the old value in the place of its error.
    async fn or_old<S>(
        &self,
        returned: S::Return,
        is_excused: impl Fn(&S::Return) -> bool,
    ) -> S::Return
    where
        S: Shape<Value: CacheValue>,
    {
        let View::Error = S::view(&returned) else {
            return returned;
        };
        if !sabotage::keeps(Rule::OldForError) {
            return returned;
        }
        let excused = is_excused(&returned);
        match self.old::<S>(excused, StaleReason::Error).await {
            Some(old) => old,
            None => returned,
        }
    }

    /// The value of the entry that is there, for a call that was not answered by it at first. If its ttl
    /// has ended and it is not to be served while it is refreshed, only if the error is `excused`.
    pub(super) async fn old<S>(&self, excused: bool, why: StaleReason) -> Option<S::Return>
    where
        S: Shape<Value: CacheValue>,
    {
        let (returned, _) = self.find_old::<S>(excused).await?;
        self.observe_stale(why, true);
        Some(returned)
    }

    /// As [`old`](Self::old), for a call that has not asked for anything else.
    pub(super) async fn old_at_once<S>(&self, excused: bool) -> Option<S::Return>
    where
        S: Shape<Value: CacheValue>,
    {
        let (returned, is_from_server) = self.find_old::<S>(excused).await?;
        self.observe_old_at_once(is_from_server);
        Some(returned)
    }

    /// The old value, if it may be served, and whether a server has shown it.
    pub(super) async fn find_old<S>(&self, excused: bool) -> Option<(S::Return, bool)>
    where
        S: Shape<Value: CacheValue>,
    {
        let mut found = Box::pin(self.core.tier.find_old(&self.query)).await?;
        let state = self.state(&found);
        if !(state.is_served() || excused && state == State::OnError) {
            return None;
        }
        let outcome = found.outcome(&self.query.key, share_outcome::<S>).ok()?;
        Some((to_return::<S>(outcome)?, found.is_from_server()))
    }
}
