//! Old values, where they are asked for: refreshed while they are served, or served in the place of an
//! error or of a slow load. And never after an invalidation.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use cache_runtime::testing::TestClock;
use cache_runtime::{Cache, CacheBuilder, CachedEntry, Options, after_commit, cached, refresh};
use cache_tests::{EventLog, LIMIT, Random, RedisServer, until};
use tokio::task::JoinHandle;

use super::{Recorded, builder, is_in_process, on_every_backend};
use crate::gated::Gate;

on_every_backend! {
    past_its_ttl_one_caller_refreshes_and_the_others_are_served
    with_detach_nobody_waits_for_a_refresh
    a_refresh_that_fails_serves_the_old_value_and_is_not_tried_again
    a_refresh_that_is_dropped_frees_its_lock
    an_invalidation_of_the_key_discards_a_refresh
    an_invalidation_of_a_tag_discards_a_refresh
    an_invalidation_by_a_pattern_discards_a_refresh
    clearing_discards_a_refresh
    a_value_that_is_set_meanwhile_stays
    an_expiration_discards_a_refresh
    an_invalidated_entry_is_not_served_in_the_place_of_an_error
    an_entry_past_its_ttl_takes_the_place_of_an_error
    an_error_that_is_not_excused_is_returned
    callers_that_wait_share_the_load_of_an_old_entry
    callers_that_wait_for_a_load_that_fails_are_served_the_old_value
    a_slow_load_is_not_waited_for
    other_functions_are_not_served_what_is_past_its_ttl
    an_expired_entry_without_options_is_removed
    a_load_under_way_is_not_stored_after_an_expiration
    within_after_commit_nothing_is_refreshed
    an_entry_tells_its_age_and_its_stamp
    elements_past_their_ttl_are_refreshed_by_one_call
    elements_take_the_place_of_an_error_if_all_are_there
    random_calls_are_served_nothing_from_before_an_invalidation
}

/// A row whose loads end when the test says so, one by one.
struct Row {
    cache: Cache,
    value: AtomicU64,
    loads: AtomicU64,
    began: Gate,
    may_end: [Gate; 4],
}

const UNREADABLE: u64 = 1_000;
const ABSENT: u64 = 2_000;

type Read = Result<u64, String>;

impl Row {
    fn gated(cache: &Cache) -> Arc<Self> {
        Arc::new(Self {
            cache: cache.clone(),
            value: AtomicU64::new(1),
            loads: AtomicU64::new(0),
            began: Gate::new(),
            may_end: [(); 4].map(|()| Gate::new()),
        })
    }

    /// The same, whose loads end at once.
    fn new(cache: &Cache) -> Arc<Self> {
        let row = Self::gated(cache);
        row.may_end.iter().for_each(Gate::stay_open);
        row
    }

    async fn load(&self) -> Read {
        let value = self.value.load(SeqCst);
        let load = self.loads.fetch_add(1, SeqCst);
        self.began.open();
        let may_end = usize::try_from(load).unwrap().min(self.may_end.len() - 1);
        self.may_end[may_end].pass().await;
        match value {
            UNREADABLE => Err("it cannot be read".to_owned()),
            ABSENT => Err("it is not there".to_owned()),
            value => Ok(value),
        }
    }

