//! The placeholder `<T>`: the name of a type.

use std::any;
use std::marker::PhantomData;

use super::part::{KeyPart, KeyWriter, Written};

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
        out.text(any::type_name::<T>())
    }
}
