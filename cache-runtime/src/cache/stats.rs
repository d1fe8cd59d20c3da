//! What a cache has done: in all, and for each annotated function.

use serde::Serialize;

use crate::call::site;
use crate::counters::Counts;
use crate::observe::Observer;
use crate::registry::function::Function;
use crate::tier::Held;

/// What a cache has done since it was built, from [`Cache::stats`](crate::Cache::stats). Only this
/// process is counted.
///
/// Each look-up is a hit or a miss: a call of an annotated function, of
/// [`get_or_load`](crate::Cache::get_or_load) or of [`get`](crate::Cache::get). A call whose
/// `condition` is false is neither. A miss that shares another caller's load adds no load. So for
/// one function, `misses - loads` is the number of loads that single-flight saved.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use cache_runtime::{Cache, cached};
///
/// #[cached(key = "square:<n>", ttl = 60, cache = cache, skip(cache))]
/// async fn square(n: u32, cache: &Cache) -> u32 { n * n }
///
/// let cache = Cache::builder().url("memory:").build().unwrap();
/// square(3, &cache).await;
/// square(3, &cache).await;
///
/// let stats = cache.stats();
/// assert_eq!((stats.hits, stats.misses, stats.loads), (1, 1, 1));
/// assert_eq!(stats.sites[0].template, "square:<n>");
///
/// // As JSON, for a dashboard or a log.
/// println!("{}", serde_json::to_string(&stats).unwrap());
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Look-ups that were answered from the cache.
    pub hits: u64,
    /// Look-ups that were not.
    pub misses: u64,
    /// Loads that began: the function's body ran, or the future given to `get_or_load`.
    pub loads: u64,
    /// Failures of the cache itself: a look-up that went on without the cache, a value or a fence
    /// that could not be written, an invalidation that is kept to be sent later, or an error that
    /// a method of [`Cache`](crate::Cache) returned.
    pub errors: u64,
    /// Look-ups that were answered with an old entry: one past its ttl, or whose refresh failed.
    pub stale: u64,
    /// Refreshes that began.
    pub refreshes: u64,
    /// Refreshes that failed.
    pub refreshes_failed: u64,
    /// Refreshes whose value was not stored, since an invalidation, a fence or another entry came
    /// meanwhile.
    pub refreshes_discarded: u64,
    /// Refreshes that did not begin, since as many were under way as
    /// [`max_refreshes`](crate::CacheBuilder::max_refreshes) allows.
    pub refreshes_skipped: u64,
    /// Entries in this process now: those of the local tier, or copies of what a server holds. Expired
    /// ones count until they are removed.
    pub entries: u64,
    /// What these entries take, in bytes, if [`max_bytes`](crate::CacheBuilder::max_bytes) bounds it.
    pub bytes: Option<u64>,
    /// How often the server went away. Until it is back, calls do not touch the network.
    pub outages: u64,
    /// How often the server began to refuse something: the credentials, a command, all writes.
    pub refusals: u64,
    /// How often more names waited for an invalidation than there is
    /// [room](crate::CacheBuilder::backlog_room) for.
    pub overflows: u64,
    /// The counters of each `#[cached]` function that has looked something up in this cache.
    pub sites: Vec<SiteStats>,
}

impl Stats {
    pub(super) fn of(observer: &Observer, held: Held) -> Self {
        let counters = observer.counters();
        let [refreshes, failed, discarded, skipped] = observer.refreshes();
        let mut stats = Self {
            entries: held.entries,
            bytes: held.bytes,
            stale: observer.stale(),
            refreshes,
            refreshes_failed: failed,
            refreshes_discarded: discarded,
            refreshes_skipped: skipped,
            outages: observer.outages(),
            refusals: observer.refusals(),
            overflows: observer.overflows(),
            ..Self::default()
        };
        stats.add(&counters.sum(site::BY_HAND));
        for (site, place) in site::called() {
            let counts = counters.sum(place);
            stats.add(&counts);
            if counts.hits + counts.misses > 0 {
                stats.sites.push(SiteStats::new(&site.function, &counts));
            }
        }
        stats
    }

    fn add(&mut self, counts: &Counts) {
        self.hits += counts.hits;
        self.misses += counts.misses;
        self.loads += counts.loads;
        self.errors += counts.errors;
    }
}

/// What one `#[cached]` function did with a cache. The counters mean the same as in [`Stats`].
///
/// ```
/// # fn show(stats: cache_runtime::Stats) {
/// for site in &stats.sites {
///     println!("{} ({}:{}): {} hits", site.function, site.file, site.line, site.hits);
/// }
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SiteStats {
    /// The function's path.
    pub function: &'static str,
    /// The file in which its attribute stands.
    pub file: &'static str,
    /// The line of its attribute.
    pub line: u32,
    /// Its key template.
    pub template: &'static str,
    /// Calls that were answered from the cache.
    pub hits: u64,
    /// Calls that were not.
    pub misses: u64,
    /// Misses that ran the function's body.
    pub loads: u64,
    /// Calls that went on without the cache, and values that could not be stored.
    pub errors: u64,
}

impl SiteStats {
    fn new(function: &Function, counts: &Counts) -> Self {
        Self {
            function: function.path,
            file: function.file,
            line: function.line,
            template: function.key(),
            hits: counts.hits,
            misses: counts.misses,
            loads: counts.loads,
            errors: counts.errors,
        }
    }
}
