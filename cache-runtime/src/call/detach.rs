//! `detach`: a load in a task of its own.
//!
//! `#[cached(detach)]` expands to [`CachedCall::resolve_detached`](super::cached::CachedCall) with a
//! closure that makes the load. The closure is called only if the call loads. It copies the
//! arguments that the function borrows; the load owns the copies, and borrows from them again:
//!
//! ```text
//! move || {
//!     let name = Argument::of(name).copied();
//!     async move {
//!         owned_by_task(&id);
//!         let name = name.get();
//!         async move { body }.await
//!     }
//! }
//! ```

use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tracing::{Instrument as _, Span};

use super::load::BeforeLoad;
use super::request::{Keeping, Request};
use super::shape::Shape;
use crate::context::{default_cache, mode};
use crate::flight::Leader;
use crate::observe::NotFilledReason;
use crate::sabotage::{self, Rule};
use crate::tier::{Evidence, Look, Store as _};
use crate::value::CacheValue;

/// The value under this key, or what the load that `load` makes yields, in a task of its own.
///
/// A load that no other caller may share runs in place: its caller alone wants it. So does a load
/// within a scope of `after_commit`, since it may read through the scope's transaction.
pub(super) async fn get_or_load<S, K, L, F>(request: Arc<Request>, keep: K, load: L) -> S::Return
where
    S: Shape<Value: CacheValue, Return: Send> + 'static,
    K: Keeping<S::Value> + Send + 'static,
    L: FnOnce() -> F,
    F: Future<Output = S::Return> + Send + 'static,
{
    if !sabotage::keeps(Rule::Detach) {
        let load = async move { load().await };
        return request.get_or_load::<S, _>(keep, load).await;
    }
    if let Some(why) = request.reason_to_bypass::<S::Value>() {
        return request.load_alone::<S, _>(why, load()).await;
    }
    let before = if request.is_refresh {
        Box::pin(request.before_refresh::<S>()).await
    } else {
        let mut look = request.core.tier.look(&request.query, None, None).await;
        if let Look::Hit(found) = &mut look
            && let Ok(returned) = request.serve::<S>(found, None)
        {
            return returned;
        }
        request.before_load::<S>(&mut look).await
    };
    match before {
        BeforeLoad::Return(returned) => returned,
        BeforeLoad::Lead(leader) => lead::<S, _, _>(request, leader, keep, load()).await,
        BeforeLoad::Alone => {
            let why = NotFilledReason::Unstorable;
            request.load_alone::<S, _>(why, load()).await
        }
    }
}

/// Loads for all callers of a flight, in a task: it goes on if this caller gives up.
pub(super) async fn lead<S, K, F>(
    request: Arc<Request>,
    leader: Leader<Evidence>,
    keep: K,
    load: F,
) -> S::Return
where
    S: Shape<Value: CacheValue, Return: Send> + 'static,
    K: Keeping<S::Value> + Send + 'static,
    F: Future<Output = S::Return> + Send + 'static,
{
    let (Ok(runtime), Some(waiting)) = (Handle::try_current(), leader.wait_for_task()) else {
        return request.lead::<S, _>(leader, keep, load).await;
    };
    let load = Load::new(load);
    let task = {
        let (request, load) = (request.clone(), load.clone());
        async move {
            let returned = request.lead::<S, _>(leader, keep, load.clone()).await;
            // What the load owns ends here, however late the caller is polled.
            load.end();
            returned
        }
    };
    let task = default_cache::carried(mode::carried(task.instrument(Span::current())));
    match runtime.spawn(task).await {
        Ok(returned) => returned,
        Err(error) => {
            if let Ok(panic) = error.try_into_panic() {
                resume_unwind(panic);
            }
            // The task has ended with its runtime, and this caller has another one. If the load had
            // ended, the task was storing its value, which has landed before.
            if let Some(landed) = waiting.landed()
                && let Some(returned) = request.share_landed::<S>(&landed)
            {
                return returned;
            }
            // The flight has gone to a waiter, or has ended. So what is left of the load is for this
            // caller only.
            let returned = load.await;
            request.not_filled(NotFilledReason::Unstorable);
            returned
        }
    }
}

/// A load that a task runs, and that its caller goes on with if the task is dropped.
struct Load<F>(Arc<Mutex<Option<Pin<Box<F>>>>>);

