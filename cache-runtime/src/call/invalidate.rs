//! One invalidation: run the body, then invalidate, however the body ended.
//!
//! `#[cache_invalidate]` expands to `InvalidateCall::start(…).run(async move { body }).await`.
//!
//! An error may come after the change was committed, and so may a panic or a
//! caller that gives up. One invalidation too many costs a miss; one too few
//! costs stale data. So every way out invalidates, unless `on = ok` or `on_err` says otherwise. And
//! after any but a clean end the change may still come, so the names are invalidated once more, later.
//!
//! Behind a fence, from before the body until its outcome is known, nothing that it changes is
//! stored:
//!
//! ```text
//! fence ──> body ──> Ok:                    invalidate ──> leave the fence
//!             └────> Err, panic, dropped:   invalidate, and let the fence expire
//!             └────> Err that rules a commit out (`on_err`):    leave the fence
//!             └────> the process dies:                  the fence expires
//! ```
//!
//! Without a fence, a process that dies between its commit and its invalidation leaves what it
//! replaced behind, until the ttl ends.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::due::Due;
use super::fence::Fence;
use super::shape::{Shape, View};
use super::transaction::{Called, GivenTransaction};
use crate::core::Core;
use crate::error::Error;
use crate::key::{CacheTag, Key, Name, Names, Parts};
use crate::registry::Function;

/// A call of a `#[cache_invalidate]` function, before its body runs.
#[derive(Debug)]
pub struct InvalidateCall {
    due: Due,
    /// Whether `condition` holds, so that anything is invalidated at all.
    is_wanted: bool,
    called: Option<Called>,
}

/// As [`InvalidateCall`], where what the body returns decides: with names that are read from it, or an error
/// that rules a commit out.
#[derive(Debug)]
pub struct InvalidateCallWithResult<S, N, C> {
    due: Due,
    is_wanted: bool,
    called: Option<Called>,
    shape: PhantomData<S>,
    names: N,
    /// Whether something may have been committed before this was returned.
    may_have_committed: C,
    /// Names that are due once it is known that the body ended well.
    held: Option<Vec<Key>>,
}

/// Tells from what was returned whether something may have been committed.
type MayHaveCommitted<S> = fn(&<S as Shape>::Return) -> bool;

/// Where names are put that an expansion makes one by one.
#[derive(Debug)]
pub struct CollectedNames(Vec<Key>);

impl CollectedNames {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// The names, in the order in which they were added.
    pub(super) fn into_keys(self) -> impl Iterator<Item = Key> {
        self.0.into_iter()
    }

    /// Takes the name that was added last.
    pub(super) fn take_last(&mut self) -> Option<Key> {
        self.0.pop()
    }

    /// Adds a name that is rendered.
    pub fn push_key(&mut self, key: &Key) {
        self.0.push(key.clone());
    }

    /// Adds a name.
    pub fn push<P: Parts>(&mut self, name: Name<P>) {
        self.0.push(name.render());
    }

    /// Adds a tag.
    pub fn push_tag<T: CacheTag + ?Sized>(&mut self, tag: &T) {
        self.push(tag.name());
    }
}

impl InvalidateCall {
    /// Renders the names that depend on the arguments, before the body takes the arguments.
    pub fn start<N: Names>(core: &Arc<Core>, names: N) -> Self {
        let mut rendered = Vec::new();
        names.render_into(&mut rendered);
        Self {
            due: Due::new(core, rendered, Vec::new()),
            is_wanted: true,
            called: None,
        }
    }

    /// Adds the names that elements of the arguments make.
    #[must_use]
    pub fn with_names(mut self, collect: impl FnOnce(&mut CollectedNames)) -> Self {
        let mut names = CollectedNames::new();
        collect(&mut names);
        self.due.names.append(&mut names.0);
        self
    }

    /// Says which transactions are among the arguments of this call of `function`.
    #[must_use]
    pub fn given(mut self, function: &'static Function, given: GivenTransaction) -> Self {
        self.called = (given != GivenTransaction::None).then_some(Called { function, given });
        self
    }

