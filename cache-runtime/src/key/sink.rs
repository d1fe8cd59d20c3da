//! Where a name is written: to text, into a hash, or against a text.
//!
//! A hit makes no text. The name is hashed, and then compared, part by part, with the text of
//! the entry that was found by the hash. Only a miss and the shared tier write the name out.
//! All three take the same walk through the same forms, so a value has one form in all.

#![expect(
    clippy::inline_always,
    reason = "where the sink is known, writing a number is straight code; otherwise it is calls"
)]

use std::fmt::{self, Write as _};

use super::hash::{NameHasher, PIECE, in_pieces};

pub(super) enum Sink<'a> {
    /// Appends to UTF-8, and leaves it UTF-8.
    Text(&'a mut Vec<u8>),
    /// Makes the hash that the text has: see [`NameHasher::text`].
    Hash(&'a mut NameHasher),
    /// Compares with a text, and notes how far the two are the same.
    Compare(&'a [u8], &'a mut Progress),
}

/// How many bytes of a text are the same as the name.
#[derive(Clone, Copy)]
pub(super) struct Progress(usize);

impl Progress {
    const DIFFERS: usize = usize::MAX;

    pub(super) fn new() -> Self {
        Self(0)
    }

    /// Whether the name has `len` bytes, and the text begins with them.
    pub(super) fn is(self, len: usize) -> bool {
        self.0 == len
    }

    #[inline(always)]
    fn expect(self, text: &[u8], bytes: &[u8]) -> Self {
        let rest = text.get(self.0..).unwrap_or_default();
        self.advanced(rest.starts_with(bytes), bytes.len())
    }

    /// Expects the digits of a number. Where it has at most eight, to read those of the text takes half of the
    /// instructions that writing its own takes, so that is tried first.
    // Not inlined: it is long, and each number in each name would have a copy of it.
    #[inline(never)]
    fn expect_number(self, text: &[u8], value: u64) -> Self {
        let rest = text.get(self.0..).unwrap_or_default();
        if value < EIGHT_DIGITS
            && let Some((number, len)) = rest.first_chunk().and_then(leading_number)
            && number == value
        {
            return Self(self.0 + len);
        }
        self.expect_digits_of(text, value)
    }

    /// As [`expect_number`](Self::expect_number), of any number, before any text.
    // Not inlined, and not laid out for: the registers that it takes would be saved for shorter numbers, too.
    #[cold]
    fn expect_digits_of(mut self, text: &[u8], value: u64) -> Self {
        each_digits(value, |digits, len| {
            self = self.expect_digits(text, digits, len);
        });
        self
    }

    /// Expects the first `len` of eight digits. Where the text has eight more bytes, this is one
    /// comparison.
    #[inline(always)]
    fn expect_digits(self, text: &[u8], digits: [u8; 8], len: usize) -> Self {
        let rest = text.get(self.0..).unwrap_or_default();
        let same = match rest.first_chunk() {
            Some(eight) => {
                let differ = u64::from_le_bytes(*eight) ^ u64::from_le_bytes(digits);
                differ << (64 - 8 * len) == 0
            }
            None => rest.starts_with(digits.get(..len).unwrap_or_default()),
        };
        self.advanced(same, len)
    }

    #[inline(always)]
    fn advanced(self, same: bool, len: usize) -> Self {
        Self(if same { self.0 + len } else { Self::DIFFERS })
    }
}

impl Sink<'_> {
    #[inline(always)]
    pub(super) fn reborrow(&mut self) -> Sink<'_> {
        match self {
            Self::Text(out) => Sink::Text(out),
            Self::Hash(hasher) => Sink::Hash(hasher),
            Self::Compare(text, progress) => Sink::Compare(text, progress),
        }
    }

    /// Literal text of a template. Nothing in it looks like a value.
    #[inline(always)]
    pub(super) fn literal(&mut self, text: &str) {
        match self {
            Self::Hash(hasher) => hasher.literal(text.as_bytes()),
            _ => self.bytes(text.as_bytes()),
        }
    }

    #[inline(always)]
    fn bytes(&mut self, bytes: &[u8]) {
        match self {
            Self::Text(out) => out.extend_from_slice(bytes),
            Self::Hash(hasher) => hasher.piece(bytes),
            Self::Compare(text, progress) => **progress = progress.expect(text, bytes),
        }
    }

    /// A quote, a parenthesis or a comma: what stands around values and between them.
    #[inline(always)]
    pub(super) fn punctuation(&mut self, byte: u8) {
        match self {
            Self::Hash(hasher) => hasher.punctuation(byte),
            _ => self.bytes(&[byte]),
        }
    }

    #[inline(always)]
    pub(super) fn number(&mut self, value: u64) {
        match self {
            Self::Text(out) => each_digits(value, |digits, len| {
                // All eight are appended and the surplus is cut off: copying a fixed length
                // takes no call.
                let end = out.len() + len;
                out.extend_from_slice(&digits);
                out.truncate(end);
            }),
            Self::Hash(hasher) => hasher.number(value),
            Self::Compare(text, progress) => **progress = progress.expect_number(text, value),
        }
    }

    /// A number of more than 64 bits.
    pub(super) fn wide_number(&mut self, value: u128) {
        Escaped::write(self.reborrow(), &value);
    }

    /// Text between quotes.
    #[inline(always)]
    pub(super) fn text(&mut self, value: &str) {
        self.punctuation(b'\'');
        if is_plain(value.as_bytes()) {
            in_pieces(value.as_bytes(), |piece| self.bytes(piece));
        } else {
            Escaped::write(self.reborrow(), &value);
        }
        self.punctuation(b'\'');
    }

    /// A value that displays as text, between quotes.
    pub(super) fn display(&mut self, value: &dyn fmt::Display) {
        self.punctuation(b'\'');
        Escaped::write(self.reborrow(), value);
        self.punctuation(b'\'');
    }

    /// Text between quotes that comes in pieces, which may not be UTF-8.
    pub(super) fn pieces<'p>(&mut self, pieces: impl Iterator<Item = &'p [u8]>) {
        self.punctuation(b'\'');
        let mut escaped = Escaped::new(self.reborrow());
        for chunk in pieces.flat_map(<[u8]>::utf8_chunks) {
            escaped.push_text(chunk.valid());
            for byte in chunk.invalid() {
                escaped.push_escaped(*byte);
            }
        }
        escaped.pass_on();
        self.punctuation(b'\'');
    }

    /// Values that were rendered before.
    pub(super) fn rendered(&mut self, values: &str) {
        match self {
            Self::Hash(hasher) => hasher.text(values),
            _ => self.bytes(values.as_bytes()),
        }
    }
}

