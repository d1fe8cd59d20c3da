//! What a cache does, as events: the one source of its counters, its log and its listener.
//!
//! Each part of the cache says what happened once, as an [`Event`]. [`Observer::observe`] counts it,
//! logs it if it is news, and hands it to the listener, if there is one. A hit only adds to its
//! counter: it is an event only where there is a listener.

mod event;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "without_metrics.rs"]
pub(crate) mod metrics;
mod never_hits;
pub(crate) mod spans;
mod sums;

use std::collections::HashSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use self::event::Spaced;
pub use self::event::{Event, NotFilledReason, StaleReason};
pub use self::never_hits::NeverHit;
use self::never_hits::NeverHits;
pub(crate) use self::sums::Sums;
use crate::call::site::CallSite;
use crate::codec;
use crate::counters::{CounterTable, Counters, Detail};
use crate::error::Error;
use crate::key::Key;
use crate::registry::{Function, Role};
use crate::sabotage;

/// Gets each event of a cache.
pub(crate) type Listener = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// Counts, logs and tells what a cache does. Clones are one observer.
#[derive(Clone)]
pub(crate) struct Observer {
    counters: CounterTable,
    incidents: Arc<Incidents>,
    listener: Option<Listener>,
    label: metrics::Label,
    /// Whether spans have keys.
    shows_keys: bool,
}

/// How often the server went away, and how often it began to refuse; and what was logged.
#[derive(Debug, Default)]
struct Incidents {
    outages: AtomicU64,
    refusals: AtomicU64,
    overflows: AtomicU64,
    invalidated: AtomicU64,
    never_hits: NeverHits,
    /// By the address of the call site, or 0 for the API by hand. There are at most as many as
    /// there are sites and kinds of reports.
    reported: Mutex<HashSet<(usize, Report)>>,
}

/// What a call site may do again at each call, and what is therefore logged once a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Report {
    /// A value that is stored cannot be decoded.
    NotDecoded,
    /// A value cannot be encoded, or is too large.
    NotStored,
    /// What is stored is of another type.
    OtherType,
    /// A value would come back as another one.
    Altered,
    SlowWait,
    /// A transaction is among its arguments, and no scope waits for the commit.
    OutsideOfCommit,
}

/// A longer wait for another caller's load is logged.
const SLOW_WAIT: Duration = Duration::from_secs(1);

impl Observer {
    pub(crate) fn new(listener: Option<Listener>) -> Self {
        Self {
            // With a listener, each hit takes the branch on which the listener is called.
            counters: CounterTable::new(listener.is_none()),
            incidents: Arc::default(),
            listener,
            label: metrics::Label::default(),
            shows_keys: false,
        }
    }

    /// The same observer, with the name that the cache has in metrics.
    pub(crate) fn labelled(mut self, label: metrics::Label) -> Self {
        self.label = label;
        self
    }

    /// The same observer, whose spans have keys, or have none.
    pub(crate) fn showing_keys(mut self, shows_keys: bool) -> Self {
        self.shows_keys = shows_keys;
        self
    }

    /// A hit. Its key is rendered only for a listener.
    #[expect(clippy::inline_always, reason = "it is part of every local hit")]
    #[inline(always)]
    pub(crate) fn hit(&self, site: Option<&'static CallSite>, key: impl FnOnce() -> Key) {
        let counters = self.counters.of(site);
        counters.count(&counters.tally.hits);
        if !counters.is_alone {
            self.tell_hit(key);
        }
    }

    #[cold]
    fn tell_hit(&self, key: impl FnOnce() -> Key) {
        if self.listener.is_some() {
            self.tell(&Event::Hit { key: &key() });
        }
    }

