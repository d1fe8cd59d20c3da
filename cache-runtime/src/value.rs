//! Which part of a return type is cached. It is decided by trait, not by the type's name.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A type whose values can be cached. Every type that meets the bounds implements it.
///
/// Serde's traits are for the shared tier, which stores values as bytes. `Clone` is for the
/// copy that each caller gets; with an `Arc<T>`, that copy is cheap. `Send + Sync + 'static`
/// is for the local tier, which keeps the value itself.
///
/// ```
/// use std::sync::Arc;
/// use cache_runtime::CacheValue;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct User { name: String }
///
/// fn cacheable<T: CacheValue>() {}
/// cacheable::<User>();
/// cacheable::<Arc<User>>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be cached",
    label = "not a cacheable value",
    note = "a cached value is `Serialize + DeserializeOwned + Clone + Send + Sync + 'static`",
    note = "for a type of your own: `#[derive(Clone, serde::Serialize, serde::Deserialize)]`"
)]
pub trait CacheValue: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> CacheValue for T {}

/// The part of a load's result that can be cached and shared. An error cannot.
#[derive(Debug, Clone)]
pub enum Outcome<V> {
    /// A value.
    Value(V),
    /// A `None`.
    None,
}

/// A shared outcome, with its type erased. Its reader names the type.
///
/// It has one of two forms, and each reader must handle both: an `Outcome<V>`; or the `T`
/// itself, shared with all callers, if `V` is an `Arc<T>` and the function's signature shows
/// that. The second form saves one allocation an entry, and two writes to shared memory a hit.
pub(crate) type SharedValue = Arc<dyn Erased>;

/// The type-erased content of a [`SharedValue`].
pub trait Erased: Any + Send + Sync {
    /// Wraps a value of the second form in the `Outcome<Arc<Self>>` that it stands for.
    fn into_outcome(self: Arc<Self>) -> Box<dyn Any>;
}

impl<T: Any + Send + Sync> Erased for T {
    fn into_outcome(self: Arc<Self>) -> Box<dyn Any> {
        Box::new(Outcome::Value(self))
    }
}

impl fmt::Debug for dyn Erased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedValue")
    }
}

/// A copy of the outcome, if it is of this type.
pub(crate) fn outcome<V: Any + Clone>(value: &SharedValue) -> Option<Outcome<V>> {
    let any: &dyn Any = &**value;
    if let Some(outcome) = any.downcast_ref::<Outcome<V>>() {
        return Some(outcome.clone());
    }
    let outcome = value.clone().into_outcome().downcast().ok()?;
    Some(*outcome)
}

/// The outcome, if it is of this type. It is cloned only if the value has other holders.
pub(crate) fn into_outcome<V>(value: SharedValue) -> Option<Outcome<V>>
where
    V: Any + Clone + Send + Sync,
{
    let any: &dyn Any = &*value;
    if any.is::<Outcome<V>>() {
        let any: Arc<dyn Any + Send + Sync> = value;
        return any.downcast().ok().map(Arc::unwrap_or_clone);
    }
    let outcome = value.into_outcome().downcast().ok()?;
    Some(*outcome)
}

impl<V> Outcome<V> {
    pub(crate) fn into_value(self) -> Option<V> {
        match self {
            Self::Value(value) => Some(value),
            Self::None => None,
        }
    }
}

/// A returned value, borrowed, as the cache sees it.
#[derive(Debug)]
pub enum View<'a, V> {
    /// A value.
    Value(&'a V),
    /// A `None`.
    None,
    /// An error: neither cached nor shared.
    Error,
}

/// How a return type holds the value that is cached.
pub trait Shape: Sized {
    /// The shape, which holds nothing.
    const NEW: Self;
    /// The return type.
    type Return;
    /// The part of it that is cached.
    type Value;
    /// A hit that was found and not returned yet.
    type Hit;