/// Escapes text, and passes it on in pieces.
struct Escaped<'a> {
    sink: Sink<'a>,
    piece: [u8; PIECE],
    len: usize,
}

impl<'a> Escaped<'a> {
    fn new(sink: Sink<'a>) -> Self {
        Self {
            sink,
            piece: [0; PIECE],
            len: 0,
        }
    }

    #[cold]
    fn write(sink: Sink<'a>, text: &dyn fmt::Display) {
        let mut escaped = Self::new(sink);
        // Fails only if the `Display` of a user's type fails. Then what was written counts.
        let _ = write!(escaped, "{text}");
        escaped.pass_on();
    }

    fn push_text(&mut self, text: &str) {
        for c in text.chars() {
            let mut bytes = [0; 4];
            let bytes = c.encode_utf8(&mut bytes).bytes();
            if c.is_control() || matches!(c, '\'' | '%' | '{' | '}') {
                bytes.for_each(|byte| self.push_escaped(byte));
            } else {
                bytes.for_each(|byte| self.push(byte));
            }
        }
    }

    fn push_escaped(&mut self, byte: u8) {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        self.push(b'%');
        self.push(HEX[usize::from(byte >> 4)]);
        self.push(HEX[usize::from(byte & 15)]);
    }

    fn push(&mut self, byte: u8) {
        self.piece[self.len] = byte;
        self.len += 1;
        if self.len == PIECE {
            self.pass_on();
        }
    }

