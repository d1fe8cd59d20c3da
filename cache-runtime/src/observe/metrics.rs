//! Metrics, for the recorder of the `metrics` crate that the program has installed.
//!
//! A hit does nothing for them: a thread adds up the counters of all caches now and then, and publishes
//! the sums. Only the time of a load is recorded when the load ends.
//!
//! * **Counters are published as what they are, not as what came since.** So a recorder that is
//!   installed late shows all of it. Caches of one name are added up before, and what a cache has
//!   counted stays in the sum when it is dropped.
//! * **No lock is held while the recorder runs:** it is another crate's code.
//! * **The thread holds caches weakly,** and ends with the last.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{io, mem, process, thread};

use metrics::{Key, Label as KeyLabel, Level, Metadata, Recorder, SharedString, Unit};

use super::{Observer, Sums};
use crate::call::site::{self, CallSite};
use crate::core::Core;
use crate::counters::Detail;
use crate::tier::Store as _;

/// How often metrics are published, unless the builder says it.
const INTERVAL: Duration = Duration::from_secs(5);

static METADATA: Metadata<'static> =
    Metadata::new("cache_runtime", Level::INFO, Some("cache_runtime"));

const LOAD_SECONDS: &str = "cache_load_seconds";

/// All counters: names, units and what they mean. The page `docs/observing.md` has more.
const COUNTERS: &[(&str, Unit, &str)] = &[
    (
        "cache_gets_total",
        Unit::Count,
        "Look-ups, by tier and result",
    ),
    (
        "cache_misses_total",
        Unit::Count,
        "Look-ups that were not answered from the cache, by reason",
    ),
    ("cache_puts_total", Unit::Count, "Values that were stored"),
    ("cache_loads_total", Unit::Count, "Loads that began"),
    (
        "cache_load_failures_total",
        Unit::Count,
        "Loads that ended with an error",
    ),
    (
        "cache_waits_total",
        Unit::Count,
        "Misses that another caller's load has answered",
    ),
    (
        "cache_stale_total",
        Unit::Count,
        "Look-ups that were answered with an old entry, by reason",
    ),
    (
        "cache_refreshes_total",
        Unit::Count,
        "Refreshes, by what became of them",
    ),
    (
        "cache_errors_total",
        Unit::Count,
        "Failures of the cache itself",
    ),
    (
        "cache_seconds_saved_total",
        Unit::Seconds,
        "How long hits would have taken to load: an estimate",
    ),
    (
        "cache_invalidations_total",
        Unit::Count,
        "Names that were invalidated",
    ),
    (
        "cache_outages_total",
        Unit::Count,
        "How often the server went away",
    ),
    (
        "cache_refusals_total",
        Unit::Count,
        "How often the server began to refuse something",
    ),
    (
        "cache_overflows_total",
        Unit::Count,
        "How often more names waited than there is room for",
    ),
];

const GAUGES: &[(&str, Unit, &str)] = &[
    ("cache_entries", Unit::Count, "Entries in this process"),
    (
        "cache_journal_names",
        Unit::Count,
        "Names that wait for their invalidation",
    ),
    (
        "cache_breaker_open",
        Unit::Count,
        "Caches that do not use their server, since it fails",
    ),
];

/// How metrics are published.
#[derive(Debug, Clone)]
pub(crate) struct MetricsSettings {
    /// The label `cache`; without it, the namespace.
    pub(crate) name: Option<String>,
    /// Zero for not at an interval.
    pub(crate) interval: Duration,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self {
            name: None,
            interval: INTERVAL,
        }
    }
}

impl MetricsSettings {
    pub(crate) fn label(&self, namespace: &str) -> Label {
        Label(Some(self.name.as_deref().unwrap_or(namespace).into()))
    }
}

/// The name of a cache in metrics. A cache that is off has none, and no metrics.
#[derive(Debug, Clone, Default)]
pub(crate) struct Label(Option<Arc<str>>);