    /// Borrows the cached part of a returned value.
    fn view(returned: &Self::Return) -> View<'_, Self::Value>;
    /// Takes the cached part out of a returned value.
    ///
    /// # Errors
    ///
    /// The returned value, unchanged, if it is an error.
    fn into_outcome(returned: Self::Return) -> Result<Outcome<Self::Value>, Self::Return>;
    /// The return value that holds this value.
    fn from_value(value: Self::Value) -> Self::Return;
    /// The return value that holds a `None`, or `None` if the return type cannot hold one.
    fn from_none() -> Option<Self::Return>;

    /// A copy of the value for the cache and for other callers.
    fn share(value: &Self::Value) -> SharedValue
    where
        Self::Value: CacheValue;
    /// A hit, if the shared outcome is of this type.
    fn hit(shared: SharedValue) -> Option<Self::Hit>
    where
        Self::Value: 'static;
    /// The return value that holds this hit.
    fn from_hit(hit: Self::Hit) -> Option<Self::Return>
    where
        Self::Value: CacheValue;
}

pub(crate) fn to_return<S: Shape>(outcome: Outcome<S::Value>) -> Option<S::Return> {
    match outcome {
        Outcome::Value(value) => Some(S::from_value(value)),
        Outcome::None => S::from_none(),
    }
}

/// `Result<Option<T>, E>`: the value is in `Ok(Some)`, and `Ok(None)` is a `None`.
#[derive(Debug)]
pub struct ResultOption<T, E>(PhantomData<fn() -> (T, E)>);

/// `Result<T, E>`: the value is in `Ok`.
#[derive(Debug)]
pub struct ResultOf<T, E>(PhantomData<fn() -> (T, E)>);

/// `Option<T>`: the value is in `Some`.
#[derive(Debug)]
pub struct OptionOf<T>(PhantomData<fn() -> T>);

/// Any other type: the return value is the cached value.
#[derive(Debug)]
pub struct Plain<T>(PhantomData<fn() -> T>);

/// The rest of a shape whose value may be any cacheable type.
macro_rules! any_value {
    () => {
        const NEW: Self = Self(PhantomData);
        /// The shared outcome. Its type has been checked.
        type Hit = SharedValue;

        fn share(value: &Self::Value) -> SharedValue
        where
            Self::Value: CacheValue,
        {
            Arc::new(Outcome::Value(value.clone()))
        }

        #[inline]
        fn hit(shared: SharedValue) -> Option<SharedValue>
        where
            Self::Value: 'static,
        {
            let any: &dyn Any = &*shared;
            let fits = match any.downcast_ref::<Outcome<Self::Value>>() {
                Some(Outcome::Value(_)) => true,
                Some(Outcome::None) => Self::from_none().is_some(),
                // It may be of the second form. Then this counts as a miss here, and the look
                // on the way of a miss finds it.
                None => false,
            };
            fits.then_some(shared)
        }

        #[inline(always)]
        fn from_hit(shared: SharedValue) -> Option<Self::Return>
        where
            Self::Value: CacheValue,
        {
            let any: &dyn Any = &*shared;
            match any.downcast_ref::<Outcome<Self::Value>>()? {
                // Cloned straight into the return value, so that it is not moved again.
                Outcome::Value(value) => Some(Self::from_value(value.clone())),
                Outcome::None => Self::from_none(),
            }
        }
    };
}

/// A shape whose value is visibly an `Arc` in the function's signature.
#[derive(Debug)]
pub struct OfArc<S>(PhantomData<fn() -> S>);

impl<S, T> OfArc<S>
where
    S: Shape<Value = Arc<T>>,
    T: Any + Send + Sync,
{
    #[cold]
    fn hit_of_other_form(any: Arc<dyn Any + Send + Sync>) -> Option<Outcome<Arc<T>>> {
        match any.downcast_ref::<Outcome<Arc<T>>>()? {
            Outcome::Value(value) => Some(Outcome::Value(value.clone())),
            Outcome::None => S::from_none().is_some().then_some(Outcome::None),
        }
    }
}

