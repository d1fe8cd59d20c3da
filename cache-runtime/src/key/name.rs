//! A name before it is rendered: a template's literals, and borrowed arguments.

use std::cell::Cell;

use super::Key;
use super::part::{KeyPart, KeyWriter, Written};

/// A template and the borrowed arguments for it: a name that is not rendered yet.
#[derive(Debug)]
pub struct Name<P> {
    /// The literal pieces: one before, one between and one after the placeholders.
    literals: &'static [&'static str],
    parts: P,
}

impl<P: Parts> Name<P> {
    /// Takes the literal pieces of a template, one more than there are parts.
    pub const fn new(literals: &'static [&'static str], parts: P) -> Self {
        Self { literals, parts }
    }

    pub(crate) fn render(&self) -> Key {
        self.with_text(|text| {
            // A `KeyWriter` writes nothing else.
            debug_assert!(str::from_utf8(text).is_ok());
            Key::from(&*String::from_utf8_lossy(text))
        })
    }

    /// Renders into a buffer of this thread's and lends it: a look-up needs no allocation.
    // Inlined, for the literals to be constants.
    #[inline(always)]
    pub(crate) fn with_text<T>(&self, use_text: impl FnOnce(&[u8]) -> T) -> T {
        thread_local! {
            static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
        }
        // Taken, not borrowed: a `KeyPart` of the user's may itself come back here.
        let mut text = BUFFER.take();
        text.clear();
        let last = self.parts.write_between(self.literals, &mut text);
        text.extend_from_slice(last.as_bytes());
        let value = use_text(&text);
        BUFFER.set(text);
        value
    }
}

/// The arguments of a [`Name`]: a nested tuple `(first, (second, ()))`.
pub trait Parts {
    /// Writes the parts, each after its literal; returns the literal that is left.
    fn write_between(&self, literals: &[&'static str], out: &mut Vec<u8>) -> &'static str;
}

impl Parts for () {
    #[expect(
        clippy::inline_always,
        reason = "a key of three parts is one piece of code, or calls"
    )]
    #[inline(always)]
    fn write_between(&self, literals: &[&'static str], _out: &mut Vec<u8>) -> &'static str {
        literals.first().copied().unwrap_or_default()
    }
}

impl<K: KeyPart, P: Parts> Parts for (K, P) {
    #[expect(
        clippy::inline_always,
        reason = "a key of three parts is one piece of code, or calls"
    )]
    #[inline(always)]
    fn write_between(&self, literals: &[&'static str], out: &mut Vec<u8>) -> &'static str {
        let (first, rest) = literals.split_first().unwrap_or((&"", &[]));
        out.extend_from_slice(first.as_bytes());
        let _: Written = self.0.write(KeyWriter::new(out));
        self.1.write_between(rest, out)
    }
}

/// Several names: a nested tuple, like [`Parts`].
pub trait Names {
    /// Renders all of them.
    fn render_into(&self, out: &mut Vec<Key>);

    /// Whether these are the names given, in this order. Renders without allocating.
    fn are(&self, names: &mut dyn Iterator<Item = &Key>) -> bool;
}

impl Names for () {
    fn render_into(&self, _out: &mut Vec<Key>) {}

    #[inline]
    fn are(&self, names: &mut dyn Iterator<Item = &Key>) -> bool {
        names.next().is_none()
    }
}

impl<P: Parts, N: Names> Names for (Name<P>, N) {
    fn render_into(&self, out: &mut Vec<Key>) {
        out.push(self.0.render());
        self.1.render_into(out);
    }

    fn are(&self, names: &mut dyn Iterator<Item = &Key>) -> bool {
        names
            .next()
            .is_some_and(|name| self.0.with_text(|text| text == name.as_str().as_bytes()))
            && self.1.are(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::part;

    #[test]
    fn a_name_is_its_literals_and_parts() {
        let name = Name::new(&["user:", ":posts:", ""], (part(&7), (part("x"), ())));
        assert_eq!(name.render().as_str(), "user:7:posts:'x'");
        assert_eq!(Name::new(&["users"], ()).render().as_str(), "users");
    }

    #[test]
    fn a_part_may_render_a_name_itself() {
        struct Nested;
        impl KeyPart for Nested {
            fn write(&self, out: KeyWriter<'_>) -> Written {
                out.text(Name::new(&["inner"], ()).render().as_str())
            }
        }
        let name = Name::new(&["outer:", ""], (&Nested, ()));
        assert_eq!(name.render().as_str(), "outer:'inner'");
    }
}