impl Label {
    /// Records how long a load took.
    pub(crate) fn record_load(
        &self,
        function: &'static str,
        took: Duration,
        outcome: &'static str,
    ) {
        let Some(cache) = &self.0 else {
            return;
        };
        let labels = [("function", function), ("outcome", outcome)];
        let key = key(LOAD_SECONDS, cache, &labels);
        metrics::with_recorder(|recorder| {
            recorder
                .register_histogram(&key, &METADATA)
                .record(took.as_secs_f64());
        });
    }
}

/// The labels of a series besides `cache`, in the order of their table.
type Labels = Vec<(&'static str, &'static str)>;

/// What one name has counted: each series with its value.
type Series = HashMap<(&'static str, Labels), u64>;

/// A cache whose metrics are published.
#[derive(Debug)]
struct Published {
    name: Arc<str>,
    /// Of the cache, whose counters live on.
    observer: Observer,
    core: Weak<Core>,
    /// Which of the tiers answers what is not in front, and whether there is a front.
    tier: &'static str,
    has_front: bool,
    interval: Duration,
}

#[derive(Debug)]
struct Publisher {
    caches: Vec<Published>,
    /// What caches had counted that were dropped.
    dropped: Option<HashMap<Arc<str>, Series>>,
    /// The process that has a thread for it. A forked process has none of its parent's.
    process: Option<u32>,
}

static PUBLISHER: Mutex<Publisher> = Mutex::new(Publisher {
    caches: Vec::new(),
    dropped: None,
    process: None,
});

/// Notified when a cache was added.
static ADDED: Condvar = Condvar::new();

/// Has the metrics of a cache be published from now on, until it is dropped.
pub(crate) fn register(core: &Arc<Core>, settings: &MetricsSettings) {
    let Some(name) = &core.observer.label.0 else {
        return;
    };
    let mut publisher = lock();
    publisher.fold_dropped();
    publisher.caches.push(Published {
        name: name.clone(),
        observer: core.observer.clone(),
        core: Arc::downgrade(core),
        tier: core.tier.name(),
        has_front: core.tier.has_front(),
        interval: settings.interval,
    });
    let here = Some(process::id());
    if settings.interval.is_zero() {
        return;
    }
    if mem::replace(&mut publisher.process, here) == here {
        drop(publisher);
        ADDED.notify_one();
    } else if let Err(error) = start() {
        publisher.process = None;
        tracing::warn!(%error, "metrics are not published: no thread could be started");
    }
}

fn start() -> io::Result<()> {
    let named = thread::Builder::new().name("cache-metrics".to_owned());
    named.spawn(publish_at_intervals).map(drop)
}

/// Publishes until no cache is left that wants it.
fn publish_at_intervals() {
    let mut last = Instant::now();
    loop {
        let mut publisher = lock();
        publisher.fold_dropped();
        let intervals = publisher.caches.iter().map(|cache| cache.interval);
        let interval = intervals.filter(|it| !it.is_zero()).min();
        let left = interval.map(|interval| interval.saturating_sub(last.elapsed()));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            // It is notified of a cache that is added, which may have a shorter interval.
            drop(ADDED.wait_timeout(publisher, left));
            continue;
        }
        if interval.is_none() {
            publisher.process = None;
        }
        let collected = publisher.collect(None);
        drop(publisher);
        // The recorder's panic does not end the thread.
        if catch_unwind(AssertUnwindSafe(|| publish(&collected))).is_err() {
            tracing::error!("the recorder of the cache's metrics panicked");
        }
        if interval.is_none() {
            return;
        }
        last = Instant::now();
    }
}

/// Publishes what caches with the name of this one have counted.
pub(crate) fn publish_now(core: &Core) {
    if let Some(name) = &core.observer.label.0 {
        let collected = lock().collect(Some(name));
        publish(&collected);
    }
}

/// What is published of one name.
#[derive(Debug, Default)]
struct Collected {
    counters: Series,
    /// In the order of [`GAUGES`].
    gauges: [u64; GAUGES.len()],
}

impl Publisher {
    /// Keeps what caches have counted that were dropped.
    fn fold_dropped(&mut self) {
        let is_dropped = |cache: &mut Published| cache.core.strong_count() == 0;
        for cache in self.caches.extract_if(.., is_dropped) {
            let dropped = self.dropped.get_or_insert_default();
            cache.add_to(dropped.entry(cache.name.clone()).or_default());
        }
    }