impl<S, T> Shape for OfArc<S>
where
    S: Shape<Value = Arc<T>>,
    T: Any + Send + Sync,
{
    const NEW: Self = Self(PhantomData);
    type Return = S::Return;
    type Value = Arc<T>;
    type Hit = Outcome<Arc<T>>;

    fn view(returned: &S::Return) -> View<'_, Arc<T>> {
        S::view(returned)
    }

    fn into_outcome(returned: S::Return) -> Result<Outcome<Arc<T>>, S::Return> {
        S::into_outcome(returned)
    }

    fn from_value(value: Arc<T>) -> S::Return {
        S::from_value(value)
    }

    fn from_none() -> Option<S::Return> {
        S::from_none()
    }

    fn share(value: &Arc<T>) -> SharedValue {
        value.clone()
    }

    #[expect(
        clippy::inline_always,
        reason = "the common form is one type check; other forms have a cold function"
    )]
    #[inline(always)]
    fn hit(shared: SharedValue) -> Option<Outcome<Arc<T>>> {
        let any: Arc<dyn Any + Send + Sync> = shared;
        match any.downcast::<T>() {
            Ok(value) => Some(Outcome::Value(value)),
            Err(any) => Self::hit_of_other_form(any),
        }
    }

    fn from_hit(hit: Outcome<Arc<T>>) -> Option<S::Return> {
        match hit {
            Outcome::Value(value) => Some(S::from_value(value)),
            Outcome::None => S::from_none(),
        }
    }
}

impl<T, E> Shape for ResultOption<T, E> {
    type Return = Result<Option<T>, E>;
    type Value = T;
    any_value!();

    fn view(returned: &Self::Return) -> View<'_, T> {
        match returned {
            Ok(Some(value)) => View::Value(value),
            Ok(None) => View::None,
            Err(_) => View::Error,
        }
    }

    fn into_outcome(returned: Self::Return) -> Result<Outcome<T>, Self::Return> {
        match returned {
            Ok(Some(value)) => Ok(Outcome::Value(value)),
            Ok(None) => Ok(Outcome::None),
            Err(error) => Err(Err(error)),
        }
    }

    fn from_value(value: T) -> Self::Return {
        Ok(Some(value))
    }

    fn from_none() -> Option<Self::Return> {
        Some(Ok(None))
    }
}

impl<T, E> Shape for ResultOf<T, E> {
    type Return = Result<T, E>;
    type Value = T;
    any_value!();

    fn view(returned: &Self::Return) -> View<'_, T> {
        match returned {
            Ok(value) => View::Value(value),
            Err(_) => View::Error,
        }
    }

    fn into_outcome(returned: Self::Return) -> Result<Outcome<T>, Self::Return> {
        returned.map(Outcome::Value).map_err(Err)
    }

    fn from_value(value: T) -> Self::Return {
        Ok(value)
    }

    fn from_none() -> Option<Self::Return> {
        None
    }
}

impl<T> Shape for OptionOf<T> {
    type Return = Option<T>;
    type Value = T;
    any_value!();

    fn view(returned: &Self::Return) -> View<'_, T> {
        match returned {
            Some(value) => View::Value(value),
            None => View::None,
        }
    }

    fn into_outcome(returned: Self::Return) -> Result<Outcome<T>, Self::Return> {
        Ok(returned.map_or(Outcome::None, Outcome::Value))
    }

    fn from_value(value: T) -> Self::Return {
        Some(value)
    }

    fn from_none() -> Option<Self::Return> {
        Some(None)
    }
}

impl<T> Shape for Plain<T> {
    type Return = T;
    type Value = T;
    any_value!();

