//! What a cache has done: in all, and for each annotated function.

use std::time::Duration;

use serde::Serialize;

use crate::call::site::{self, CallSite};
use crate::core::Core;
use crate::counters::Detail;
use crate::load_times::{LoadTimes, seconds};
use crate::missed::Misses;
use crate::observe::Sums;
use crate::tier::Store as _;

/// What a cache has done since it was built, from [`Cache::stats`](crate::Cache::stats). Only this
/// process is counted.
///
/// Each look-up is a hit or a miss: a call of an annotated function, of
/// [`get_or_load`](crate::Cache::get_or_load) or of [`get`](crate::Cache::get). A call whose
/// `condition` is false is neither. A miss that shares another caller's load adds no load: it is one of
/// the `waits`. (A call may be both: one that has begun to load itself, and was then answered by another
/// caller's load, or by another process's.)
///
/// The counters are read one after the other, while calls go on. So two of them may differ by the calls
/// of that moment.
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
/// assert_eq!((stats.stored, stats.missed.absent, stats.load_time.count), (1, 1, 1));
/// assert_eq!(stats.sites[0].template, "square:<n>");
/// assert!(stats.time_saved <= stats.load_time.total);
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
    /// Those of the hits that were answered by what this process keeps in front of a server: by a
    /// [copy](crate::CacheBuilder::local_ttl) of an entry, or by a value that never leaves the process
    /// (`local`). The others were answered by the server; or, where there is none, by the local tier,
    /// and this is 0.
    pub hits_in_front: u64,
    /// Look-ups that were not answered from the cache.
    pub misses: u64,
    /// The misses by their reasons.
    pub missed: Misses,
    /// Loads that began: the function's body ran, or the future given to `get_or_load`.
    pub loads: u64,
    /// Loads that ended with an error.
    pub load_failures: u64,
    /// Misses that were answered by another caller's load, in this process or another.
    pub waits: u64,
    /// Values that were stored: by loads, by [`Cache::set`](crate::Cache::set) and the like.
    pub stored: u64,
    /// How long the loads took that ended with a value.
    pub load_time: LoadTimes,
    /// How long the hits would have taken to load. This is an estimate: for each function, its hits
    /// times the time that its loads took on average for one key, in this process. A function that has
    /// loaded nothing here adds nothing, and so do [`Cache::get`](crate::Cache::get) and the like
    /// without [`get_or_load`](crate::Cache::get_or_load). In JSON: `time_saved_seconds`.
    #[serde(rename = "time_saved_seconds", serialize_with = "seconds")]
    pub time_saved: Duration,
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
    /// Names that were invalidated, each as often as it was. A pattern counts as one, and so does
    /// [`Cache::clear`](crate::Cache::clear).
    pub invalidated: u64,
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
    /// The share of the look-ups that were answered from the cache, from 0 to 1; `None` if there was none.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::{Cache, Options};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// assert_eq!(cache.stats().hit_rate(), None);
    ///
    /// cache.set("answer", &42, Options::new()).await?;
    /// cache.get::<i32>("answer").await?;
    /// cache.get::<i32>("question").await?;
    /// assert_eq!(cache.stats().hit_rate(), Some(0.5));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn hit_rate(&self) -> Option<f64> {
        rate(self.hits, self.misses)
    }

    pub(super) fn of(core: &Core) -> Self {
        let observer = &core.observer;
        let has_front = core.tier.has_front();
        let held = core.tier.held();
        let mut stats = Self {
            entries: held.entries,
            bytes: held.bytes,
            invalidated: observer.invalidated(),
            outages: observer.outages(),
            refusals: observer.refusals(),
            overflows: observer.overflows(),
            ..Self::default()
        };
        let counters = observer.counters();
        let mut all = Sums::at(counters, site::BY_HAND);
        stats.time_saved = all.time_saved();
        for (site, place) in site::called() {
            let sums = Sums::at(counters, place);
            if sums.counts.hits + sums.details.misses() > 0 {
                stats.sites.push(SiteStats::new(site, &sums, has_front));
            }
            stats.time_saved = stats.time_saved.saturating_add(sums.time_saved());
            all.add(counters, place, &sums);
        }
        let Sums {
            counts, details, ..
        } = &all;
        stats.hits = counts.hits;
        stats.hits_in_front = all.hits_in_front(has_front);
        stats.misses = details.misses();
        stats.missed = details.missed();
        stats.loads = counts.loads;
        stats.load_failures = details.of(Detail::LoadFailed);
        stats.waits = details.of(Detail::Shared);
        stats.stored = counts.stored;
        stats.load_time = all.times.load_times();
        stats.errors = counts.errors;
        stats.stale = all.stale();
        stats.refreshes = details.of(Detail::Refresh);
        stats.refreshes_failed = details.of(Detail::RefreshFailed);
        stats.refreshes_discarded = details.of(Detail::RefreshDiscarded);
        stats.refreshes_skipped = details.of(Detail::RefreshSkipped);
        stats
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
    /// Those of the hits that were answered by what this process keeps in front of a server.
    pub hits_in_front: u64,
    /// Calls that were not answered from the cache.
    pub misses: u64,
    /// The misses by their reasons.
    pub missed: Misses,
    /// Misses, and refreshes, that ran the function's body.
    pub loads: u64,
    /// Loads that ended with an error.
    pub load_failures: u64,
    /// Misses that were answered by another caller's load, in this process or another.
    pub waits: u64,
    /// Values that were stored.
    pub stored: u64,
    /// How long the loads took that ended with a value.
    pub load_time: LoadTimes,
    /// How long the hits would have taken to load: an estimate, as in [`Stats`]. In JSON:
    /// `time_saved_seconds`.
    #[serde(rename = "time_saved_seconds", serialize_with = "seconds")]
    pub time_saved: Duration,
    /// Calls that went on without the cache, and values that could not be stored.
    pub errors: u64,
    /// Calls that were answered with an old entry.
    pub stale: u64,
    /// Refreshes that began.
    pub refreshes: u64,
    /// Refreshes that failed.
    pub refreshes_failed: u64,
    /// Refreshes whose value was not stored.
    pub refreshes_discarded: u64,
    /// Refreshes that did not begin, since too many were under way.
    pub refreshes_skipped: u64,
}