    #[cached(
        key = "row", ttl = 60, invalidate_on = "rows", stale_while_revalidate = "1h",
        cache = self.cache, skip(self)
    )]
    async fn read(&self) -> Read {
        self.load().await
    }

    #[cached(
        key = "row", ttl = 60, invalidate_on = "rows",
        stale_if_error("1h", if = |error| error != "it is not there"),
        cache = self.cache, skip(self)
    )]
    async fn read_or_old(&self) -> Read {
        self.load().await
    }

    #[cached(key = "row", ttl = 60, invalidate_on = "rows", cache = self.cache, skip(self))]
    async fn read_fresh(&self) -> Read {
        self.load().await
    }

    fn change(&self, value: u64) {
        self.value.store(value, SeqCst);
    }

    fn loads(&self) -> u64 {
        self.loads.load(SeqCst)
    }

    /// The value 1 is stored, and its ttl has ended. Later loads are gated.
    async fn old(cache: &Cache) -> Arc<Self> {
        let row = Self::gated(cache);
        row.may_end[0].open();
        assert_eq!(row.read().await, Ok(1));
        row.began.passed().await;
        cache.expire(["row"]).await.unwrap();
        row.change(2);
        row
    }

    /// The same of a function without `stale_while_revalidate`.
    async fn old_for_errors(cache: &Cache) -> Arc<Self> {
        let row = Self::gated(cache);
        row.may_end[0].open();
        assert_eq!(row.read_or_old().await, Ok(1));
        row.began.passed().await;
        cache.expire(["row"]).await.unwrap();
        row.change(2);
        row
    }

    /// A call that refreshes in its own time, in a task.
    async fn refreshing(self: &Arc<Self>) -> JoinHandle<Read> {
        let row = self.clone();
        let refreshing = tokio::spawn(async move { row.read().await });
        self.began.passed().await;
        refreshing
    }
}

#[cached(
    key = "row", ttl = 60, invalidate_on = "rows", stale_while_revalidate = "1h", detach,
    cache = row.cache, skip(row)
)]
async fn read_detached(row: &Arc<Row>) -> Read {
    row.load().await
}

#[cached(
    key = "row", ttl = 60, invalidate_on = "rows", stale_if_error = "1h", stale_if_slow = "10ms", detach,
    cache = row.cache, skip(row)
)]
async fn read_quickly(row: &Arc<Row>) -> Read {
    row.load().await
}

/// The events since the entry was made old.
fn since(events: &EventLog) -> Vec<String> {
    let mut all = events.take();
    let begin = all.iter().position(|event| event == "expire row");
    all.drain(..=begin.expect("it was made old"));
    all
}

async fn past_its_ttl_one_caller_refreshes_and_the_others_are_served(recorded: Recorded) {
    let Recorded { cache, events } = recorded;
    let row = Row::old(&cache).await;
    let refreshing = row.refreshing().await;
    for _ in 0..3 {
        assert_eq!(row.read().await, Ok(1));
    }
    row.may_end[1].open();
    assert_eq!(refreshing.await.unwrap(), Ok(2));
    assert_eq!(row.read().await, Ok(2));
    assert_eq!(row.loads(), 2);
    let stale = "stale row: revalidating";
    assert_eq!(
        since(&events),
        [
            "refresh row",
            "miss row",
            "load row",
            stale,
            stale,
            stale,
            "fill row ttl=60s",
            "hit row"
        ]
    );
    let stats = cache.stats();
    assert_eq!((stats.stale, stats.refreshes), (3, 1));
    assert_eq!((stats.hits, stats.misses), (4, 2));
}

async fn with_detach_nobody_waits_for_a_refresh(recorded: Recorded) {
    let Recorded { cache, events } = recorded;
    let row = Row::old(&cache).await;
    for _ in 0..3 {
        assert_eq!(read_detached(&row).await, Ok(1));
    }
    row.began.passed().await;
    row.may_end[1].open();
    until(async || read_detached(&row).await == Ok(2)).await;
    assert_eq!(row.loads(), 2);
    let mut events = since(&events);
    events.retain(|event| !event.starts_with("stale") && !event.starts_with("hit"));
    // The value may be served before it is told that it is stored.
    assert_eq!(events[..2], ["refresh row", "load row"]);
}

async fn a_refresh_that_fails_serves_the_old_value_and_is_not_tried_again(recorded: Recorded) {
    let Recorded { cache, events } = recorded;
    let row = Row::old(&cache).await;
    row.may_end.iter().for_each(Gate::stay_open);
    row.change(UNREADABLE);
    for _ in 0..3 {
        assert_eq!(row.read().await, Ok(1));
    }
    assert_eq!(row.loads(), 2);
    assert_eq!(
        since(&events),
        [
            "refresh row",
            "miss row",
            "load row",
            "load failed row",
            "refresh failed row",
            "stale row: error",
            "stale row: error",
            "stale row: error",
        ]
    );
    cache.invalidate(["rows"]).await.unwrap();
    row.change(3);
    assert_eq!(row.read().await, Ok(3));
}

