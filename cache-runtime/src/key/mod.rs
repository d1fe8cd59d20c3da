//! Names of entries and tags, and why two different argument lists never share one.
//!
//! A name is literal text with values in it. A value is a run of digits that
//! stands alone (`user:42`), or it starts with a quote (`login:'octocat'`) or
//! with a parenthesis (`page:(1,2)`). The literal text of a template has no quote,
//! no parenthesis and no number that stands alone, and a separator stands between
//! it and a placeholder. The macros check this at compile time. So every name can
//! be read back in exactly one way: into its template and its values. Two arguments
//! of one type are two values. Those of different types may be one: `7` and `Some(7)`
//! are, since they are meant to meet.

#[cfg(any(feature = "chrono", feature = "jiff", feature = "time"))]
mod calendar;
pub mod checked_part;
mod hash;
mod name;
mod optional;
mod ordered;
mod part;
mod path;
mod pattern;
mod receiver;
mod rendered;
mod sink;
mod sorted;
mod tag;
#[cfg(test)]
mod text_of;
mod type_name;
mod types;

use std::borrow::Cow;
use std::fmt;

pub(crate) use self::hash::NameHashes;
pub(crate) use self::name::Names;
pub use self::name::{Name, Parts};
pub use self::ordered::{Float, Ordered};
pub use self::part::{KeyPart, KeyWriter, ListWriter, Written, part};
pub use self::pattern::Pattern;
pub use self::receiver::{OtherField, ReceiverField, receiver_field};
pub use self::rendered::RenderedPart;
pub use self::tag::{CacheTag, tag};
pub use self::type_name::TypeName;
use crate::error::Error;

/// The finished name of an entry or a tag.
///
/// Annotated functions make their keys from a template. The API by hand takes a key
/// made by [`key!`](crate::key), or any text. Text is taken as it stands: to
/// name the entry of an annotated function, use `key!` with the same template, or
/// write what the template renders to (`"user:42"`, `"login:'octocat'"`).
///
/// A name has at most [`Key::MAX_LEN`] bytes. Nothing is cached under a longer name
/// or an empty one: annotated functions run as if they were not annotated, and
/// the API by hand returns an [`Error`].
///
/// ```
/// use cache_runtime::{Key, key};
///
/// let login = "octocat";
/// assert_eq!(key!("login:<login>"), Key::from("login:'octocat'"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Cow<'static, str>);

impl Key {
    /// The longest name that is cached, in bytes.
    pub const MAX_LEN: usize = 8 * 1024;

    /// The text of this name, without the cache's namespace.
    ///
    /// ```
    /// assert_eq!(cache_runtime::Key::from("users").as_str(), "users");
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name without values: its text is the template's, and nothing is allocated.
    const fn literal(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        check_len(self.0.len())
            .then_some(())
            .ok_or_else(|| Error::key(&self.0))
    }
}

/// Whether a name of this many bytes may be cached.
pub(crate) fn check_len(len: usize) -> bool {
    (1..=Key::MAX_LEN).contains(&len)
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(Cow::Owned(text.to_owned()))
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl From<&Key> for Key {
    fn from(key: &Key) -> Self {
        key.clone()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}
