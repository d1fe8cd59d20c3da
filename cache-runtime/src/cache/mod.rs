//! The [`Cache`] handle, and the API by hand.

mod as_cache;
mod builder;
mod global;
mod options;
mod stats;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

pub use self::as_cache::AsCache;
pub use self::builder::CacheBuilder;
pub(crate) use self::global::global_or_off;
pub use self::global::{global, install};
pub use self::options::Options;
pub use self::stats::{SiteStats, Stats};
use crate::call::load::{Keep, Request};
use crate::call::repeat;
use crate::call::scope;
use crate::call::shape::ResultOf;
use crate::clock;
use crate::codec::{Codec, Reason};
use crate::core::Core;
use crate::error::Error;
use crate::health::Health;
use crate::key::Key;
use crate::observe::{Event, NotFilled};
use crate::tier::{Encoded, Filling, Found, Storable, Store as _};
use crate::value::{CacheValue, Outcome, SharedValue};

/// A cache: the store behind annotated functions, and the same by hand.
///
/// A handle; cloning it is cheap, and all clones are one cache. Annotated
/// functions use the [global](global) one unless they say `cache = …`.
///
/// The methods here report what went wrong as an [`Error`], so that a program
/// can know; only [`get_or_load`](Self::get_or_load) behaves like an annotated
/// function and never does.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
/// use cache_runtime::{Cache, Options};
///
/// let cache = Cache::builder().url("memory:").build()?;
/// cache.set("greeting", &"hello".to_owned(), Options::new()).await?;
/// assert_eq!(cache.get::<String>("greeting").await?.as_deref(), Some("hello"));
/// # Ok(()) }
/// ```
///
/// # Cancellation
///
/// Every future of a cache may be dropped at any time: another caller takes
/// over a load, a lease is given back, and the invalidation of an annotated function
/// goes on in the background, as does that of [`invalidate`](Self::invalidate).
#[derive(Clone)]
pub struct Cache {
    core: Arc<Core>,
}

impl Cache {
    pub(crate) fn new(core: Core) -> Self {
        Self {
            core: Arc::new(core),
        }
    }

