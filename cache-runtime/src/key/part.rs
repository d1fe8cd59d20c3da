//! One value in a name, and the proof that it is exactly one.

#![expect(clippy::inline_always, reason = "as in `sink`")]

use std::fmt;

use super::optional::Output;
use super::sink::Sink;

/// A type that can stand in a key or tag template, as in `"user:<id>"`.
///
/// Implemented for the types of [this table](#types), and references to them. Not for floats: `0.0` and
/// `-0.0` are equal and print differently, and a NaN equals nothing. [`Ordered`](crate::Ordered) writes
/// a float by its bits.
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
/// # Types
///
/// | type | is written |
/// |---|---|
/// | integers, `NonZero…` | `7`, `'-7'` |
/// | `str`, `String`, `char`, `bool` | `'it%27s'`, `'true'` |
/// | `Box`, `Rc`, `Arc`, `Cow`, `Wrapping`, `Saturating`, `Reverse` | as the value inside |
/// | `Option` | [as the value inside](#options), or `()` |
/// | slices, arrays, `Vec`, `VecDeque`; tuples of up to 8 | `(1,2)`, `(1,'a')` |
/// | `HashSet`, `BTreeSet`; `HashMap`, `BTreeMap` | [sorted](#sets-and-maps): `(1,2)`, `((1,'a'),(2,'b'))` |
/// | `IpAddr`, `SocketAddr`, and those of version 4 and 6 | `'127.0.0.1'`, `'[::1]:80'` |
/// | `Duration` | in seconds: `'90s'`, `'0.25s'` |
/// | `Path`, `PathBuf` | [by its components](#paths): `'/srv/a'` |
/// | [`Ordered`](crate::Ordered) around an `f32` or an `f64` | `'0.5'`, `'-0'`, `'1e100'` |
/// | `Uuid`, feature `uuid` | `'67e55044-10b1-426f-9247-bb680e5fe0c8'` |
/// | `Ulid`, feature `ulid` | `'01ARZ3NDEKTSV4RRFFQ69G5FAV'` |
/// | `Decimal`, feature `rust_decimal` | without trailing zeros, since 1.0 equals 1.00: `'1'`, `'-0.5'` |
/// | `SmolStr`, feature `smol_str` | `'text'` |
/// | dates and times, features `chrono`, `jiff`, `time` | by their fields; an instant whatever its time zone |
///
/// A list of another crate, such as a `SmallVec`, can be in a key as a slice: `<ids.as_slice()>`.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::net::Ipv4Addr;
/// use std::path::Path;
/// use std::time::Duration;
///
/// use cache_runtime::key;
///
/// let (host, every) = (Ipv4Addr::LOCALHOST, Duration::from_millis(250));
/// assert_eq!(key!("ping:<host>:<every>").as_str(), "ping:'127.0.0.1':'0.25s'");
/// let (file, filter) = (Path::new("/srv//a"), BTreeMap::from([("state", "open")]));
/// assert_eq!(key!("<file>:<filter>").as_str(), "'/srv/a':(('state','open'))");
///
/// // A type that derefs to a slice, as a `SmallVec` does.
/// struct Ids(Vec<u64>);
/// impl std::ops::Deref for Ids {
///     type Target = Vec<u64>;
///     fn deref(&self) -> &Vec<u64> { &self.0 }
/// }
/// let ids = Ids(vec![1, 2]);
/// assert_eq!(key!("users:<ids.as_slice()>").as_str(), "users:(1,2)");
/// ```
///
/// # Options
///
/// `Some(x)` is written as `x`, and `None` as an empty list. So a name that has an optional column
/// meets one that has its value. Two values of one type still never have one name: if `x` is
/// nothing but parentheses, as `None` and an empty list are, `Some(x)` has one pair more. So an
/// `Option` of an `Option`, of a list or of a set does not always meet what is in it.
/// [`registry::check`](crate::registry::check) finds where that could happen.
///
/// ```
/// use cache_runtime::key;
///
/// let (id, some, none) = (7, Some(7), None::<u64>);
/// assert_eq!(key!("assignee:<some>"), key!("assignee:<id>"));
/// assert_eq!(key!("assignee:<none>").as_str(), "assignee:()");
/// let (some_none, some_empty) = (Some(none), Some([0; 0]));
/// assert_eq!(key!("<some_none>:<some_empty>").as_str(), "(()):(())");
/// ```
///
/// # Sets and maps
///
/// A set is the list of its elements, in the order of their texts: neither the hasher nor the
/// kind of set matters. A map is the set of its pairs, so it is written as a set of the same pairs is.
/// A list is written in its own order: one of the same elements has the text of the set only if that
/// order is the same. To sort them, the texts of elements and pairs are made each time that the set or
/// the map is written, on a hit too. That is one allocation for each of them, and one more.
///
/// ```
/// use std::collections::{BTreeSet, HashMap, HashSet};
///
/// use cache_runtime::key;
///
/// let (hashed, ordered) = (HashSet::from([9, 10]), BTreeSet::from([9, 10]));
/// assert_eq!(key!("<hashed>").as_str(), "(10,9)");
/// assert_eq!(key!("<hashed>"), key!("<ordered>"));
/// let (map, pairs) = (HashMap::from([(9, 'b')]), HashSet::from([(9, 'b')]));
/// assert_eq!(key!("<map>").as_str(), "((9,'b'))");
/// assert_eq!(key!("<map>"), key!("<pairs>"));
/// ```
///
/// # Paths
///
/// Two paths that are equal are written alike: `a//b`, `a/./b` and `a/b/` as `a/b`. (On Windows, two
/// spellings of one prefix, such as `c:` and `C:`, are not.) The file system is not asked, so a link is
/// not its target. A path need not be UTF-8: a byte that belongs to no character is written `%XX`, and
/// since a percent sign is escaped too, no two paths share a key.
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
    note = "integers, `bool`, `char`, strings, `Option`, and tuples, lists, sets and maps of them can; a float can as `<x.ordered()>`, with `use cache_runtime::Float as _`",
    note = "for a type of your own, `#[derive(KeyPart)]`, or name a field or method in the placeholder: `<id.0>`",
    note = "types of the crates `chrono`, `jiff`, `rust_decimal`, `smol_str`, `time`, `ulid` and `uuid` can with the feature of `cache-runtime` that has the crate's name"
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
    output: Output<'a>,
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
    output: Output<'a>,
    empty: bool,
}

