//! The builder of a cache, whose settings come from its methods or from the environment.

use std::any::Any;
use std::env::{self, VarError};
use std::sync::Arc;
use std::time::Duration;

use super::Cache;
use super::environment::{SHARED_VARIABLES, parse_ttl, url_from};
use crate::clock::{Clock, FOREVER};
use crate::codec::Codec;
use crate::core::{Core, Settings};
use crate::driver::{Servers, Tls};
use crate::error::Error;
use crate::observe::metrics::{self, MetricsSettings};
use crate::observe::{Event, Listener, Observer};
use crate::refreshes::Refreshes;
#[cfg(feature = "test-util")]
use crate::testing::TestClock;
use crate::tier::local::{Bound, Local};
use crate::tier::shared::{Limits, Shared};
use crate::tier::{Front, Tier};
use crate::toolkit::{Memory, Waits};
use crate::unsettled::Unsettled;
use crate::weigher::Weigher;

/// Builds a [`Cache`] from its settings. No method here touches the network.
///
/// Each method replaces the setting's earlier value, and [`build`](Self::build) checks all of
/// them. A duration of more than 100 years counts as 100 years.
///
/// ```
/// use std::time::Duration;
/// use cache_runtime::Cache;
///
/// let cache = Cache::builder()
///     .url("memory:")
///     .namespace("shop")
///     .default_ttl(Duration::from_secs(300))
///     .build()?;
/// # let _ = cache;
/// # Ok::<_, cache_runtime::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct CacheBuilder {
    url: String,
    /// The environment variable that the URL is from, or the two that it was put together from.
    url_variable: Option<&'static str>,
    tls: Tls,
    namespace: String,
    default_ttl: Duration,
    codec: Codec,
    check_values: bool,
    jitter: f64,
    op_timeout: Duration,
    connect_timeout: Duration,
    lease: Duration,
    lease_wait: Duration,
    load_limit: Duration,
    hedge: Option<Duration>,
    max_refreshes: usize,
    retry_after: Duration,
    max_entries: Option<usize>,
    max_bytes: Option<u64>,
    weigher: Weigher,
    local_ttl: Duration,
    local_ttl_unheard: bool,
    settle: Duration,
    backlog_room: usize,
    listener: Option<Listener>,
    pub(super) metrics: MetricsSettings,
    shows_keys: bool,
    clock: Clock,
}

/// What keys on a server begin with, where nothing else is said.
pub(super) const DEFAULT_NAMESPACE: &str = "cache";

impl Default for CacheBuilder {
    fn default() -> Self {
        Self {
            url: "memory:".to_owned(),
            url_variable: None,
            tls: Tls::default(),
            namespace: DEFAULT_NAMESPACE.to_owned(),
            default_ttl: Duration::from_secs(300),
            codec: Codec::JSON,
            check_values: cfg!(debug_assertions),
            jitter: 0.1,
            op_timeout: Duration::from_millis(100),
            connect_timeout: Duration::from_millis(500),
            lease: Duration::from_secs(3),
            lease_wait: Duration::from_secs(1),
            load_limit: Duration::from_secs(30),
            hedge: None,
            max_refreshes: 64,
            retry_after: Duration::from_secs(2),
            max_entries: None,
            max_bytes: None,
            weigher: Weigher::default(),
            local_ttl: Duration::ZERO,
            local_ttl_unheard: false,
            settle: Duration::from_secs(5),
            backlog_room: 256 << 20,
            listener: None,
            metrics: MetricsSettings::default(),
            shows_keys: false,
            clock: Clock::SYSTEM,
        }
    }
}

impl CacheBuilder {
    /// A builder with the settings that the environment has, and defaults for all others. An
    /// empty variable counts as not set.
    ///
    /// | variable | sets | for example |
    /// |---|---|---|
    /// | `CACHE_URL`, else `VALKEY_URL`, else `REDIS_URL` | [`url`](Self::url) | `redis://localhost` |
    /// | else `UPSTASH_REDIS_REST_URL` and `UPSTASH_REDIS_REST_TOKEN` | [`url`](Self::url) | `https://eu1-cat-1.upstash.io` and `AX…` |
    /// | else `KV_REST_API_URL` and `KV_REST_API_TOKEN` | the same | |
    /// | else `REDIS_REST_URL` and `REDIS_REST_TOKEN` | the same | |
    /// | `CACHE_NAMESPACE` | [`namespace`](Self::namespace) | `shop` |
    /// | `CACHE_DEFAULT_TTL` | [`default_ttl`](Self::default_ttl) | `90` (seconds), `90s`, `1h30m` |
    ///
    /// The pairs are those of Upstash's HTTP interface, for which there is the feature `upstash`; a service
    /// may set them beside `REDIS_URL`, which is preferred, since there more is promised.
    ///
    /// [`build`](Self::build) logs which variable the URL is from. `VALKEY_URL` and `REDIS_URL` may be
    /// there for a queue. A warning says so if that server's `maxmemory-policy` is `noeviction`: set
    /// `CACHE_URL` then.
    ///
    /// # Errors
    ///
    /// If a variable holds an invalid value, or one of a pair is missing; [`Error::is_config`] is true.
    /// The error names the variable.
    ///
    /// ```
    /// let cache = cache_runtime::CacheBuilder::from_env()?.max_entries(10_000).build()?;
    /// # let _ = cache;
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn from_env() -> Result<Self, Error> {
        Self::from_variables(|name| match env::var(name) {
            Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err(Error::config(format!("`{name}` is not UTF-8"))),
        })
    }

