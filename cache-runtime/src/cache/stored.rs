//! What is stored, with its age; and the end of a ttl before its time.

use std::time::Duration;

use super::{Cache, CachedEntry};
use crate::call::scope;
use crate::error::Error;
use crate::key::{Key, Keys};
use crate::observe::Event;
use crate::tier::{About, Found, Store as _};
use crate::value::{CacheValue, Outcome, SharedValue};

/// A stored value, with what a response to a client says of it: from [`Cache::entry`], or
/// [`CachedEntry::stored`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
/// use std::time::Duration;
/// use cache_runtime::{Cache, Options};
///
/// let cache = Cache::builder().url("memory:").build()?;
/// cache.set("answer", &42_u32, Options::new().ttl(Duration::from_secs(60))).await?;
/// let entry = cache.entry::<u32>("answer").await?.expect("it was just set");
/// assert_eq!(entry.value, Some(42));
/// assert!(entry.remaining <= Duration::from_secs(60) && !entry.is_stale);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Entry<T> {
    /// The value; `None` if what is cached is a `None`.
    pub value: Option<T>,
    /// How long ago it was stored, to the millisecond; by the server's clock, on a server. `None` in the
    /// local tier, for a value of a function without options such as
    /// [`stale_while_revalidate`](macro@crate::cached#stale_while_revalidate).
    pub age: Option<Duration>,
    /// How long it is still fresh, to the millisecond; zero if its ttl has ended.
    pub remaining: Duration,
    /// Another one for each value that was ever stored: see [`etag`](Self::etag). Two calls that find the
    /// same value find the same stamp. ([`refresh`](crate::refresh()) draws a new one when it begins.)
    pub stamp: u64,
    /// Whether its ttl has ended. Then only the options of its function may have it served.
    pub is_stale: bool,
}

impl<T> Entry<T> {
    /// The stamp as the `ETag` of a response that is made of this value alone.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::{Cache, Options};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// cache.set("answer", &42_u32, Options::new()).await?;
    /// let tag = cache.entry::<u32>("answer").await?.map(|entry| entry.etag());
    /// assert_eq!(cache.entry::<u32>("answer").await?.map(|entry| entry.etag()), tag);
    /// cache.set("answer", &43_u32, Options::new()).await?;
    /// assert_ne!(cache.entry::<u32>("answer").await?.map(|entry| entry.etag()), tag);
    /// # Ok(()) }
    /// ```
    pub fn etag(&self) -> String {
        format!("\"{:016x}\"", self.stamp)
    }
}

impl Cache {
    /// Returns what is stored under `key`, with its age: also past its ttl, where its function's options
    /// have it kept for longer. `None` if there is no entry, if it was invalidated, or within
    /// [`after_commit`](crate::after_commit). It counts as neither a hit nor a miss.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// assert_eq!(cache.entry::<u32>("answer").await?, None);
    /// # Ok(()) }
    /// ```
    pub async fn entry<T: CacheValue>(
        &self,
        key: impl Into<Key>,
    ) -> Result<Option<Entry<T>>, Error> {
        let key = key.into();
        let found = self.core.failed(self.find_at_any_age(&key).await)?;
        self.core.failed(opened(&key, found))
    }

    async fn find_at_any_age(&self, key: &Key) -> Result<Option<(Found, About)>, Error> {
        key.check()?;
        if scope::is_uncommitted() {
            return Ok(None);
        }
        self.core.tier.find_at_any_age(key).await
    }

    /// Ends the ttl of the entries under these keys: what they hold may be old, and is still of use. What
    /// [`stale_while_revalidate`](macro@crate::cached#stale_while_revalidate) and
    /// [`stale_if_error`](macro@crate::cached#stale_if_error) allow from the end of a ttl on is allowed from
    /// now on: the next call refreshes an entry, and others are served it meanwhile. An entry of a function
    /// without these options is removed. What is being loaded is not stored.
    ///
    /// This is a weaker word than [`invalidate`](Self::invalidate), after which nothing old is served.
    /// It is about keys only: an entry that carries one of these names as a tag is left alone.
    ///
    /// Within [`after_commit`](crate::after_commit), the keys are invalidated when the scope ends.
    ///
    /// # Errors
    ///
    /// * If the server does not answer, or not all was carried out. Then the keys are invalidated, as
    ///   soon as the server allows it, as after an error of [`invalidate`](Self::invalidate).
    /// * If a key is invalid ([`Error::is_key`]). Then none is expired.
    ///
    /// # Cancellation
    ///
    /// If this future is dropped, some of the entries may be as they were.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::Cache;
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// cache.expire(["front-page"]).await?;
    /// # Ok(()) }
    /// ```
    pub async fn expire(&self, keys: impl Keys) -> Result<(), Error> {
        let keys: Vec<Key> = keys.into_iter().map(Into::into).collect();
        keys.iter().try_for_each(Key::check)?;
        if keys.is_empty() || scope::hold_names(&self.core, &keys) {
            return Ok(());
        }
        let core = &self.core;
        match core.tier.expire(&keys).await {
            Ok(()) => {
                core.observer.observe(None, Event::Expire { keys: &keys });
                Ok(())
            }
            Err(error) => {
                core.invalidate_later(&keys);
                core.failed(Err(error))
            }
        }
    }
}

impl CachedEntry {
    /// Returns what is stored under the call's key, with its age, if the call's function may be served it at
    /// some age: as [`Cache::entry`], and only where the entry has the tags, the schema version and the type
    /// of the call.
    ///
    /// # Errors
    ///
    /// As [`Cache::get`].
    ///
    /// ```
    /// # use cache_runtime::{CachedEntry, cached};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// #[cached(key = "square:<n>", ttl = 60, stale_while_revalidate = 30)]
    /// async fn square(n: u64) -> u64 { n * n }
    ///
    /// square(7).await;
    /// let entry = CachedEntry::of(square(7))?.stored::<u64>().await?.expect("it is stored");
    /// assert_eq!(entry.value, Some(49));
    /// assert!(entry.age.is_some() && !entry.is_stale);
    /// # Ok(()) }
    /// ```
    pub async fn stored<T: CacheValue>(&self) -> Result<Option<Entry<T>>, Error> {
        let core = &self.cache().core;
        let found = core.failed(self.cache().find_at_any_age(self.key()).await)?;
        let found = found.filter(|(found, _)| self.is_served(found));
        core.failed(opened(self.key(), found))
    }
}

fn opened<T: CacheValue>(
    key: &Key,
    found: Option<(Found, About)>,
) -> Result<Option<Entry<T>>, Error> {
    let Some((mut found, about)) = found else {
        return Ok(None);
    };
    let share = |outcome: &Outcome<T>| std::sync::Arc::new(outcome.clone()) as SharedValue;
    let outcome = found.outcome(key, share)?;
    Ok(Some(Entry {
        value: outcome.into_value(),
        age: about.age,
        remaining: about.remaining,
        stamp: about.stamp,
        is_stale: about.remaining.is_zero(),
    }))
}