impl<F: Future> Load<F> {
    fn new(load: F) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::pin(load)))))
    }

    fn end(&self) {
        let ended = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(ended);
    }
}

impl<F> Clone for Load<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F: Future> Future for Load<F> {
    type Output = F::Output;

    /// The caller polls it only after the task was dropped.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let mut load = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let load = load.as_mut().expect("it is polled until it has ended");
        load.as_mut().poll(context)
    }
}

/// A copy of what a function borrows as a `&T`.
#[derive(Debug)]
pub struct Copied<T: ?Sized + ToOwned>(T::Owned);

impl<T: ?Sized + ToOwned> Copied<T> {
    /// Borrows from the copy.
    pub fn get(&self) -> &T {
        std::borrow::Borrow::borrow(&self.0)
    }
}

/// A borrowed argument, to ask traits about: `(&&Argument::of(name)).copied()`. It works as
/// [`ReturnType`](super::return_type::ReturnType) does.
#[derive(Debug)]
pub struct Argument<'a, T: ?Sized>(&'a T);

impl<'a, T: ?Sized> Argument<'a, T> {
    /// The receiver of the method call.
    pub fn of(borrowed: &'a T) -> Self {
        Self(borrowed)
    }
}

impl<T> Argument<'_, Option<T>> {
    /// Whether it is a `None`.
    pub(super) fn is_absent(&self) -> bool {
        self.0.is_none()
    }
}

pub mod argument_copy {
    //! The traits whose method `copied` is called on an [`Argument`], the more specific one first.
    use super::{Argument, Copied, CopiedByTask};

    /// Is found where the argument has a copy that the task can own.
    pub trait HasCopy {
        /// A `Copied`.
        type Copied;
        /// Makes the copy.
        fn copied(&self) -> Self::Copied;
    }

    impl<T: ?Sized + ToOwned<Owned: Send> + Sync> HasCopy for &Argument<'_, T> {
        type Copied = Copied<T>;

        fn copied(&self) -> Copied<T> {
            Copied(self.0.to_owned())
        }
    }

    /// Is found for any other argument.
    pub trait HasNoCopy {
        /// The argument's type, without the reference.
        type Borrowed: ?Sized;
        /// Does not compile: the argument is not `CopiedByTask`.
        fn copied<Unknown>(&self) -> Unknown
        where
            Self::Borrowed: CopiedByTask;
    }

    impl<T: ?Sized> HasNoCopy for Argument<'_, T> {
        type Borrowed = T;

        fn copied<Unknown>(&self) -> Unknown
        where
            T: CopiedByTask,
        {
            unreachable!("this call does not compile")
        }
    }
}

/// What a function with `detach` can borrow: the task of the load owns a copy.
#[diagnostic::on_unimplemented(
    message = "`detach` runs the load in a task of its own, which can't borrow this `{Self}`",
    label = "this argument has no copy that the task can own",
    note = "the copy is made by `Clone`, and `{Self}` has to be `Send + Sync + 'static` as well",
    note = "help: derive `Clone`, take it by value or in an `Arc`, or leave `detach` out"
)]
pub trait CopiedByTask {}

#[diagnostic::do_not_recommend]
impl<T: ?Sized + ToOwned<Owned: Send> + Sync> CopiedByTask for T {}

/// What a function with `detach` can take by value: the task of the load owns it.
#[diagnostic::on_unimplemented(
    message = "`detach` runs the load in a task of its own, which can't own a `{Self}`",
    label = "this argument is not `Send`",
    note = "help: take what is `Send`, such as an `Arc` for an `Rc`, or leave `detach` out"
)]
pub trait OwnedByTask: Send {}

#[diagnostic::do_not_recommend]
impl<T: Send> OwnedByTask for T {}

/// Moves an argument into the future in which this is called, whether or not the body uses it.
#[inline]
pub fn owned_by_task<T: OwnedByTask>(_argument: &T) {}

/// What a function with `detach` can return: the task of the load gives it to the caller.
#[diagnostic::on_unimplemented(
    message = "`detach` runs the load in a task of its own, which can't return a `{Self}`",
    label = "what the function returns is not `Send`",
    note = "its error has to be `Send`, too: `Box<dyn Error + Send + Sync>` for a `Box<dyn Error>`"
)]
pub trait ReturnedByTask: Send {}

#[diagnostic::do_not_recommend]
impl<R: Send> ReturnedByTask for R {}