async fn a_refresh_that_is_dropped_frees_its_lock(cache: Cache) {
    let row = Row::old(&cache).await;
    let refreshing = row.refreshing().await;
    refreshing.abort();
    assert!(refreshing.await.unwrap_err().is_cancelled());
    row.may_end.iter().for_each(Gate::stay_open);
    until(async || row.read().await == Ok(2)).await;
    assert_eq!(row.loads(), 3);
}

/// A refresh reads the old row, and `meanwhile` happens before it ends: what it has read is not served.
async fn discards_a_refresh(recorded: Recorded, meanwhile: impl AsyncFnOnce(&Cache)) {
    let Recorded { cache, events } = recorded;
    let row = Row::old(&cache).await;
    row.may_end[2].stay_open();
    let refreshing = row.refreshing().await;
    row.change(3);
    meanwhile(&cache).await;
    row.may_end[1].open();
    assert_eq!(refreshing.await.unwrap(), Ok(2));
    assert_eq!(row.read().await, Ok(3));
    let events = since(&events);
    let discarded = events.iter().filter(|it| *it == "refresh discarded row");
    // Where a version shows it, it is seen when the entry is looked at.
    assert!(discarded.count() <= 1, "{events:?}");
    assert!(
        !events.iter().any(|event| event.starts_with("stale")),
        "{events:?}"
    );
}

async fn an_invalidation_of_the_key_discards_a_refresh(recorded: Recorded) {
    discards_a_refresh(recorded, async |cache| {
        cache.invalidate(["row"]).await.unwrap();
    })
    .await;
}

async fn an_invalidation_of_a_tag_discards_a_refresh(recorded: Recorded) {
    discards_a_refresh(recorded, async |cache| {
        cache.invalidate(["rows"]).await.unwrap();
    })
    .await;
}

async fn an_invalidation_by_a_pattern_discards_a_refresh(recorded: Recorded) {
    discards_a_refresh(recorded, async |cache| {
        cache.invalidate_matching("ro*").await.unwrap();
    })
    .await;
}

async fn clearing_discards_a_refresh(recorded: Recorded) {
    discards_a_refresh(recorded, async |cache| cache.clear().await.unwrap()).await;
}

async fn a_value_that_is_set_meanwhile_stays(cache: Cache) {
    let row = Row::old(&cache).await;
    let refreshing = row.refreshing().await;
    let options = Options::new().tag("rows");
    cache.set("row", &7_u64, options).await.unwrap();
    row.may_end[1].open();
    assert_eq!(refreshing.await.unwrap(), Ok(2));
    assert_eq!(row.read().await, Ok(7));
}

async fn an_expiration_discards_a_refresh(cache: Cache) {
    let row = Row::old(&cache).await;
    let refreshing = row.refreshing().await;
    row.change(3);
    cache.expire(["row"]).await.unwrap();
    row.may_end[1].open();
    assert_eq!(refreshing.await.unwrap(), Ok(2));
    row.may_end.iter().for_each(Gate::stay_open);
    until(async || row.read().await == Ok(3)).await;
}

async fn an_invalidated_entry_is_not_served_in_the_place_of_an_error(cache: Cache) {
    for name in ["row", "rows"] {
        let row = Row::old_for_errors(&cache).await;
        let reading = {
            let row = row.clone();
            tokio::spawn(async move { row.read_or_old().await })
        };
        row.change(UNREADABLE);
        row.began.passed().await;
        cache.invalidate([name]).await.unwrap();
        row.may_end.iter().for_each(Gate::stay_open);
        let first = reading.await.unwrap();
        // The first load may have read the row before it became unreadable.
        assert_ne!(first, Ok(1));
        assert!(row.read_or_old().await.is_err());
        assert!(row.read().await.is_err());
        cache.clear().await.unwrap();
    }
}

