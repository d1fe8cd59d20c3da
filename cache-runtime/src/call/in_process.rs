//! Values that never leave the process: what `local` says of a function.
//!
//! Serde's traits are for values that a server stores. A function with `local` keeps its values in the
//! process, so they need none. The rest of the path of a call is that of other values: they are wrapped, and
//! the wrapper is what would be written.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::shape::{Shape, View};
use crate::value::{AnyValue, CacheValue, Outcome, SharedError, SharedValue};

/// A value that a process can keep. Every type that meets the bounds implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept by `local`",
    label = "not a value that a process can keep",
    note = "a value with `local` is `Clone + Send + Sync + 'static`; an `Arc` of it is `Clone`"
)]
pub trait LocalValue: Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Send + Sync + 'static> LocalValue for T {}

/// A value that is never written.
#[derive(Clone)]
pub struct Unwritten<T>(pub T);

const NEVER: &str = "a value of a function with `local` never leaves the process";

impl<T> Serialize for Unwritten<T> {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom(NEVER))
    }
}

impl<'de, T> Deserialize<'de> for Unwritten<T> {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom(NEVER))
    }
}

impl<T> fmt::Debug for Unwritten<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unwritten")
    }
}

/// A shape whose values never leave the process.
#[derive(Debug)]
pub struct InProcess<S>(PhantomData<fn() -> S>);

pub mod local_shape {
    //! The traits that a shape is asked through whether its value can be kept in the process:
    //! `(&&shape).in_process()`. If it can't, that is one error, as in `cacheable_shape`.
    use super::{InProcess, LocalValue, PhantomData, Shape};

    /// The answer for a value that can be kept.
    pub trait IsLocal {
        /// The shape.
        type Shape;
        /// Keeps its values in the process.
        fn in_process(&self) -> Self::Shape;
    }

    impl<S: Shape<Value: LocalValue>> IsLocal for &S {
        type Shape = InProcess<S>;

        #[inline]
        fn in_process(&self) -> InProcess<S> {
            InProcess(PhantomData)
        }
    }

    /// The answer for anything else.
    pub trait IsNotLocal {
        /// The value.
        type Value;
        /// Does not compile: the value is not a `LocalValue`.
        fn in_process<Unknown>(&self) -> Unknown
        where
            Self::Value: LocalValue;
    }

    impl<S: Shape> IsNotLocal for S {
        type Value = S::Value;

        fn in_process<Unknown>(&self) -> Unknown
        where
            S::Value: LocalValue,
        {
            unreachable!("this call does not compile")
        }
    }
}

/// Why [`Shape::from_checked`] does not panic.
const CHECKED: &str = "`check` has found that the return type holds this outcome";

impl<S: Shape<Value: LocalValue>> Shape for InProcess<S> {
    const NEW: Self = Self(PhantomData);
    type Return = S::Return;
    type Value = Unwritten<S::Value>;
    type Viewed = S::Viewed;
    type Checked = Outcome<Unwritten<S::Value>>;

    fn view(returned: &S::Return) -> View<'_, S::Viewed> {
        S::view(returned)
    }

    fn into_outcome(returned: S::Return) -> Result<Outcome<Self::Value>, S::Return> {
        Ok(match S::into_outcome(returned)? {
            Outcome::Value(value) => Outcome::Value(Unwritten(value)),
            Outcome::None => Outcome::None,
        })
    }

    fn from_value(value: Self::Value) -> S::Return {
        S::from_value(value.0)
    }

    fn from_none() -> Option<S::Return> {
        S::from_none()
    }

    fn share_error(returned: &S::Return) -> Option<SharedError> {
        S::share_error(returned)
    }

    fn from_error(error: &SharedError) -> Option<S::Return> {
        S::from_error(error)
    }

    fn given(value: AnyValue) -> Option<Outcome<Self::Value>> {
        Some(match S::given(value)? {
            Outcome::Value(value) => Outcome::Value(Unwritten(value)),
            Outcome::None => Outcome::None,
        })
    }

    fn share(value: &Self::Value) -> SharedValue
    where
        Self::Value: CacheValue,
    {
        Arc::new(Outcome::Value(value.clone()))
    }

    #[inline]
    fn check(shared: SharedValue) -> Option<Self::Checked> {
        let any: &dyn std::any::Any = &*shared;
        match any.downcast_ref::<Outcome<Self::Value>>()? {
            Outcome::Value(value) => Some(Outcome::Value(value.clone())),
            Outcome::None => S::from_none().is_some().then_some(Outcome::None),
        }
    }

    #[inline]
    fn from_checked(checked: Self::Checked) -> S::Return {
        match checked {
            Outcome::Value(value) => S::from_value(value.0),
            Outcome::None => S::from_none().expect(CHECKED),
        }
    }
}
