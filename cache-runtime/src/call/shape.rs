//! How a return type holds the value that is cached.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::value::{AnyValue, CacheValue, Outcome, SharedError, SharedValue};

/// A returned value, borrowed, as the cache sees it.
#[derive(Debug)]
pub enum View<'a, V> {
    /// A value.
    Value(&'a V),
    /// A `None`.
    None,
    /// An error. It is not cached.
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
    /// The same part, as [`view`](Self::view) borrows it.
    type Viewed;
    /// A value of the local tier whose type was checked, and which was not returned yet.
    type Checked;

    /// Borrows the cached part of a returned value.
    fn view(returned: &Self::Return) -> View<'_, Self::Viewed>;
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

    /// A copy of a returned error for the callers that wait, if it is an error that can be cloned.
    fn share_error(_returned: &Self::Return) -> Option<SharedError>
    where
        Self::Value: 'static,
    {
        None
    }
    /// The return value that holds this error, if it is of this type, and of a load of this type's
    /// values.
    fn from_error(_error: &SharedError) -> Option<Self::Return>
    where
        Self::Value: 'static,
    {
        None
    }

    /// The outcome that a caller gives: a value as it is cached, or an `Option` of it.
    fn given(value: AnyValue) -> Option<Outcome<Self::Value>>
    where
        Self::Value: 'static,
    {
        let value = match value.downcast::<Self::Value>() {
            Ok(value) => return Some(Outcome::Value(*value)),
            Err(value) => value,
        };
        let value = value.downcast::<Option<Self::Value>>().ok()?;
        Some(value.map_or(Outcome::None, Outcome::Value))
    }

    /// A copy of the value for the cache and for other callers.
    fn share(value: &Self::Value) -> SharedValue
    where
        Self::Value: CacheValue;
    /// The shared outcome as a checked one, if it is of this type.
    fn check(shared: SharedValue) -> Option<Self::Checked>
    where
        Self::Value: 'static;
    /// The return value that holds this outcome.
    fn from_checked(checked: Self::Checked) -> Self::Return
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
pub struct ResultOption<T, E>(pub(super) PhantomData<fn() -> (T, E)>);

/// `Result<T, E>`: the value is in `Ok`.
#[derive(Debug)]
pub struct ResultOf<T, E>(pub(super) PhantomData<fn() -> (T, E)>);

/// `Option<T>`: the value is in `Some`.
#[derive(Debug)]
pub struct OptionOf<T>(pub(super) PhantomData<fn() -> T>);

/// Any other type: the return value is the cached value.
#[derive(Debug)]
pub struct Plain<T>(pub(super) PhantomData<fn() -> T>);

/// Why [`Shape::from_checked`] does not panic.
const CHECKED: &str = "`check` has found that the return type holds this outcome";

/// The rest of a shape whose value may be any cacheable type.
macro_rules! any_value {
    () => {
        const NEW: Self = Self(PhantomData);
        type Viewed = Self::Value;
        /// The shared outcome. Its type has been checked.
        type Checked = SharedValue;

        fn share(value: &Self::Value) -> SharedValue
        where
            Self::Value: CacheValue,
        {
            Arc::new(Outcome::Value(value.clone()))
        }

        #[inline]
        fn check(shared: SharedValue) -> Option<SharedValue>
        where
            Self::Value: 'static,
        {
            let any: &dyn Any = &*shared;
            let fits = match any.downcast_ref::<Outcome<Self::Value>>() {
                Some(Outcome::Value(_)) => true,
                Some(Outcome::None) => Self::from_none().is_some(),
                // It may be of the second form. Then the call is not answered here, and the look
                // that follows finds the entry.
                None => false,
            };
            fits.then_some(shared)
        }

        #[inline(always)]
        fn from_checked(shared: SharedValue) -> Self::Return
        where
            Self::Value: CacheValue,
        {
            let any: &dyn Any = &*shared;
            let outcome = any.downcast_ref::<Outcome<Self::Value>>();
            match outcome.expect(CHECKED) {
                Outcome::Value(value) => Self::from_value(value.clone()),
                Outcome::None => Self::from_none().expect(CHECKED),
            }
        }
    };
}

/// A shape whose value is visibly an `Arc` in the function's signature.
#[derive(Debug)]
pub struct OfArc<S>(pub(super) PhantomData<fn() -> S>);

impl<S, T> OfArc<S>
where
    S: Shape<Value = Arc<T>>,
    T: Any + Send + Sync,
{
    #[cold]
    fn check_other_form(any: Arc<dyn Any + Send + Sync>) -> Option<Outcome<Arc<T>>> {
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
    type Viewed = S::Viewed;
    type Checked = Outcome<Arc<T>>;

    fn view(returned: &S::Return) -> View<'_, S::Viewed> {
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
    fn check(shared: SharedValue) -> Option<Outcome<Arc<T>>> {
        let any: Arc<dyn Any + Send + Sync> = shared;
        match any.downcast::<T>() {
            Ok(value) => Some(Outcome::Value(value)),
            Err(any) => Self::check_other_form(any),
        }
    }

    fn from_checked(checked: Outcome<Arc<T>>) -> S::Return {
        to_return::<S>(checked).expect(CHECKED)
    }
}

/// A shape whose errors are shared with the callers that waited for the load.
#[derive(Debug)]
pub struct SharesErrors<S>(pub(super) PhantomData<fn() -> S>);

/// The error of a load of `V`s. Callers that wait for values of another type do not share it: two
/// types of errors are often one type.
struct ErrorOf<V, E>(E, PhantomData<fn() -> V>);

impl<S, T, E> Shape for SharesErrors<S>
where
    S: Shape<Return = Result<T, E>>,
    E: Clone + Send + Sync + 'static,
{
    const NEW: Self = Self(PhantomData);
    type Return = Result<T, E>;
    type Value = S::Value;
    type Viewed = S::Viewed;
    type Checked = S::Checked;

    fn view(returned: &Result<T, E>) -> View<'_, S::Viewed> {
        S::view(returned)
    }

    fn into_outcome(returned: Result<T, E>) -> Result<Outcome<S::Value>, Result<T, E>> {
        S::into_outcome(returned)
    }

    #[inline]
    fn from_value(value: S::Value) -> Result<T, E> {
        S::from_value(value)
    }

    #[inline]
    fn from_none() -> Option<Result<T, E>> {
        S::from_none()
    }

    fn given(value: AnyValue) -> Option<Outcome<S::Value>>
    where
        S::Value: 'static,
    {
        S::given(value)
    }

    fn share_error(returned: &Result<T, E>) -> Option<SharedError>
    where
        S::Value: 'static,
    {
        let error = returned.as_ref().err()?;
        Some(Arc::new(ErrorOf::<S::Value, E>(error.clone(), PhantomData)))
    }

    fn from_error(error: &SharedError) -> Option<Result<T, E>>
    where
        S::Value: 'static,
    {
        let ErrorOf(error, _) = error.downcast_ref::<ErrorOf<S::Value, E>>()?;
        Some(Err(error.clone()))
    }

    fn share(value: &S::Value) -> SharedValue
    where
        S::Value: CacheValue,
    {
        S::share(value)
    }

    #[expect(clippy::inline_always, reason = "the inner shape decides")]
    #[inline(always)]
    fn check(shared: SharedValue) -> Option<S::Checked>
    where
        S::Value: 'static,
    {
        S::check(shared)
    }

    #[expect(clippy::inline_always, reason = "the inner shape decides")]
    #[inline(always)]
    fn from_checked(checked: S::Checked) -> Result<T, E>
    where
        S::Value: CacheValue,
    {
        S::from_checked(checked)
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