    fn collect(&self, name: Option<&Arc<str>>) -> HashMap<Arc<str>, Collected> {
        let is_meant = |other: &Arc<str>| name.is_none_or(|name| name == other);
        let mut all: HashMap<Arc<str>, Collected> = HashMap::new();
        for (name, counters) in self
            .dropped
            .iter()
            .flatten()
            .filter(|(name, _)| is_meant(name))
        {
            let collected = Collected {
                counters: counters.clone(),
                gauges: Default::default(),
            };
            all.insert(name.clone(), collected);
        }
        for cache in self.caches.iter().filter(|cache| is_meant(&cache.name)) {
            let collected = all.entry(cache.name.clone()).or_default();
            cache.add_to(&mut collected.counters);
            if let Some(core) = cache.core.upgrade() {
                let waiting = core.tier.waiting().names as u64;
                let is_open = core.tier.status().is_failing();
                let gauges = [core.tier.held().entries, waiting, u64::from(is_open)];
                for (sum, gauge) in collected.gauges.iter_mut().zip(gauges) {
                    *sum += gauge;
                }
            }
        }
        all
    }
}

impl Published {
    /// Adds what the cache has counted.
    fn add_to(&self, series: &mut Series) {
        let by_hand = (super::path_of(None), site::BY_HAND);
        let path = |(site, place): (&'static CallSite, _)| (site.function.path, place);
        let sites = site::called().into_iter().map(path);
        for (function, place) in sites.chain([by_hand]) {
            let sums = Sums::at(self.observer.counters(), place);
            if sums.is_empty() {
                continue;
            }
            self.add_site(function, &sums, series);
        }
        for (name, count) in [
            ("cache_invalidations_total", self.observer.invalidated()),
            ("cache_outages_total", self.observer.outages()),
            ("cache_refusals_total", self.observer.refusals()),
            ("cache_overflows_total", self.observer.overflows()),
        ] {
            *series.entry((name, Labels::new())).or_default() += count;
        }
    }

    fn add_site(&self, function: &'static str, sums: &Sums, series: &mut Series) {
        let mut add = |name: &'static str, labels: &[(&'static str, &'static str)], count: u64| {
            let labels = [&[("function", function)], labels].concat();
            *series.entry((name, labels)).or_default() += count;
        };
        let Sums {
            counts, details, ..
        } = sums;
        let (tier, in_front) = (self.tier, sums.hits_in_front(self.has_front));
        let gets = "cache_gets_total";
        add(
            gets,
            &[("tier", tier), ("result", "hit")],
            counts.hits - in_front,
        );
        if self.has_front {
            add(gets, &[("tier", "front"), ("result", "hit")], in_front);
        }
        add(
            gets,
            &[("tier", tier), ("result", "miss")],
            details.misses(),
        );
        for (reason, count) in details.missed().iter().filter(|(_, count)| *count > 0) {
            add("cache_misses_total", &[("reason", reason.name())], count);
        }
        add("cache_puts_total", &[], counts.stored);
        add("cache_loads_total", &[], counts.loads);
        add("cache_errors_total", &[], counts.errors);
        add(
            "cache_seconds_saved_total",
            &[],
            sums.time_saved().as_secs(),
        );
        for (name, detail) in [
            ("cache_load_failures_total", Detail::LoadFailed),
            ("cache_waits_total", Detail::Shared),
        ] {
            add(name, &[], details.of(detail));
        }
        for (reason, detail) in [
            ("revalidating", Detail::StaleRevalidating),
            ("error", Detail::StaleError),
            ("slow", Detail::StaleSlow),
        ] {
            add(
                "cache_stale_total",
                &[("reason", reason)],
                details.of(detail),
            );
        }
        for (result, detail) in [
            ("begun", Detail::Refresh),
            ("failed", Detail::RefreshFailed),
            ("discarded", Detail::RefreshDiscarded),
            ("skipped", Detail::RefreshSkipped),
        ] {
            add(
                "cache_refreshes_total",
                &[("result", result)],
                details.of(detail),
            );
        }
    }
}

