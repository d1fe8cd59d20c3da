//! The options of one entry in the API by hand.

use std::time::Duration;

use crate::clock;
use crate::codec::Codec;
use crate::error::Error;
use crate::freshness::Freshness;
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
    pub(crate) fresh: Option<Freshness>,
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

    /// Has the entry kept until it is invalidated or evicted: its ttl is a hundred years, of which jitter may
    /// take some. So it has a ttl all the same: a server may evict it whose `maxmemory-policy` is
    /// `volatile-lru` or the like, [`Cache::ttl`](crate::Cache::ttl) returns it, and the versions of its tags
    /// live as long. A copy in front of a server is kept for its own
    /// [`local_ttl`](crate::CacheBuilder::local_ttl).
    ///
    /// It is for data that changes only where the entry is invalidated. Where a change could be missed, a ttl
    /// bounds for how long.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::{Cache, Options};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// let options = Options::new().forever().tag("countries");
    /// cache.set("country:ch", &"Switzerland".to_owned(), options).await?;
    /// cache.invalidate(["countries"]).await?;
    /// assert!(!cache.exists("country:ch").await?);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn forever(self) -> Self {
        self.ttl(clock::FOREVER)
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

    /// Has one caller, in all processes, load the entry anew shortly before its ttl ends, while others are
    /// served it: see [`early_refresh`](macro@crate::cached#early_refresh). The larger `beta`, the sooner; 1.0
    /// is a good choice. With zero, less or NaN, no entry is refreshed early.
    ///
    /// The caller that refreshes loads in its own time, here and with
    /// [`stale_while_revalidate`](Self::stale_while_revalidate): a load that is given as a future cannot be
    /// left to a task. If it fails, this caller is served the entry, too.
    ///
    /// ```
    /// let options = cache_runtime::Options::new().early_refresh(1.0);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn early_refresh(self, beta: f64) -> Self {
        self.with(|fresh| fresh.early(beta))
    }

    /// Has an entry served for so long after its ttl, while one caller, in all processes, loads it anew: see
    /// [`stale_while_revalidate`](macro@crate::cached#stale_while_revalidate). For
    /// [`get_or_load`](crate::Cache::get_or_load), as this and the next two; [`set`](crate::Cache::set)
    /// keeps the entry for as long. An entry that was invalidated is not served.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use std::time::Duration;
    /// use cache_runtime::{Cache, Options};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// let options = Options::new()
    ///     .ttl(Duration::from_secs(60))
    ///     .stale_while_revalidate(Duration::from_secs(30));
    /// let news = async { Ok::<_, std::io::Error>("all is well".to_owned()) };
    /// assert_eq!(cache.get_or_load("news", options, news).await.unwrap(), "all is well");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn stale_while_revalidate(self, window: Duration) -> Self {
        self.with(|fresh| fresh.revalidate(window))
    }

    /// Has an entry served for so long after its ttl if a load fails, with whatever error: see
    /// [`stale_if_error`](macro@crate::cached#stale_if_error).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use std::time::Duration;
    /// use cache_runtime::{Cache, Options};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// let options = Options::new().stale_if_error(Duration::from_secs(3600));
    /// cache.set("rates", &1.07, options.clone()).await?;
    /// // What it holds may be old, and is still of use.
    /// cache.expire(["rates"]).await?;
    /// let load = async { Err::<f64, _>("the bank does not answer") };
    /// assert_eq!(cache.get_or_load("rates", options, load).await, Ok(1.07));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn stale_if_error(self, window: Duration) -> Self {
        self.with(|fresh| fresh.on_error(window))
    }

    /// Sets for how long a load that has failed, beside an entry that is still served, is not tried again.
    /// The default is the [cache's](crate::CacheBuilder::retry_after).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let options = cache_runtime::Options::new()
    ///     .stale_if_error(Duration::from_secs(3600))
    ///     .retry_after(Duration::from_secs(10));
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn retry_after(self, pause: Duration) -> Self {
        self.with(|fresh| fresh.retry_after(pause))
    }

    fn with(mut self, set: impl FnOnce(Freshness) -> Freshness) -> Self {
        self.fresh = Some(set(self.fresh.unwrap_or(Freshness::NONE)));
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
