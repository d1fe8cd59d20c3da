//! One value in a name, and the proof that it is exactly one.

use std::any;
use std::io::Write as _;
use std::marker::PhantomData;

/// A type that can stand in a key or tag template, as in `"user:<id>"`.
///
/// Implemented for integers, `bool`, `char`, strings, IP addresses, `Option`,
/// tuples, slices and references to them. Not for floats: two that print alike
/// can differ, and two that are equal can print differently.
///
/// The returned [`Written`] is the proof that exactly one value was written, so
/// that no implementation can run two of them together.
///
/// ```
/// use cache_runtime::{KeyPart, KeyWriter, Written, key};
///
/// struct UserId(u64);
///
/// impl KeyPart for UserId {
///     fn write(&self, out: KeyWriter<'_>) -> Written {
///         self.0.write(out)
///     }
/// }
///
/// let id = UserId(42);
/// assert_eq!(key!("user:<id>").as_str(), "user:42");
/// ```
///
/// # Derived
///
/// A struct around one value is that value; other structs are the list of their
/// fields. A variant is its name, in a list with its fields if it has any:
///
/// ```
/// use cache_runtime::{KeyPart, key};
///
/// #[derive(KeyPart)]
/// struct UserId(u64);
///
/// #[derive(KeyPart)]
/// struct Page { after: UserId, limit: u16 }
///
/// #[derive(KeyPart)]
/// enum Sort { Newest, By(String) }
///
/// let page = Page { after: UserId(42), limit: 10 };
/// assert_eq!(key!("users:<page>").as_str(), "users:(42,10)");
/// let (sort, other) = (Sort::Newest, Sort::By("name".to_owned()));
/// assert_eq!(key!("users:<sort>").as_str(), "users:'Newest'");
/// assert_eq!(key!("users:<other>").as_str(), "users:('By','name')");
/// ```
///
/// Who renames a variant, or moves a field, changes the keys.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a cache key",
    label = "not a `KeyPart`",
    note = "integers, `bool`, `char`, strings, `Option`, tuples and slices of them can; floats cannot",
    note = "for a type of your own, `#[derive(KeyPart)]`, or name a field or method in the placeholder: `<id.0>`"
)]
pub trait KeyPart {
    /// Writes this value, as one of the writer's forms.
    fn write(&self, out: KeyWriter<'_>) -> Written;
}

/// Where a [`KeyPart`] writes itself: exactly once, since each method consumes it.
///
/// ```
/// use cache_runtime::{KeyPart, KeyWriter, Written, key};
///
/// enum Sort { Newest, By(String) }
///
/// impl KeyPart for Sort {
///     fn write(&self, out: KeyWriter<'_>) -> Written {
///         match self {
///             Sort::Newest => out.list().end(),
///             Sort::By(column) => out.list().part(column).end(),
///         }
///     }
/// }
///
/// let sort = Sort::By("name".to_owned());
/// assert_eq!(key!("users:<sort>").as_str(), "users:('name')");
/// ```
#[derive(Debug)]
pub struct KeyWriter<'a> {
    pub(super) out: &'a mut Vec<u8>,
}

/// The proof that a [`KeyPart`] wrote one value; only a [`KeyWriter`] makes it.
///
/// ```
/// use cache_runtime::{KeyWriter, Written};
///
/// fn write_yes(out: KeyWriter<'_>) -> Written {
///     out.text("yes")
/// }
/// ```
#[derive(Debug)]
pub struct Written(());