    /// Has the first poll of its future decide which cache it uses: the function names none, and returns
    /// the future.
    #[must_use]
    pub fn in_default_cache(mut self) -> Self {
        self.due.in_default_cache();
        self
    }

    /// Invalidates nothing if `condition` is false.
    #[must_use]
    pub fn only_if(mut self, condition: bool) -> Self {
        self.due.names.retain(|_| condition);
        self.is_wanted = condition;
        self
    }

    /// Adds the names that depend on what the body returns.
    pub fn with_result<S, N>(
        self,
        _shape: S,
        names: N,
    ) -> InvalidateCallWithResult<S, N, MayHaveCommitted<S>>
    where
        S: Shape,
        N: FnOnce(&S::Viewed, &mut CollectedNames),
    {
        InvalidateCallWithResult {
            due: self.due,
            is_wanted: self.is_wanted,
            called: self.called,
            shape: PhantomData,
            names,
            may_have_committed: |_| true,
            held: None,
        }
    }

    /// Runs the body, then invalidates.
    pub async fn run<F: Future>(self, is_failure: fn(&F::Output) -> bool, body: F) -> F::Output {
        let mut due = self.due;
        due.begin();
        let called = self.called.filter(|_| self.is_wanted);
        let commits_late = called.is_some_and(|it| it.commits_too_late::<F::Output>(&due.core));
        let returned = body.await;
        if commits_late || is_failure(&returned) {
            due.repeat();
        }
        due.invalidate().await;
        returned
    }
}

impl<S, N> InvalidateCallWithResult<S, N, MayHaveCommitted<S>>
where
    S: Shape,
{
    /// Asks about an error, which `error_of` finds, whether something may have been committed. If
    /// nothing was, nothing is invalidated.
    #[must_use]
    pub fn on_err<E>(
        self,
        error_of: fn(&S::Return) -> Option<&E>,
        may_have_committed: impl FnOnce(&E) -> bool,
    ) -> InvalidateCallWithResult<S, N, impl FnOnce(&S::Return) -> bool> {
        InvalidateCallWithResult {
            due: self.due,
            is_wanted: self.is_wanted,
            called: self.called,
            shape: self.shape,
            names: self.names,
            may_have_committed: move |returned: &S::Return| {
                error_of(returned).is_none_or(may_have_committed)
            },
            held: self.held,
        }
    }
}

impl<S, N, C> InvalidateCallWithResult<S, N, C>
where
    S: Shape,
    N: FnOnce(&S::Viewed, &mut CollectedNames),
    C: FnOnce(&S::Return) -> bool,
{
    /// Invalidates nothing after an error, a panic, or a caller that gave up.
    #[must_use]
    pub fn on_ok(mut self) -> Self {
        self.held = Some(std::mem::take(&mut self.due.names));
        self
    }

    /// Runs the body, then invalidates, the names of its value too if it returned one.
    pub async fn run<F: Future<Output = S::Return>>(self, body: F) -> F::Output {
        let mut due = self.due;
        due.begin();
        if !self.is_wanted {
            return body.await;
        }
        let called = self.called;
        let commits_late = called.is_some_and(|it| it.commits_too_late::<F::Output>(&due.core));
        let returned = body.await;
        if !(self.may_have_committed)(&returned) {
            due.names.clear();
            for fence in std::mem::take(&mut due.fences) {
                fence.leave().await;
            }
            return returned;
        }
        let outcome = S::view(&returned);
        if let Some(held) = self.held {
            if let View::Error = outcome {
                return returned;
            }
            due.names = held;
        }
        if let View::Value(value) = outcome {
            // In a list of their own: a panic in here leaves the names from the arguments due.
            let mut names = CollectedNames::new();
            (self.names)(value, &mut names);
            due.names.append(&mut names.0);
        }
        if commits_late || matches!(outcome, View::Error) {
            // The change may yet be committed, so the fences stand until their deadline.
            due.fences.clear();
            due.repeat();
        }
        due.invalidate().await;
        returned
    }

    /// Puts a fence around the names that depend on the arguments, while the body runs.
    #[must_use]
    pub fn fenced(self, length: Duration) -> FencedCall<S, N, C> {
        FencedCall {
            call: self,
            length,
            refuse: None,
        }
    }
}