    fn from_variables(get: impl Fn(&str) -> Result<Option<String>, Error>) -> Result<Self, Error> {
        let mut builder = Self::default();
        if let Some((name, url)) = url_from(&get)? {
            builder.url = url;
            builder.url_variable = Some(name);
            builder
                .tier(&Observer::default())
                .map_err(|error| Error::config(format!("`{name}`: {error}")))?;
        }
        if let Some(namespace) = get("CACHE_NAMESPACE")? {
            check_namespace(&namespace)
                .map_err(|error| Error::config(format!("`CACHE_NAMESPACE`: {error}")))?;
            builder.namespace = namespace;
        }
        if let Some(ttl) = get("CACHE_DEFAULT_TTL")? {
            builder.default_ttl = parse_ttl(&ttl)
                .map_err(|help| Error::config(format!("`CACHE_DEFAULT_TTL` is `{ttl}`; {help}")))?;
        }
        Ok(builder)
    }

    /// Sets where entries are kept. Default: `memory:`.
    ///
    /// | URL | meaning |
    /// |---|---|
    /// | `memory:` | the local tier: in this process |
    /// | `off:` | no cache: every read is a miss, every write does nothing |
    /// | `redis://[user][:password@]host[:port][/database]` | the shared tier, over TCP |
    /// | `rediss://…[?ca=/path]` | the same, over TLS; with the feature `tls` or `tls-ring` |
    /// | `redis+unix:///path[?db=1&user=…&pass=…]` | the shared tier, over a unix socket |
    /// | `redis-cluster://[user][:password@]host[:port],host[:port]…` | the shared tier, on the nodes of a [cluster](crate::servers#a-cluster) |
    /// | `rediss-cluster://…` | the same over TLS |
    /// | `redis-sentinel://[user][:password@]host[:port][,host…]/service[/database]` | the shared tier, on the primary that these sentinels name |
    /// | `rediss-sentinel://…` | the same, over TLS |
    /// | `upstash://token@host` | the shared tier, over Upstash's HTTP interface (REST); with the feature `upstash` or `upstash-ring` |
    /// | `upstash+http://token@host[:port]` | the same, not encrypted: for an emulator |
    ///
    /// `valkey://`, `valkeys://` and `valkey+unix://` mean the same as `redis://`, `rediss://` and
    /// `redis+unix://`, and so on for the others. Sentinels have credentials of their own,
    /// `?sentinel_user=…&sentinel_password=…`; the page [which server](crate::servers#sentinel) has the rest.
    ///
    /// With TLS, the server needs a certificate for the host of the URL, by an authority that the system
    /// trusts, or by one in the PEM file `?ca=/path`. `?cert=/path&key=/path` names the certificate of
    /// this process, for servers that ask for one. These files can also be named in the program, by
    /// `CacheBuilder::tls`.
    ///
    /// ```
    /// # #[cfg(feature = "redis")] {
    /// // No server has to run yet: the cache connects when it first needs the server.
    /// let cache = cache_runtime::Cache::builder().url("redis://localhost:6379/1").build()?;
    /// # let _ = cache;
    /// # }
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = url.into();
        self.url_variable = None;
        self
    }

    /// Sets which certificates are accepted and shown where the URL asks for TLS (`rediss://`). What the URL says
    /// itself takes precedence. Default: [`Tls::new`].
    ///
    /// ```
    /// use cache_runtime::{Cache, Tls};
    ///
    /// // In this program, the URL of production is `rediss://…`. This one is not encrypted.
    /// let builder = Cache::builder().url("redis://localhost");
    /// let cache = builder.tls(Tls::new().ca_file("/etc/redis/ca.pem")).build()?;
    /// # let _ = cache;
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    #[cfg(feature = "__tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Sets the prefix of all keys on the server, so that several applications can share it: 1 to
    /// 64 ASCII letters, digits, `_`, `.` or `-`. Default: `cache`.
    ///
    /// ```
    /// let builder = cache_runtime::Cache::builder().namespace("shop");
    /// # let _ = builder;
    /// ```
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Sets the longest that an entry may be served if neither its function nor the call's
    /// [`Options`](crate::Options) set a ttl. Above zero. Default: 5 minutes.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let builder = cache_runtime::Cache::builder().default_ttl(Duration::from_secs(60));
    /// # let _ = builder;
    /// ```
    pub fn default_ttl(mut self, ttl: Duration) -> Self {
        self.default_ttl = ttl;
        self
    }

    /// Sets how long this process may keep copies of what a server holds, where neither the function nor the
    /// call's [`Options`](crate::Options) say. A hit on a copy takes no request. Zero, the default, keeps
    /// none.
    ///
    /// An invalidation ends copies. In the process that invalidates, no read that begins after the
    /// invalidation has returned is served an old one. In other processes, the server tells it at once.
    /// Should that message be late or lost, an old copy is served for at most half a second: longer than
    /// that, a copy is served only while the connection shows that it hears. So while the server is away,
    /// calls go past the copies.
    ///
    /// Copies take room in this process: up to [`max_entries`](Self::max_entries), or
    /// [`max_bytes`](Self::max_bytes). It has no effect with
    /// `memory:`, where all entries are in this process.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let builder = cache_runtime::Cache::builder()
    ///     .url("redis://127.0.0.1/")
    ///     .local_ttl(Duration::from_secs(10));
    /// # let _ = builder;
    /// ```
    pub fn local_ttl(mut self, ttl: Duration) -> Self {
        self.local_ttl = ttl;
        self.local_ttl_unheard = false;
        self
    }

    /// As [`local_ttl`](Self::local_ttl), also where this process cannot hear what others invalidate: over
    /// Upstash's HTTP interface, on a server without the third version of the protocol, or where `SUBSCRIBE`
    /// is not allowed. There, **other processes' invalidations do not end copies**, and old ones are served
    /// until this time has passed. The same holds for the values of functions with `local`: none is kept for
    /// longer there.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let builder = cache_runtime::Cache::builder().local_ttl_unheard(Duration::from_secs(1));
    /// # let _ = builder;
    /// ```
    pub fn local_ttl_unheard(mut self, ttl: Duration) -> Self {
        self.local_ttl = ttl;
        self.local_ttl_unheard = true;
        self
    }

    /// Sets how values are written on the server if neither the function nor the call's
    /// [`Options`](crate::Options) set a codec. Default: [`Codec::JSON`], uncompressed.
    ///
    /// ```
    /// use cache_runtime::{Cache, Codec};
    ///
    /// # #[cfg(feature = "lz4")]
    /// let builder = Cache::builder().codec(Codec::JSON.lz4());
    /// # let builder = Cache::builder().codec(Codec::JSON);
    /// # let _ = builder;
    /// ```
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Sets whether each value that is stored on a server is decoded once more, and compared with what
    /// went in. Default: in builds with debug assertions.
    ///
    /// A value that would come back as another one is not stored. That is one error in the log for each
    /// function, which names the function, the codec and the field, and an
    /// [event](crate::Event::Altered). [`Cache::set`] and [`prime`](crate::prime) return it. Such a
    /// value has a field with `#[serde(skip_serializing, default)]`, for example.
    ///
    /// Values of annotated functions are compared by `PartialEq`, and by `Debug` if one is not equal to
    /// itself. Without `PartialEq` they are compared by `Debug`, whatever the order of its lines. Without
    /// either, and in the API by hand, what they give to serde is compared; that does not show a field
    /// that serde skips. Where a difference does not matter, as in a memo that is made anew, let
    /// `PartialEq` leave it out.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # async fn example(url: &str) -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::{Cache, Options};
    ///
    /// let cache = Cache::builder().url(url).check_values(true).build()?;
    /// // In JSON, both are `null`.
    /// let value = vec![Some(None), None::<Option<u8>>];
    /// let error = cache.set("sessions", &value, Options::new()).await.unwrap_err();
    /// assert!(error.is_codec());
    /// # Ok(()) }
    /// # let _ = example;
    /// # Ok(()) }
    /// ```
    pub fn check_values(mut self, check_values: bool) -> Self {
        self.check_values = check_values;
        self
    }

    /// Sets the largest part of its ttl by which an entry's life is shortened, at random: from
    /// 0.0 (not at all) to 1.0. So entries that were stored together do not expire together, and
    /// none is served longer than its ttl. Default: 0.1, with which a ttl of 60 s becomes 54 s to
    /// 60 s.
    ///
    /// ```
    /// let builder = cache_runtime::Cache::builder().jitter(0.2);
    /// # let _ = builder;
    /// ```
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets how long one request to the server may take, with the wait for a connection. After
    /// that, an annotated function goes on without the cache, and a method of [`Cache`] returns
    /// an error. Above zero. Default: 100 ms.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let builder = cache_runtime::Cache::builder().op_timeout(Duration::from_millis(50));
    /// # let _ = builder;
    /// ```
    pub fn op_timeout(mut self, limit: Duration) -> Self {
        self.op_timeout = limit;
        self
    }

    /// Sets how long an attempt to connect may take. It runs in the background, and a call waits
    /// for it no longer than [`op_timeout`](Self::op_timeout). Above zero. Default: 500 ms.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let builder = cache_runtime::Cache::builder().connect_timeout(Duration::from_secs(1));
    /// # let _ = builder;
    /// ```
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Sets how long a lease lives on the server without being renewed. A load renews its lease
    /// while it runs. If its process dies, other processes store nothing under the key until the
    /// lease has ended: their callers wait up to [`lease_wait`](Self::lease_wait), and then load
    /// for themselves. Above zero. Default: 3 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let builder = cache_runtime::Cache::builder().lease(Duration::from_secs(5));
    /// # let _ = builder;
    /// ```
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets how long a caller waits for a load in another process before it loads for itself.
    /// Default: 1 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let builder = cache_runtime::Cache::builder().lease_wait(Duration::from_millis(300));
    /// # let _ = builder;
    /// ```
    pub fn lease_wait(mut self, limit: Duration) -> Self {
        self.lease_wait = limit;
        self
    }

    /// Sets how long a caller waits for a load in this process before it loads for itself, and
    /// how long a load renews its lease. Above zero. Default: 30 s.
    ///
    /// It bounds the wait for a load that goes on and on. A load that does not move costs other callers
    /// less: see [`hedge`](Self::hedge).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let builder = cache_runtime::Cache::builder().load_limit(Duration::from_secs(10));
    /// # let _ = builder;
    /// ```
    pub fn load_limit(mut self, limit: Duration) -> Self {
        self.load_limit = limit;
        self
    }

    /// Sets for how long callers wait for a load that hangs: one that was not woken for so long. Then
    /// one of them begins a second load, under the same lease. The load that ends first serves all
    /// callers, also the one that led the other load, and is stored. If the second load hangs too, a
    /// third begins after as long again.
    ///
    /// A load that is woken from time to time, as by the rows that it reads, is left alone however long
    /// it takes. [`Duration::MAX`] turns this off. Above zero. Default: 2 s, or four times as long as
    /// the loads of the function usually take, if that is longer. `#[cached(hedge = "5s")]` sets it for
    /// one function.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let builder = cache_runtime::Cache::builder().hedge(Duration::from_millis(500));
    /// # let _ = builder;
    /// ```
    pub fn hedge(mut self, hedge: Duration) -> Self {
        self.hedge = Some(hedge);
        self
    }

    /// Sets how many refreshes may be under way at once in this process: loads of entries that other calls are
    /// served meanwhile, for [`early_refresh`](macro@crate::cached#early_refresh) and
    /// [`stale_while_revalidate`](macro@crate::cached#stale_while_revalidate). An entry that one more would
    /// be for is served as it is. With 0, no entry is refreshed. Default: 64.
    ///
    /// ```
    /// let builder = cache_runtime::Cache::builder().max_refreshes(8);
    /// # let _ = builder;
    /// ```
    pub fn max_refreshes(mut self, most: usize) -> Self {
        self.max_refreshes = most;
        self
    }

    /// Sets for how long a refresh that failed is not tried again, in all processes. Default: 2 s.
    /// `#[cached(retry_after = "10s")]` sets it for one function.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let builder = cache_runtime::Cache::builder().retry_after(Duration::from_secs(10));
    /// # let _ = builder;
    /// ```
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = pause;
        self
    }

    /// Sets the most entries that the local tier holds. A new entry beyond them evicts one that
    /// was used little of late. Entries are spread over up to 64 shards, and a full shard evicts
    /// while others have room. The shared tier is bounded by its server only. Above zero.
    /// Default: 100,000, or without a bound where [`max_bytes`](Self::max_bytes) is set.
    ///
    /// An expired entry stays in memory for a moment: until an insertion comes by, or else a thread
    /// of the library's own, which looks at 65,000 entries a second while entries expire. So a value
    /// may be dropped on that thread. What it held then is free for the process; whether the process
    /// gives it back to the system is up to the allocator.
    ///
    /// ```
    /// let builder = cache_runtime::Cache::builder().max_entries(1_000_000);
    /// # let _ = builder;
    /// ```
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.max_entries = Some(entries);
        self
    }

    /// Sets how many bytes the entries in this process may take together: all entries with `memory:`, or
    /// the copies of what a server holds. A new entry beyond them evicts those that were used little of
    /// late, until it has room. An entry that alone is larger than all of it is not kept; its calls load,
    /// and an [event](crate::NotFilledReason::TooHeavy) says so. Above zero. Default: no bound.
    ///
    /// An entry takes its key, about a hundred bytes for its place, and its value. What a value takes is
    /// estimated, at each time that one is stored: the size of its type, and the texts, lists and maps that
    /// it gives to serde. That is less than the truth for a field that serde skips, for a list with room for
    /// more, and for a value behind an `Arc` or a `Box`, of which only the parts are known. Of a function
    /// with [`local`](macro@crate::cached#local), whose value serde does not know, only the size of the type
    /// is. For such types, say what they take: [`weigh`](Self::weigh).
    ///
    /// ```
    /// let builder = cache_runtime::Cache::builder().max_bytes(64 << 20);
    /// # let _ = builder;
    /// ```
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Has a function say how many bytes the values of one type take, itself and all that it points to: for
    /// [`max_bytes`](Self::max_bytes). Also where functions return an `Arc` of that type. It is called at
    /// each time that a value is stored, by the call that stores it. Types without one are estimated.
    ///
    /// The type is that of the cached value: of a function that returns `Result<Option<Image>, Error>`, it is
    /// `Image`.
    ///
    /// # Panics
    ///
    /// If the function panics, so does the call whose value it weighs. Nothing is stored then, and calls that
    /// wait for the value load for themselves.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use std::sync::Arc;
    /// use cache_runtime::{Cache, cached};
    ///
    /// struct Image { pixels: Vec<u8> }
    ///
    /// #[cached(key = "image:<id>", ttl = 60, local, cache = cache, skip(cache))]
    /// async fn image(cache: &Cache, id: u32) -> Arc<Image> {
    ///     Arc::new(Image { pixels: vec![0; 1 << 20] })
    /// }
    ///
    /// let cache = Cache::builder()
    ///     .url("memory:")
    ///     .max_bytes(10 << 20)
    ///     .weigh(|image: &Image| size_of::<Image>() + image.pixels.len())
    ///     .build()?;
    /// for id in 0..100 {
    ///     image(&cache, id).await;
    /// }
    /// assert_eq!(cache.stats().entries, 9);
    /// # Ok(()) }
    /// ```
    pub fn weigh<T: Any + Send + Sync>(
        mut self,
        weigh: impl Fn(&T) -> usize + Send + Sync + 'static,
    ) -> Self {
        self.weigher.add(weigh);
        self
    }

    /// Sets how long after an update that failed, panicked or was dropped its invalidation is
    /// repeated. Choose the longest time for which its commit may still be under way in the
    /// database. With zero, the invalidation is not repeated. Default: 5 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let builder = cache_runtime::Cache::builder().settle(Duration::from_secs(10));
    /// # let _ = builder;
    /// ```
    pub fn settle(mut self, settle: Duration) -> Self {
        self.settle = settle;
        self
    }

    /// Sets how many bytes of names are kept because their invalidation failed, and as many that are
    /// kept because it is to be repeated after [`settle`](Self::settle). A name takes its length and
    /// 160 bytes. Default: 256 MiB each, enough for a million names.
    ///
    /// Of names that do not fit, the buckets of their hashes are kept: 2 MiB for the first list, at
    /// most 20 MiB for the second. When they are due, all names in these buckets are invalidated, one
    /// name in sixteen million for each. This is an [`Event`], a line in the log, and
    /// [`Health::overflowed`](crate::Health::overflowed).
    ///
    /// ```
    /// let builder = cache_runtime::Cache::builder().backlog_room(8 << 20);
    /// # let _ = builder;
    /// ```
    pub fn backlog_room(mut self, bytes: usize) -> Self {
        self.backlog_room = bytes;
        self
    }

    /// Sets a function that is called with each [`Event`] of the cache: for tests that compare
    /// what happened, and for exporters of metrics. It replaces an earlier listener. Default: none.
    /// A hit costs more with a listener, because its key is written out for the event.
    ///
    /// The listener runs inside the call or the background task that causes the event, so it
    /// should return soon. Several threads may call it at once. The cache holds no lock meanwhile, so
    /// the listener may call the cache, and then gets the events of that call too. It must not own
    /// a [`Cache`] that it listens to: that cache would never be dropped.
    ///
    /// # Panics
    ///
    /// A panic of the listener is caught and logged. It ends neither the call nor the task that the
    /// listener runs in.
    ///
    /// ```
    /// use cache_runtime::{Cache, Event};
    ///
    /// let builder = Cache::builder().on_event(|event| {
    ///     if let Event::LoadFailed { key, .. } = event {
    ///         eprintln!("the load of {key} failed");
    ///     }
    /// });
    /// # let _ = builder;
    /// ```
    pub fn on_event(mut self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// Sets a clock that a test moves. Default: the time, or that of a Tokio runtime that is paused
    /// (see [`testing`](crate::testing)).
    ///
    /// What the local tier keeps grows old by it: entries by their ttl, and the fences of updates
    /// whose outcome is not known. A server has a clock of its own. And what waits, waits in real
    /// time: `op_timeout`, `load_limit`, `settle` and all other limits do not follow the test's clock.
    ///
    /// ```
    /// use cache_runtime::Cache;
    /// use cache_runtime::testing::TestClock;
    ///
    /// let clock = TestClock::new();
    /// let cache = Cache::builder().url("memory:").clock(&clock).build()?;
    /// # let _ = cache;
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    #[cfg(feature = "test-util")]
    pub fn clock(mut self, clock: &TestClock) -> Self {
        self.clock = clock.clone().into();
        self
    }

    /// Sets whether [spans](crate::observing) have the key of a call as `cache.key`. Default: they do not,
    /// since a key may have in it what is not to leave the process, such as the name of a user. Its
    /// template is there in any case.
    ///
    /// ```
    /// let builder = cache_runtime::Cache::builder().keys_in_spans(true);
    /// # let _ = builder;
    /// ```
    pub fn keys_in_spans(mut self, keys_in_spans: bool) -> Self {
        self.shows_keys = keys_in_spans;
        self
    }

    /// Builds the cache. It does not connect: if the server is away, calls are misses.
    ///
    /// # Errors
    ///
    /// If a setting is invalid; [`Error::is_config`] is true. The error names the setting and
    /// what is allowed. It never holds a password.
    ///
    /// ```
    /// use cache_runtime::Cache;
    ///
    /// assert!(Cache::builder().url("memory:").build().is_ok());
    /// assert!(Cache::builder().url("mongodb://localhost").build().is_err());
    /// ```
    pub fn build(mut self) -> Result<Cache, Error> {
        self.check()?;
        // Longer durations could not be added to a moment.
        for duration in [
            &mut self.default_ttl,
            &mut self.local_ttl,
            &mut self.op_timeout,
            &mut self.connect_timeout,
            &mut self.lease,
            &mut self.lease_wait,
            &mut self.load_limit,
            &mut self.settle,
            &mut self.retry_after,
        ] {
            *duration = (*duration).min(FOREVER);
        }
        let label = self.metrics.label(&self.namespace);
        let observer = Observer::new(self.listener.take())
            .labelled(label)
            .showing_keys(self.shows_keys);
        let tier = self.tier(&observer)?;
        if let Some(variable) = self.url_variable {
            let url = redact(&self.url);
            tracing::info!(
                variable,
                url,
                "the URL of the cache is from the environment"
            );
        }
        let metrics = self.metrics.clone();
        let cache = self.with_tier(tier, observer);
        metrics::register(cache.core(), &metrics);
        Ok(cache)
    }

    /// A cache that stores nothing, whatever its settings are.
    pub(super) fn off(self) -> Cache {
        self.with_tier(Tier::OFF, Observer::default())
    }

    fn with_tier(self, tier: Tier, observer: Observer) -> Cache {
        let unsettled = Unsettled::new(self.settle, self.backlog_room, observer.clone());
        Cache::new(Core {
            tier,
            settings: Settings {
                default_ttl: self.default_ttl,
                local_ttl: self.local_ttl,
                codec: self.codec,
                check_values: self.check_values,
                jitter: self.jitter,
                op_timeout: self.op_timeout,
                lease_wait: self.lease_wait,
                load_limit: self.load_limit,
                hedge: self.hedge,
                retry_after: self.retry_after,
            },
            refreshes: Refreshes::new(self.max_refreshes, self.clock.clone()),
            memory: Memory::new(self.clock),
            lock_waits: Waits::default(),
            observer,
            unsettled,
        })
    }

    fn check(&self) -> Result<(), Error> {
        check_namespace(&self.namespace)?;
        let durations = [
            ("default_ttl", self.default_ttl),
            ("op_timeout", self.op_timeout),
            ("connect_timeout", self.connect_timeout),
            ("lease", self.lease),
            ("load_limit", self.load_limit),
            ("hedge", self.hedge.unwrap_or(FOREVER)),
        ];
        if let Some((name, _)) = durations.iter().find(|(_, duration)| duration.is_zero()) {
            return Err(Error::config(format!(
                "`{name}` is zero; it must be longer"
            )));
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err(Error::config(format!(
                "`jitter` is {}; it must be from 0.0 to 1.0",
                self.jitter
            )));
        }
        for (name, is_zero) in [
            ("max_entries", self.max_entries == Some(0)),
            ("max_bytes", self.max_bytes == Some(0)),
        ] {
            if is_zero {
                return Err(Error::config(format!(
                    "`{name}` is 0; to cache nothing, use the URL `off:`"
                )));
            }
        }
        Ok(())
    }

    fn tier(&self, observer: &Observer) -> Result<Tier, Error> {
        let url = self.url.as_str();
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        match scheme {
            "off" if url == "off:" => Ok(Tier::OFF),
            "memory" if url == "memory:" => Ok(Tier::Local(self.local())),
            "redis" | "valkey" | "rediss" | "valkeys" | "redis+unix" | "valkey+unix" | "unix"
            | "redis-cluster" | "rediss-cluster" | "valkey-cluster" | "valkeys-cluster"
            | "redis-sentinel" | "valkey-sentinel" | "rediss-sentinel" | "valkeys-sentinel"
            | "redis+sentinel" | "valkey+sentinel" | "rediss+sentinel" | "valkeys+sentinel" => {
                self.shared(observer)
            }
            "upstash" | "upstash+http" if !self.local_ttl.is_zero() && !self.local_ttl_unheard => {
                Err(Error::config(
                    "`local_ttl` is set, and Upstash's HTTP interface does not tell a process what others \
                     invalidate; use its `rediss://` URL, or write `local_ttl_unheard` to have copies \
                     bounded by that time only",
                ))
            }
            "upstash" | "upstash+http" => self.shared(observer),
            _ => Err(Error::config(format!(
                "the cache URL is `{}`; write `memory:`, `off:`, `redis://host:port/database`, \
                 `redis-cluster://host:port,host:port`, `redis-sentinel://host:port,host:port/service`, \
                 `redis+unix:///path`, or `upstash://token@host`",
                redact(url)
            ))),
        }
    }

    fn local(&self) -> Local {
        let unbounded = self.max_bytes.map(|_| usize::MAX);
        let bound = Bound {
            max_entries: self.max_entries.or(unbounded).unwrap_or(MAX_ENTRIES),
            max_bytes: self.max_bytes,
            weigher: self.weigher.clone(),
        };
        Local::new(bound, self.clock.clone())
    }

    fn shared(&self, observer: &Observer) -> Result<Tier, Error> {
        let mut servers = Servers::new(&self.url, &self.tls, self.op_timeout).map_err(|error| {
            Error::config(format!("the cache URL is `{}`: {error}", redact(&self.url)))
        })?;
        if let Some(variable) = self.url_variable
            && SHARED_VARIABLES.contains(&variable)
        {
            servers.shared_by(variable);
        }
        let limits = Limits {
            operation: self.op_timeout,
            connect: self.connect_timeout,
        };
        let shared = |told| {
            let (lease, room) = (self.lease, self.backlog_room);
            Shared::new(
                servers,
                &self.namespace,
                lease,
                limits,
                room,
                observer,
                told,
            )
        };
        Ok(Tier::Shared(Front::new(
            self.local(),
            self.local_ttl_unheard,
            shared,
        )))
    }
}

