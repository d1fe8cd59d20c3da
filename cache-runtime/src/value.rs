//! What can be cached: the value inside a return type, whatever the type is called.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A type whose values can be cached. Implemented for every type that has the bounds.
///
/// Serde's traits carry it to and from the shared tier; `Clone` hands a copy to
/// each caller (an `Arc<T>` makes that copy cheap); `Send + Sync + 'static` lets
/// the local tier keep it.
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

/// What a load yields that others can share; errors are not among it.
#[derive(Debug, Clone)]
pub enum Outcome<V> {
    /// A value.
    Value(V),
    /// A `None`.
    None,
}

impl<V> Outcome<V> {
    pub(crate) fn into_value(self) -> Option<V> {
        match self {
            Self::Value(value) => Some(value),
            Self::None => None,
        }
    }
}

/// What a function returned, as far as a cache cares.
#[derive(Debug)]
pub enum View<'a, V> {
    /// A value.
    Value(&'a V),
    /// A `None`.
    None,
    /// An error: neither cached nor shared.
    Error,
}

/// How a return type holds its value.
pub trait Shape {
    /// The return type.
    type Return;
    /// What of it is cached.
    type Value;

    /// Looks at what was returned.
    fn view(returned: &Self::Return) -> View<'_, Self::Value>;
    /// Takes apart what was returned; an error comes back as it was.
    ///
    /// # Errors
    ///
    /// With what was returned, if it is an error.
    fn into_outcome(returned: Self::Return) -> Result<Outcome<Self::Value>, Self::Return>;
    /// What the function would have returned with this value.
    fn from_value(value: Self::Value) -> Self::Return;
    /// What the function would have returned with a `None`; `None` where the return type has no such value.
    fn from_none() -> Option<Self::Return>;
}

pub(crate) fn to_return<S: Shape>(outcome: Outcome<S::Value>) -> Option<S::Return> {
    match outcome {
        Outcome::Value(value) => Some(S::from_value(value)),
        Outcome::None => S::from_none(),
    }
}

/// `Result<Option<T>, E>`: `Ok(Some)` is the value, `Ok(None)` is none.
#[derive(Debug)]
pub struct ResultOption<T, E>(PhantomData<fn() -> (T, E)>);

/// `Result<T, E>`: `Ok` is the value.
#[derive(Debug)]
pub struct ResultOf<T, E>(PhantomData<fn() -> (T, E)>);

/// `Option<T>`: `Some` is the value.
#[derive(Debug)]
pub struct OptionOf<T>(PhantomData<fn() -> T>);

/// Anything else is the value itself.
#[derive(Debug)]
pub struct Plain<T>(PhantomData<fn() -> T>);

impl<T, E> Shape for ResultOption<T, E> {
    type Return = Result<Option<T>, E>;
    type Value = T;

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

/// Finds the `Shape` of `R` by trait, so that every alias of `Result` and
/// `Option` is seen through: `(&&&&ReturnType::<R>::NEW).shape()`.
///
/// Method look-up tries the receiver with the most references first, so the
/// most specific shape that fits wins, and no two implementations overlap.
#[derive(Debug)]
pub struct ReturnType<R>(PhantomData<fn() -> R>);

impl<R> ReturnType<R> {
    /// The question.
    pub const NEW: Self = Self(PhantomData);
}

pub mod return_shape {
    //! The traits that [`ReturnType`] is asked through, most specific first.
    use super::{OptionOf, PhantomData, Plain, ResultOf, ResultOption, ReturnType};

    macro_rules! ask {
        ($($question:ident: $receiver:ty => $shape:ident<$($generic:ident),+>;)+) => { $(
            /// One of the questions.
            pub trait $question {
                /// The answer.
                type Shape;
                /// Gives the answer.
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
