//! Whether a field of `self` that a body reads could be in the key, found by autoref.
//!
//! For each such field that neither the key nor `skip` names, `#[cached]` expands to
//!
//! ```text
//! check((&ReceiverField::of(&raw const self.tenant)).answer());
//! ```
//!
//! in code that never runs. The answer is a [`KeyPartField`], which `check` refuses, or an
//! [`OtherField`]. The method that gives the first needs one reference less, so the compiler looks
//! at it first. A raw pointer is taken, since a field may be packed.

use std::marker::PhantomData;

use super::part::KeyPart;

/// A field of `self`, without its value.
#[derive(Debug)]
pub struct ReceiverField<T: ?Sized>(PhantomData<fn(&T)>);

impl<T: ?Sized> ReceiverField<T> {
    /// The field at this place.
    pub fn of(_: *const T) -> Self {
        Self(PhantomData)
    }
}

/// The answer for a field whose type can be in a key.
#[derive(Debug)]
pub struct KeyPartField<T: ?Sized>(PhantomData<fn(&T)>);

/// The answer for any other field, such as a pool.
#[derive(Debug)]
pub struct OtherField;

/// The traits that answer, to be imported as a whole.
pub mod receiver_field {
    use super::{KeyPart, KeyPartField, OtherField, PhantomData, ReceiverField};

    /// A field whose type can be in a key.
    pub trait CanBeInKey {
        /// The field's type.
        type Field: ?Sized;

        /// The answer.
        fn answer(&self) -> KeyPartField<Self::Field> {
            KeyPartField(PhantomData)
        }
    }

    impl<T: KeyPart + ?Sized> CanBeInKey for ReceiverField<T> {
        type Field = T;
    }

    /// Any field.
    pub trait AnyField {
        /// The answer.
        fn answer(&self) -> OtherField {
            OtherField
        }
    }

    impl<T: ?Sized> AnyField for &ReceiverField<T> {}

    /// An answer for a field in which there are others.
    pub trait Outer {
        /// What is left of the answer for a field inside of it.
        type Leaves<Inner>;

        /// What is left of this answer.
        fn leaves<Inner>(inner: Inner) -> Self::Leaves<Inner>;
    }

    /// The outer field is reported, and that is enough.
    impl<T: ?Sized> Outer for KeyPartField<T> {
        type Leaves<Inner> = OtherField;

        fn leaves<Inner>(_: Inner) -> OtherField {
            OtherField
        }
    }

    impl Outer for OtherField {
        type Leaves<Inner> = Inner;

        fn leaves<Inner>(inner: Inner) -> Inner {
            inner
        }
    }

    /// An answer.
    pub trait Inner: Sized {
        /// This answer, if the field around it leaves one.
        fn inside_of<O: Outer>(self, _: O) -> O::Leaves<Self> {
            O::leaves(self)
        }
    }

    impl<T: ?Sized> Inner for KeyPartField<T> {}

    impl Inner for OtherField {}
}
