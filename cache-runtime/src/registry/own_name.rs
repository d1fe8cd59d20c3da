//! A type with a name of its own, as `#[key_name]` records it. This file depends on no other.

/// A type with a name of its own.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct OwnName {
    /// The compiler's name for a type of the same identifier, in a `const _` beside the type.
    marker: fn() -> &'static str,
    pub(crate) name: &'static str,
    /// The file of its attribute.
    pub(crate) file: &'static str,
    /// The line of its attribute.
    pub(crate) line: u32,
}

impl OwnName {
    #[doc(hidden)]
    pub const fn new(
        marker: fn() -> &'static str,
        name: &'static str,
        file: &'static str,
        line: u32,
    ) -> Self {
        Self {
            marker,
            name,
            file,
            line,
        }
    }

    /// The compiler's name for the type, without its arguments.
    pub(crate) fn path(&self) -> String {
        let marker = (self.marker)();
        match marker.rsplit_once("::_::") {
            Some((module, ident)) => format!("{module}::{ident}"),
            None => marker.to_owned(),
        }
    }
}