fn publish(all: &HashMap<Arc<str>, Collected>) {
    if all.is_empty() {
        return;
    }
    metrics::with_recorder(|recorder| {
        describe(recorder);
        for (cache, Collected { counters, gauges }) in all {
            for ((name, labels), value) in counters {
                let key = key(name, cache, labels);
                recorder.register_counter(&key, &METADATA).absolute(*value);
            }
            for ((name, ..), value) in GAUGES.iter().zip(gauges) {
                let key = key(name, cache, &[]);
                #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
                recorder.register_gauge(&key, &METADATA).set(*value as f64);
            }
        }
    });
}

/// At each publication, since a recorder may have been installed since the last.
fn describe(recorder: &dyn Recorder) {
    for (name, unit, text) in COUNTERS {
        let text = SharedString::const_str(text);
        recorder.describe_counter((*name).into(), Some(*unit), text);
    }
    for (name, unit, text) in GAUGES {
        let text = SharedString::const_str(text);
        recorder.describe_gauge((*name).into(), Some(*unit), text);
    }
    let text = SharedString::const_str("How long loads took");
    recorder.describe_histogram(LOAD_SECONDS.into(), Some(Unit::Seconds), text);
}

fn key(name: &'static str, cache: &Arc<str>, labels: &[(&'static str, &'static str)]) -> Key {
    let cache = KeyLabel::new("cache", SharedString::from_shared(cache.clone()));
    let labels = labels
        .iter()
        .map(|(name, value)| KeyLabel::from_static_parts(name, value));
    Key::from_parts(name, [cache].into_iter().chain(labels).collect::<Vec<_>>())
}