impl SiteStats {
    /// The share of the calls that were answered from the cache: as [`Stats::hit_rate`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::{Cache, cached};
    ///
    /// #[cached(key = "square:<n>", cache = cache, skip(cache))]
    /// async fn square(n: u32, cache: &Cache) -> u32 { n * n }
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// square(3, &cache).await;
    /// square(3, &cache).await;
    /// assert_eq!(cache.stats().sites[0].hit_rate(), Some(0.5));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn hit_rate(&self) -> Option<f64> {
        rate(self.hits, self.misses)
    }

    fn new(site: &CallSite, sums: &Sums, has_front: bool) -> Self {
        let function = &site.function;
        let Sums {
            counts, details, ..
        } = sums;
        Self {
            function: function.path,
            file: function.file,
            line: function.line,
            template: function.key(),
            hits: counts.hits,
            hits_in_front: sums.hits_in_front(has_front),
            misses: details.misses(),
            missed: details.missed(),
            loads: counts.loads,
            load_failures: details.of(Detail::LoadFailed),
            waits: details.of(Detail::Shared),
            stored: counts.stored,
            load_time: sums.times.load_times(),
            time_saved: sums.time_saved(),
            errors: counts.errors,
            stale: sums.stale(),
            refreshes: details.of(Detail::Refresh),
            refreshes_failed: details.of(Detail::RefreshFailed),
            refreshes_discarded: details.of(Detail::RefreshDiscarded),
            refreshes_skipped: details.of(Detail::RefreshSkipped),
        }
    }
}

fn rate(hits: u64, misses: u64) -> Option<f64> {
    let all = hits + misses;
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
    let rate = (all > 0).then(|| hits as f64 / all as f64);
    rate
}