    /// Counts, logs and tells an event of a call site, or of no call site.
    #[expect(
        clippy::inline_always,
        reason = "where the event is known, most of it is compiled away"
    )]
    #[inline(always)]
    pub(crate) fn observe(&self, site: Option<&'static CallSite>, event: Event<'_>) {
        self.log(site, &event);
        self.observe_unlogged(site, event);
    }

    /// Counts and tells an event without logging it, where one like it was logged shortly before.
    #[expect(clippy::inline_always, reason = "as `observe`")]
    #[inline(always)]
    pub(crate) fn observe_unlogged(&self, site: Option<&'static CallSite>, event: Event<'_>) {
        self.count(site, &event);
        self.tell(&event);
    }

    /// Calls the listener, if there is one. Its panic is caught: it ends neither the call nor,
    /// within a `Drop`, the process.
    #[inline]
    fn tell(&self, event: &Event<'_>) {
        if let Some(listener) = &self.listener {
            Self::tell_listener(listener, event);
        }
    }

    #[cold]
    fn tell_listener(listener: &Listener, event: &Event<'_>) {
        if catch_unwind(AssertUnwindSafe(|| listener(event))).is_err() {
            tracing::error!(%event, "the listener of the cache's events panicked");
        }
    }

    #[expect(clippy::inline_always, reason = "as `observe`")]
    #[inline(always)]
    fn count(&self, site: Option<&'static CallSite>, event: &Event<'_>) {
        let counters: Counters<'_>;
        let counter = match event {
            Event::Hit { .. } | Event::Load { .. } | Event::Fill { .. } => {
                counters = self.counters.of(site);
                match event {
                    Event::Hit { .. } => &counters.tally.hits,
                    Event::Load { .. } => &counters.tally.loads,
                    _ => &counters.tally.stored,
                }
            }
            Event::Miss { why, .. } => return self.counters.count_miss(site, *why),
            Event::Degrade { .. }
            | Event::NotInvalidated { .. }
            | Event::NotInvalidatedMatching { .. }
            | Event::InvalidateLater { .. }
            | Event::NotFenced { .. }
            | Event::NotFilled {
                why: NotFilledReason::Failed(_),
                ..
            }
            | Event::Fail { .. } => {
                counters = self.counters.of(site);
                &counters.tally.errors
            }
            Event::Stale { waited, why, .. } => {
                self.counters.count(site, why.detail());
                if *waited {
                    return;
                }
                counters = self.counters.of(site);
                &counters.tally.hits
            }
            _ => return self.count_rare(site, event),
        };
        counters.count(counter);
    }

    /// Counts what a call does besides hits, misses and loads, and what befalls the whole cache.
    #[expect(clippy::inline_always, reason = "as `observe`")]
    #[inline(always)]
    fn count_rare(&self, site: Option<&'static CallSite>, event: &Event<'_>) {
        let detail = match event {
            Event::LoadFailed { .. } => Detail::LoadFailed,
            Event::Share { .. } => Detail::Shared,
            Event::Refresh { .. } => Detail::Refresh,
            Event::RefreshFailed { .. } => Detail::RefreshFailed,
            Event::RefreshDiscarded { .. } => Detail::RefreshDiscarded,
            Event::RefreshSkipped { .. } => Detail::RefreshSkipped,
            _ => return self.incidents.count(event),
        };
        self.counters.count(site, detail);
    }

    /// A hit that a server has answered. It is counted as a hit, too.
    pub(crate) fn hit_at_server(&self, site: Option<&'static CallSite>) {
        self.counters.count(site, Detail::HitAtServer);
    }

    /// A load for so many keys has ended with a value, after this time.
    pub(crate) fn loaded(&self, site: Option<&'static CallSite>, took: Duration, keys: usize) {
        self.counters.record_load(site, took, keys as u64);
        self.label.record_load(path_of(site), took, "value");
    }

    /// A load has ended with an error, after this time.
    pub(crate) fn failed_after(&self, site: Option<&'static CallSite>, took: Duration) {
        self.label.record_load(path_of(site), took, "error");
    }

    /// Logs what is news. Each change of the server's state is logged once; what follows from it,
    /// call by call, only at the level `DEBUG`. What concerns a function's values is logged once a
    /// function.
    #[expect(clippy::inline_always, reason = "as `observe`")]
    #[inline(always)]
    fn log(&self, site: Option<&'static CallSite>, event: &Event<'_>) {
        match *event {
            Event::Degrade { key, error } => self.log_failure(site, Report::NotDecoded, key, error),
            Event::NotFilled {
                key,
                why: NotFilledReason::Failed(error),
            } => self.log_failure(site, Report::NotStored, key, error),
            Event::OtherType {
                key,
                function,
                value,
                cached,
            } => log_other_type(key, function, value, cached),
            Event::Altered {
                function, error, ..
            } => log_altered(function, error),
            Event::Fill { .. } => self.incidents.never_hits.note_stored(site),
            Event::NotInvalidated { names, error } => {
                let names = Spaced(names);
                tracing::debug!(%error, %names, "not invalidated yet: kept, and not served here until it is");
            }
            Event::NotInvalidatedMatching { pattern, error } => {
                tracing::debug!(%error, %pattern, "not invalidated yet: kept, and not served here until it is");
            }
            Event::OutsideOfCommit { function } => log_outside_of_commit(function),
            Event::NotFenced { names, error } => {
                let names = Spaced(names);
                tracing::debug!(%error, %names, "no fence: should this process die now, old data may be served");
            }
            Event::NotUnfenced { error, .. } => {
                tracing::debug!(%error, "a fence is left to expire");
            }
            Event::NotAnnounced { error } => tracing::debug!(%error, "not announced"),
            Event::AnnouncementUnreadable => {
                tracing::warn!("an announcement on the cache server cannot be read");
            }
            Event::AnnouncementsUnheard { error } => {
                tracing::warn!(%error, "what other processes announce is not heard");
            }
            Event::CopiesUnheard { error } => tracing::warn!(
                %error,
                "what other processes invalidate is not heard, so no copies are kept in this process"
            ),
            Event::ServerAway { error } if error.is_refused() => {
                tracing::error!(%error, "the cache degrades to misses until this is mended");
            }
            Event::ServerAway { error } => tracing::warn!(%error, "the cache degrades to misses"),
            Event::ServerBack { address } => tracing::info!(address, "the cache server is back"),
            Event::ServerRefuses { error } => {
                tracing::error!(%error, "the cache degrades to misses until this is mended");
            }
            Event::ServerAccepts { address } => {
                tracing::info!(address, "the cache server refuses nothing any more");
            }
            Event::JournalKeeps => tracing::warn!(
                "invalidations are kept, and what they name is not served here, until the cache \
             server carries them out"
            ),
            Event::JournalOverflows { room } => tracing::error!(
                room,
                "the journal is full: of further names, all in the same buckets of hashes are \
                 invalidated once the cache server is back"
            ),
            Event::RepeatsOverflow { room } => tracing::error!(
                room,
                "more updates have failed than there is room for: of further names, all in the \
                 same buckets of hashes are invalidated"
            ),
            Event::JournalEmptied => {
                tracing::info!("the cache server has carried out all invalidations that were kept");
            }
            Event::JournalLost {
                address,
                count,
                overflowed,
            } => tracing::error!(
                address,
                count,
                overflowed,
                "not invalidated, and not kept any longer: old data may be served until its ttl ends"
            ),
            Event::RepeatLost { count } => tracing::warn!(
                count,
                "not invalidated a second time: an update that failed may have changed the data since"
            ),
            _ => {}
        }
    }

    /// A call goes on without the cache, or its value is not stored.
    #[cold]
    fn log_failure(
        &self,
        site: Option<&'static CallSite>,
        report: Report,
        key: &Key,
        error: &Error,
    ) {
        sabotage::degrade(error);
        if !error.is_codec() {
            tracing::debug!(%error, %key, "the cache is passed by");
            return;
        }
        if let Some(site) = site {
            let is_stored = report == Report::NotDecoded;
            let hits = self.counters.sum(site.place()).hits;
            self.incidents.never_hits.note(site, hits, is_stored, error);
        }
        if error.is_altered() {
            tracing::debug!(%error, %key, "not stored");
            return;
        }
        let is_news = match error.lacks_feature() {
            Some(feature) => codec::is_first_report(feature),
            None => self.is_first(site, report),
        };
        let function = path_of(site);
        match report {
            _ if !is_news => {
                tracing::debug!(%error, function, "not served from the cache, or not stored");
            }
            Report::NotStored => tracing::warn!(
                %error,
                function,
                "not stored, so each call loads: logged once a function; `errors` in `Cache::stats` \
                 counts on"
            ),
            _ => tracing::warn!(
                %error,
                function,
                "not served from the cache: logged once a function; `errors` in `Cache::stats` counts on"
            ),
        }
    }

    /// A call does not use what is stored under its key, since that is of another type.
    #[cold]
    pub(crate) fn other_type(
        &self,
        site: Option<&'static CallSite>,
        key: &Key,
        value: &str,
        cached: Option<&str>,
    ) {
        if self.is_first(site, Report::OtherType) {
            let event = Event::OtherType {
                key,
                function: path_of(site),
                value,
                cached,
            };
            self.observe(site, event);
        }
    }

    /// A value is not stored, because it would come back as another one.
    #[cold]
    pub(crate) fn altered(&self, site: Option<&'static CallSite>, key: &Key, error: &Error) {
        if self.is_first(site, Report::Altered) {
            let event = Event::Altered {
                key,
                function: path_of(site),
                error,
            };
            self.observe(site, event);
        }
    }

    /// The functions none of whose last calls could be answered from the cache.
    pub(crate) fn never_hits(&self) -> Vec<NeverHit> {
        let hits = |site: &'static CallSite| self.counters.sum(site.place()).hits;
        self.incidents.never_hits.list(hits)
    }

    /// A call has waited for another caller's load, here or in another process.
    pub(crate) fn waited(&self, site: Option<&'static CallSite>, key: &Key, length: Duration) {
        if length < SLOW_WAIT {
            return;
        }
        let function = path_of(site);
        if self.is_first(site, Report::SlowWait) {
            tracing::warn!(
                ?length,
                %key,
                function,
                "a call waited for another caller's load: logged once a function"
            );
        } else {
            tracing::debug!(?length, %key, function, "a call waited for another caller's load");
        }
    }

    /// A function with a transaction among its arguments was called outside of `after_commit`.
    #[cold]
    pub(crate) fn outside_of_commit(&self, function: &'static Function) {
        let address = ptr::from_ref(function).addr();
        if self.is_first_at(address, Report::OutsideOfCommit) {
            self.observe(None, Event::OutsideOfCommit { function });
        }
    }

    /// Whether this cache has not reported the same of this site before.
    fn is_first(&self, site: Option<&'static CallSite>, report: Report) -> bool {
        let address = site.map_or(0, |site| ptr::from_ref(site).addr());
        self.is_first_at(address, report)
    }

    fn is_first_at(&self, site: usize, report: Report) -> bool {
        let reported = &self.incidents.reported;
        let mut reported = reported.lock().unwrap_or_else(PoisonError::into_inner);
        reported.insert((site, report))
    }

    pub(crate) fn counters(&self) -> &CounterTable {
        &self.counters
    }

    /// Names, and patterns, that were invalidated.
    pub(crate) fn invalidated(&self) -> u64 {
        self.incidents.invalidated.load(Relaxed)
    }

    pub(crate) fn outages(&self) -> u64 {
        self.incidents.outages.load(Relaxed)
    }

    pub(crate) fn refusals(&self) -> u64 {
        self.incidents.refusals.load(Relaxed)
    }

    pub(crate) fn overflows(&self) -> u64 {
        self.incidents.overflows.load(Relaxed)
    }
}

