//! The [`Cache`] handle, and the API by hand.

mod as_cache;
mod builder;
mod bypass;
mod connect;
mod diagnose;
mod entry;
mod environment;
mod global;
mod inspect;
mod many;
mod matching;
#[cfg(feature = "metrics")]
mod metrics;
mod on_drop;
mod options;
mod prefix;
mod refresh;
mod stats;
mod stored;
mod with_cache;

use std::fmt;
use std::pin::pin;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

pub use self::as_cache::AsCache;
pub use self::builder::CacheBuilder;
pub use self::bypass::bypass;
pub use self::entry::{CachedEntry, Yields, prime};
pub(crate) use self::global::global_or_off;
pub use self::global::{global, install};
pub use self::on_drop::InvalidateOnDrop;
pub use self::options::Options;
pub use self::prefix::Scope;
pub use self::refresh::{refresh, refresh_all};
pub use self::stats::{SiteStats, Stats};
pub use self::stored::Entry;
pub use self::with_cache::{DefaultCache, default_cache, with_cache};
use crate::call::compare::{self, Compare};
use crate::call::fresh;
use crate::call::repeat;
use crate::call::request::{Defaults, Keep, Request};
use crate::call::scope;
use crate::call::shape::ResultOf;
use crate::clock;
use crate::codec::{Codec, Reason};
use crate::context::mode::{self, Mode};
use crate::core::Core;
use crate::error::Error;
use crate::health::Health;
use crate::key::{Key, Keys};
use crate::missed::MissReason;
use crate::observe::{Event, NotFilledReason};
use crate::tier::{Encoded, Filled, Filling, Found, Query, Storable, Store as _};
use crate::value::{CacheValue, Outcome, SharedValue};
use crate::weigher::Weigher;

