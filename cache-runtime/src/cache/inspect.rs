//! What is stored under a name, and what the servers are found to be, for people.

use std::time::Duration;

use super::{Cache, Options};
use crate::call::scope;
use crate::codec::{self, Form, Payload};
use crate::error::Error;
use crate::inspection::{FailedLoad, Inspection, StoreState};
use crate::key::Key;
use crate::observe::{Event, NotFilledReason};
use crate::tier::{Filled, Store as _};

impl Cache {
    /// Returns what is stored under `name`: as an entry, also one that would not be served, and why; and as
    /// a tag. Nothing is changed, and it counts as neither a hit nor a miss. It is for a dashboard or a
    /// debugging session; a program that wants the value calls
    /// [`get`](Self::get) or [`entry`](Self::entry).
    ///
    /// It shows what the cache's store holds. A copy that this process keeps in front of a server
    /// ([`local_ttl`](crate::CacheBuilder::local_ttl)) is not looked at. Within
    /// [`after_commit`](crate::after_commit) it shows the store as it is.
    ///
    /// What cannot be told is `None`, or says so: in the process, the size and most values, which are Rust
    /// values of types that only their readers name; on a server, the type of a value that no function of
    /// this program caches. A value may be large: up to 64 MiB before compression.
    ///
    /// On a server it takes two round trips, three for an entry with tags; each may take as long as
    /// [`op_timeout`](crate::CacheBuilder::op_timeout).
    ///
    /// # Errors
    ///
    /// If the name is empty ([`Error::is_key`]), or the server does not answer
    /// ([`Error::is_unavailable`]). It counts as no error of the cache.
    ///
    /// # Cancellation
    ///
    /// It may be dropped at any point.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::{Cache, Holds, Options, ShownValue};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// cache.set("greeting", &"hello".to_owned(), Options::new()).await?;
    ///
    /// let it = cache.inspect("greeting").await?;
    /// assert_eq!(it.holds, Holds::Entry);
    /// assert!(it.why.starts_with("It would be served"));
    /// let entry = it.entry.expect("it was just set");
    /// assert!(matches!(entry.value, ShownValue::Json { text, .. } if text == "\"hello\""));
    /// assert_eq!(cache.stats().hits, 0);
    /// # Ok(()) }
    /// ```
    pub async fn inspect(&self, name: impl Into<Key>) -> Result<Inspection, Error> {
        let key = name.into();
        key.check()?;
        let mut inspection = self.core.tier.inspect(&key).await?;
        let failed = self.core.refreshes.failure(&key);
        inspection.failed = inspection
            .failed
            .or(failed.map(|(left, is_excused)| FailedLoad {
                again_in: Some(left),
                is_excused,
            }));
        Ok(inspection)
    }

    /// Returns where this cache keeps its entries, and what its servers are, as its last requests found
    /// them. No server is asked. Addresses are shown without credentials.
    ///
    /// ```
    /// # #[cfg(feature = "redis")] {
    /// use cache_runtime::{BreakerState, Cache};
    ///
    /// let cache = Cache::builder().url("redis://:secret@127.0.0.1:1").build()?;
    /// let servers = cache.servers();
    /// assert_eq!(servers.nodes[0].address, "127.0.0.1:1");
    /// assert_eq!(servers.nodes[0].breaker, BreakerState::Idle);
    /// assert!(!serde_json::to_string(&servers).unwrap().contains("secret"));
    /// # }
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn servers(&self) -> StoreState {
        let mut servers = self.core.tier.servers();
        servers.unsettled = self.core.unsettled.len();
        servers.overflowed |= self.core.unsettled.has_overflowed();
        servers.refreshes = self.core.refreshes.under_way();
        servers
    }

    /// Replaces the value under `key` by a value that is given as JSON, for a correction by hand on a
    /// server. The tags, the schema version and the type that the entry has stay, so the calls that were
    /// served the old value are served this one. Of [`Options`], the tags count only where there is no
    /// entry, and the codec does not count.
    ///
    /// Whether the JSON fits the type of the value is not known here: a call that cannot read it loads, and
    /// replaces it. As after [`set`](Self::set), the value may be older than an invalidation; and where
    /// `set` stores nothing, neither does this.
    ///
    /// # Errors
    ///
    /// If `json` is not valid JSON, the value is bytes, or the cache keeps its entries in the process, where
    /// they are Rust values ([`Error::is_codec`]); as [`set`](Self::set) otherwise.
    ///
    /// # Cancellation
    ///
    /// If this future is dropped, the value may or may not be stored.
    ///
    /// ```no_run
    /// # async fn correct(cache: &cache_runtime::Cache) -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::Options;
    ///
    /// cache.set_json("user:42", r#"{ "name": "Ada" }"#, Options::new()).await?;
    /// # Ok(()) }
    /// ```
    pub async fn set_json(
        &self,
        key: impl Into<Key>,
        json: &str,
        options: Options,
    ) -> Result<(), Error> {
        let key = key.into();
        key.check()?;
        options.check()?;
        let stored = self.store_json(&key, json, &options).await;
        let filled = self.core.failed(stored)?;
        let observe = |event| self.core.observer.observe(None, event);
        let why = match filled {
            Filled::Stored(ttl) => {
                observe(Event::Fill { key: &key, ttl });
                return Ok(());
            }
            Filled::Overtaken => NotFilledReason::Overtaken,
            Filled::Unwanted => NotFilledReason::Uncommitted,
            _ => NotFilledReason::Unstorable,
        };
        observe(Event::NotFilled { key: &key, why });
        Ok(())
    }

    async fn store_json(&self, key: &Key, json: &str, options: &Options) -> Result<Filled, Error> {
        let json = json.trim();
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(json);
        is_json.map_err(|error| {
            let reason = format!("it is not valid JSON: {error}");
            Error::codec(key.as_str(), "replaced", &reason)
        })?;
        codec::check_size(json.len()).map_err(|reason| Error::unstorable(key.as_str(), &reason))?;
        // The value may be rolled back.
        if scope::is_uncommitted() {
            scope::hold_names(&self.core, std::slice::from_ref(key));
            return Ok(Filled::Unwanted);
        }
        let payload = Payload {
            form: Form::JSON,
            bytes: json.as_bytes().to_vec(),
        };
        let ttl: Duration = options.ttl.unwrap_or(self.core.settings.default_ttl);
        let set = self.core.tier.set_encoded(key, payload, &options.tags, ttl);
        set.await
    }
}