async fn an_entry_past_its_ttl_takes_the_place_of_an_error(recorded: Recorded) {
    let Recorded { cache, events } = recorded;
    let row = Row::old_for_errors(&cache).await;
    row.may_end.iter().for_each(Gate::stay_open);
    row.change(UNREADABLE);
    for _ in 0..3 {
        assert_eq!(row.read_or_old().await, Ok(1));
    }
    assert_eq!(
        row.loads(),
        2,
        "a load that failed is not tried again at once"
    );
    let old = "stale row: error";
    assert_eq!(
        since(&events),
        ["miss row", "load row", "load failed row", old, old, old]
    );
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.stale), (2, 2, 3));
}

async fn an_error_that_is_not_excused_is_returned(cache: Cache) {
    let row = Row::old_for_errors(&cache).await;
    row.may_end.iter().for_each(Gate::stay_open);
    row.change(ABSENT);
    for _ in 0..3 {
        let error = row.read_or_old().await.unwrap_err();
        assert_eq!(error, "it is not there");
    }
}

async fn callers_that_wait_share_the_load_of_an_old_entry(cache: Cache) {
    let row = Row::old_for_errors(&cache).await;
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let row = row.clone();
            tokio::spawn(async move { row.read_or_old().await })
        })
        .collect();
    row.began.passed().await;
    row.may_end.iter().for_each(Gate::stay_open);
    for reader in readers {
        assert_eq!(reader.await.unwrap(), Ok(2));
    }
    assert_eq!(row.loads(), 2);
}

async fn callers_that_wait_for_a_load_that_fails_are_served_the_old_value(cache: Cache) {
    let row = Row::old_for_errors(&cache).await;
    row.change(UNREADABLE);
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let row = row.clone();
            tokio::spawn(async move { row.read_or_old().await })
        })
        .collect();
    row.began.passed().await;
    row.may_end.iter().for_each(Gate::stay_open);
    for reader in readers {
        assert_eq!(reader.await.unwrap(), Ok(1));
    }
    assert_eq!(row.loads(), 2);
}

async fn a_slow_load_is_not_waited_for(recorded: Recorded) {
    let Recorded { cache, events } = recorded;
    let row = Row::gated(&cache);
    row.may_end[0].open();
    assert_eq!(read_quickly(&row).await, Ok(1));
    row.began.passed().await;
    cache.expire(["row"]).await.unwrap();
    row.change(2);
    assert_eq!(read_quickly(&row).await, Ok(1));
    assert_eq!(read_quickly(&row).await, Ok(1));
    row.began.passed().await;
    row.may_end[1].open();
    until(async || read_quickly(&row).await == Ok(2)).await;
    assert_eq!(row.loads(), 2);
    let events = since(&events);
    assert!(events.contains(&"stale row: slow".to_owned()), "{events:?}");
}

async fn other_functions_are_not_served_what_is_past_its_ttl(cache: Cache) {
    let row = Row::old(&cache).await;
    assert_eq!(cache.get::<u64>("row").await.unwrap(), None);
    assert!(!cache.exists("row").await.unwrap());
    assert_eq!(cache.ttl("row").await.unwrap(), None);
    assert_eq!(cache.get_many::<u64>(["row"]).await.unwrap(), [None]);
    row.may_end[1].open();
    assert_eq!(row.read_fresh().await, Ok(2));
}

async fn an_expired_entry_without_options_is_removed(cache: Cache) {
    let row = Row::new(&cache);
    assert_eq!(row.read_fresh().await, Ok(1));
    row.change(2);
    cache.expire(["row"]).await.unwrap();
    assert_eq!(row.read().await, Ok(2));
    assert_eq!(row.loads(), 2);
}

async fn a_load_under_way_is_not_stored_after_an_expiration(cache: Cache) {
    let row = Row::gated(&cache);
    let reading = row.refreshing().await;
    row.change(2);
    cache.expire(["row"]).await.unwrap();
    row.may_end.iter().for_each(Gate::stay_open);
    assert_eq!(reading.await.unwrap(), Ok(1));
    assert_eq!(row.read().await, Ok(2));
}

async fn within_after_commit_nothing_is_refreshed(cache: Cache) {
    let row = Row::old(&cache).await;
    row.may_end[1].open();
    let read: Result<Read, ()> = after_commit(async { Ok(row.read().await) }).await;
    assert_eq!(read, Ok(Ok(2)), "the scope reads its own rows");
    assert_eq!(cache.stats().refreshes, 0);
}