impl<S, N, C> InvalidateCallWithResult<S, N, C> {
    fn names_from_arguments(&self) -> &[Key] {
        self.held.as_deref().unwrap_or(&self.due.names)
    }
}

/// A call of a `#[cache_invalidate(…, fence = …)]` function, before its body runs.
#[derive(Debug)]
pub struct FencedCall<S: Shape, N, C> {
    call: InvalidateCallWithResult<S, N, C>,
    length: Duration,
    /// What to return rather than run the body without a fence.
    refuse: Option<fn(Error) -> S::Return>,
}

impl<S, N, C> FencedCall<S, N, C>
where
    S: Shape,
    N: FnOnce(&S::Viewed, &mut CollectedNames),
    C: FnOnce(&S::Return) -> bool,
{
    /// Runs the body behind the fence only.
    #[must_use]
    pub fn required(mut self, refuse: fn(Error) -> S::Return) -> Self {
        self.refuse = Some(refuse);
        self
    }

    /// Places the fence, runs the body, invalidates and, after a clean end, leaves the fence.
    pub async fn run<F: Future<Output = S::Return>>(self, body: F) -> F::Output {
        let Self {
            mut call,
            length,
            refuse,
        } = self;
        call.due.begin();
        let names = call.names_from_arguments();
        if names.is_empty() || length.is_zero() {
            return call.run(body).await;
        }
        let mut fence = Fence::new(&call.due.core, names, length);
        if let Err(error) = fence.place().await
            && let Some(refuse) = refuse
        {
            fence.leave().await;
            // The body does not run, so there is nothing to invalidate.
            call.due.names.clear();
            return refuse(error);
        }
        fence.body_begins();
        call.due.fences.push(fence);
        call.run(body).await
    }
}

/// A return type that can say that there was no fence: a `Result` whose error can be made
/// from the cache's [`Error`].
///
/// ```
/// use cache_runtime::{RequiresFence, cache_invalidate};
///
/// #[derive(Debug)]
/// enum Refused { Cache(cache_runtime::Error) }
///
/// impl From<cache_runtime::Error> for Refused {
///     fn from(error: cache_runtime::Error) -> Self { Self::Cache(error) }
/// }
///
/// #[cache_invalidate("user:<id>", fence = "10s", fence_required)]
/// async fn rename(id: u64, name: &str) -> Result<(), Refused> {
///     println!("renaming {id} to {name}");
///     Ok(())
/// }
///
/// fn may_be_required<T: RequiresFence>() {}
/// may_be_required::<Result<(), Refused>>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`fence_required` returns an error of the cache, which `{Self}` cannot be made from",
    label = "the function returns `{Self}`",
    note = "help: return a `Result<…, E>` where `E: From<cache_runtime::Error>`, or leave `fence_required` \
            out, to run without a fence where there can be none"
)]
pub trait RequiresFence: Sized {
    /// What the function returns where the fence cannot be placed.
    fn from_cache_error(error: Error) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T, E: From<Error>> RequiresFence for Result<T, E> {
    fn from_cache_error(error: Error) -> Self {
        Err(error.into())
    }
}

/// A return type that tells an error: a `Result`.
#[diagnostic::on_unimplemented(
    message = "`on_err` is about the error that a function returns, and `{Self}` has none",
    label = "the function returns `{Self}`",
    note = "help: return a `Result`, or leave `on_err` out; `condition` asks about the arguments"
)]
pub trait ReturnsError {
    /// The type of the error.
    type Error;
    /// The error, if one was returned.
    fn error(&self) -> Option<&Self::Error>;
}

#[diagnostic::do_not_recommend]
impl<T, E> ReturnsError for Result<T, E> {
    type Error = E;

    fn error(&self) -> Option<&E> {
        self.as_ref().err()
    }
}
