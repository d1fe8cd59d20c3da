//! A name before it is rendered: a template's literals, and borrowed arguments.

#![expect(clippy::inline_always, reason = "as in `sink`")]

use std::cell::Cell;

use super::Key;
use super::hash::NameHashes;
use super::part::{KeyPart, KeyWriter, Written};
use super::sink::{Progress, Sink};

thread_local! {
    /// Names are written here first, so that each text is allocated once, at its length.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The largest buffer that a thread keeps, in bytes. It is twice the longest name that a server is given
/// as it is, so a text that does not fit is an exception, and its buffer is freed.
const MAX_KEPT: usize = 2 * Key::MAX_LEN;

/// A template and the borrowed arguments for it: a name that is not rendered yet.
#[derive(Debug)]
pub struct Name<P> {
    /// The literal pieces: one before each placeholder, and one after the last.
    literals: &'static [&'static str],
    parts: P,
}

impl<P: Parts> Name<P> {
    /// Takes the literal pieces of a template, one more than there are parts.
    pub const fn new(literals: &'static [&'static str], parts: P) -> Self {
        Self { literals, parts }
    }

    pub(crate) fn render(&self) -> Key {
        match self.literals {
            [literal] => Key::literal(literal),
            _ => Key::from(self.text()),
        }
    }

    pub(super) fn text(&self) -> String {
        // Taken, not borrowed: a user's `KeyPart` may render a name itself.
        let mut buffer = BUFFER.take();
        buffer.clear();
        self.write(Sink::Text(&mut buffer));
        // A sink writes only UTF-8, so this does not fail. It checks several bytes at a time.
        let text = str::from_utf8(&buffer).map(str::to_owned);
        debug_assert!(text.is_ok());
        let text = text.unwrap_or_else(|_| String::from_utf8_lossy(&buffer).into_owned());
        if buffer.capacity() <= MAX_KEPT {
            BUFFER.set(buffer);
        }
        text
    }

    /// The hash of its text, without rendering it.
    #[inline(always)]
    pub(crate) fn hash(&self, hashes: &NameHashes) -> u64 {
        let mut hash = hashes.hasher();
        self.write(Sink::Hash(&mut hash));
        hash.finish()
    }

    /// Whether the first `len` bytes are the text of this name. The bytes after them are padding.
    #[inline(always)]
    pub(crate) fn is(&self, text: &[u8], len: usize) -> bool {
        let mut progress = Progress::new();
        self.write(Sink::Compare(text, &mut progress));
        progress.is(len)
    }

    // Inlined, so that the literals are constants and the sink is known.
    #[inline(always)]
    fn write(&self, sink: Sink<'_>) {
        let mut out = KeyWriter::new(sink);
        let last = self.parts.write_between(self.literals, &mut out);
        out.literal(last);
    }
}

/// The arguments of a [`Name`]: a nested tuple `(first, (second, ()))`.
pub trait Parts {
    /// Writes each part after its literal, and returns the last literal.
    fn write_between(&self, literals: &[&'static str], out: &mut KeyWriter<'_>) -> &'static str;
}

impl Parts for () {
    #[inline(always)]
    fn write_between(&self, literals: &[&'static str], _out: &mut KeyWriter<'_>) -> &'static str {
        literals.first().copied().unwrap_or_default()
    }
}

impl<K: KeyPart, P: Parts> Parts for (K, P) {
    #[inline(always)]
    fn write_between(&self, literals: &[&'static str], out: &mut KeyWriter<'_>) -> &'static str {
        let (first, rest) = literals.split_first().unwrap_or((&"", &[]));
        out.literal(first);
        let _: Written = self.0.write(out.reborrow());
        self.1.write_between(rest, out)
    }
}

/// Several names: a nested tuple, like [`Parts`].
pub trait Names {
    /// How many they are.
    const COUNT: usize;

    /// Whether they are the tags of a function whose values tell further ones.
    const LEARNS: bool = false;

    /// Renders all names.
    fn render_into(&self, out: &mut Vec<Key>);

    /// Whether these are the given names, in this order. Renders nothing.
    fn are<'a>(&self, names: impl Iterator<Item = &'a Key>) -> bool;
}

impl Names for () {
    const COUNT: usize = 0;

    fn render_into(&self, _out: &mut Vec<Key>) {}

    #[inline]
    fn are<'a>(&self, mut names: impl Iterator<Item = &'a Key>) -> bool {
        names.next().is_none()
    }
}

impl<P: Parts, N: Names> Names for (Name<P>, N) {
    const COUNT: usize = 1 + N::COUNT;

    fn render_into(&self, out: &mut Vec<Key>) {
        out.push(self.0.render());
        self.1.render_into(out);
    }

    #[inline]
    fn are<'a>(&self, mut names: impl Iterator<Item = &'a Key>) -> bool {
        let name = names.next().map(|name| name.as_str().as_bytes());
        name.is_some_and(|name| self.0.is(name, name.len())) && self.1.are(names)
    }
}

/// The tags that are known before the load, where the value tells further ones.
#[derive(Debug)]
pub struct AndOfValue<N>(pub N);

impl<N: Names> Names for AndOfValue<N> {
    const COUNT: usize = N::COUNT;
    const LEARNS: bool = true;

    fn render_into(&self, out: &mut Vec<Key>) {
        self.0.render_into(out);
    }

    /// Those of the value follow, whichever they are.
    #[inline]
    fn are<'a>(&self, names: impl Iterator<Item = &'a Key>) -> bool {
        self.0.are(names.take(N::COUNT))
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
    fn a_thread_keeps_no_large_buffer() {
        let kept = || {
            let buffer = BUFFER.take();
            let capacity = buffer.capacity();
            BUFFER.set(buffer);
            capacity
        };
        let render = |len| Name::new(&["", ""], (part(&"x".repeat(len)), ())).render();
        let short = render(100);
        assert!((102..=MAX_KEPT).contains(&kept()), "{}", kept());
        assert_eq!(render(32 << 20).as_str().len(), (32 << 20) + 2);
        assert!(kept() <= MAX_KEPT, "{}", kept());
        assert_eq!(render(100), short);
    }

    #[test]
    fn a_part_may_render_another_name() {
        struct Nested;
        impl KeyPart for Nested {
            fn write(&self, out: KeyWriter<'_>) -> Written {
                out.text(Name::new(&["inner"], ()).render().as_str())
            }
        }
        let name = Name::new(&["outer:", ""], (&Nested, ()));
        assert_eq!(name.render().as_str(), "outer:'inner'");
    }

    #[test]
    fn a_name_equals_its_own_text_only() {
        let name = Name::new(&["user:", ":", ""], (part(&42), (part("a'b"), ())));
        let text = "user:42:'a%27b'";
        assert_eq!(name.render().as_str(), text);
        assert!(name.is(text.as_bytes(), text.len()));
        for at in 0..text.len() {
            let mut other = text.to_owned();
            other.remove(at);
            assert!(!name.is(other.as_bytes(), other.len()), "{other}");
            other.insert(at, '\u{1}');
            assert!(!name.is(other.as_bytes(), other.len()), "{other}");
            assert!(!name.is(&text.as_bytes()[..at], at), "{}", &text[..at]);
        }
        let longer = format!("{text}:");
        assert!(!name.is(longer.as_bytes(), longer.len()));
        // The table keeps a short text with zeros behind it.
        let padded = format!("{text}\0\0\0\0\0\0\0");
        assert!(name.is(padded.as_bytes(), text.len()));
    }
}