/// Nothing panics under this lock.
fn lock() -> MutexGuard<'static, Publisher> {
    PUBLISHER.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    use metrics::{Counter, Gauge, Histogram, HistogramFn, KeyName};

    use super::*;
    use crate::{Cache, Options};

    /// Keeps what is published.
    #[derive(Default)]
    struct Recorded(Mutex<Contents>);

    #[derive(Default)]
    struct Contents {
        values: BTreeMap<String, Arc<AtomicU64>>,
        /// Each metric with its type and its labels.
        metrics: BTreeSet<(String, &'static str, Vec<String>)>,
        described: BTreeMap<String, Option<Unit>>,
    }

    #[derive(Debug)]
    struct Times(Arc<AtomicU64>);

    impl HistogramFn for Times {
        fn record(&self, seconds: f64) {
            assert!((0.0..60.0).contains(&seconds));
            self.0.fetch_add(1, SeqCst);
        }
    }

    impl Recorded {
        fn register(&self, key: &Key, kind: &'static str) -> Arc<AtomicU64> {
            let labels: Vec<(String, String)> = key
                .labels()
                .map(|label| (label.key().to_owned(), label.value().to_owned()))
                .collect();
            let mut contents = self.0.lock().unwrap();
            let names = labels.iter().map(|(name, _)| name.clone()).collect();
            contents
                .metrics
                .insert((key.name().to_owned(), kind, names));
            let values: Vec<String> = labels.into_iter().map(|(_, value)| value).collect();
            let series = format!("{} {}", key.name(), values.join(" "));
            contents.values.entry(series).or_default().clone()
        }

        fn describe(&self, name: KeyName, unit: Option<Unit>) {
            let mut contents = self.0.lock().unwrap();
            contents.described.insert(name.as_str().to_owned(), unit);
        }

        fn value(&self, series: &str) -> u64 {
            let contents = self.0.lock().unwrap();
            let value = contents.values.get(series);
            value
                .unwrap_or_else(|| panic!("{series}: {:?}", contents.values))
                .load(SeqCst)
        }
    }

    impl Recorder for Recorded {
        fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
            self.describe(name, unit);
        }
        fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
            self.describe(name, unit);
        }
        fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
            self.describe(name, unit);
        }
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.register(key, "counter"))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.register(key, "gauge"))
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(Arc::new(Times(self.register(key, "histogram"))))
        }
    }

    fn cache(name: &str) -> Cache {
        let builder = Cache::builder().url("memory:").metrics_name(name);
        builder.metrics_interval(Duration::ZERO).build().unwrap()
    }

    /// A miss with a load, and two hits.
    fn use_it(cache: &Cache) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            for _ in 0..3 {
                let load = async { Ok::<_, ()>(1) };
                cache.get_or_load("a", Options::new(), load).await.unwrap();
            }
            let load = async { Err::<u32, _>(()) };
            cache
                .get_or_load("b", Options::new(), load)
                .await
                .unwrap_err();
            cache.invalidate(["c"]).await.unwrap();
        });
    }

    #[test]
    fn what_is_published_is_what_the_page_says() {
        let recorded = Recorded::default();
        metrics::with_local_recorder(&recorded, || {
            let cache = cache("as the page says");
            use_it(&cache);
            cache.publish_metrics();
        });
        let contents = recorded.0.into_inner().unwrap();
        let page = include_str!("../../docs/observing.md");
        let words = |cell: &str| -> Vec<String> {
            let words = cell.split(", ");
            words
                .map(|it| it.trim().trim_matches('`').to_owned())
                .collect()
        };
        let mut rows = BTreeSet::new();
        for row in page.lines().filter(|row| row.starts_with("| `cache_")) {
            let cells: Vec<&str> = row.split(" | ").collect();
            let name = cells[0].trim_start_matches("| ").trim_matches('`');
            let kind = ["counter", "gauge", "histogram"];
            let kind = kind.into_iter().find(|kind| *kind == cells[1]).unwrap();
            rows.insert((name.to_owned(), kind, words(cells[2])));
            let is_time = contents.described[name] == Some(Unit::Seconds);
            assert_eq!(cells[3] == "seconds", is_time, "{name}");
        }
        assert_eq!(contents.metrics, rows);
        assert_eq!(contents.described.len(), rows.len());
    }

    #[test]
    fn counters_are_published_as_they_are_and_added_up_by_name() {
        let name = "added up";
        let (one, other) = (cache(name), cache(name));
        // There is no recorder yet.
        use_it(&one);
        one.publish_metrics();
        use_it(&other);
        let recorded = Recorded::default();
        let hits = "cache_gets_total added up the API by hand local hit";
        let gauge = "cache_entries added up";
        metrics::with_local_recorder(&recorded, || {
            one.publish_metrics();
            assert_eq!(recorded.value(hits), 4);
            assert_eq!(recorded.value(gauge), 2_f64.to_bits());
            drop(other);
            use_it(&one);
            one.publish_metrics();
        });
        assert_eq!(recorded.value(hits), 7);
        assert_eq!(
            recorded.value("cache_gets_total added up the API by hand local miss"),
            5
        );
        assert_eq!(
            recorded.value("cache_misses_total added up the API by hand absent"),
            5
        );
        assert_eq!(
            recorded.value("cache_load_failures_total added up the API by hand"),
            3
        );
        assert_eq!(recorded.value("cache_invalidations_total added up"), 3);
        assert_eq!(recorded.value(gauge), 1_f64.to_bits());
        // Those with a recorder.
        assert_eq!(
            recorded.value("cache_load_seconds added up the API by hand error"),
            1
        );
    }

    /// Asks until it is so.
    fn until(is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn a_thread_publishes_until_the_cache_is_dropped() {
        let recorded = Arc::new(Recorded::default());
        metrics::set_global_recorder(recorded.clone()).unwrap();
        let is = |series: &str, value: u64| {
            let contents = recorded.0.lock().unwrap();
            let found = contents.values.get(series);
            found.is_some_and(|found| found.load(SeqCst) == value)
        };
        let builder = Cache::builder().url("memory:").metrics_name("by a thread");
        let cache = builder.metrics_interval(Duration::from_millis(5));
        let cache = cache.build().unwrap();
        use_it(&cache);
        until(|| is("cache_entries by a thread", 1_f64.to_bits()));
        let puts = "cache_puts_total by a thread the API by hand";
        assert!(is(puts, 1));
        drop(cache);
        until(|| is("cache_entries by a thread", 0));
        assert!(is(puts, 1));
    }
}