/// Writes several values as one, from [`KeyWriter::list`].
///
/// ```
/// use cache_runtime::{KeyWriter, Written};
///
/// fn write_pair(out: KeyWriter<'_>) -> Written {
///     out.list().part(&1).part("one").end()
/// }
/// ```
#[derive(Debug)]
pub struct ListWriter<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> KeyWriter<'a> {
    /// `out` is UTF-8, and stays so.
    #[inline]
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Writes a number: `42`, and negative ones quoted: `'-5'`, since a hyphen is also a separator.
    #[inline]
    pub fn integer(self, value: impl Into<i128>) -> Written {
        let value = value.into();
        if let Ok(value) = u64::try_from(value) {
            self.digits(value);
        } else if let Ok(value) = u128::try_from(value) {
            return self.unsigned(value);
        } else {
            // Writing to a `Vec` cannot fail.
            let _ = write!(self.out, "'{value}'");
        }
        Written(())
    }

    #[inline]
    pub(super) fn unsigned(self, value: u128) -> Written {
        if let Ok(value) = u64::try_from(value) {
            self.digits(value);
        } else {
            let _ = write!(self.out, "{value}");
        }
        Written(())
    }

    /// At every hit on a key with a number; `write!` takes several times as long.
    #[inline]
    fn digits(self, value: u64) {
        const EIGHT: u64 = 100_000_000;
        if value < EIGHT {
            return push_digits(self.out, eight_digits(value));
        }
        let (high, low) = (value / EIGHT, value % EIGHT);
        if high < EIGHT {
            push_digits(self.out, eight_digits(high));
        } else {
            push_digits(self.out, eight_digits(high / EIGHT));
            self.out.extend(ascii(eight_digits(high % EIGHT)));
        }
        self.out.extend(ascii(eight_digits(low)));
    }

    /// Writes text, in quotes: `'octocat'`.
    ///
    /// What could end the quotes, start a Redis Cluster hash tag or confuse a
    /// terminal is written `%XX`.
    pub fn text(mut self, value: &str) -> Written {
        self.out.push(b'\'');
        if value.bytes().all(is_plain) {
            self.out.extend_from_slice(value.as_bytes());
        } else {
            self.escaped(value);
        }
        self.out.push(b'\'');
        Written(())
    }

    fn escaped(&mut self, value: &str) {
        for c in value.chars() {
            let mut bytes = [0; 4];
            let bytes = c.encode_utf8(&mut bytes).as_bytes();
            if c.is_control() || matches!(c, '\'' | '%' | '{' | '}') {
                for byte in bytes {
                    let _ = write!(self.out, "%{byte:02X}");
                }
            } else {
                self.out.extend_from_slice(bytes);
            }
        }
    }

    /// Writes several values as one, in parentheses: `(1,'a')`.
    pub fn list(self) -> ListWriter<'a> {
        self.out.push(b'(');
        ListWriter {
            out: self.out,
            empty: true,
        }
    }
}

/// The eight decimal digits of a number, the first in the lowest byte.
///
/// Halved three times, both halves in one register: `x / 100` is `x * 10486 >> 20` for all
/// below ten thousand, and `x / 10` is `x * 103 >> 10` for all below a hundred.
#[inline]
fn eight_digits(value: u64) -> u64 {
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((twos - tens * 10) << 8)
}

#[inline]
fn ascii(digits: u64) -> [u8; 8] {
    (digits | 0x3030_3030_3030_3030).to_le_bytes()
}

/// Writes the digits of a number, without the zeros that it begins with.
#[inline]
fn push_digits(out: &mut Vec<u8>, digits: u64) {
    // The last digit of zero is written.
    let zeros = (digits.trailing_zeros() / 8).min(7);
    let end = out.len() + 8 - zeros as usize;
    // All eight, and what is too much taken off: to copy a fixed length takes no call.
    out.extend_from_slice(&ascii(digits >> (8 * zeros)));
    out.truncate(end);
}

/// What stands in a name as it is; of the rest, not all has to be escaped.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'\'' | b'%' | b'{' | b'}')
}

impl ListWriter<'_> {
    /// Adds a value.
    #[must_use]
    pub fn part<K: KeyPart + ?Sized>(mut self, part: &K) -> Self {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        let _: Written = part.write(KeyWriter::new(self.out));
        self
    }

    /// Closes the list.
    pub fn end(self) -> Written {
        self.out.push(b')');
        Written(())
    }
}

/// Carries the `KeyPart` bound, so that the compiler blames the placeholder.
pub fn part<K: KeyPart + ?Sized>(part: &K) -> &K {
    part
}

/// An argument rendered before the function's body takes it.
#[derive(Debug)]
pub struct RenderedPart(Vec<u8>);

impl RenderedPart {
    /// Renders it.
    pub fn new<K: KeyPart + ?Sized>(part: &K) -> Self {
        let mut text = Vec::new();
        let _: Written = part.write(KeyWriter::new(&mut text));
        Self(text)
    }
}

#[diagnostic::do_not_recommend]
impl KeyPart for RenderedPart {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        out.out.extend_from_slice(&self.0);
        Written(())
    }
}

/// The placeholder `<T>` of a generic type parameter.
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
