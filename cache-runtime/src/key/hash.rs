//! The hash of a name, from its arguments or from its text: both are the same.
//!
//! Whoever has the arguments hashes a number as a number and text as text; whoever has the
//! finished text takes it apart as the grammar of names says, and hashes the same pieces.
//! Of text that no template makes, any hash will do: keys are told apart by their text.

#![expect(clippy::inline_always, reason = "as in `sink`")]

use std::hash::{BuildHasher as _, Hasher as _};

use hashbrown::{DefaultHashBuilder, DefaultHasher};

use super::sink::in_pieces;

/// Hashes names, with seeds of its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct NameHashes(DefaultHashBuilder);

impl NameHashes {
    #[inline(always)]
    pub(super) fn hasher(&self) -> NameHasher {
        NameHasher(self.0.build_hasher())
    }

    /// The hash of a finished name.
    pub(crate) fn of(&self, text: &str) -> u64 {
        let mut hasher = self.hasher();
        hasher.text(text);
        hasher.finish()
    }
}

pub(super) struct NameHasher(DefaultHasher);

impl NameHasher {
    #[inline(always)]
    pub(super) fn finish(&self) -> u64 {
        // Single bits of it are uneven over numbered keys, under some seeds; the upper ones of
        // the product, which shards go by, are not.
        self.0.finish().wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[inline(always)]
    pub(super) fn literal(&mut self, text: &[u8]) {
        if !text.is_empty() {
            self.0.write(text);
        }
    }

    /// A piece of a text, as [`in_pieces`] cuts it.
    #[inline(always)]
    pub(super) fn piece(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    // As 128 bits, which are mixed in at once. Fewer wait apart from all bytes, and their order
    // among them is lost: `(('x'),())` would have the hash of `((),('x'))`.

    #[inline(always)]
    pub(super) fn number(&mut self, value: u64) {
        self.0.write_u128(u128::from(value));
    }

    #[inline(always)]
    pub(super) fn punctuation(&mut self, byte: u8) {
        self.0.write_u128(u128::from(byte) << 64);
    }

    /// Finished text, a whole name or a value of one.
    pub(super) fn text(&mut self, text: &str) {
        let mut lists = 0_usize;
        // Where literal text began, and where what is not looked at yet begins.
        let (mut literal, mut at) = (0, 0);
        while let Some(&first) = text.as_bytes().get(at) {
            let rest = &text[at..];
            let word = word_at_start(rest);
            if is_number(word) {
                self.literal(&text.as_bytes()[literal..at]);
                self.digits(word);
                at += word.len();
            } else if matches!(first, b'\'' | b'(' | b')') || first == b',' && lists > 0 {
                self.literal(&text.as_bytes()[literal..at]);
                self.punctuation(first);
                at += 1;
                match first {
                    b'\'' => {
                        let rest = &rest[1..];
                        let quoted = rest.split_once('\'').map_or(rest, |(quoted, _)| quoted);
                        in_pieces(quoted.as_bytes(), |piece| self.piece(piece));
                        at += quoted.len();
                        if at < text.len() {
                            self.punctuation(b'\'');
                            at += 1;
                        }
                    }
                    b'(' => lists += 1,
                    b')' => lists = lists.saturating_sub(1),
                    _ => {}
                }
            } else {
                let character = rest.chars().next().map_or(1, char::len_utf8);
                at += word.len().max(character);
                continue;
            }
            literal = at;
        }
        self.literal(&text.as_bytes()[literal..]);
    }

    /// A number that stands on its own.
    fn digits(&mut self, digits: &str) {
        match digits.parse() {
            Ok(number) => self.number(number),
            Err(_) => in_pieces(digits.as_bytes(), |piece| self.piece(piece)),
        }
    }
}

/// Whether a word is a number as values are: `007` is none.
fn is_number(word: &str) -> bool {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    digits && !word.is_empty() && (word == "0" || !word.starts_with('0'))
}

/// The letters and digits that this begins with.
fn word_at_start(text: &str) -> &str {
    let ascii = text.bytes().take_while(u8::is_ascii_alphanumeric).count();
    let end = match text.as_bytes().get(ascii) {
        Some(byte) if !byte.is_ascii() => {
            text.len() - text.trim_start_matches(char::is_alphanumeric).len()
        }
        _ => ascii,
    };
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{KeyPart, Name, RenderedPart};
    use proptest::prelude::*;

    /// Everything that literal text may have around a value.
    const LITERALS: &[&[&str]] = &[
        &["", ""],
        &["user:", ""],
        &["v2:user:", ":x1"],
        &["{größe2:", "}:posts,and:"],
        &["a,b3c,", "→,d"],
        &["<users>-", "-é"],
    ];

    fn check<K: KeyPart + ?Sized>(part: &K) {
        let hashes = NameHashes::default();
        for literals in LITERALS {
            let name = Name::new(literals, (part, ()));
            let text = name.render();
            assert_eq!(name.hash(&hashes), hashes.of(text.as_str()), "{text}");
            assert!(name.is(text.bytes(), text.bytes().len()), "{text}");
            let rendered = RenderedPart::new(part);
            let again = Name::new(literals, (&rendered, ()));
            assert_eq!(again.render(), text);
            assert_eq!(again.hash(&hashes), name.hash(&hashes), "{text}");
            assert!(again.is(text.bytes(), text.bytes().len()), "{text}");
        }
        let twice = Name::new(&["of:", ":and:", ""], (part, (part, ())));
        let text = twice.render();
        assert_eq!(twice.hash(&hashes), hashes.of(text.as_str()), "{text}");
        assert!(twice.is(text.bytes(), text.bytes().len()), "{text}");
    }

    proptest! {
        #[test]
        fn arguments_hash_as_their_text(
            number: u64,
            small in 0_u32..100_000,
            wide: u128,
            signed: i128,
            text: String,
            long in ".{60,200}",
            quoted in "['%{}(),0-9a-z é\n]{0,80}",
            c: char,
            list: Vec<(Option<String>, i16, bool)>,
        ) {
            check(&number);
            check(&small);
            check(&wide);
            check(&signed);
            check(text.as_str());
            check(&long);
            check(&quoted);
            check(&c);
            check(&list);
            check(&(number, (small, text), quoted, list));
        }

        #[test]
        fn any_text_has_a_hash(text: String, like_a_name in "['(),:0-9a-é]{0,40}") {
            let hashes = NameHashes::default();
            assert_eq!(hashes.of(&text), hashes.of(&text));
            assert_eq!(hashes.of(&like_a_name), hashes.of(&like_a_name));
        }
    }

    #[test]
    fn what_is_written_in_another_order_hashes_otherwise() {
        let hashes = NameHashes::default();
        let hash = |part: &dyn KeyPart| Name::new(&["search:", ""], (&part, ())).hash(&hashes);
        let (some, none) = (Some("x"), None::<&str>);
        assert_ne!(hash(&(some, none)), hash(&(none, some)));
        assert_ne!(hash(&(1, "x")), hash(&("x", 1)));
        assert_ne!(hash(&((1, "x"), 2)), hash(&(1, ("x", 2))));
        // Else whoever chooses texts could make any number of one hash.
        for (one, other) in [
            ("user:7", "user:007"),
            ("page:(1,2)", "page:(1,,2)"),
            ("page:((1))", "page:(,(1))"),
            ("page:(:())", "page:(():)"),
            ("user:'x'", "'user:'x"),
            (":a:1:b:2", "1:a:2:b:"),
        ] {
            assert_ne!(hashes.of(one), hashes.of(other), "{one} {other}");
        }
    }

    #[test]
    fn numbered_names_spread() {
        let hashes = NameHashes::default();
        let names = (0..10_000).map(|id| hashes.of(&format!("user:{id}")));
        let hashes: std::collections::HashSet<_> = names.collect();
        assert_eq!(hashes.len(), 10_000);
    }
}