    fn view(returned: &T) -> View<'_, T> {
        View::Value(returned)
    }

    fn into_outcome(returned: T) -> Result<Outcome<T>, T> {
        Ok(Outcome::Value(returned))
    }

    fn from_value(value: T) -> T {
        value
    }

    fn from_none() -> Option<T> {
        None
    }
}

/// Finds the `Shape` of `R` by trait, so that it also finds it behind an alias of `Result`
/// or `Option`: `(&&&&ReturnType::<R>::NEW).shape()`.
///
/// Method look-up tries the receiver with the most references first. So the most specific
/// shape that fits is found, and no two implementations overlap.
#[derive(Debug)]
pub struct ReturnType<R>(PhantomData<fn() -> R>);

impl<R> ReturnType<R> {
    /// The receiver of the method call.
    pub const NEW: Self = Self(PhantomData);
}

pub mod return_shape {
    //! The traits that give a [`ReturnType`] its shape, the most specific one first.
    use super::{
        Any, Arc, OfArc, OptionOf, PhantomData, Plain, ResultOf, ResultOption, ReturnType,
    };

    /// Visibly an `Arc`. Its receiver has one reference more than the one of `IsResultOption`.
    /// Method look-up adds that reference after it has tried `IsResultOption`, and before it
    /// removes references to try the others.
    pub trait IsOfArc {
        /// The shape.
        type Shape;
        /// Returns the shape.
        fn shape(&self) -> Self::Shape;
    }

    macro_rules! of_arc {
        ($($return:ty => $shape:ty $(, $error:ident)?;)+) => { $(
            impl<T: Any + Send + Sync $(, $error)?> IsOfArc for &&&&ReturnType<$return> {
                type Shape = OfArc<$shape>;
                fn shape(&self) -> Self::Shape {
                    OfArc(PhantomData)
                }
            }
        )+ };
    }

    of_arc! {
        Result<Arc<T>, E> => ResultOf<Arc<T>, E>, E;
        Option<Arc<T>> => OptionOf<Arc<T>>;
        Arc<T> => Plain<Arc<T>>;
    }

    macro_rules! ask {
        ($($question:ident: $receiver:ty => $shape:ident<$($generic:ident),+>;)+) => { $(
            /// Gives return types of one kind their shape.
            pub trait $question {
                /// The shape.
                type Shape;
                /// Returns the shape.
                fn shape(&self) -> Self::Shape;
            }

            impl<$($generic),+> $question for $receiver {
                type Shape = $shape<$($generic),+>;
                fn shape(&self) -> Self::Shape {
                    $shape(PhantomData)
                }
            }
        )+ };
    }

    ask! {
        IsResultOption: &&&ReturnType<Result<Option<T>, E>> => ResultOption<T, E>;
        IsResult: &&ReturnType<Result<T, E>> => ResultOf<T, E>;
        IsOption: &ReturnType<Option<T>> => OptionOf<T>;
        IsPlain: ReturnType<T> => Plain<T>;
    }
}

pub mod cacheable_shape {
    //! The traits that a shape is asked through whether its value can be cached, most specific
    //! first: `(&&&shape).cacheable()`.
    //!
    //! If it can't, that is one error. The other two answers return a type that the compiler
    //! can't infer, and after an error it does not ask for such a type.
    use super::{CacheValue, Shape};

