//! One value in a name, and the proof that it is exactly one.

#![expect(clippy::inline_always, reason = "as in `sink`")]

use std::fmt;

use super::sink::Sink;

/// A type that can stand in a key or tag template, as in `"user:<id>"`.
///
/// Implemented for integers, `bool`, `char`, strings, IP addresses, `Option`,
/// tuples, slices and references to them. Not for floats: two that print alike
/// can differ, and two that are equal can print differently.
///
/// The returned [`Written`] proves that exactly one value was written, so no
/// implementation can run two values together.
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
/// Renaming a variant, or moving a field, changes the keys.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a cache key",
    label = "not a `KeyPart`",
    note = "integers, `bool`, `char`, strings, `Option`, tuples and slices of them can; floats cannot",
    note = "for a type of your own, `#[derive(KeyPart)]`, or name a field or method in the placeholder: `<id.0>`"
)]
pub trait KeyPart {
    /// Writes this value, as one of the writer's forms.
    ///
    /// It must write the same each time: a call writes its key more than once, to hash it, to
    /// compare it and to store it.
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
pub struct KeyWriter<'a> {
    sink: Sink<'a>,
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
pub struct ListWriter<'a> {
    sink: Sink<'a>,
    empty: bool,
}

impl<'a> KeyWriter<'a> {
    #[inline(always)]
    pub(super) fn new(sink: Sink<'a>) -> Self {
        Self { sink }
    }

    #[inline(always)]
    pub(super) fn reborrow(&mut self) -> KeyWriter<'_> {
        KeyWriter::new(self.sink.reborrow())
    }

    /// Literal text of a template.
    #[inline(always)]
    pub(super) fn literal(&mut self, text: &str) {
        self.sink.literal(text);
    }

    /// Writes a number: `42`, and negative ones quoted: `'-5'`, since a hyphen is also a separator.
    #[inline(always)]
    pub fn integer(mut self, value: impl Into<i128>) -> Written {
        let value = value.into();
        if let Ok(value) = u128::try_from(value) {
            self.unsigned(value)
        } else {
            self.sink.display(&value);
            Written(())
        }
    }

    #[inline(always)]
    pub(super) fn unsigned(mut self, value: u128) -> Written {
        if let Ok(value) = u64::try_from(value) {
            self.sink.number(value);
        } else {
            self.sink.wide_number(value);
        }
        Written(())
    }

    /// Writes text, in quotes: `'octocat'`.
    ///
    /// A quote, a percent sign, a brace or a control character is written `%XX`, so that no
    /// text can end its quotes, form a Redis Cluster hash tag or confuse a terminal.
    #[inline(always)]
    pub fn text(mut self, value: &str) -> Written {
        self.sink.text(value);
        Written(())
    }

    /// Writes a value that displays as text, in quotes, without making a `String` of it.
    pub(super) fn display(mut self, value: &dyn fmt::Display) -> Written {
        self.sink.display(value);
        Written(())
    }

    /// Writes values that were rendered before.
    #[inline(always)]
    pub(super) fn rendered(mut self, values: &str) -> Written {
        self.sink.rendered(values);
        Written(())
    }

    /// Writes several values as one, in parentheses: `(1,'a')`.
    #[inline(always)]
    pub fn list(mut self) -> ListWriter<'a> {
        self.sink.punctuation(b'(');
        ListWriter {
            sink: self.sink,
            empty: true,
        }
    }
}

impl ListWriter<'_> {
    /// Adds a value.
    #[must_use]
    #[inline]
    pub fn part<K: KeyPart + ?Sized>(mut self, part: &K) -> Self {
        if !self.empty {
            self.sink.punctuation(b',');
        }
        self.empty = false;
        let _: Written = part.write(KeyWriter::new(self.sink.reborrow()));
        self
    }

    /// Closes the list.
    #[inline]
    pub fn end(mut self) -> Written {
        self.sink.punctuation(b')');
        Written(())
    }
}

impl fmt::Debug for KeyWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyWriter").finish_non_exhaustive()
    }
}

impl fmt::Debug for ListWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListWriter").finish_non_exhaustive()
    }
}

/// Carries the `KeyPart` bound, so that the compiler blames the placeholder.
pub fn part<K: KeyPart + ?Sized>(part: &K) -> &K {
    part
}
