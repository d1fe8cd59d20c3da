//! How a batch function returns what its keys have, found by trait.

use std::marker::PhantomData;

use crate::call::shape::{OptionOf, Plain, ResultOf, ResultOption, Shape, View};
use crate::value::{CacheValue, Outcome, SharedError, SharedValue};

/// Rows that say their ids: the `(Id, T)` of a `HashMap`, a `BTreeMap` or a `Vec`.
#[derive(Debug, Clone, Copy)]
pub struct Pairs;

/// Rows that are the values themselves, of which a closure tells the ids.
#[derive(Debug, Clone, Copy)]
pub struct Bare;

/// How the collection `C` holds what elements of type `T` have.
#[diagnostic::on_unimplemented(
    message = "a batch function cannot return `{C}` for elements of type `{T}`",
    label = "which value belongs to which element is not known",
    note = "help: return a `HashMap<Id, T>`, a `BTreeMap<Id, T>` or a `Vec<(Id, T)>`, where `Id` is \
            what the elements are",
    note = "help: or return a `Vec<T>`, and say which element a value has: `by = |user| user.id`"
)]
pub trait Rows<C, T> {
    /// What the collection is made of.
    type Row;
    /// What is cached of it.
    type Value;

    /// Takes the collection apart.
    fn rows(collection: C) -> Vec<Self::Row>;
    /// The value in a row.
    fn value(row: Self::Row) -> Self::Value;
    /// The row of an element.
    fn row(element: T, value: Self::Value) -> Self::Row;
    /// Puts a collection together.
    fn collect(rows: Vec<Self::Row>) -> C;
}

#[diagnostic::do_not_recommend]
impl<C, T, K, V> Rows<C, T> for Pairs
where
    C: IntoIterator<Item = (K, V)> + FromIterator<(K, V)>,
    T: IntoId<K>,
{
    type Row = (K, V);
    type Value = V;

    fn rows(collection: C) -> Vec<(K, V)> {
        collection.into_iter().collect()
    }

    fn value((_, value): (K, V)) -> V {
        value
    }

    fn row(element: T, value: V) -> (K, V) {
        (element.into_id(), value)
    }

    fn collect(rows: Vec<(K, V)>) -> C {
        rows.into_iter().collect()
    }
}

#[diagnostic::do_not_recommend]
impl<C, T, V> Rows<C, T> for Bare
where
    C: IntoIterator<Item = V> + FromIterator<V>,
{
    type Row = V;
    type Value = V;

    fn rows(collection: C) -> Vec<V> {
        collection.into_iter().collect()
    }

    fn value(row: V) -> V {
        row
    }

    fn row(_element: T, value: V) -> V {
        value
    }

    fn collect(rows: Vec<V>) -> C {
        rows.into_iter().collect()
    }
}

/// An element of a list, as the id that a returned collection has for it.
pub trait IntoId<K> {
    /// Returns the id.
    fn into_id(self) -> K;
}

impl<K> IntoId<K> for K {
    fn into_id(self) -> K {
        self
    }
}

impl<K: Clone> IntoId<K> for &K {
    fn into_id(self) -> K {
        self.clone()
    }
}

impl IntoId<String> for &str {
    fn into_id(self) -> String {
        self.to_owned()
    }
}

/// How a batch function's return type holds the collection `C`.
#[diagnostic::on_unimplemented(
    message = "this is not what a batch function returns",
    label = "expected a collection, or a `Result` of one",
    note = "help: an element that the collection leaves out has no value, so no `Option` is needed"
)]
pub trait BatchShape<R, T>: Shape {
    /// The collection.
    type Collection;
    /// The shape of what a function for one element returns.
    type One: Shape;

    /// The collection, or the error as a function for one element returns it.
    fn open(
        returned: <Self as Shape>::Return,
    ) -> Result<Self::Collection, <Self::One as Shape>::Return>;
    /// The return value with this collection.
    fn with(collection: Self::Collection) -> <Self as Shape>::Return;
    /// The return value with the error of a function for one element.
    fn with_error(returned: <Self::One as Shape>::Return) -> Option<<Self as Shape>::Return>;
}

impl<C, R: Rows<C, T>, T> BatchShape<R, T> for Plain<C> {
    type Collection = C;
    type One = OptionOf<R::Value>;

    fn open(returned: C) -> Result<C, Option<R::Value>> {
        Ok(returned)
    }

    fn with(collection: C) -> C {
        collection
    }

    fn with_error(_returned: Option<R::Value>) -> Option<C> {
        None
    }
}

