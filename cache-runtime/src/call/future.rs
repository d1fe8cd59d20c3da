//! Functions that are not `async`, and return a future.
//!
//! `#[cached]` expands to `CachedCall::defer(…).resolve(future_of(move || { body }))`, in an
//! `async` block or, if the function [boxes](Boxed) its future, in a `Box`. When the function is
//! called, the body runs up to its future, as it does without the attribute. When the outer future
//! is polled, the call looks at the cache. The outer future holds what the call owns, and the
//! body's future. So it borrows what the body's future borrows, and is `Send` if that is.

use std::future::Ready;
use std::marker::PhantomData;
use std::pin::Pin;

use super::return_type::ReturnType;

/// The future that the body makes. The bound makes the closure an `FnOnce`, so it may move a
/// captured `&mut` into the future that it returns.
pub fn future_of<F>(body: impl FnOnce() -> F) -> F {
    body()
}

/// A boxed future, also behind an alias. An annotated function returns one unless it is `async` or
/// returns `impl Future`.
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
    note = "a boxed future may be `Send`, but not `Sync`: a future that waits for a server is not `Sync`"
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

/// Finds by trait whether `F` is a boxed future: `(&&Returned::<F>::NEW).future()` is then a
/// `Boxed`, and else a `NotBoxed`. It works as [`ReturnType`] does.
#[derive(Debug)]
pub struct Returned<F>(PhantomData<fn() -> F>);

impl<F> Returned<F> {
    /// The receiver of the method call.
    pub const NEW: Self = Self(PhantomData);
}

pub mod returned_future {
    //! The traits whose method `future` is called on a [`Returned`], the more specific one first.
    use super::{Boxed, BoxedFuture, NotBoxed, PhantomData, Returned};

    /// Is found where `F` is a boxed future.
    pub trait IsBoxed {
        /// A `Boxed`.
        type Future;
        /// Returns it.
        fn future(&self) -> Self::Future;
    }

    impl<F: BoxedFuture> IsBoxed for &Returned<F> {
        type Future = Boxed<F>;
        fn future(&self) -> Boxed<F> {
            Boxed(PhantomData)
        }
    }

    /// Is found where `F` is any other type.
    pub trait IsNotBoxed<F> {
        /// Never compiles: `F` does not meet the bound, and the compiler says so.
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

/// The function returns a boxed future.
#[derive(Debug)]
pub struct Boxed<F>(PhantomData<fn() -> F>);

#[expect(clippy::unused_self, reason = "only a value knows its type here")]
impl<F: BoxedFuture> Boxed<F> {
    /// The type that the future yields.
    pub fn output(&self) -> ReturnType<F::Output> {
        ReturnType::NEW
    }

    /// The future of the body.
    pub fn load(&self, load: F) -> F {
        load
    }

    /// The future of the whole call.
    pub fn boxed(&self, call: F) -> F {
        call
    }
}

/// The function returns another type. The compiler has reported that error: these methods fit any
/// body, so that no other error follows.
#[derive(Debug)]
pub struct NotBoxed<F>(PhantomData<fn() -> F>);

#[expect(clippy::unused_self, reason = "only a value knows its type here")]
impl<F> NotBoxed<F> {
    /// The type that the future yields.
    pub fn output(&self) -> ReturnType<()> {
        ReturnType::NEW
    }

    /// The future of the body.
    pub fn load(&self, _load: F) -> Ready<()> {
        std::future::ready(())
    }

    /// The future of the whole call.
    pub fn boxed<C>(&self, _call: C) -> F {
        unreachable!("a function that returns this type does not compile")
    }
}
