//! The traits that a field is asked through whether it can be part of a key, more specific
//! first: `(&&Asked(&self.id)).part()`.
//!
//! A derived tag returns its parts, and the compiler checks a returned type once more. If a
//! field can't be part of a key, that is one error: the second answer returns a type that the
//! compiler can't infer, and after an error it does not ask for such a type.

use super::KeyPart;

/// A field.
#[derive(Debug)]
pub struct Asked<'a, K: ?Sized>(pub &'a K);

/// The answer for a field that can be part of a key.
pub trait IsPart {
    /// A reference to the field.
    type Part;
    /// Gives it.
    fn part(&self) -> Self::Part;
}

impl<'a, K: KeyPart + ?Sized> IsPart for &Asked<'a, K> {
    type Part = &'a K;

    #[inline]
    fn part(&self) -> &'a K {
        self.0
    }
}

/// The answer for anything else.
pub trait IsNoPart {
    /// The field.
    type Field: ?Sized;
    /// Does not compile: the field is not a `KeyPart`.
    fn part<Unknown>(&self) -> Unknown
    where
        Self::Field: KeyPart;
}

impl<K: ?Sized> IsNoPart for Asked<'_, K> {
    type Field = K;

    fn part<Unknown>(&self) -> Unknown
    where
        K: KeyPart,
    {
        unreachable!("this call does not compile")
    }
}