impl<C, E, R: Rows<C, T>, T> BatchShape<R, T> for ResultOf<C, E> {
    type Collection = C;
    type One = ResultOption<R::Value, E>;

    fn open(returned: Result<C, E>) -> Result<C, Result<Option<R::Value>, E>> {
        returned.map_err(Err)
    }

    fn with(collection: C) -> Result<C, E> {
        Ok(collection)
    }

    fn with_error(returned: Result<Option<R::Value>, E>) -> Option<Result<C, E>> {
        returned.err().map(Err)
    }
}

/// A batch function's return type, its rows and its elements: `(&&Asked::of(…)).ready()` says whether they
/// fit each other.
#[derive(Debug)]
pub struct Asked<B, R, T>(Shapes<B, R, T>);

/// Such types that fit each other.
#[derive(Debug)]
pub struct Ready<B, R, T>(Shapes<B, R, T>);

type Shapes<B, R, T> = PhantomData<fn() -> (B, R, T)>;

impl<B, R, T> Asked<B, R, T> {
    /// The types of these.
    pub fn of(_batch: B, _rows: R, _elements: &[T]) -> Self {
        Self(PhantomData)
    }
}

/// The shape of what a function for one element returns.
pub fn one<B: BatchShape<R, T>, R, T>(_ready: &Ready<B, R, T>) -> B::One {
    Shape::NEW
}

pub mod batch_shape {
    //! The traits that tell whether a function can be called for several keys, the first for those that
    //! can.
    //!
    //! If it can't, that is one error: see [`cacheable_shape`](crate::call::return_type::cacheable_shape).
    use super::{Asked, BatchShape, PhantomData, Ready};

    /// The answer for types that fit each other.
    pub trait IsReady {
        /// The same types.
        type Ready;
        /// Gives them back.
        fn ready(&self) -> Self::Ready;
    }

    impl<B: BatchShape<R, T>, R, T> IsReady for &Asked<B, R, T> {
        type Ready = Ready<B, R, T>;

        fn ready(&self) -> Ready<B, R, T> {
            Ready(PhantomData)
        }
    }

    /// The answer for any others.
    pub trait IsNotReady {
        /// The return type.
        type Batch;
        /// The rows.
        type Rows;
        /// An element.
        type Element;
        /// Does not compile.
        fn ready<Unknown>(&self) -> Unknown
        where
            Self::Batch: BatchShape<Self::Rows, Self::Element>;
    }

    impl<B, R, T> IsNotReady for Asked<B, R, T> {
        type Batch = B;
        type Rows = R;
        type Element = T;

        fn ready<Unknown>(&self) -> Unknown
        where
            B: BatchShape<R, T>,
        {
            unreachable!("this call does not compile")
        }
    }
}

/// What is known of one element: a shape like `S`, whose errors other callers may have, too.
#[derive(Debug)]
pub(super) struct KnownOf<S>(PhantomData<fn() -> S>);

impl<S: Shape> Shape for KnownOf<S> {
    const NEW: Self = Self(PhantomData);
    type Return = Result<Option<S::Value>, SharedError>;
    type Value = S::Value;
    type Viewed = S::Value;
    type Checked = S::Checked;

    fn view(returned: &Self::Return) -> View<'_, S::Value> {
        match returned {
            Ok(Some(value)) => View::Value(value),
            Ok(None) => View::None,
            Err(_) => View::Error,
        }
    }

    fn into_outcome(returned: Self::Return) -> Result<Outcome<S::Value>, Self::Return> {
        match returned {
            Ok(Some(value)) => Ok(Outcome::Value(value)),
            Ok(None) => Ok(Outcome::None),
            Err(error) => Err(Err(error)),
        }
    }

    fn from_value(value: S::Value) -> Self::Return {
        Ok(Some(value))
    }

    fn from_none() -> Option<Self::Return> {
        Some(Ok(None))
    }

    fn from_error(error: &SharedError) -> Option<Self::Return>
    where
        S::Value: 'static,
    {
        S::from_error(error).map(|_| Err(error.clone()))
    }

    fn share(value: &S::Value) -> SharedValue
    where
        S::Value: CacheValue,
    {
        S::share(value)
    }

    fn check(shared: SharedValue) -> Option<S::Checked>
    where
        S::Value: 'static,
    {
        S::check(shared)
    }

    fn from_checked(checked: S::Checked) -> Self::Return
    where
        S::Value: CacheValue,
    {
        let outcome = S::into_outcome(S::from_checked(checked));
        Ok(outcome.ok().and_then(Outcome::into_value))
    }
}