/// A cache: where annotated functions keep their results, with methods for use by hand.
///
/// This is a handle. Cloning it is cheap, and all clones are one cache. Annotated functions use
/// the [global](global) cache unless they say `cache = …`.
///
/// The methods report a failure of the cache as an [`Error`], except for
/// [`get_or_load`](Self::get_or_load): like an annotated function, it goes on without the cache.
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
/// Every future of a cache may be dropped at any time. A waiter takes over the load of a caller
/// that is dropped; without waiters, the lease is given back. An invalidation goes on in the
/// background. A request that is dropped may or may not be carried out by the server.
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

    /// Starts to build a cache. The environment is not read.
    ///
    /// ```
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// # let _ = cache;
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn builder() -> CacheBuilder {
        CacheBuilder::default()
    }

    /// Builds a cache with the settings of the environment: see [`CacheBuilder::from_env`].
    ///
    /// # Errors
    ///
    /// If a variable holds an invalid value. The error names the variable.
    ///
    /// ```
    /// let cache = cache_runtime::Cache::from_env()?;
    /// # let _ = cache;
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn from_env() -> Result<Self, Error> {
        CacheBuilder::from_env()?.build()
    }

    /// Returns the value under `key`. If there is none, runs `load`, caches what it yields, and
    /// returns it: what an annotated function does, by hand.
    ///
    /// If `load` is not needed, it is dropped without being polled. Nothing is cached if the ttl
    /// is zero, or if `key` or a tag is invalid. Within [`after_commit`](crate::after_commit) and
    /// [`bypass`](crate::bypass), `load` runs, and the cache is neither asked nor filled. Within
    /// [`refresh_all`](crate::refresh_all), `load` runs whatever is stored.
    ///
    /// Unlike in an annotated function, a `None` is a value as any other: `Ok(None)` is cached for the ttl,
    /// and served as `None`.
    ///
    /// # Errors
    ///
    /// Those of `load` only. If the cache fails, `load` runs, and its result is returned.
    ///
    /// # Cancellation
    ///
    /// If this future is dropped, or `load` panics, one of the callers that wait for this load runs
    /// its own `load` for all of them.
    ///
    /// # Concurrent calls
    ///
    /// Callers of one key share one load, in this process and, on the shared tier, in all
    /// processes. A load that fails is not shared: each caller that waited for it loads for itself.
    /// (A `#[cached]` function shares an error that is `Clone + Send + Sync + 'static`. This method
    /// takes any `E`, and the compiler cannot tell here whether it can be cloned.)
    ///
    /// This future holds an error while it looks for an old value, if the options ask for that. So it is
    /// `Send` only if `E` is.
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
        let mode = mode::current();
        let load = pin!(load);
        if mode == Some(Mode::Bypass) {
            return load.await;
        }
        let settings = &self.core.settings;
        let ttl = options.ttl.unwrap_or(settings.default_ttl);
        let query = Query {
            local_ttl: options.local_ttl.unwrap_or(settings.local_ttl),
            fresh: options.fresh,
            ..Query::by_hand(key.into(), options.tags, ttl)
        };
        let request = Request {
            codec: options.codec,
            compare: compare::by_calls_to_serde::<T>,
            is_refresh: mode == Some(Mode::Refresh),
            defaults: Defaults {
                cache: false,
                ttl: options.ttl.is_none(),
            },
            ..Request::new(self.core.clone(), query)
        };
        if let Some(fresh) = request.query.fresh {
            let excuses = |returned: &Result<T, E>| fresh.excuses() && returned.is_err();
            let answer = fresh::get_or_load::<ResultOf<T, E>, _>(
                &request,
                |_: &T| Keep::Default,
                excuses,
                load,
            );
            // Rare, and large: the future of each call has room for it.
            return Box::pin(answer).await;
        }
        request
            .get_or_load::<ResultOf<T, E>, _>(|_: &T| Keep::Default, load)
            .await
    }

    /// Returns the value under `key`; `None` if there is no entry, and within
    /// [`after_commit`](crate::after_commit).
    ///
    /// A `None` that an annotated function has cached, by its `none_ttl`, is `None` here too:
    /// [`exists`](Self::exists) tells it from no entry. A `None` that [`set`](Self::set) or
    /// [`get_or_load`](Self::get_or_load) has stored is a value of the type `Option<T>`, and is read as
    /// that: `get::<Option<T>>` returns `Some(None)`.
    ///
    /// Read a value as the type that was stored. Without a server, a `T` and an `Arc<T>` are two types, and
    /// one is not read as the other. On a server they are the same bytes, and either is read as the other.
    ///
    /// # Errors
    ///
    /// If the cache fails, the key is invalid ([`Error::is_key`]), or the entry's value is of
    /// another type or cannot be decoded ([`Error::is_codec`]).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use std::sync::Arc;
    /// use cache_runtime::{Cache, Options};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// assert_eq!(cache.get::<u32>("answer").await?, None);
    ///
    /// cache.set("answer", &None::<u32>, Options::new()).await?;
    /// assert_eq!(cache.get::<Option<u32>>("answer").await?, Some(None));
    ///
    /// cache.set("answer", &Arc::new(42_u32), Options::new()).await?;
    /// assert_eq!(cache.get::<Arc<u32>>("answer").await?.as_deref(), Some(&42));
    /// assert!(cache.get::<u32>("answer").await.is_err_and(|error| error.is_codec()));
    /// # Ok(()) }
    /// ```
    pub async fn get<T: CacheValue>(&self, key: impl Into<Key>) -> Result<Option<T>, Error> {
        let key = key.into();
        let found = self.look_up(&key).await;
        self.read(&key, found)
    }

    /// The value of an entry that was looked up, or `None`. It counts.
    fn read<T: CacheValue>(
        &self,
        key: &Key,
        found: Result<Option<Found>, Error>,
    ) -> Result<Option<T>, Error> {
        // The copy for the other readers of the same bytes, if this read shared a batch with them.
        let share = |outcome: &Outcome<T>| Arc::new(outcome.clone()) as SharedValue;
        let mut is_from_server = false;
        let decode = |mut found: Found| {
            is_from_server = found.is_from_server();
            found.outcome(key, share).map(Outcome::into_value)
        };
        let read = found.and_then(|found| found.map_or(Ok(None), decode));
        let observer = &self.core.observer;
        match &read {
            Ok(Some(_)) => {
                observer.hit(None, || key.clone());
                if is_from_server {
                    observer.hit_at_server(None);
                }
            }
            Ok(None) => {
                let is_asked = !scope::is_uncommitted() && !self.core.tier.is_off();
                let why = if is_asked {
                    MissReason::Absent
                } else {
                    MissReason::Bypassed
                };
                observer.observe(None, Event::Miss { key, why });
            }
            Err(error) => {
                let why = if error.is_codec() {
                    MissReason::Unreadable
                } else {
                    MissReason::Unavailable
                };
                observer.observe(None, Event::Miss { key, why });
                observer.observe(None, Event::Fail { error });
            }
        }
        read
    }

    /// The entry of a key, if it may be served; none within a scope of `after_commit`.
    async fn look_up(&self, key: &Key) -> Result<Option<Found>, Error> {
        key.check()?;
        if scope::is_uncommitted() {
            return Ok(None);
        }
        self.core.tier.get(key).await
    }

    /// Stores a value under `key`, in the place of any other.
    ///
    /// The value may be older than an invalidation: one that comes between reading the data and
    /// this call has no effect on it. One that begins after this call has ended, also with an error,
    /// removes the value, and so may one that comes meanwhile. For data that others change, prefer
    /// [`get_or_load`](Self::get_or_load).
    ///
    /// Three cases are no error, though the value is not stored. If a
    /// [fence](macro@crate::cache_invalidate#fence) stands around `key` or a tag, the entry that
    /// was there is removed. If an invalidation, a load or another `set` of `key` comes meanwhile,
    /// on a server, that one may prevail; so may an earlier `set` that gave up. Within
    /// [`after_commit`](crate::after_commit), nothing is stored, and `key` is invalidated when the
    /// scope ends.
    ///
    /// # Errors
    ///
    /// If the cache fails, the ttl is zero, a name is invalid, or the value cannot be encoded.
    /// After a failure of the server, the value may have been stored.
    ///
    /// # Concurrent calls
    ///
    /// A load of `key` that is under way does not store over the value.
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
        let settings = &self.core.settings;
        let ttl = options.ttl.unwrap_or(settings.default_ttl);
        let query = Query {
            fresh: options.fresh,
            ..Query::by_hand(key, options.tags, ttl)
        };
        let ttl = clock::jittered(ttl, settings.jitter);
        let codec = options.codec.unwrap_or(settings.codec);
        self.store(&query, &SetValue(value), &[], codec, Some(ttl))
            .await
    }

    /// Stores a value that no load yielded, for `ttl`. Without that, it is not to be stored; the entry
    /// that is there is older, and is removed. `tags` are those that the value has told; the query has
    /// them, too.
    async fn store(
        &self,
        query: &Query,
        value: &dyn Storable,
        tags: &[Key],
        codec: Codec,
        ttl: Option<Duration>,
    ) -> Result<(), Error> {
        let (core, key) = (&self.core, &query.key);
        let observe = |event| core.observer.observe(query.site, event);
        let not_filled = |why| observe(Event::NotFilled { key, why });
        // The value may be rolled back. If it is committed, the entry that is there is the old one.
        if scope::is_uncommitted() {
            scope::hold_names(core, slice::from_ref(key));
            not_filled(NotFilledReason::Uncommitted);
            return Ok(());
        }
        let Some(ttl) = ttl else {
            // Rare, and large: the future of each `set` has room for it.
            core.failed(Box::pin(core.tier.delete(key)).await)?;
            not_filled(NotFilledReason::Unwanted);
            return Ok(());
        };
        let filling = Filling {
            value,
            tags,
            cost: Duration::ZERO,
            codec,
            is_checked: core.settings.check_values,
        };
        match core.failed(core.tier.set(query, &filling, ttl).await)? {
            Filled::Stored(ttl) => observe(Event::Fill { key, ttl }),
            Filled::Overtaken => not_filled(NotFilledReason::Overtaken),
            Filled::TooHeavy => not_filled(NotFilledReason::TooHeavy),
            _ => not_filled(NotFilledReason::Unstorable),
        }
        Ok(())
    }

    /// Removes the entry under `key`, and returns whether there was one. Entries that carry `key`
    /// as a tag stay: see [`invalidate`](Self::invalidate). So does a
    /// [fence](macro@crate::cache_invalidate#fence).
    ///
    /// On the shared tier, an entry that is not served any more counts too, as does a load that is
    /// under way: both are something on the server. Within [`after_commit`](crate::after_commit),
    /// the entry is removed at once, and `key` is invalidated when the scope ends: until then, another
    /// caller may store what is about to be replaced.
    ///
    /// # Errors
    ///
    /// If the cache fails, or the key is invalid. After a failure, the entry may still be there.
    ///
    /// # Concurrent calls
    ///
    /// A load of `key` that is under way does not store its value.
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
        scope::hold_names(&self.core, slice::from_ref(&key));
        let deleted = self.core.failed(self.core.tier.delete(&key).await)?;
        self.core.observer.observe(
            None,
            Event::Delete {
                key: &key,
                existed: deleted,
            },
        );
        Ok(deleted)
    }

    /// Returns whether there is an entry under `key` that may be served. It counts as neither a hit
    /// nor a miss. Within [`after_commit`](crate::after_commit), no entry may be served.
    ///
    /// # Errors
    ///
    /// If the cache fails, or the key is invalid.
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

    /// Returns whether the entry under `key` may be served, and holds this value. An entry that holds a `None`
    /// holds no value. It counts as neither a hit nor a miss. Within
    /// [`after_commit`](crate::after_commit), no entry may be served.
    ///
    /// # Errors
    ///
    /// If the cache fails, the key is invalid ([`Error::is_key`]), or the entry's value is of another type or
    /// cannot be decoded ([`Error::is_codec`]).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::{Cache, Options};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// assert!(!cache.exists_with("answer", &42).await?);
    /// cache.set("answer", &42, Options::new()).await?;
    /// assert!(cache.exists_with("answer", &42).await?);
    /// assert!(!cache.exists_with("answer", &7).await?);
    /// # Ok(()) }
    /// ```
    pub async fn exists_with<T: CacheValue + PartialEq>(
        &self,
        key: impl Into<Key>,
        value: &T,
    ) -> Result<bool, Error> {
        let key = key.into();
        let found = self.look_up(&key).await;
        let share = |outcome: &Outcome<T>| Arc::new(outcome.clone()) as SharedValue;
        let held = found.and_then(|found| {
            let outcome = found.map(|mut found| found.outcome(&key, share));
            outcome.transpose()
        });
        let held = self.core.failed(held)?.and_then(Outcome::into_value);
        Ok(held.is_some_and(|held| held == *value))
    }

    /// Returns the longest that the entry under `key` may still be served, to the millisecond;
    /// `None` if there is no entry that may be served, and within
    /// [`after_commit`](crate::after_commit).
    ///
    /// # Errors
    ///
    /// If the cache fails, or the key is invalid.
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
            Some(found) => self
                .core
                .failed(self.core.tier.remaining(&key, &found).await),
        }
    }

    /// Invalidates names: for each, the entry whose key it is, and every entry that carries it as a
    /// tag. Once this has returned, no read that begins later gets data that was loaded before, not
    /// even from a load that is under way.
    ///
    /// Within [`after_commit`](crate::after_commit), the names are invalidated when the scope ends,
    /// and this returns at once.
    ///
    /// # Errors
    ///
    /// * If the server did not carry out the invalidation. The names are then kept, and the
    ///   invalidation is repeated as soon as the server allows it. Until then, reads of these names
    ///   in this process load, and store nothing. Other processes may serve old data.
    /// * If a name is invalid ([`Error::is_key`]). The other names are invalidated all the same.
    ///
    /// # Cancellation
    ///
    /// If this future is dropped after its first poll, the invalidation goes on in the background,
    /// as after an error.
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
    pub async fn invalidate(&self, names: impl Keys) -> Result<(), Error> {
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

    /// Removes every entry of this cache's namespace, as if each had been invalidated; on the
    /// shared tier, for all processes. [Fences](macro@crate::cache_invalidate#fence) stay, and so do the texts
    /// of [`strings`](Self::strings), what a [`rate_limit`](Self::rate_limit) has counted, and the keys that
    /// [`Raw::name`](crate::raw::Raw::name) makes.
    ///
    /// Within [`after_commit`](crate::after_commit), the entries are removed at once. What other
    /// callers store after that and before the commit stays, unless the scope invalidates it: clear
    /// the cache after the scope.
    ///
    /// On the shared tier, this scans all keys of the server's database, those of other
    /// applications too.
    ///
    /// # Errors
    ///
    /// If the cache fails. Some entries may then be left, and the removal is not repeated.
    ///
    /// # Cancellation
    ///
    /// If this future is dropped, some entries may be left.
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

    /// Checks that the server can be reached, read and written. Call it at start-up if a program
    /// should not run without its cache. A cache without a server always passes.
    /// [`connect`](Self::connect) tries for longer.
    ///
    /// Without a connection, it tries to connect, for up to
    /// [`connect_timeout`](CacheBuilder::connect_timeout), however recently an attempt has failed.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached ([`Error::is_unavailable`]), or refuses a read or a write
    /// ([`Error::is_refused`]).
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

    /// Returns the state of this cache, as its last requests found it. The server is not asked.
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
            overflowed: waiting.has_overflowed || self.core.unsettled.has_overflowed(),
            never_hit: self.core.observer.never_hits(),
        }
    }

    /// Waits, at most for `limit`, until every invalidation has been carried out. Call it before
    /// the program ends. An invalidation that is to be repeated after
    /// [`settle`](CacheBuilder::settle) is repeated now. What a scope of
    /// [`after_commit`](crate::after_commit) holds is not waited for.
    ///
    /// Invalidations that are still kept when the program ends are lost: other processes may serve
    /// the old data until its ttl ends. A cache that is dropped while it keeps some logs that. The
    /// [global](crate::global) cache is never dropped, so nothing is logged for it: flush it.
    ///
    /// ```no_run
    /// # async fn shut_down() {
    /// # use std::time::Duration;
    /// let limit = Duration::from_secs(5);
    /// if let Ok(cache) = cache_runtime::global()
    ///     && let Err(error) = cache.flush(limit).await
    /// {
    ///     eprintln!("{} names may be stale elsewhere: {error}", cache.health().waiting);
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If some invalidations could not be carried out ([`Error::is_unavailable`]). They are still
    /// kept.
    ///
    /// # Cancellation
    ///
    /// If this future is dropped, the invalidations go on in the background.
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

    /// Returns what this cache has done so far, in this process.
    ///
    /// ```
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// assert_eq!(cache.stats().hits, 0);
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn stats(&self) -> Stats {
        Stats::of(&self.core)
    }
}

/// The value that `set` is given, in both of the forms in which stores keep one.
struct SetValue<'a, T>(&'a T);

impl<T: CacheValue> Storable for SetValue<'_, T> {
    fn share(&self) -> SharedValue {
        Arc::new(Outcome::Value(self.0.clone()))
    }

    fn weigh(&self, weigher: &Weigher) -> usize {
        weigher.weigh(self.0)
    }

    fn encode(&self, codec: Codec, is_checked: bool) -> Result<Encoded, Reason> {
        let compare = is_checked.then_some(compare::by_calls_to_serde::<T> as Compare);
        compare::encode(self.0, codec, compare).map(Encoded::Value)
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
