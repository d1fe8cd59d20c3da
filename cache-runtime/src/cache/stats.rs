//! What a cache has done, and what each function did with it.

use crate::call::site;
use crate::counters::Counts;
use crate::observe::Observer;
use crate::registry::function::Function;

/// What a cache has done since it was built, from [`Cache::stats`](crate::Cache::stats).
///
/// Each call is a hit or a miss. A miss of an annotated function that shares another
/// caller's load adds no load, so `misses - loads` is the work that single-flight saved.
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
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls that were answered from the cache.
    pub hits: u64,
    /// Calls that were not.
    pub misses: u64,
    /// Misses that ran the function's body.
    pub loads: u64,
    /// Failures of the cache itself: each cost a miss, or left an invalidation undone.
    pub errors: u64,
    /// Entries in the local tier now, expired ones that nobody read since among them.
    pub entries: u64,
    /// How often the server went away: calls then do not touch the network until it is back.
    pub outages: u64,
    /// How often the server began to refuse something: the credentials, a command, all writes.
    pub refusals: u64,
    /// The same for each `#[cached]` function that was called with this cache.
    pub sites: Vec<SiteStats>,
}

impl Stats {
    pub(super) fn of(observer: &Observer, entries: u64) -> Self {
        let counters = observer.counters();
        let mut stats = Self {
            entries,
            outages: observer.outages(),
            refusals: observer.refusals(),
            ..Self::default()
        };
        stats.add(&counters.sum(site::MANUAL));
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

/// What one `#[cached]` function did with a cache; the counters are those of [`Stats`].
///
/// ```
/// # fn show(stats: cache_runtime::Stats) {
/// for site in &stats.sites {
///     println!("{} ({}:{}): {} hits", site.function, site.file, site.line, site.hits);
/// }
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SiteStats {
    /// The function's path.
    pub function: &'static str,
    /// The file its attribute stands in.
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
    /// Failures of the cache itself.
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