impl<'a> KeyWriter<'a> {
    #[inline(always)]
    pub(super) fn new(sink: Sink<'a>) -> Self {
        Self {
            output: Output::new(sink),
        }
    }

    #[inline(always)]
    pub(super) fn reborrow(&mut self) -> KeyWriter<'_> {
        KeyWriter {
            output: self.output.reborrow(),
        }
    }

    /// Literal text of a template.
    #[inline(always)]
    pub(super) fn literal(&mut self, text: &str) {
        self.output.sink().literal(text);
    }

    /// Writes a number: `42`, and negative ones quoted: `'-5'`, since a hyphen is also a separator.
    #[inline(always)]
    pub fn integer(mut self, value: impl Into<i128>) -> Written {
        let value = value.into();
        if let Ok(value) = u128::try_from(value) {
            self.unsigned(value)
        } else {
            self.output.sink().display(&value);
            Written(())
        }
    }

    #[inline(always)]
    pub(super) fn unsigned(mut self, value: u128) -> Written {
        if let Ok(value) = u64::try_from(value) {
            self.output.sink().number(value);
        } else {
            self.output.sink().wide_number(value);
        }
        Written(())
    }

    /// Writes text, in quotes: `'octocat'`.
    ///
    /// A quote, a percent sign, a brace or a control character is written `%XX`, so that no
    /// text can end its quotes, form a Redis Cluster hash tag or confuse a terminal.
    #[inline(always)]
    pub fn text(mut self, value: &str) -> Written {
        self.output.sink().text(value);
        Written(())
    }

    /// Writes a value that displays as text, in quotes, without making a `String` of it.
    pub(super) fn display(mut self, value: &dyn fmt::Display) -> Written {
        self.output.sink().display(value);
        Written(())
    }

    /// Writes text in quotes that comes in pieces, which may not be UTF-8. A byte that belongs to no
    /// character is written `%XX`.
    pub(super) fn pieces<'p>(mut self, pieces: impl Iterator<Item = &'p [u8]>) -> Written {
        self.output.sink().pieces(pieces);
        Written(())
    }

    /// Writes values that were rendered before.
    #[inline(always)]
    pub(super) fn rendered(mut self, values: &str) -> Written {
        self.output.rendered(values);
        Written(())
    }

    /// Writes the value in a `Some`.
    #[inline(always)]
    pub(super) fn some<K: KeyPart>(mut self, value: &K) -> Written {
        let mut parentheses = self.output.begin_some();
        let written = value.write(KeyWriter {
            output: self.output.in_some(parentheses.as_mut()),
        });
        self.output.end_some(parentheses);
        written
    }

    /// Writes several values as one, in parentheses: `(1,'a')`.
    #[inline(always)]
    pub fn list(mut self) -> ListWriter<'a> {
        self.output.open();
        ListWriter {
            output: self.output,
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
            self.output.sink().punctuation(b',');
        }
        self.empty = false;
        let _: Written = part.write(KeyWriter {
            output: self.output.reborrow(),
        });
        self
    }

    /// Closes the list.
    #[inline]
    pub fn end(mut self) -> Written {
        self.output.close();
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
