//! A part of a cache: the keys that begin alike.

use std::fmt;
use std::time::Duration;

use super::{Cache, Options};
use crate::error::Error;
use crate::key::{Key, Keys};
use crate::toolkit::{Budget, Lock, Rate, RateLimit, Strings};
use crate::value::CacheValue;

/// A part of a cache, from [`Cache::scope`]: the entries whose keys begin with `<name>:`. Its methods are those of
/// the cache, and put that before each key. Clones are the same scope.
///
/// It is a prefix, and nothing else: `#[cached(key = "reports:<id>")]` is in the scope `reports`, and
/// `cache.invalidate(["reports:7"])` invalidates what `scope.get("7")` reads. Tags are those of the cache.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
/// use cache_runtime::{Cache, Options};
///
/// let cache = Cache::builder().url("memory:").build()?;
/// let reports = cache.scope("reports");
/// reports.set("7", &"sales".to_owned(), Options::new()).await?;
/// assert_eq!(cache.get::<String>("reports:7").await?.as_deref(), Some("sales"));
/// assert_eq!(reports.clear().await?, 1);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Scope {
    cache: Cache,
    prefix: String,
}

impl Cache {
    /// The part of this cache with this name. In the name, `%`, `*`, `'` and `\` are written as `%25`, `%2A`,
    /// `%27` and `%5C`. A `:` is left as it is: the scope `a:b` is a part of the scope `a`.
    ///
    /// ```
    /// # fn main() -> Result<(), cache_runtime::Error> {
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// assert_eq!(cache.scope("reports").key("7").as_str(), "reports:7");
    /// # Ok(()) }
    /// ```
    pub fn scope(&self, name: &str) -> Scope {
        Scope::new(self, "", name)
    }
}

impl Scope {
    fn new(cache: &Cache, outer: &str, name: &str) -> Self {
        let name = name.replace('%', "%25").replace('*', "%2A");
        let name = name.replace('\'', "%27").replace('\\', "%5C");
        Self {
            cache: cache.clone(),
            prefix: format!("{outer}{name}:"),
        }
    }

