//! The [`Cache`] handle: the global one, and the API by hand.

use std::fmt;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use once_cell::sync::OnceCell;

use crate::call::{Keep, Request, distrusts, hold_names};
use crate::clock;
use crate::codec::Codec;
use crate::config::CacheBuilder;
#[cfg(feature = "redis")]
use crate::entry::Entry as Stored;
use crate::error::Error;
use crate::health::{Health, Status};
use crate::key::Key;
use crate::local::{Entry, Local};
use crate::options::Options;
use crate::settle::Unsettled;
use crate::stats::{CallSite, CounterTable, Counters, Stats};
#[cfg(feature = "redis")]
use crate::store::{Encoded, Shared};
use crate::value::{CacheValue, Outcome, ResultOf, outcome};

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
pub struct Cache(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) tier: Tier,
    pub(crate) default_ttl: Duration,
    pub(crate) codec: Codec,
    pub(crate) jitter: f64,
    pub(crate) op_timeout: Duration,
    pub(crate) lease_wait: Duration,
    pub(crate) load_limit: Duration,
    pub(crate) unsettled: Unsettled,
    pub(crate) counters: CounterTable,
}

/// Where entries are.
pub(crate) enum Tier {
    Off,
    Local(Local),
    #[cfg(feature = "redis")]
    Shared(Shared),
}

impl Tier {
    fn name(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Local(_) => "local",
            #[cfg(feature = "redis")]
            Self::Shared(_) => "shared",
        }
    }
}

static GLOBAL: OnceCell<Cache> = OnceCell::new();

/// The cache that annotated functions use unless they say `cache = …`: the one
/// that was [`install`]ed, else one with the settings of the environment
/// ([`Cache::from_env`]), made at the first call.
///
/// # Errors
///
/// If the environment holds a setting that cannot be. Annotated functions then
/// run as if they were not annotated, and say so once, as a `tracing` error;
/// call this at start-up to know.
///
/// ```
/// let cache = cache_runtime::global()?;
/// # let _ = cache;
/// # Ok::<_, cache_runtime::Error>(())
/// ```
pub fn global() -> Result<&'static Cache, Error> {
    GLOBAL.get_or_try_init(Cache::from_env)
}

/// Makes `cache` the [global](global) one. To be called before the first cached call.
///
/// # Errors
///
/// If there is a global cache already, installed or in use.
///
/// ```
/// use cache_runtime::Cache;
///
/// cache_runtime::install(Cache::builder().namespace("shop").build()?)?;
/// # Ok::<_, cache_runtime::Error>(())
/// ```
pub fn install(cache: Cache) -> Result<(), Error> {
    GLOBAL.set(cache).map_err(|_| {
        Error::config("there is a global cache already; install one before the first cached call")
    })
}

/// The global cache, or none at all if its settings cannot be.
pub(crate) fn global_or_off() -> &'static Cache {
    static OFF: LazyLock<Cache> = LazyLock::new(|| CacheBuilder::default().with_tier(Tier::Off));
    static FAILED: AtomicBool = AtomicBool::new(false);
    if FAILED.load(Ordering::Relaxed) {
        // The environment does not mend itself; only `install` can.
        return GLOBAL.get().unwrap_or(&OFF);
    }
    global().unwrap_or_else(|error| {
        if !FAILED.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "nothing is cached until this is mended");
        }
        &OFF
    })
}

