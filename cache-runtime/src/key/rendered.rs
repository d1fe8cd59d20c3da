//! A value that is rendered before its name is written.

use super::name::Name;
use super::part::{KeyPart, KeyWriter, Written};

/// The text of one value: of an argument that the function's body takes before its key is needed,
/// or of a set's element.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
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
