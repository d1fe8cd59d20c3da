//! Metrics: what they are called, and when they are published.

use std::time::Duration;

use super::{Cache, CacheBuilder};
use crate::clock::FOREVER;
use crate::observe::metrics;

impl CacheBuilder {
    /// Sets the label `cache` of this cache's [metrics](crate::observing). Default: the
    /// [namespace](Self::namespace). Of caches with the same name, the metrics are added up.
    ///
    /// ```
    /// let cache = cache_runtime::Cache::builder().metrics_name("sessions").build()?;
    /// # let _ = cache;
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn metrics_name(mut self, name: impl Into<String>) -> Self {
        self.metrics.name = Some(name.into());
        self
    }

    /// Sets how often this cache's [metrics](crate::observing) are published. Default: 5 seconds. With
    /// zero, only [`Cache::publish_metrics`] publishes them.
    ///
    /// All caches of a process are published together, as often as the shortest interval of them says.
    /// What is published is only read as often as the recorder's own reader comes by; so there is no use
    /// in a shorter interval than that one's.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let builder = cache_runtime::Cache::builder().metrics_interval(Duration::from_secs(15));
    /// # let _ = builder;
    /// ```
    pub fn metrics_interval(mut self, interval: Duration) -> Self {
        self.metrics.interval = interval.min(FOREVER);
        self
    }
}

impl Cache {
    /// Publishes this cache's [metrics](crate::observing) now, with those of other caches of the same
    /// name: before a reader comes by, or before the program ends. Without a recorder, nothing happens.
    ///
    /// ```
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// cache.publish_metrics();
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn publish_metrics(&self) {
        metrics::publish_now(&self.core);
    }
}