impl Incidents {
    /// Counts what befalls the whole cache.
    #[expect(clippy::inline_always, reason = "as `observe`")]
    #[inline(always)]
    fn count(&self, event: &Event<'_>) {
        let (counter, more) = match event {
            Event::ServerAway { .. } => (&self.outages, 1),
            Event::ServerRefuses { .. } => (&self.refusals, 1),
            Event::JournalOverflows { .. } | Event::RepeatsOverflow { .. } => (&self.overflows, 1),
            Event::Invalidate { names } => (&self.invalidated, names.len() as u64),
            Event::InvalidateMatching { .. } | Event::Clear => (&self.invalidated, 1),
            _ => return,
        };
        counter.fetch_add(more, Relaxed);
    }
}

/// `cached` is the type that the function caches, where it is that which differs.
#[cold]
fn log_other_type(key: &Key, function: &str, value: &str, cached: Option<&str>) {
    if let Some(cached) = cached {
        tracing::error!(
            %key,
            function,
            value,
            cached,
            "the function is called for several types under one key, and caches what it returns \
             for the first: put `<Self>`, or its own `<T>`, into the key, and into the keys that \
             invalidate it. (Where only the type of `self` differs, and it does not select the \
             data: `skip(Self)`)"
        );
    } else {
        tracing::warn!(
            %key,
            function,
            value,
            "not served, since it is of another type: another function has stored it \
             (`registry::check` finds which), or another version of the program, where the \
             type has another name (`#[key_name]` keeps a name)"
        );
    }
}