async fn an_entry_tells_its_age_and_its_stamp(cache: Cache) {
    let row = Row::new(&cache);
    assert_eq!(row.read().await, Ok(1));
    let stored = async || {
        let entry = CachedEntry::of(row.read()).unwrap();
        entry.stored::<u64>().await.unwrap().unwrap()
    };
    let first = stored().await;
    assert_eq!((first.value, first.is_stale), (Some(1), false));
    assert!(first.age.is_some() && !first.remaining.is_zero());
    assert_eq!(stored().await.etag(), first.etag());
    assert_eq!(
        cache.entry::<u64>("row").await.unwrap().unwrap().stamp,
        first.stamp
    );
    cache.expire(["row"]).await.unwrap();
    let old = stored().await;
    assert!(old.is_stale && old.remaining.is_zero());
    row.change(2);
    assert_eq!(refresh(row.read()).await, Ok(2));
    let second = stored().await;
    assert_eq!((second.value, second.is_stale), (Some(2), false));
    assert_ne!(second.stamp, first.stamp);
    cache.invalidate(["rows"]).await.unwrap();
    assert_eq!(cache.entry::<u64>("row").await.unwrap(), None);
}

/// Rows that are loaded together. Elements from 100 on are not there.
struct Rows {
    cache: Cache,
    value: AtomicU64,
    loads: AtomicU64,
    fails: AtomicBool,
}

impl Rows {
    fn new(cache: &Cache) -> Self {
        Self {
            cache: cache.clone(),
            value: AtomicU64::new(1),
            loads: AtomicU64::new(0),
            fails: AtomicBool::new(false),
        }
    }

    #[cached(
        key = "row:<id>", each(id in ids), ttl = 60, invalidate_on = "rows",
        stale_while_revalidate = "1h", cache = self.cache, skip(self)
    )]
    async fn read(&self, ids: &[u64]) -> Result<HashMap<u64, u64>, String> {
        self.load(ids)
    }

    #[cached(
        key = "row:<id>", each(id in ids), ttl = 60, invalidate_on = "rows",
        stale_if_error("1h", if = |error| !error.is_empty()), cache = self.cache, skip(self)
    )]
    async fn read_or_old(&self, ids: &[u64]) -> Result<HashMap<u64, u64>, String> {
        self.load(ids)
    }

    fn load(&self, ids: &[u64]) -> Result<HashMap<u64, u64>, String> {
        self.loads.fetch_add(1, SeqCst);
        if self.fails.load(SeqCst) {
            return Err("the database is away".to_owned());
        }
        let value = self.value.load(SeqCst);
        Ok(ids.iter().map(|id| (*id, value)).collect())
    }
}

fn all(ids: &[u64], value: u64) -> HashMap<u64, u64> {
    ids.iter().map(|id| (*id, value)).collect()
}

async fn elements_past_their_ttl_are_refreshed_by_one_call(cache: Cache) {
    let rows = Rows::new(&cache);
    assert_eq!(rows.read(&[1, 2, 3]).await, Ok(all(&[1, 2, 3], 1)));
    cache.expire(["row:1", "row:2"]).await.unwrap();
    rows.value.store(2, SeqCst);
    // The call that draws them loads them, and what is missing, with one body.
    let read = rows.read(&[1, 2, 3, 4]).await.unwrap();
    assert_eq!(read, HashMap::from([(1, 2), (2, 2), (3, 1), (4, 2)]));
    assert_eq!((rows.loads.load(SeqCst), cache.stats().refreshes), (2, 2));
    cache.expire(["row:1"]).await.unwrap();
    rows.fails.store(true, SeqCst);
    for _ in 0..2 {
        assert_eq!(rows.read(&[1, 2]).await, Ok(all(&[1, 2], 2)));
    }
    assert_eq!(rows.loads.load(SeqCst), 3, "it is not tried again at once");
    cache.invalidate(["rows"]).await.unwrap();
    assert!(rows.read(&[1]).await.is_err());
}