    fn pass_on(&mut self) {
        self.sink.bytes(&self.piece[..self.len]);
        self.len = 0;
    }
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_text(text);
        Ok(())
    }
}

/// Whether a text stands in a name unchanged: it has no control character, no other than ASCII, and none of
/// `'`, `%`, `{` and `}`. Else [`Escaped`] writes it. Each hit on a key with a text asks, eight bytes at a time.
#[inline(always)]
fn is_plain(text: &[u8]) -> bool {
    if let Some(last) = text.last_chunk() {
        let (eights, _) = text.as_chunks();
        let mut eights = eights.iter().chain([last]);
        return eights.all(|eight| are_plain(u64::from_le_bytes(*eight)));
    }
    // What is shorter is read as two halves, which have some bytes in common.
    if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        let half = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
        return are_plain(half(first) | half(last) << 32);
    }
    text.iter().all(|&byte| are_plain(each(byte)))
}

/// Whether all of these bytes are plain. Of each test, the highest bit of a byte is the answer for that byte. A
/// byte that is found may carry into bytes behind it; one that is not does not.
#[inline(always)]
fn are_plain(bytes: u64) -> bool {
    const HIGHEST: u64 = each(0x80);
    let are = |differ: u64| differ.wrapping_sub(each(1)) & !differ;
    let control = bytes.wrapping_sub(each(b' ')) & !bytes;
    // `%` and `'` differ in one bit, and so do `{` and `}` each from the last control character.
    let quotes = are((bytes | each(b'%' ^ b'\'')) ^ each(b'\''));
    let opening = are((bytes | each(b'{' ^ DELETE)) ^ each(DELETE));
    let closing = are((bytes | each(b'}' ^ DELETE)) ^ each(DELETE));
    (bytes | control | quotes | opening | closing) & HIGHEST == 0
}

/// The last control character of ASCII.
const DELETE: u8 = 0x7f;

/// The same byte eight times.
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The first number of more than eight digits.
const EIGHT_DIGITS: u64 = 100_000_000;

/// The decimal digits of a number, up to eight at a time: `emit` gets eight, and how many of
/// them count. Each hit on a key with a number does this, and `write!` takes several times as
/// long.
#[inline(always)]
fn each_digits(value: u64, mut emit: impl FnMut([u8; 8], usize)) {
    if value < EIGHT_DIGITS {
        return emit_trimmed(value, emit);
    }
    let (high, low) = (value / EIGHT_DIGITS, value % EIGHT_DIGITS);
    if high < EIGHT_DIGITS {
        emit_trimmed(high, &mut emit);
    } else {
        emit_trimmed(high / EIGHT_DIGITS, &mut emit);
        emit(ascii(eight_digits(high % EIGHT_DIGITS)), 8);
    }
    emit(ascii(eight_digits(low)), 8);
}

/// The digits of a number below 10⁸, without leading zeros.
#[inline(always)]
fn emit_trimmed(value: u64, mut emit: impl FnMut([u8; 8], usize)) {
    let digits = eight_digits(value);
    // Zero keeps its last digit.
    let zeros = (digits.trailing_zeros() / 8).min(7);
    emit(ascii(digits >> (8 * zeros)), 8 - zeros as usize);
}

/// The eight decimal digits of a number, the first in the lowest byte.
///
/// The number is halved three times, with all halves in one register. `x / 100` is
/// `x * 10486 >> 20` for `x` below ten thousand, and `x / 10` is `x * 103 >> 10` for `x` below
/// a hundred.
#[inline(always)]
fn eight_digits(value: u64) -> u64 {
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((twos - tens * 10) << 8)
}

