//! Old values, where they are asked for: refreshed while they are served, or served in the place of an
//! error or of a slow load. And never after an invalidation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use cache_runtime::{Cache, CachedEntry, Options, after_commit, cached, refresh};
use cache_tests::{EventLog, until};
use tokio::task::JoinHandle;

use super::{Recorded, on_every_backend};
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
    assert_eq!(events, ["refresh row", "load row", "fill row ttl=60s"]);
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
        cache.invalidate(["row"]).await.unwrap()
    })
    .await;
}

async fn an_invalidation_of_a_tag_discards_a_refresh(recorded: Recorded) {
    discards_a_refresh(recorded, async |cache| {
        cache.invalidate(["rows"]).await.unwrap()
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
