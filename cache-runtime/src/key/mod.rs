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
mod keys;
mod name;
mod optional;
mod ordered;
mod part;
mod path;
mod pattern;
mod receiver;
mod rendered;
pub(crate) mod short;
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
pub use self::keys::Keys;
pub(crate) use self::name::Names;
pub use self::name::{AndOfValue, Name, Parts};
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
/// A name may have any length but 0. Under an empty name nothing is cached: annotated functions run
/// as if they were not annotated, and the API by hand returns an [`Error`]. A server is given at most
/// [`Key::MAX_LEN`] bytes of a name.
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
    /// The longest name that is part of a key on a server as it is, in bytes.
    ///
    /// In the place of a longer name stands its beginning, with SHA-256 of the whole name. The entry has
    /// the whole name too, and is served for that name only. So a name of any length is cached,
    /// invalidated and fenced as others are. An entry takes at most 4 MiB with such a name.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::{Cache, Key, Options};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// let long = "x".repeat(Key::MAX_LEN + 1);
    /// cache.set(long.as_str(), &1, Options::new()).await?;
    /// assert_eq!(cache.get(long.as_str()).await?, Some(1));
    /// # Ok(()) }
    /// ```
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
        if self.0.is_empty() {
            return Err(Error::empty_key());
        }
        Ok(())
    }

    /// Whether a server is given a short form of this name.
    #[inline]
    pub(crate) fn is_long(&self) -> bool {
        self.0.len() > Self::MAX_LEN
    }

    /// What stands for this name on a server: the name itself or, if it is too long, its short form.
    ///
    /// In the shared tier, a name has its short form everywhere but in [`Query`](crate::tier::Query) and
    /// in the header of its entry. Another name may be equal to a short form. Then both have one
    /// slot, or one version: they replace each other's entries, and are invalidated and fenced
    /// together. Neither is served the other's entry, since the header has the whole name.
    pub(crate) fn on_server(&self) -> Cow<'_, Self> {
        match short::of(self.as_str()) {
            None => Cow::Borrowed(self),
            Some(short) => Cow::Owned(short.into()),
        }
    }
}

/// What stands for these names on a server.
pub(crate) fn on_server(names: &[Key]) -> Cow<'_, [Key]> {
    if names.iter().any(Key::is_long) {
        Cow::Owned(
            names
                .iter()
                .map(|name| name.on_server().into_owned())
                .collect(),
        )
    } else {
        Cow::Borrowed(names)
    }
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

impl From<&String> for Key {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

// What an iterator over `["users", "teams"]` yields.
impl From<&&str> for Key {
    fn from(text: &&str) -> Self {
        (*text).into()
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