async fn elements_take_the_place_of_an_error_if_all_are_there(cache: Cache) {
    let rows = Rows::new(&cache);
    assert_eq!(rows.read_or_old(&[1, 2]).await, Ok(all(&[1, 2], 1)));
    cache.expire(["row:1", "row:2"]).await.unwrap();
    rows.fails.store(true, SeqCst);
    assert!(
        rows.read_or_old(&[1, 3]).await.is_err(),
        "there is no old 3"
    );
    assert_eq!(rows.read_or_old(&[1, 2]).await, Ok(all(&[1, 2], 1)));
    cache.invalidate(["row:1"]).await.unwrap();
    assert!(rows.read_or_old(&[1, 2]).await.is_err());
}

/// A row that is read, changed, invalidated and expired at random, and whose loads fail at random.
struct Race {
    cache: Cache,
    id: u64,
    value: AtomicU64,
    /// What was committed before the last invalidation that has returned began.
    floor: AtomicU64,
    failures: AtomicU64,
}

impl Race {
    async fn load(&self) -> Result<u64, String> {
        let value = self.value.load(SeqCst);
        tokio::task::yield_now().await;
        if self.failures.fetch_add(1, SeqCst).is_multiple_of(3) {
            return Err("by chance".to_owned());
        }
        tokio::task::yield_now().await;
        Ok(value)
    }

    #[cached(
        key = "race:<self.id>", ttl = 60, invalidate_on = "races:<self.id>", early_refresh = 1.0,
        stale_while_revalidate = "1h", retry_after = "1ms", cache = self.cache
    )]
    async fn revalidated(&self) -> Result<u64, String> {
        self.load().await
    }

    #[cached(
        key = "race:<self.id>", ttl = 60, invalidate_on = "races:<self.id>",
        stale_if_error = "1h", retry_after = "1ms", cache = self.cache
    )]
    async fn or_old(&self) -> Result<u64, String> {
        self.load().await
    }

    async fn read(self: &Arc<Self>, how: u64) {
        let floor = self.floor.load(SeqCst);
        let read = match how {
            0 => self.revalidated().await,
            1 => self.or_old().await,
            _ => race_detached(self.clone()).await,
        };
        if let Ok(value) = read {
            assert!(value >= floor, "{value} was read after {floor}");
        }
    }

    async fn write(&self, how: u64) {
        let value = self.value.fetch_add(1, SeqCst) + 1;
        tokio::task::yield_now().await;
        let (key, tag) = (format!("race:{}", self.id), format!("races:{}", self.id));
        match how {
            0 => self.cache.invalidate([key]).await.unwrap(),
            1 => self.cache.invalidate([tag]).await.unwrap(),
            _ => self.cache.invalidate([key, tag]).await.unwrap(),
        }
        self.floor.fetch_max(value, SeqCst);
    }

    async fn expire(&self) {
        let key = format!("race:{}", self.id);
        self.cache.expire([key]).await.unwrap();
    }
}

#[cached(
    key = "race:<race.id>", ttl = 60, invalidate_on = "races:<race.id>", stale_while_revalidate = "1h",
    stale_if_error = "2h", stale_if_slow = "1ms", retry_after = "1ms", detach, cache = race.cache
)]
async fn race_detached(race: Arc<Race>) -> Result<u64, String> {
    race.load().await
}