/// The most entries of the local tier, where no bound is set.
const MAX_ENTRIES: usize = 100_000;

/// Leaves out the URL's credentials.
impl std::fmt::Debug for CacheBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("url", &redact(&self.url))
            .field("namespace", &self.namespace)
            .field("default_ttl", &self.default_ttl)
            .finish_non_exhaustive()
    }
}

/// With a colon in it, one application's keys could be another's. Other characters could have a
/// meaning in a pattern of `SCAN`.
fn check_namespace(namespace: &str) -> Result<(), Error> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if !namespace.is_empty() && namespace.len() <= 64 && namespace.chars().all(allowed) {
        return Ok(());
    }
    Err(Error::config(format!(
        "the namespace is `{namespace}`; write 1 to 64 letters, digits, `_`, `.` or `-`"
    )))
}

/// The URL as it may be shown: without the parts that could hold a password.
fn redact(url: &str) -> String {
    // The last `@` of all: a password may hold any other character. One behind a `?` may be in a
    // parameter, which may be a password.
    let (credentials, shown) = match url.rsplit_once('@') {
        Some((before, _)) if before.contains('?') => (before, ""),
        Some((before, after)) => (before, after),
        None => ("", url),
    };
    let shown = shown.split('?').next().unwrap_or_default();
    // What stands where the host should may be a token.
    if credentials.is_empty() && shown.starts_with("upstash") {
        let scheme = shown.split(':').next().unwrap_or_default();
        return format!("{scheme}://…");
    }
    match (credentials.split_once("://"), credentials) {
        (_, "") => shown.to_owned(),
        (Some((scheme, _)), _) => format!("{scheme}://…@{shown}"),
        (None, _) => format!("…@{shown}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(not(feature = "__upstash"))]
    use crate::cache::environment::REST_VARIABLES;

    fn from(variables: &[(&str, &str)]) -> Result<CacheBuilder, Error> {
        CacheBuilder::from_variables(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            Ok(found.map(|(_, value)| (*value).to_owned()))
        })
    }

    #[test]
    fn the_first_url_variable_that_is_set_wins() {
        let builder = from(&[("REDIS_URL", "off:"), ("CACHE_URL", "memory:")]).unwrap();
        assert_eq!(builder.url, "memory:");
        let builder = from(&[("REDIS_URL", "off:")]).unwrap();
        assert_eq!(builder.url, "off:");
        assert_eq!(from(&[]).unwrap().url, "memory:");
    }

    #[cfg(not(feature = "__upstash"))]
    #[test]
    fn a_url_of_upstash_says_which_feature_it_needs() {
        for url in ["upstash://s3cret@host", "upstash+http://s3cret@host"] {
            let error = Cache::builder().url(url).build().unwrap_err().to_string();
            assert!(error.contains("turn on its feature `upstash`"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
        let pair = REST_VARIABLES[0].map(|name| (name, "https://host"));
        let error = from(&pair).unwrap_err().to_string();
        assert!(error.contains("turn on its feature `upstash`"), "{error}");
    }

    #[test]
    fn a_bad_variable_is_named_and_no_password_shown() {
        let error = from(&[("VALKEY_URL", "postgres://ann:s3cret@db/x")]).unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with("`VALKEY_URL`: the cache URL is `postgres://…@db/x`"),
            "{message}"
        );
        assert!(!message.contains("s3cret"), "{message}");

        let error = from(&[("CACHE_NAMESPACE", "a:b")]).unwrap_err();
        assert!(
            error.to_string().starts_with("`CACHE_NAMESPACE`: "),
            "{error}"
        );
        let error = from(&[("CACHE_DEFAULT_TTL", "0")]).unwrap_err();
        assert!(
            error.to_string().starts_with("`CACHE_DEFAULT_TTL` is `0`"),
            "{error}"
        );
    }

    #[test]
    fn passwords_are_redacted_wherever_they_stand() {
        for url in [
            "redis://:s3cret@h:1/x",
            "redis://a:s3cret@h",
            "unix:///p?pass=s3cret",
            "redis:a:s3cret@h",
            "redis://a:s3c?s3cret@h",
            "redis://a:@s3cret@h",
            "redis-sentinel://h/main?sentinel_password=x@s3cret",
            "upstash://s3cret@h",
            "upstash://s3cret",
            "upstash+http://:s3cret@h/x",
        ] {
            assert!(!redact(url).contains("s3cret"), "{url}");
            let builder = Cache::builder().url(url);
            assert!(!format!("{builder:?}").contains("s3cret"), "{url}");
        }
    }

    #[test]
    fn a_default_ttl_is_seconds_or_has_units() {
        for (text, millis) in [("90", 90_000), ("5", 5_000), ("1h30m", 5_400_000)] {
            let builder = from(&[("CACHE_DEFAULT_TTL", text)]).unwrap();
            assert_eq!(builder.default_ttl, Duration::from_millis(millis), "{text}");
        }
        for (text, help) in [
            ("", "write whole seconds"),
            ("30m1h", "descending order"),
            ("1h1h", "descending order"),
            (" 90s ", "write whole seconds"),
            ("1y", "the units are"),
            ("0", "must be longer than zero"),
            ("0s", "must be longer than zero"),
        ] {
            let error = from(&[("CACHE_DEFAULT_TTL", text)]).unwrap_err();
            let error = error.to_string();
            assert!(
                error.contains(&format!("`CACHE_DEFAULT_TTL` is `{text}`; ")),
                "{error}"
            );
            assert!(error.contains(help), "{error}");
        }
    }

    #[cfg(not(feature = "__tls"))]
    #[test]
    fn a_url_with_tls_says_which_feature_it_needs() {
        for url in ["rediss://:secret@host", "valkeys://:secret@host"] {
            let error = Cache::builder().url(url).build().unwrap_err().to_string();
            assert!(error.contains("turn on its feature `tls`"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn invalid_settings_are_refused() {
        let zero = Duration::ZERO;
        for (builder, name) in [
            (Cache::builder().default_ttl(zero), "default_ttl"),
            (Cache::builder().op_timeout(zero), "op_timeout"),
            (Cache::builder().lease(zero), "lease"),
            (Cache::builder().jitter(f64::NAN), "jitter"),
            (Cache::builder().jitter(-0.1), "jitter"),
            (Cache::builder().max_entries(0), "max_entries"),
            (Cache::builder().max_bytes(0), "max_bytes"),
            (Cache::builder().namespace(""), "namespace"),
            (Cache::builder().url("memory:x"), "memory:x"),
        ] {
            let error = builder.build().unwrap_err();
            assert!(
                error.is_config() && error.to_string().contains(name),
                "{error}"
            );
        }
    }
}