    /// A value that is not a reference.
    ///
    /// The compiler would report a reference as three lifetimes that do not fit.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` cannot be cached",
        label = "a cached value outlives what this refers to",
        note = "return a value that owns its data, such as a `String`, or an `Arc` of it"
    )]
    pub trait Owned {}

    /// The answer for a reference.
    pub trait IsBorrowed {
        /// The value.
        type Value;
        /// Does not compile: a reference is not `Owned`.
        fn cacheable<Unknown>(&self) -> Unknown
        where
            Self::Value: Owned;
    }

    impl<'a, S, T> IsBorrowed for &&S
    where
        S: Shape<Value = &'a T>,
        T: ?Sized + 'a,
    {
        type Value = &'a T;

        fn cacheable<Unknown>(&self) -> Unknown
        where
            &'a T: Owned,
        {
            unreachable!("this call does not compile")
        }
    }

    /// The answer for a value that can be cached.
    pub trait IsCacheable {
        /// The shape.
        type Shape;
        /// Gives it back.
        fn cacheable(&self) -> Self::Shape;
    }

    impl<S: Shape<Value: CacheValue>> IsCacheable for &S {
        type Shape = S;

        #[inline]
        fn cacheable(&self) -> S {
            S::NEW
        }
    }

    /// The answer for anything else.
    pub trait IsNotCacheable {
        /// The value.
        type Value;
        /// Does not compile: the value is not a `CacheValue`.
        fn cacheable<Unknown>(&self) -> Unknown
        where
            Self::Value: CacheValue;
    }

    impl<S: Shape> IsNotCacheable for S {
        type Value = S::Value;

        fn cacheable<Unknown>(&self) -> Unknown
        where
            S::Value: CacheValue,
        {
            unreachable!("this call does not compile")
        }
    }
}

/// A return type with a `None` that `none_ttl` can be about.
#[diagnostic::on_unimplemented(
    message = "`none_ttl` has no effect: a function that returns `{Self}` returns no `None`",
    label = "there is no `None` to cache",
    note = "help: leave `none_ttl` out, or return an `Option<T>` or a `Result<Option<T>, E>`"
)]
pub trait ReturnsNone {}

#[diagnostic::do_not_recommend]
impl<T> ReturnsNone for Option<T> {}
#[diagnostic::do_not_recommend]
impl<T, E> ReturnsNone for Result<Option<T>, E> {}

/// Compiles only where the return type has a `None`.
#[inline]
pub fn returns_none<R: ReturnsNone>(_: &ReturnType<R>) {}

pub mod return_failure {
    //! The traits that tell whether a returned value is a failure:
    //! `(&&ReturnType::<R>::NEW).failure()`.
    use super::ReturnType;

    /// Any `Result`: an `Err` is a failure.
    pub trait MayFail {
        /// The return type.
        type Return;
        /// The function that tells whether a value is a failure.
        fn failure(&self) -> fn(&Self::Return) -> bool;
    }

    impl<T, E> MayFail for &ReturnType<Result<T, E>> {
        type Return = Result<T, E>;
        fn failure(&self) -> fn(&Result<T, E>) -> bool {
            Result::is_err
        }
    }

    /// Any other type: no value is a failure.
    pub trait NeverFails {
        /// The return type.
        type Return;
        /// The function that tells whether a value is a failure.
        fn failure(&self) -> fn(&Self::Return) -> bool;
    }

    impl<R> NeverFails for ReturnType<R> {
        type Return = R;
        fn failure(&self) -> fn(&R) -> bool {
            |_| false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[test]
    fn the_last_holder_of_a_value_takes_it_without_a_clone() {
        static CLONES: AtomicUsize = AtomicUsize::new(0);
        struct Counted;
        impl Clone for Counted {
            fn clone(&self) -> Self {
                CLONES.fetch_add(1, Relaxed);
                Self
            }
        }
        let value: SharedValue = Arc::new(Outcome::Value(Counted));
        assert!(into_outcome::<Counted>(value.clone()).is_some());
        assert_eq!(CLONES.load(Relaxed), 1);
        assert!(into_outcome::<u8>(value.clone()).is_none());
        assert!(into_outcome::<Counted>(value).is_some());
        assert_eq!(CLONES.load(Relaxed), 1);

        // In the second form, the `Arc` is shared, and nothing is cloned.
        let value: SharedValue = Arc::new(Counted);
        let outcome = into_outcome::<Arc<Counted>>(value);
        assert!(matches!(outcome, Some(Outcome::Value(_))));
        assert_eq!(CLONES.load(Relaxed), 1);
    }
}