/// The number with which eight bytes begin, up to the first that is no digit, and how many digits it has. `None`
/// if they begin with no number, or with one that is not written as a name writes it (`007`).
///
/// Two digits are added up at a time, then four, then eight.
#[inline(always)]
fn leading_number(eight: &[u8; 8]) -> Option<(u64, usize)> {
    let digits = u64::from_le_bytes(*eight) ^ 0x3030_3030_3030_3030;
    // Bytes of more than 9 have one of these bits, or get one. What they carry goes to bytes behind them.
    let others = (digits.wrapping_add(0x0606_0606_0606_0606) | digits) & 0xf0f0_f0f0_f0f0_f0f0;
    let len = others.trailing_zeros() / 8;
    let begins_with_zero = digits.trailing_zeros() >= 8;
    if len == 0 || begins_with_zero && len > 1 {
        return None;
    }
    let digits = digits << (64 - 8 * len);
    let twos = (digits.wrapping_mul(10) + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (twos.wrapping_mul(100) + (twos >> 16)) & 0x0000_ffff_0000_ffff;
    let number = (fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff;
    Some((number, len as usize))
}

#[inline(always)]
fn ascii(digits: u64) -> [u8; 8] {
    (digits | 0x3030_3030_3030_3030).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text_of(bytes: &str) -> [u8; 8] {
        let mut eight = [0; 8];
        eight[..bytes.len()].copy_from_slice(bytes.as_bytes());
        eight
    }

    #[test]
    fn a_number_is_read_up_to_what_is_no_digit() {
        for (text, expected) in [
            ("0", (0, 1)),
            ("7:posts", (7, 1)),
            ("10000", (10_000, 5)),
            ("99999999", (99_999_999, 8)),
            ("42/1", (42, 2)),
            ("42:", (42, 2)),
        ] {
            assert_eq!(leading_number(&text_of(text)), Some(expected), "{text}");
        }
        for text in ["", "x1", "007", "00", "-1", "'1'", "\u{7f}1", "é1"] {
            assert_eq!(leading_number(&text_of(text)), None, "{text}");
        }
    }

    #[test]
    fn each_byte_that_is_escaped_is_found_wherever_it_is() {
        for byte in 0..=u8::MAX {
            let is_kept = (b' '..=b'~').contains(&byte) && !b"'%{}".contains(&byte);
            for len in 1..=20 {
                for at in 0..len {
                    let mut text = vec![b'a'; len];
                    text[at] = byte;
                    assert_eq!(is_plain(&text), is_kept, "{byte:#x} at {at} of {len}");
                    // One that is found does not hide another one.
                    text[0] = b'%';
                    assert!(!is_plain(&text));
                }
            }
        }
        assert!(is_plain(b""));
    }

    proptest! {
        #[test]
        fn a_number_expects_its_own_digits_and_no_others(
            value: u64,
            small in 0_u64..1_000,
            behind in "[0-9:a-z\u{0}é]{0,9}",
        ) {
            for value in [value, value % 100_000_000, small, u64::MAX] {
                let text = format!("{value}{behind}");
                let len = value.to_string().len();
                prop_assert!(Progress::new().expect_number(text.as_bytes(), value).is(len));
                for other in [value ^ 1, value / 10, value.wrapping_mul(10), value.wrapping_add(10)] {
                    let found = Progress::new().expect_number(text.as_bytes(), other);
                    let digits = other.to_string();
                    let is_prefix = text.starts_with(&digits);
                    prop_assert_eq!(found.is(digits.len()), is_prefix, "{} {}", text, other);
                }
            }
        }

        #[test]
        fn any_bytes_are_read_as_their_digits_say(eight: [u8; 8]) {
            let digits = eight.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if let Some((number, len)) = leading_number(&eight) {
                prop_assert_eq!(len, digits);
                let text = str::from_utf8(&eight[..digits]).expect("digits");
                prop_assert_eq!(text.parse(), Ok(number));
            } else {
                prop_assert!(digits == 0 || eight[0] == b'0' && digits > 1);
            }
        }
    }
}
