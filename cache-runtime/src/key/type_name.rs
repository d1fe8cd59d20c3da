//! The placeholder `<T>`: what a type is called.

use std::marker::PhantomData;

use super::part::{KeyPart, KeyWriter, Written};
use crate::type_name;

/// The placeholder `<T>` of a type parameter, or `<Self>`.
#[derive(Debug)]
pub struct TypeName<T: ?Sized>(PhantomData<T>);

impl<T: ?Sized> TypeName<T> {
    /// The name of `T`.
    pub const NEW: Self = Self(PhantomData);
}

#[diagnostic::do_not_recommend]
impl<T: ?Sized> KeyPart for TypeName<T> {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        out.text(type_name::written::<T>())
    }
}