    /// The part of this scope with this name.
    ///
    /// ```
    /// # fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let eu = cache.scope("reports").scope("eu");
    /// assert_eq!(eu.key("7").as_str(), "reports:eu:7");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn scope(&self, name: &str) -> Self {
        Self::new(&self.cache, &self.prefix, name)
    }

    /// The cache that this is a part of.
    ///
    /// ```
    /// # fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let reports = cache.scope("reports");
    /// assert_eq!(reports.cache().stats().hits, 0);
    /// # Ok(()) }
    /// ```
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// A key of this scope, as the cache knows it.
    ///
    /// ```
    /// # fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::key;
    ///
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let (year, month) = (2026, 11);
    /// assert_eq!(cache.scope("reports").key(key!("<year>:<month>")).as_str(), "reports:2026:11");
    /// # Ok(()) }
    /// ```
    pub fn key(&self, key: impl Into<Key>) -> Key {
        format!("{}{}", self.prefix, key.into().as_str()).into()
    }

    /// Returns the value under a key of this scope, or loads it: as [`Cache::get_or_load`].
    ///
    /// # Errors
    ///
    /// Those of `load` only.
    ///
    /// # Cancellation
    ///
    /// As [`Cache::get_or_load`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::Options;
    ///
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let load = async { Ok::<_, std::io::Error>("sales".to_owned()) };
    /// let report = cache.scope("reports").get_or_load("7", Options::new(), load).await;
    /// assert_eq!(report.unwrap(), "sales");
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
        self.cache.get_or_load(self.key(key), options, load).await
    }

    /// Returns the value under a key of this scope: as [`Cache::get`].
    ///
    /// # Errors
    ///
    /// As [`Cache::get`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// assert_eq!(cache.scope("reports").get::<String>("7").await?, None);
    /// # Ok(()) }
    /// ```
    pub async fn get<T: CacheValue>(&self, key: impl Into<Key>) -> Result<Option<T>, Error> {
        self.cache.get(self.key(key)).await
    }

    /// Stores a value under a key of this scope: as [`Cache::set`].
    ///
    /// # Errors
    ///
    /// As [`Cache::set`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// cache.scope("reports").set("7", &42, cache_runtime::Options::new()).await?;
    /// # Ok(()) }
    /// ```
    pub async fn set<T: CacheValue>(
        &self,
        key: impl Into<Key>,
        value: &T,
        options: Options,
    ) -> Result<(), Error> {
        self.cache.set(self.key(key), value, options).await
    }

    /// Removes the entry under a key of this scope: as [`Cache::delete`].
    ///
    /// # Errors
    ///
    /// As [`Cache::delete`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// assert!(!cache.scope("reports").delete("7").await?);
    /// # Ok(()) }
    /// ```
    pub async fn delete(&self, key: impl Into<Key>) -> Result<bool, Error> {
        self.cache.delete(self.key(key)).await
    }

    /// Whether there is an entry under a key of this scope: as [`Cache::exists`].
    ///
    /// # Errors
    ///
    /// As [`Cache::exists`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// assert!(!cache.scope("reports").exists("7").await?);
    /// # Ok(()) }
    /// ```
    pub async fn exists(&self, key: impl Into<Key>) -> Result<bool, Error> {
        self.cache.exists(self.key(key)).await
    }

    /// How long the entry under a key of this scope may still be served: as [`Cache::ttl`].
    ///
    /// # Errors
    ///
    /// As [`Cache::ttl`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// assert_eq!(cache.scope("reports").ttl("7").await?, None);
    /// # Ok(()) }
    /// ```
    pub async fn ttl(&self, key: impl Into<Key>) -> Result<Option<Duration>, Error> {
        self.cache.ttl(self.key(key)).await
    }

    /// Invalidates names of this scope: as [`Cache::invalidate`].
    ///
    /// # Errors
    ///
    /// As [`Cache::invalidate`].
    ///
    /// # Cancellation
    ///
    /// As [`Cache::invalidate`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// cache.scope("reports").invalidate(["7", "8"]).await?;
    /// # Ok(()) }
    /// ```
    pub async fn invalidate(&self, names: impl Keys) -> Result<(), Error> {
        let names = names.into_iter().map(|name| self.key(name));
        self.cache.invalidate(names).await
    }

    /// Invalidates all names of this scope, and returns how many entries were removed: as
    /// [`Cache::invalidate_matching`].
    ///
    /// # Errors
    ///
    /// As [`Cache::invalidate_matching`].
    ///
    /// # Cancellation
    ///
    /// As [`Cache::invalidate_matching`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// assert_eq!(cache.scope("reports").clear().await?, 0);
    /// # Ok(()) }
    /// ```
    pub async fn clear(&self) -> Result<u64, Error> {
        self.cache
            .invalidate_matching(format!("{}*", self.prefix))
            .await
    }

    /// Returns how many entries there are in this scope: as [`Cache::count_matching`].
    ///
    /// # Errors
    ///
    /// As [`Cache::count_matching`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// assert_eq!(cache.scope("reports").count().await?, 0);
    /// # Ok(()) }
    /// ```
    pub async fn count(&self) -> Result<u64, Error> {
        self.cache.count_matching(format!("{}*", self.prefix)).await
    }

    /// How many bytes the entries of this scope are to take together: as [`Cache::budget`].
    ///
    /// ```
    /// # fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let budget = cache.scope("reports").budget(30_000_000);
    /// # let _ = budget;
    /// # Ok(()) }
    /// ```
    pub fn budget(&self, bytes: u64) -> Budget {
        Budget::new(self.cache.core(), &self.prefix, bytes)
    }

    /// The texts of a store of this scope: as [`Cache::strings`].
    ///
    /// ```
    /// # fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// assert!(cache.scope("shop").strings("sessions").is_some());
    /// # Ok(()) }
    /// ```
    pub fn strings(&self, store: &str) -> Option<Strings> {
        self.cache.strings(&self.named(store))
    }

    /// A lock of this scope: as [`Cache::lock`].
    ///
    /// ```
    /// # fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let lock = cache.scope("reports").lock("7", std::time::Duration::from_secs(10));
    /// # let _ = lock;
    /// # Ok(()) }
    /// ```
    pub fn lock(&self, name: &str, ttl: Duration) -> Lock {
        self.cache.lock(&self.named(name), ttl)
    }

    /// A limit of this scope: as [`Cache::rate_limit`].
    ///
    /// ```
    /// # fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let limit = cache.scope("reports").rate_limit("export", cache_runtime::Rate::per_hour(10));
    /// # let _ = limit;
    /// # Ok(()) }
    /// ```
    pub fn rate_limit(&self, name: &str, rate: Rate) -> RateLimit {
        self.cache.rate_limit(&self.named(name), rate)
    }

    fn named(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
