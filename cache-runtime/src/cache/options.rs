//! The options of one entry in the API by hand.

use std::time::Duration;

use crate::codec::Codec;
use crate::error::Error;
use crate::key::Key;

/// The options with which [`Cache::get_or_load`](crate::Cache::get_or_load) and
/// [`Cache::set`](crate::Cache::set) store an entry.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
/// use std::time::Duration;
/// use cache_runtime::{Cache, Options};
///
/// let cache = Cache::builder().url("memory:").build()?;
/// let options = Options::new().ttl(Duration::from_secs(60)).tag("users");
/// cache.set("user:42", &"Ada".to_owned(), options).await?;
///
/// cache.invalidate(["users"]).await?;
/// assert_eq!(cache.get::<String>("user:42").await?, None);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub(crate) ttl: Option<Duration>,
    pub(crate) local_ttl: Option<Duration>,
    pub(crate) tags: Vec<Key>,
    pub(crate) codec: Option<Codec>,
}

impl Options {
    /// Options with the cache's default ttl and codec, and no tags.
    ///
    /// ```
    /// let options = cache_runtime::Options::new();
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long this process may keep a copy of what a server holds: see
    /// [`CacheBuilder::local_ttl`](crate::CacheBuilder::local_ttl). With zero, none is kept. For
    /// [`get_or_load`](crate::Cache::get_or_load); `get` always asks the server.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let options = cache_runtime::Options::new().local_ttl(Duration::from_secs(10));
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn local_ttl(mut self, ttl: Duration) -> Self {
        self.local_ttl = Some(ttl);
        self
    }

    /// Sets the longest that the entry may be served. Jitter makes it shorter, never longer. With
    /// zero, `set` returns an error, and `get_or_load` stores nothing.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let options = cache_runtime::Options::new().ttl(Duration::from_secs(60));
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Adds a tag. The entry is no longer served once one of its tags is invalidated.
    ///
    /// ```
    /// let options = cache_runtime::Options::new().tag("users").tag("staff");
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn tag(mut self, tag: impl Into<Key>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Sets how the value is written on a server. The default is the [cache's
    /// codec](crate::CacheBuilder::codec). An entry that exists already is read as it was written.
    ///
    /// ```
    /// use cache_runtime::{Codec, Options};
    ///
    /// let options = Options::new().codec(Codec::JSON);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = Some(codec);
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.ttl == Some(Duration::ZERO) {
            return Err(Error::config(
                "the ttl is zero, so the entry could never be served; leave it out for the cache's default",
            ));
        }
        self.tags.iter().try_for_each(Key::check)
    }
}
