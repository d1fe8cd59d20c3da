//! Functions that are not `async`, and return a future.
//!
//! `#[cached]` expands to `CachedCall::defer(…).resolve(future_of(move || { body }))`, in a block
//! or, if the function [boxes](Boxed) its future, in a `Box`. The body runs up to its future when
//! the function is called, as it does without the attribute; the cache is looked at when the
//! outer future is polled. The outer future holds what the call owns, and the body's future: so it
//! borrows what the body's future borrows, and is `Send` if that is.

use std::future::Ready;
use std::marker::PhantomData;
use std::pin::Pin;

use super::return_type::ReturnType;

/// What the body makes. Called here, it may move out of what it captures, and so
/// give out what it reborrows.
pub fn future_of<F>(body: impl FnOnce() -> F) -> F {
    body()
}

/// A boxed future, whatever an alias calls it: what a function returns that the
/// attributes annotate, unless it is `async` or returns `impl Future`.
///
/// ```
/// use std::pin::Pin;
/// use cache_runtime::{BoxedFuture, cached};
///
/// type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
///
/// fn is_boxed<F: BoxedFuture>() {}
/// is_boxed::<BoxFuture<'_, u64>>();
///
/// #[cached(key = "square:<n>", ttl = 60)]
/// fn square(n: u64) -> BoxFuture<'static, u64> {
///     Box::pin(async move { n * n })
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a boxed future",
    label = "the function is not `async`, so it has to return a future",
    note = "write `async fn`, or return `impl Future<Output = …>` or `Pin<Box<dyn Future<Output = …>>>`",
    note = "a boxed future may be `Send`, but not `Sync`: what waits for a server is not"
)]
pub trait BoxedFuture: Future {}

macro_rules! boxed_future {
    ($($bounds:tt)*) => {
        #[diagnostic::do_not_recommend]
        impl<'a, T> BoxedFuture for Pin<Box<dyn Future<Output = T> + 'a $($bounds)*>> {}
    };
}

boxed_future!();
boxed_future!(+ Send);

/// Finds out what is returned: `(&&Returned::<F>::NEW).future()`, as with [`ReturnType`].
#[derive(Debug)]
pub struct Returned<F>(PhantomData<fn() -> F>);

impl<F> Returned<F> {
    /// The question.
    pub const NEW: Self = Self(PhantomData);
}

pub mod returned_future {
    //! The traits that [`Returned`] is asked through, most specific first.
    use super::{Boxed, BoxedFuture, NotBoxed, PhantomData, Returned};

    /// One of the questions.
    pub trait IsBoxed {
        /// The answer.
        type Future;
        /// Gives the answer.
        fn future(&self) -> Self::Future;
    }

    impl<F: BoxedFuture> IsBoxed for &Returned<F> {
        type Future = Boxed<F>;
        fn future(&self) -> Boxed<F> {
            Boxed(PhantomData)
        }
    }

    /// The other question.
    pub trait IsNotBoxed<F> {
        /// Gives the answer, which is an error of the compiler's.
        fn future(&self) -> NotBoxed<F>
        where
            F: BoxedFuture;
    }

    impl<F> IsNotBoxed<F> for Returned<F> {
        fn future(&self) -> NotBoxed<F>
        where
            F: BoxedFuture,
        {
            NotBoxed(PhantomData)
        }
    }
}

/// A boxed future is returned.
#[derive(Debug)]
pub struct Boxed<F>(PhantomData<fn() -> F>);

#[expect(clippy::unused_self, reason = "only a value knows its type here")]
impl<F: BoxedFuture> Boxed<F> {
    /// What it yields.
    pub fn output(&self) -> ReturnType<F::Output> {
        ReturnType::NEW
    }

    /// The body's future.
    pub fn load(&self, load: F) -> F {
        load
    }

    /// The call's future.
    pub fn boxed(&self, call: F) -> F {
        call
    }
}

/// Something else is returned. The compiler has said so; here it finds nothing else to say.
#[derive(Debug)]
pub struct NotBoxed<F>(PhantomData<fn() -> F>);

#[expect(clippy::unused_self, reason = "only a value knows its type here")]
impl<F> NotBoxed<F> {
    /// What it yields.
    pub fn output(&self) -> ReturnType<()> {
        ReturnType::NEW
    }

    /// The body's future.
    pub fn load(&self, _load: F) -> Ready<()> {
        std::future::ready(())
    }

    /// The call's future.
    pub fn boxed<C>(&self, _call: C) -> F {
        unreachable!("it does not compile")
    }
}
