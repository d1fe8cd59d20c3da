//! The hash of a name, from its arguments or from its text: both are the same.
//!
//! From arguments, a number is hashed as a number and text as text. The finished text is taken
//! apart by the grammar of names first, which yields the same pieces in the same order. Text
//! that no template makes may have any hash: keys are told apart by their text.

#![expect(clippy::inline_always, reason = "as in `sink`")]

use std::hash::{BuildHasher as _, Hasher};

use hashbrown::{DefaultHashBuilder, DefaultHasher};

/// Values are hashed in pieces of this many bytes. The cut does not depend on how the text
/// arrives, so a formatted value has the hash of its finished text.
pub(super) const PIECE: usize = 64;

/// Hands on text in pieces of [`PIECE`] bytes, then the rest, which may be empty.
#[inline(always)]
pub(super) fn in_pieces(text: &[u8], mut hand_on: impl FnMut(&[u8])) {
    let (pieces, rest) = text.as_chunks::<PIECE>();
    for piece in pieces {
        hand_on(piece);
    }
    hand_on(rest);
}

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

pub(super) struct NameHasher<H = DefaultHasher>(H);

impl<H: Hasher> NameHasher<H> {
    /// The hash of all that was written. Its upper bits, by which the table takes a shard, spread
    /// evenly over numbered names.
    #[inline(always)]
    pub(super) fn finish(&self) -> u64 {
        // If a name ends in a number, the last step so far multiplied that number by the seed.
        // Under a bad seed few of the upper bits then depend on the number: of 64 shards, one
        // has more than twice its share of 10,000 names under one seed in 500.
        self.0.finish().wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl NameHasher {
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

    // Numbers and punctuation are written as 128 bits, which the hasher mixes in at once. It
    // keeps shorter integers apart from bytes, and loses the order between the two:
    // `(('x'),())` would have the hash of `((),('x'))`.

    #[inline(always)]
    pub(super) fn number(&mut self, value: u64) {
        self.0.write_u128(u128::from(value));
    }

    #[inline(always)]
    pub(super) fn punctuation(&mut self, byte: u8) {
        self.0.write_u128(u128::from(byte) << 64);
    }

    /// Finished text: a whole name, or one value of it.
    pub(super) fn text(&mut self, text: &str) {
        let mut lists = 0_usize;
        // Where the literal text began, and where the unread rest begins.
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

/// Whether a word is a number as values are written: `007` is not.
fn is_number(word: &str) -> bool {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    digits && !word.is_empty() && (word == "0" || !word.starts_with('0'))
}

/// The letters and digits at the start of a text.
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

    /// Everything that may stand in literal text around a value.
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
            optional: Option<Vec<Option<(Option<u64>,)>>>,
            set: std::collections::HashSet<Option<u8>>,
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
            check(&optional);
            check(&Some(&optional));
            check(&(&set, Some(&set)));
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
    fn another_order_has_another_hash() {
        let hashes = NameHashes::default();
        let hash = |part: &dyn KeyPart| Name::new(&["search:", ""], (&part, ())).hash(&hashes);
        let (some, none) = (Some("x"), None::<&str>);
        assert_ne!(hash(&(some, none)), hash(&(none, some)));
        assert_ne!(hash(&(1, "x")), hash(&("x", 1)));
        assert_ne!(hash(&((1, "x"), 2)), hash(&(1, ("x", 2))));
        // Otherwise a person who chooses texts could make any number of them with one hash.
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

    const NAMES: u64 = 10_000;
    /// How many names each of 64 shards would have if all had the same number.
    const EVEN_SHARE: u64 = NAMES / 64;

    /// The number of names in the fullest of 64 shards. The table takes a shard by these bits.
    fn fullest_shard(hashes: impl Iterator<Item = u64>) -> u64 {
        let mut shards = [0; 64];
        for hash in hashes {
            shards[(hash >> 48) as usize % 64] += 1;
        }
        shards.into_iter().max().unwrap_or_default()
    }

    #[test]
    fn numbered_names_spread() {
        for _ in 0..4 {
            let hashes = NameHashes::default();
            let hash = |id| hashes.of(&format!("user:{id}"));
            let different: std::collections::HashSet<_> = (0..NAMES).map(hash).collect();
            assert_eq!(different.len() as u64, NAMES);
            let fullest = fullest_shard((0..NAMES).map(hash));
            assert!(fullest < 2 * EVEN_SHARE, "{fullest}");
        }
    }

    /// The test above has one seed in each process, and most seeds are good without the
    /// multiplication. These seeds are bad.
    #[test]
    fn numbered_names_spread_under_bad_seeds() {
        /// The last step of the hasher, with the number that the name ends in.
        struct LastStep {
            number: u64,
            seed: u64,
        }
        impl Hasher for LastStep {
            fn write(&mut self, _: &[u8]) {
                unreachable!("nothing precedes the last step");
            }

            #[expect(clippy::cast_possible_truncation, reason = "its lower half")]
            fn finish(&self) -> u64 {
                let product = u128::from(self.number) * u128::from(self.seed);
                product as u64 ^ (product >> 64) as u64
            }
        }
        // The hasher sets these bits of its seed, and draws the others.
        let always = 1 << 63 | 1 << 31 | 1;
        for drawn in [0, 1 << 54, 1 << 62, 1 << 16, 1 << 8 | 1 << 60] {
            let seed = always | drawn;
            let raw = |number| LastStep { number, seed };
            let fullest = fullest_shard((0..NAMES).map(|number| raw(number).finish()));
            assert!(fullest > 8 * EVEN_SHARE, "not bad: {seed:x}: {fullest}");
            let finished = |number| NameHasher(raw(number)).finish();
            let fullest = fullest_shard((0..NAMES).map(finished));
            assert!(fullest < 2 * EVEN_SHARE, "{seed:x}: {fullest}");
        }
    }
}
