//! An argument that the function's body takes before its key is needed.

use super::name::Name;
use super::part::{KeyPart, KeyWriter, Written};

/// An argument rendered before the function's body takes it.
#[derive(Debug)]
pub struct RenderedPart(String);

impl RenderedPart {
    /// Renders it.
    pub fn new<K: KeyPart + ?Sized>(part: &K) -> Self {
        Self(Name::new(&["", ""], (part, ())).text())
    }
}

#[diagnostic::do_not_recommend]
impl KeyPart for RenderedPart {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        out.rendered(&self.0)
    }
}