impl Cache {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
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
            cache: self.clone(),
            site: None,
            key: key.into(),
            tags: options.tags,
            ttl: options.ttl,
            none_ttl: None,
            codec: options.codec,
            version: 0,
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
        let found = self.find::<T>(&key.into()).await;
        let counters = self.counters(None);
        match &found {
            Ok(Some(_)) => counters.hit(),
            Ok(None) => counters.miss(),
            Err(_) => {
                counters.miss();
                counters.error();
            }
        }
        found
    }

    async fn find<T: CacheValue>(&self, key: &Key) -> Result<Option<T>, Error> {
        key.check()?;
        let outcome =
            match self.tier() {
                Tier::Off => None,
                Tier::Local(local) => match self.peek(local, key) {
                    None => None,
                    Some(entry) => Some(outcome::<T>(&entry.value).ok_or_else(|| {
                        Error::codec(key.as_str(), "read", &"it is of another type")
                    })?),
                },
                #[cfg(feature = "redis")]
                Tier::Shared(shared) => match self.look_up(shared, key).await? {
                    None => None,
                    Some(entry) => Some(crate::call::decode_outcome(key, &entry)?),
                },
            };
        Ok(outcome.and_then(Outcome::into_value))
    }

    /// The entry of `key`, unless this is in a scope that changes it.
    fn peek(&self, local: &Local, key: &Key) -> Option<Entry> {
        let entry = local.peek(key)?;
        let distrusted = distrusts(self, entry.observed.tags().chain([key]));
        (!distrusted).then_some(entry)
    }

    #[cfg(feature = "redis")]
    async fn look_up(&self, shared: &Shared, key: &Key) -> Result<Option<Stored>, Error> {
        let found = Box::pin(shared.look_up(key)).await?;
        let trusted = |entry: &Stored| {
            let tags: Vec<Key> = entry.tags().map(|(tag, _)| Key::from(tag)).collect();
            !distrusts(self, tags.iter().chain([key]))
        };
        Ok(found.filter(trusted))
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
        let ttl = options.ttl.unwrap_or(self.default_ttl());
        let ttl = clock::jittered(ttl, self.jitter());
        // What is not committed is not stored. What is there is not what was set, later.
        if distrusts(self, options.tags.iter().chain([&key])) {
            hold_names(self, &[key]);
            return Ok(());
        }
        match self.tier() {
            Tier::Off => Ok(()),
            Tier::Local(local) => {
                let value = Arc::new(Outcome::Value(value.clone()));
                local.set(&key, &options.tags, value, ttl);
                Ok(())
            }
            #[cfg(feature = "redis")]
            Tier::Shared(shared) => {
                let codec = options.codec.unwrap_or(self.codec());
                let value = codec.encode(value).map(Encoded::Value);
                let value =
                    value.map_err(|reason| Error::codec(key.as_str(), "encoded", &reason))?;
                let set = shared.set(&key, &options.tags, &value, ttl).await;
                self.count(set)
            }
        }
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
        match self.tier() {
            Tier::Off => Ok(false),
            Tier::Local(local) => Ok(local.delete(&key)),
            #[cfg(feature = "redis")]
            Tier::Shared(shared) => self.count(shared.delete(&key).await),
        }
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
        match self.tier() {
            Tier::Off => Ok(false),
            Tier::Local(local) => Ok(self.peek(local, &key).is_some()),
            #[cfg(feature = "redis")]
            Tier::Shared(shared) => self
                .count(self.look_up(shared, &key).await)
                .map(|entry| entry.is_some()),
        }
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
        match self.tier() {
            Tier::Off => Ok(None),
            Tier::Local(local) => Ok(self.peek(local, &key).and_then(|_| local.remaining(&key))),
            #[cfg(feature = "redis")]
            Tier::Shared(shared) => match self.count(self.look_up(shared, &key).await)? {
                None => Ok(None),
                Some(_) => self.count(shared.remaining(&key).await),
            },
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
        let mut cannot_be = Ok(());
        let mut keys = Vec::new();
        for name in names {
            let name = name.into();
            match name.check() {
                Ok(()) => keys.push(name),
                Err(error) => cannot_be = Err(error),
            }
        }
        if !hold_names(self, &keys) {
            self.invalidate_keys(&keys).await?;
        }
        cannot_be
    }

    async fn invalidate_keys(&self, names: &[Key]) -> Result<(), Error> {
        match self.tier() {
            _ if names.is_empty() => Ok(()),
            Tier::Off => Ok(()),
            Tier::Local(local) => {
                local.invalidate(names);
                Ok(())
            }
            #[cfg(feature = "redis")]
            Tier::Shared(shared) => self.count(Box::pin(shared.invalidate(names)).await),
        }
    }

    /// For annotated functions, whose callers are not to see the cache's errors. Whether it
    /// was carried out.
    pub(crate) async fn invalidate_or_report(&self, names: &[Key]) -> bool {
        // Under a name that cannot be, there is nothing to invalidate.
        let names: Vec<Key> = names
            .iter()
            .filter(|name| name.check().is_ok())
            .cloned()
            .collect();
        let invalidated = self.invalidate_keys(&names).await;
        if let Err(error) = &invalidated {
            log_not_invalidated(&names, error);
        }
        invalidated.is_ok()
    }

    /// Invalidates without waiting, where that can be done.
    pub(crate) fn invalidate_at_once(&self, names: &[Key]) -> bool {
        match self.tier() {
            Tier::Off => true,
            Tier::Local(local) => {
                local.invalidate(names);
                true
            }
            #[cfg(feature = "redis")]
            Tier::Shared(_) => false,
        }
    }

    /// Counts and logs a fence that is missing.
    pub(crate) fn report_not_fenced(&self, names: &[Key], reason: &dyn fmt::Display) {
        self.counters(None).error();
        let names: Vec<&str> = names.iter().map(Key::as_str).collect();
        // The connection reports each change of its state.
        tracing::debug!(%reason, ?names, "no fence: should this process die now, old data may be served");
    }

    /// Invalidates, as soon as that can be done, where it cannot be waited for.
    pub(crate) fn invalidate_later(&self, names: &[Key]) {
        if self.invalidate_at_once(names) {
            return;
        }
        #[cfg(feature = "redis")]
        if let Tier::Shared(shared) = self.tier() {
            self.counters(None).error();
            shared.invalidate_later(names);
        }
    }

    /// Clears, as soon as that can be done, where it cannot be waited for.
    pub(crate) fn clear_later(&self) {
        match self.tier() {
            Tier::Off => {}
            Tier::Local(local) => local.clear(),
            #[cfg(feature = "redis")]
            Tier::Shared(shared) => shared.clear_later(),
        }
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
        match self.tier() {
            Tier::Off => Ok(()),
            Tier::Local(local) => {
                local.clear();
                Ok(())
            }
            #[cfg(feature = "redis")]
            Tier::Shared(shared) => self.count(shared.clear().await),
        }
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
        match self.tier() {
            Tier::Off | Tier::Local(_) => Ok(()),
            #[cfg(feature = "redis")]
            Tier::Shared(shared) => self.count(shared.ping().await),
        }
    }

    /// How this cache is doing, as its last requests found it. Asks nobody.
    ///
    /// ```
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// assert!(cache.health().status.is_working());
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn health(&self) -> Health {
        let (status, (kept, overflowed)) = match self.tier() {
            Tier::Off | Tier::Local(_) => (Status::Working, (0, false)),
            #[cfg(feature = "redis")]
            Tier::Shared(shared) => (shared.status(), shared.kept()),
        };
        Health {
            status,
            waiting: kept + self.0.unsettled.len(),
            overflowed,
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
        self.settle_now();
        match self.tier() {
            Tier::Off | Tier::Local(_) => Ok(()),
            #[cfg(feature = "redis")]
            Tier::Shared(shared) => self.count(shared.flush(limit).await),
        }
    }

    pub(crate) fn unsettled(&self) -> &Unsettled {
        &self.0.unsettled
    }

    /// What this cache has done so far, in this process.
    ///
    /// ```
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// assert_eq!(cache.stats().hits, 0);
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn stats(&self) -> Stats {
        let entries = match self.tier() {
            Tier::Local(local) => local.len(),
            _ => 0,
        };
        let mut stats = self.0.counters.snapshot(entries);
        #[cfg(feature = "redis")]
        if let Tier::Shared(shared) = self.tier() {
            (stats.outages, stats.refusals) = shared.incidents();
        }
        stats
    }

    fn count<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_err() {
            self.counters(None).error();
        }
        result
    }

    /// Whether this is the same cache.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    #[inline]
    pub(crate) fn tier(&self) -> &Tier {
        &self.0.tier
    }

    #[inline]
    pub(crate) fn counters(&self, site: Option<&'static CallSite>) -> Counters<'_> {
        self.0.counters.of(site)
    }

    pub(crate) fn default_ttl(&self) -> Duration {
        self.0.default_ttl
    }

    #[cfg(feature = "redis")]
    pub(crate) fn codec(&self) -> Codec {
        self.0.codec
    }

    pub(crate) fn jitter(&self) -> f64 {
        self.0.jitter
    }

    #[cfg(feature = "redis")]
    pub(crate) fn lease_wait(&self) -> Duration {
        self.0.lease_wait
    }

    /// How long a caller who cannot use the store waits for others to share a load with.
    pub(crate) fn gather_limit(&self) -> Duration {
        self.0.op_timeout / 2
    }

    pub(crate) fn load_limit(&self) -> Duration {
        self.0.load_limit
    }
}

fn log_not_invalidated(names: &[Key], reason: &dyn fmt::Display) {
    let names: Vec<&str> = names.iter().map(Key::as_str).collect();
    tracing::debug!(%reason, ?names, "not invalidated yet: kept, and not served here until it is");
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("tier", &self.tier().name())
            .field("default_ttl", &self.0.default_ttl)
            .finish_non_exhaustive()
    }
}
/// What `cache = …` takes: a [`Cache`], or what leads to one.
///
/// Implement it for what carries the cache of your application around.
///
/// ```
/// use std::sync::Arc;
/// use cache_runtime::{AsCache, Cache, cached};
///
/// struct Context { cache: Cache }
///
/// impl AsCache for Context {
///     fn as_cache(&self) -> &Cache {
///         &self.cache
///     }
/// }
///
/// #[cached(key = "square:<n>", ttl = 60, skip(context), cache = context)]
/// async fn square(context: Arc<Context>, n: u64) -> u64 { n * n }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `Cache`",
    label = "not a `Cache`",
    note = "`cache = …` takes a `Cache`, a reference to one, or an `Arc` or `LazyLock` of one"
)]
pub trait AsCache {
    /// Leads to it.
    fn as_cache(&self) -> &Cache;
}

#[diagnostic::do_not_recommend]
impl AsCache for Cache {
    fn as_cache(&self) -> &Cache {
        self
    }
}

macro_rules! leads_to_a_cache {
    ($($pointer:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl<C: AsCache + ?Sized> AsCache for $pointer {
            fn as_cache(&self) -> &Cache {
                (**self).as_cache()
            }
        }
    )*};
}

leads_to_a_cache!(&C, &mut C, Box<C>, Rc<C>, Arc<C>);

#[diagnostic::do_not_recommend]
impl<C: AsCache> AsCache for LazyLock<C> {
    fn as_cache(&self) -> &Cache {
        (**self).as_cache()
    }
}
