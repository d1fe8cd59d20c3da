//! What the expansion asks of a return type. It is answered by trait, not by the type's name.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

use super::shape::{OfArc, OptionOf, Plain, ResultOf, ResultOption, Shape, SharesErrors};
use crate::value::CacheValue;

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
    //! first: `(&&&&shape).cacheable()`.
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

    impl<'a, S, T> IsBorrowed for &&&S
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

/// A shape, and the parts of the return type whose text shows a borrow. [`NoBorrow`] stands for none.
#[derive(Debug)]
pub struct Borrowing<S, A, B, C>(PhantomData<S>, PhantomData<(A, B, C)>);

impl<S, A, B, C> Borrowing<S, A, B, C> {
    /// The receiver of the method call.
    #[inline]
    pub fn of(_: S) -> Self {
        Self(PhantomData, PhantomData)
    }
}

/// No value is of this type.
#[derive(Debug)]
pub enum NoBorrow {}

pub mod borrowing_shape {
    //! The traits that ask whether the value is one of the types that show a borrow:
    //! `(&&&borrowing).owning()`.
    //!
    //! If it is, that is one error at the return type. The compiler would report a lifetime that is too
    //! short, and not say why. An error of the function may borrow, so the text alone does not decide.
    use super::cacheable_shape::Owned;
    use super::{Borrowing, Shape};

    /// The value is one of them.
    pub trait IsBorrowing {
        /// The value.
        type Value;
        /// Does not compile: the value is not `Owned`.
        fn owning<Unknown>(&self) -> Unknown
        where
            Self::Value: Owned;
    }

    macro_rules! is_borrowing {
        ($($receiver:ty => $value:ident;)+) => { $(
            impl<S: Shape<Value = $value>, A, B, C> IsBorrowing for $receiver {
                type Value = $value;

                fn owning<Unknown>(&self) -> Unknown
                where
                    $value: Owned,
                {
                    unreachable!("this call does not compile")
                }
            }
        )+ };
    }

    is_borrowing! {
        &&&Borrowing<S, A, B, C> => A;
        &&Borrowing<S, A, B, C> => B;
        &Borrowing<S, A, B, C> => C;
    }

    /// The value is none of them.
    pub trait IsOwning {
        /// The shape.
        type Shape;
        /// Gives it back.
        fn owning(&self) -> Self::Shape;
    }

    impl<S: Shape, A, B, C> IsOwning for Borrowing<S, A, B, C> {
        type Shape = S;

        #[inline]
        fn owning(&self) -> S {
            S::NEW
        }
    }
}

pub mod error_sharing_shape {
    //! The traits of `cacheable_shape`, and one more between the answers for a reference and for
    //! a value that can be cached: a shape whose errors can be shared, too.
    //!
    //! The compiler chooses a method without regard to lifetimes, and then asks for `'static`. So
    //! this module is for return types whose errors show no lifetime.
    use super::{CacheValue, PhantomData, Shape, SharesErrors};

    pub use super::cacheable_shape::*;

    /// The answer for a value that can be cached, beside an error that can be shared.
    pub trait IsSharingErrors {
        /// The shape.
        type Shape;
        /// Gives it back, with its errors shared.
        fn cacheable(&self) -> Self::Shape;
    }

    impl<S, T, E> IsSharingErrors for &&S
    where
        S: Shape<Return = Result<T, E>, Value: CacheValue>,
        E: Clone + Send + Sync + 'static,
    {
        type Shape = SharesErrors<S>;

        #[inline]
        fn cacheable(&self) -> SharesErrors<S> {
            SharesErrors(PhantomData)
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
    use crate::value::SharedError;
    use std::convert::Infallible;
    use std::rc::Rc;

    /// A copy of an error, as another caller of a function with this return type gets it.
    macro_rules! shared {
        ($return:ty, $returned:expr) => {{
            use super::error_sharing_shape::*;
            use super::return_shape::*;
            let shape = (&&&&ReturnType::<$return>::NEW).shape();
            shared_by((&&&&shape).cacheable(), $returned)
        }};
    }

    fn shared_by<S: Shape<Value: 'static>>(_: S, returned: S::Return) -> Option<S::Return> {
        S::from_error(&S::share_error(&returned)?)
    }

    #[test]
    fn an_error_that_can_be_cloned_is_shared() {
        type QueryResult<T> = Result<Option<T>, String>;
        let error = || "no connection".to_owned();

        assert_eq!(
            shared!(Result<u8, String>, Err(error())),
            Some(Err(error()))
        );
        assert_eq!(shared!(QueryResult<u8>, Err(error())), Some(Err(error())));
        assert_eq!(
            shared!(Result<Arc<u8>, String>, Err(error())),
            Some(Err(error()))
        );
        assert_eq!(
            shared!(Result<u8, &'static str>, Err("no")),
            Some(Err("no"))
        );
    }

    #[test]
    fn any_other_error_stays_with_its_caller() {
        #[derive(Debug, PartialEq)]
        struct NotClone;

        assert_eq!(shared!(Result<u8, NotClone>, Err(NotClone)), None);
        assert_eq!(shared!(Result<u8, Rc<u8>>, Err(Rc::new(1))), None);
        assert_eq!(shared!(Result<u8, String>, Ok(1)), None);
        assert_eq!(shared!(Result<u8, Infallible>, Ok(1)), None);
        assert_eq!(shared!(Option<u8>, None), None);
        assert_eq!(shared!(u8, 1), None);
    }

    #[test]
    fn an_error_of_another_type_is_not_served() {
        fn from_error<S: Shape<Value: 'static>>(_: S, error: &SharedError) -> Option<S::Return> {
            S::from_error(error)
        }
        let error: SharedError = Arc::new(1_u8);
        let shape = SharesErrors::<ResultOf<u8, String>>::NEW;
        assert_eq!(from_error(shape, &error), None);
    }
}