/// A transaction is among the arguments of a function that is called outside of `after_commit`.
#[cold]
fn log_outside_of_commit(function: &Function) {
    let (path, file, line) = (function.path, function.file, function.line);
    if let Role::Invalidates { .. } = function.role {
        tracing::warn!(
            function = path,
            "{file}:{line}: called with a transaction outside of `after_commit`, so its names are \
             invalidated before the commit, and a read in between caches the old data. Run the whole \
             transaction, with its commit, within `cache_runtime::after_commit`. Logged once a function"
        );
    } else {
        tracing::warn!(
            function = path,
            "{file}:{line}: called with a transaction outside of `after_commit`, so what it reads may \
             be rolled back, and is not cached. Give it a pool, or run the whole transaction, with its \
             commit, within `cache_runtime::after_commit`. Logged once a function"
        );
    }
}

/// A value would come back as another one.
#[cold]
fn log_altered(function: &str, error: &Error) {
    tracing::error!(
        %error,
        function,
        "not stored, so each call loads: mend the type, or choose another codec. Logged once a function"
    );
}

/// The path of an annotated function.
fn path_of(site: Option<&'static CallSite>) -> &'static str {
    site.map_or("the API by hand", |site| site.function.path)
}

impl Default for Observer {
    /// Without a listener.
    fn default() -> Self {
        Self::new(None)
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::call::site::BY_HAND;
    use crate::counters::Counts;
    use crate::missed::MissReason;
    use crate::registry::{Function, Role, Template};

    /// Events of each kind that counts, and of one that does not.
    fn observe_all(observer: &Observer) {
        let (key, error) = (&Key::from("user:7"), &Error::config("broken"));
        let names = std::slice::from_ref(key);
        observer.hit(None, || key.clone());
        let why = NotFilledReason::Failed(error);
        for event in [
            Event::Miss {
                key,
                why: MissReason::Absent,
            },
            Event::Load { key },
            Event::Share { key },
            Event::Degrade { key, error },
            Event::NotFilled { key, why },
            Event::NotInvalidated { names, error },
            Event::InvalidateLater { names },
            Event::NotFenced { names, error },
            Event::Fail { error },
            Event::ServerAway { error },
            Event::ServerRefuses { error },
        ] {
            observer.observe(None, event);
        }
    }

    #[test]
    fn what_counts_is_counted_once_with_and_without_a_listener() {
        for listener in [None, Some(Arc::new(|_: &Event<'_>| {}) as Listener)] {
            let observer = Observer::new(listener);
            observe_all(&observer);
            let expected = Counts {
                hits: 1,
                loads: 1,
                stored: 0,
                errors: 6,
            };
            assert_eq!(observer.counters().sum(BY_HAND), expected);
            assert_eq!((observer.outages(), observer.refusals()), (1, 1));
            let details = observer.counters().details(BY_HAND);
            assert_eq!(details.of(Detail::Shared), 1);
            assert_eq!(details.missed().absent, 1);
        }
    }

    #[test]
    fn a_listener_hears_each_event_in_order_as_a_line() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let lines = heard.clone();
        let listener = move |event: &Event<'_>| lines.lock().unwrap().push(event.to_string());
        observe_all(&Observer::new(Some(Arc::new(listener))));
        assert_eq!(
            *heard.lock().unwrap(),
            [
                "hit user:7",
                "miss user:7",
                "load user:7",
                "share user:7",
                "degrade user:7: broken",
                "not filled user:7: broken",
                "not invalidated user:7: broken",
                "invalidate later user:7",
                "not fenced user:7: broken",
                "fail: broken",
                "server away: broken",
                "server refuses: broken",
            ]
        );
    }

    /// Counts what is logged at the level `WARN`.
    #[derive(Default)]
    struct Warnings(AtomicU64);

    impl tracing::Subscriber for Warnings {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            *metadata.level() == tracing::Level::WARN
        }
        fn event(&self, _: &tracing::Event<'_>) {
            self.0.fetch_add(1, Relaxed);
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[test]
    fn what_repeats_with_each_call_is_logged_once_a_site_and_kind() {
        const fn site(name: &'static str) -> CallSite {
            let key = Template::new("a", &[]);
            CallSite::new(Function::new(name, "", 0, Role::caches(key, "u64", &[])))
        }
        static ONE: CallSite = site("one");
        static OTHER: CallSite = site("other");

        let warnings = Arc::new(Warnings::default());
        let _subscribed = tracing::subscriber::set_default(warnings.clone());
        let observer = Observer::default();
        let key = &Key::from("user:7");
        let error = &Error::codec("user:7", "encoded", &"it is too large");
        let why = NotFilledReason::Failed(error);
        for site in [None, Some(&ONE), Some(&OTHER)] {
            for _ in 0..1000 {
                observer.observe(site, Event::NotFilled { key, why });
                observer.observe(site, Event::Degrade { key, error });
                observer.waited(site, key, SLOW_WAIT);
                observer.waited(site, key, SLOW_WAIT / 2);
            }
            let errors = site.map_or(BY_HAND, CallSite::place);
            assert_eq!(observer.counters().sum(errors).errors, 2000);
        }
        assert_eq!(warnings.0.load(Relaxed), 3 * 3);
    }

    #[test]
    fn a_listener_that_panics_ends_nothing() {
        let listener = |_: &Event<'_>| panic!("of the listener");
        let observer = Observer::new(Some(Arc::new(listener)));
        observe_all(&observer);
        assert_eq!(observer.counters().sum(BY_HAND).hits, 1);
    }

    #[test]
    fn the_key_of_a_hit_is_rendered_only_for_a_listener() {
        let observer = Observer::default();
        observer.hit(None, || panic!("no listener asks for it"));
    }
}