async fn random_calls_are_served_nothing_from_before_an_invalidation(builder: CacheBuilder) {
    let cache = builder.build().unwrap();
    let random = &mut Random::new(7);
    // Each round is an interleaving of six tasks.
    let rounds = if is_in_process(&cache) { 10_000 } else { 100 };
    for id in 0..rounds {
        let race = Arc::new(Race {
            cache: cache.clone(),
            id,
            value: AtomicU64::new(1),
            floor: AtomicU64::new(0),
            failures: AtomicU64::new(random.below(3)),
        });
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..6 {
            let race = race.clone();
            let steps = if task == 0 { 1 } else { 4 };
            let steps: Vec<u64> = (0..steps).map(|_| random.below(30)).collect();
            tasks.spawn(async move {
                for step in steps {
                    for _ in 0..step % 5 {
                        tokio::task::yield_now().await;
                    }
                    match task {
                        0 => race.write(step % 3).await,
                        1 | 2 => race.expire().await,
                        _ => race.read(step % 3).await,
                    }
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        let newest = race.value.load(SeqCst);
        race.write(2).await;
        let read = race.or_old().await;
        assert!(
            read.is_err() || read > Ok(newest),
            "{read:?} after {newest}"
        );
    }
    let stats = cache.stats();
    assert!(stats.stale > 0, "{stats:?}");
    assert!(stats.refreshes > 0 || !is_in_process(&cache), "{stats:?}");
}

/// A load that notes how many of it are under way at once.
struct Alone {
    cache: Cache,
    under_way: Arc<AtomicU64>,
    loads: Arc<AtomicU64>,
}

impl Alone {
    #[cached(
        key = "alone", ttl = 60, stale_while_revalidate = "1h", cache = self.cache, skip(self)
    )]
    async fn read(&self) -> u64 {
        assert_eq!(
            self.under_way.fetch_add(1, SeqCst),
            0,
            "another refresh is under way"
        );
        let load = self.loads.fetch_add(1, SeqCst) + 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.under_way.fetch_sub(1, SeqCst);
        load
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_caches_on_a_server_never_refresh_at_once() {
    let server = RedisServer::start();
    let [one, other] = [(); 2].map(|()| builder(&server.url()).build().unwrap());
    let (under_way, loads) = (Arc::default(), Arc::default());
    let alone = [&one, &other].map(|cache| {
        Arc::new(Alone {
            cache: cache.clone(),
            under_way: Arc::clone(&under_way),
            loads: Arc::clone(&loads),
        })
    });
    assert_eq!(alone[0].read().await, 1);
    let mut tasks = tokio::task::JoinSet::new();
    for alone in alone
        .iter()
        .flat_map(|alone| [(); 8].map(|()| alone.clone()))
    {
        tasks.spawn(async move {
            for _ in 0..40 {
                alone.read().await;
                tokio::task::yield_now().await;
            }
        });
    }
    for _ in 0..20 {
        one.expire(["alone"]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let refreshes = one.stats().refreshes + other.stats().refreshes;
    assert!(refreshes > 0);
    assert_eq!(loads.load(SeqCst), refreshes + 1);
}

/// Callers in two processes come at a key whose ttl has ended: one of them begins a load, and no caller waits.
/// (It does not end before all others have been served.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_ttl_ends_under_load_one_caller_loads_and_none_waits() {
    const CALLERS: usize = 512;
    let server = RedisServer::start();
    let one = builder(&server.url()).build().unwrap();
    let other = builder(&server.url()).build().unwrap();
    let row = Row::old(&one).await;
    let elsewhere = Row::gated(&other);
    elsewhere.change(2);
    let mut callers = tokio::task::JoinSet::new();
    for row in [&row, &elsewhere] {
        for _ in 0..CALLERS {
            let row = row.clone();
            callers.spawn(async move { read_detached(&row).await });
        }
    }
    let all = async {
        while let Some(read) = callers.join_next().await {
            assert_eq!(read.unwrap(), Ok(1));
        }
    };
    tokio::time::timeout(LIMIT, all)
        .await
        .expect("nobody waits");
    until(async || row.loads() + elsewhere.loads() == 2).await;
    row.may_end.iter().for_each(Gate::stay_open);
    elsewhere.may_end.iter().for_each(Gate::stay_open);
    until(async || read_detached(&row).await == Ok(2)).await;
    assert_eq!(row.loads() + elsewhere.loads(), 2);
    assert_eq!(one.stats().refreshes + other.stats().refreshes, 1);
}

/// A value that is loaded anew by each load, and cannot be loaded while the database is away.
struct Counter {
    cache: Cache,
    loads: AtomicU64,
    is_away: AtomicBool,
}

impl Counter {
    fn at(clock: &TestClock) -> Self {
        let builder = builder("memory:").jitter(0.0).clock(clock);
        Self {
            cache: builder.build().unwrap(),
            loads: AtomicU64::new(0),
            is_away: AtomicBool::new(false),
        }
    }

    fn load(&self) -> Result<u64, String> {
        let load = self.loads.fetch_add(1, SeqCst) + 1;
        if self.is_away.load(SeqCst) {
            return Err("the database is away".to_owned());
        }
        Ok(load)
    }

    #[cached(
        key = "counter", ttl = 100, stale_while_revalidate = 50, stale_if_error = 200, retry_after = 5,
        cache = self.cache, skip(self)
    )]
    async fn read(&self) -> Result<u64, String> {
        self.load()
    }

    /// A beta so large that chance plays no part.
    #[cached(
        key = "early", ttl = 100, early_refresh = 1000000000000.0, cache = self.cache, skip(self)
    )]
    async fn read_early(&self) -> Result<u64, String> {
        self.load()
    }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[tokio::test]
async fn each_window_begins_and_ends_in_its_time() {
    let clock = TestClock::new();
    let counter = Counter::at(&clock);
    assert_eq!(counter.read().await, Ok(1));
    clock.advance(secs(99));
    assert_eq!(counter.read().await, Ok(1), "fresh");
    counter.is_away.store(true, SeqCst);
    clock.advance(secs(1));
    for _ in 0..3 {
        assert_eq!(counter.read().await, Ok(1), "its refresh fails");
    }
    assert_eq!(counter.loads.load(SeqCst), 2);
    clock.advance(secs(5));
    assert_eq!(counter.read().await, Ok(1));
    assert_eq!(counter.loads.load(SeqCst), 3, "it is tried again");
    // That it was served has not renewed it.
    clock.advance(secs(194));
    assert_eq!(counter.read().await, Ok(1), "299 s after it was loaded");
    clock.advance(secs(5));
    assert!(counter.read().await.is_err(), "304 s after it was loaded");
    assert_eq!(counter.cache.entry::<u64>("counter").await.unwrap(), None);
    counter.is_away.store(false, SeqCst);
    assert_eq!(counter.read().await, Ok(6));
    clock.advance(secs(160));
    assert_eq!(
        counter.read().await,
        Ok(7),
        "past the window in which it is served at once"
    );
}

#[tokio::test]
async fn an_entry_is_refreshed_early_in_the_last_quarter_of_its_ttl() {
    let clock = TestClock::new();
    let counter = Counter::at(&clock);
    assert_eq!(counter.read_early().await, Ok(1));
    clock.advance(secs(74));
    assert_eq!(counter.read_early().await, Ok(1));
    clock.advance(secs(2));
    assert_eq!(counter.read_early().await, Ok(2));
    counter.is_away.store(true, SeqCst);
    clock.advance(secs(80));
    assert_eq!(
        counter.read_early().await,
        Ok(2),
        "a refresh that fails shows nobody its error"
    );
    clock.advance(secs(20));
    assert!(
        counter.read_early().await.is_err(),
        "nothing is kept past its ttl"
    );
}

#[tokio::test]
async fn no_more_refreshes_are_under_way_than_there_may_be() {
    let cache = builder("memory:").max_refreshes(0).build().unwrap();
    let row = Row::old(&cache).await;
    for _ in 0..3 {
        assert_eq!(row.read().await, Ok(1));
    }
    let stats = cache.stats();
    assert_eq!(
        (stats.refreshes, stats.refreshes_skipped, stats.stale),
        (0, 3, 3)
    );
}

/// What a lock is called on a server, and that it is removed with all else.
#[tokio::test]
async fn a_lock_lies_beside_its_entry() {
    let server = RedisServer::start();
    let cache = builder(&server.url()).build().unwrap();
    let row = Row::old(&cache).await;
    let refreshing = row.refreshing().await;
    let lock = "cache:r:{cache:e:row}".to_owned();
    assert!(server.keys().contains(&lock), "{:?}", server.keys());
    cache.invalidate(["row"]).await.unwrap();
    assert!(
        server.keys().contains(&lock),
        "it says nothing of what is stored"
    );
    cache.clear().await.unwrap();
    assert_eq!(server.keys(), Vec::<String>::new());
    row.may_end.iter().for_each(Gate::stay_open);
    assert_eq!(refreshing.await.unwrap(), Ok(2));
}