    /// A cache that stores nothing.
    fn off() -> Self {
        CacheBuilder::default().off()
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Starts building a cache. Does not read the environment.
    ///
    /// ```
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// # let _ = cache;
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn builder() -> CacheBuilder {
        CacheBuilder::default()
    }

    /// A cache with the settings of the environment: see [`CacheBuilder::from_env`].
    ///
    /// # Errors
    ///
    /// If a variable holds what it must not.
    ///
    /// ```
    /// let cache = cache_runtime::Cache::from_env()?;
    /// # let _ = cache;
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn from_env() -> Result<Self, Error> {
        CacheBuilder::from_env()?.build()
    }

    /// The value under `key`, or else what `load` yields, which is then cached:
    /// what an annotated function does, by hand.
    ///
    /// # Errors
    ///
    /// Those of `load` only. If the cache fails, `load` runs and its result is returned.
    ///
    /// # Concurrent calls
    ///
    /// Callers of one key share one load, in this process and, on the shared
    /// tier, in all. A load that fails is not shared: the others load for themselves.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::{Cache, Options, key};
    ///
    /// async fn read_from_database(id: u64) -> Result<String, std::io::Error> {
    ///     Ok(format!("user {id}"))
    /// }
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// let id = 42;
    /// let user = cache
    ///     .get_or_load(key!("user:<id>"), Options::new().tag("users"), read_from_database(id))
    ///     .await;
    /// assert_eq!(user.unwrap(), "user 42");
    /// # Ok(()) }
    /// ```
    pub async fn get_or_load<T, E, F>(
        &self,
        key: impl Into<Key>,
        options: Options,
        load: F,
    ) -> Result<T, E>
    where
        T: CacheValue,
        F: Future<Output = Result<T, E>>,
    {
        let request = Request {
            core: self.core.clone(),
            site: None,
            key: key.into(),
            tags: options.tags,
            ttl: options.ttl,
            none_ttl: None,
            codec: options.codec,
            schema: 0,
        };
        request
            .get_or_load::<ResultOf<T, E>, _>(|_| Keep::Default, pin!(load))
            .await
    }

    /// The value under `key`, if there is one.
    ///
    /// # Errors
    ///
    /// If the cache fails, or holds a value of another form under this key
    /// ([`Error::is_codec`]).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// assert_eq!(cache.get::<u32>("answer").await?, None);
    /// # Ok(()) }
    /// ```
    pub async fn get<T: CacheValue>(&self, key: impl Into<Key>) -> Result<Option<T>, Error> {
        let key = key.into();
        let found = self.find::<T>(&key).await;
        let observer = &self.core.observer;
        match &found {
            Ok(Some(_)) => observer.hit(None, || key),
            Ok(None) => observer.observe(None, Event::Miss { key: &key }),
            Err(error) => {
                observer.observe(None, Event::Miss { key: &key });
                observer.observe(None, Event::Fail { error });
            }
        }
        found
    }

    async fn find<T: CacheValue>(&self, key: &Key) -> Result<Option<T>, Error> {
        let Some(mut found) = self.look_up(key).await? else {
            return Ok(None);
        };
        // This reader shares no bytes with others, so nothing is copied for them.
        let share = |outcome: &Outcome<T>| Arc::new(outcome.clone()) as SharedValue;
        found.outcome(key, share).map(Outcome::into_value)
    }

    /// The entry of a key that may be served here: not in a scope that changes what it depends on.
    async fn look_up(&self, key: &Key) -> Result<Option<Found>, Error> {
        key.check()?;
        let found = self.core.tier.get(key).await?;
        let is_committed = |found: &Found| {
            !scope::is_open() || !scope::distrusts(&self.core, found.tags().iter().chain([key]))
        };
        Ok(found.filter(is_committed))
    }

    /// Stores a value, whatever is there. A load that is under way does not store over it.
    ///
    /// What is stored is what the caller holds, however old it is: an
    /// invalidation between reading it and this call goes unnoticed. Prefer
    /// [`get_or_load`](Self::get_or_load) for data that others change.
    ///
    /// Behind a [fence](macro@crate::cache_invalidate#fence) around `key` or a tag, nothing is
    /// stored; nor is what [`after_commit`](crate::after_commit) has under way. Then what was there is
    /// not served any longer either.
    ///
    /// # Errors
    ///
    /// If the cache fails, the ttl is zero, a name cannot be, or the value cannot be encoded.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::{Cache, Options};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// cache.set("answer", &42, Options::new()).await?;
    /// assert_eq!(cache.get::<i32>("answer").await?, Some(42));
    /// # Ok(()) }
    /// ```
    pub async fn set<T: CacheValue>(
        &self,
        key: impl Into<Key>,
        value: &T,
        options: Options,
    ) -> Result<(), Error> {
        let key = key.into();
        key.check()?;
        options.check()?;
        let core = &self.core;
        let ttl = options.ttl.unwrap_or(core.settings.default_ttl);
        let ttl = clock::jittered(ttl, core.settings.jitter);
        // Inside `after_commit` nothing is stored; the key is invalidated when the scope ends.
        if scope::distrusts(core, options.tags.iter().chain([&key])) {
            scope::hold_names(core, std::slice::from_ref(&key));
            let why = NotFilled::Uncommitted;
            core.observer
                .observe(None, Event::NotFilled { key: &key, why });
            return Ok(());
        }
        let filling = Filling {
            value: &Given(value),
            ttl: Some(ttl),
            cost: Duration::ZERO,
            codec: options.codec.unwrap_or(core.settings.codec),
        };
        let set = core.tier.set(&key, &options.tags, &filling).await;
        let event = if core.failed(set)? {
            Event::Fill { key: &key, ttl }
        } else {
            Event::NotFilled {
                key: &key,
                why: NotFilled::Unleased,
            }
        };
        core.observer.observe(None, event);
        Ok(())
    }

    /// Removes the entry under `key`, and keeps a load of it that is under way
    /// from storing; whether something was there. Entries that carry `key` as a
    /// tag stay: see [`invalidate`](Self::invalidate).
    ///
    /// # Errors
    ///
    /// If the cache fails, or the name cannot be.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::{Cache, Options};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// cache.set("answer", &42, Options::new()).await?;
    /// assert!(cache.delete("answer").await?);
    /// assert!(!cache.delete("answer").await?);
    /// # Ok(()) }
    /// ```
    pub async fn delete(&self, key: impl Into<Key>) -> Result<bool, Error> {
        let key = key.into();
        key.check()?;
        let deleted = self.core.failed(self.core.tier.delete(&key).await)?;
        self.core
            .observer
            .observe(None, Event::Delete { key: &key });
        Ok(deleted)
    }

    /// Whether there is an entry under `key` that would be served.
    ///
    /// # Errors
    ///
    /// If the cache fails, or the name cannot be.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// assert!(!cache.exists("answer").await?);
    /// # Ok(()) }
    /// ```
    pub async fn exists(&self, key: impl Into<Key>) -> Result<bool, Error> {
        let key = key.into();
        key.check()?;
        let found = self.core.failed(self.look_up(&key).await)?;
        Ok(found.is_some())
    }

    /// How long the entry under `key` will still be served, at most; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If the cache fails, or the name cannot be.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use std::time::Duration;
    /// use cache_runtime::{Cache, Options};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// cache.set("answer", &42, Options::new().ttl(Duration::from_secs(60))).await?;
    /// assert!(cache.ttl("answer").await? <= Some(Duration::from_secs(60)));
    /// # Ok(()) }
    /// ```
    pub async fn ttl(&self, key: impl Into<Key>) -> Result<Option<Duration>, Error> {
        let key = key.into();
        key.check()?;
        match self.core.failed(self.look_up(&key).await)? {
            None => Ok(None),
            Some(_) => self.core.failed(self.core.tier.remaining(&key).await),
        }
    }

    /// Invalidates names: for each, the entry whose key it is and every entry
    /// that carries it as a tag. Once it has returned, no read that begins later
    /// gets what was loaded before it, not even from a load that is under way.
    ///
    /// Within [`after_commit`](crate::after_commit) it is carried out when that has ended.
    ///
    /// # Errors
    ///
    /// If the server did not carry it out. Then the names are kept: reads of them in this
    /// process load, and store nothing, until the invalidation was repeated, which the
    /// cache does as soon as the server lets it; other processes may serve old data until
    /// then. Or if a name cannot be; the others are invalidated all the same.
    ///
    /// # Cancellation
    ///
    /// Dropped before it is done, it goes on in the background, as after an error.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::{Cache, Options, key};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// cache.set("user:42", &"Ada".to_owned(), Options::new()).await?;
    /// let id = 42;
    /// cache.invalidate([key!("user:<id>"), "users".into()]).await?;
    /// assert!(!cache.exists("user:42").await?);
    /// # Ok(()) }
    /// ```
    pub async fn invalidate(
        &self,
        names: impl IntoIterator<Item = impl Into<Key>>,
    ) -> Result<(), Error> {
        let mut result = Ok(());
        let mut keys = Vec::new();
        for name in names {
            let name = name.into();
            match name.check() {
                Ok(()) => keys.push(name),
                Err(error) => result = Err(error),
            }
        }
        if !scope::hold_names(&self.core, &keys) {
            self.core.invalidate(&keys).await?;
        }
        result
    }
    /// Removes every entry of this cache's namespace, as if each had been
    /// invalidated. On the shared tier, that of all processes.
    ///
    /// # Errors
    ///
    /// If the cache fails; then some entries may be left.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::{Cache, Options};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// cache.set("answer", &42, Options::new()).await?;
    /// cache.clear().await?;
    /// assert!(!cache.exists("answer").await?);
    /// # Ok(()) }
    /// ```
    pub async fn clear(&self) -> Result<(), Error> {
        self.core.failed(self.core.tier.clear().await)?;
        self.core.observer.observe(None, Event::Clear);
        Ok(())
    }

    /// Asks the server whether it can be reached, and read and written: for start-up, where
    /// a program would rather know than run without a cache. Without a server, it can.
    ///
    /// # Errors
    ///
    /// What is wrong: [`Error::is_unavailable`] or [`Error::is_refused`]. Calls are misses as
    /// long as it is.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// cache.ping().await?;
    /// # Ok(()) }
    /// ```
    pub async fn ping(&self) -> Result<(), Error> {
        self.core.failed(self.core.tier.ping().await)
    }

    /// How this cache is doing, as its last requests found it. Asks nobody.
    ///
    /// ```
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// assert!(cache.health().status.is_working());
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn health(&self) -> Health {
        let waiting = self.core.tier.waiting();
        Health {
            status: self.core.tier.status(),
            waiting: waiting.names + self.core.unsettled.len(),
            overflowed: waiting.everything,
        }
    }

    /// Waits, at most for `limit`, until every invalidation was carried out: for an orderly
    /// shutdown. Those that are to be repeated some time after an update that failed are
    /// repeated now.
    ///
    /// What this cache still keeps when the program ends is lost: other processes may serve
    /// what it named until its ttl ends. A cache that is dropped says so, as a `tracing` error.
    ///
    /// # Errors
    ///
    /// If some could not be carried out; they are still kept.
    ///
    /// # Cancellation
    ///
    /// Dropped, it leaves what it has not done yet to the background.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # use std::time::Duration;
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// cache.flush(Duration::from_secs(5)).await?;
    /// # Ok(()) }
    /// ```
    pub async fn flush(&self, limit: Duration) -> Result<(), Error> {
        repeat::settle_now(&self.core);
        self.core.failed(self.core.tier.flush(limit).await)
    }

    /// What this cache has done so far, in this process.
    ///
    /// ```
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// assert_eq!(cache.stats().hits, 0);
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn stats(&self) -> Stats {
        let entries = self.core.tier.entries();
        Stats::of(&self.core.observer, entries)
    }
}

/// A value of the manual API, in both of the forms in which stores keep one.
struct Given<'a, T>(&'a T);

impl<T: CacheValue> Storable for Given<'_, T> {
    fn share(&self) -> SharedValue {
        Arc::new(Outcome::Value(self.0.clone()))
    }

    fn encode(&self, codec: Codec) -> Result<Encoded, Reason> {
        codec.encode(self.0).map(Encoded::Value)
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("tier", &self.core.tier.name())
            .field("default_ttl", &self.core.settings.default_ttl)
            .finish_non_exhaustive()
    }
}
