//! `refresh`: a call loads whatever is stored, and stores what it loaded unless that was overtaken.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cache_runtime::{
    Cache, CachedEntry, Options, after_commit, cache_invalidate, cached, prime, refresh, with_cache,
};
use cache_tests::{EventLog, LIMIT, RedisServer, poll_once, until};
use tokio::task::JoinHandle;

use crate::behaviour::{Recorded, builder, on_every_backend};
use crate::gated::{Gate, answer};

on_every_backend! {
    a_refresh_loads_and_stores_whatever_is_stored
    others_are_served_the_old_entry_while_a_refresh_loads
    without_an_entry_others_wait_for_the_refresh
    an_invalidation_of_the_key_meanwhile_keeps_it_from_being_stored
    an_invalidation_of_a_tag_meanwhile_keeps_it_from_being_stored
    a_value_that_is_set_meanwhile_stays
    a_value_that_is_primed_meanwhile_stays
    a_refresh_that_fails_leaves_the_entry
    a_refresh_that_panics_leaves_the_entry
    a_refresh_that_is_dropped_leaves_the_entry
    a_refresh_that_is_dropped_hands_its_load_to_a_waiter
    a_load_that_began_before_is_not_shared
    a_load_that_began_before_and_ends_later_is_not_stored
    of_two_refreshes_the_later_is_stored_if_it_ends_last
    of_two_refreshes_the_later_is_stored_if_it_ends_first
    what_is_not_cached_removes_the_entry
    what_is_not_cached_leaves_what_was_set_meanwhile
    a_refresh_behind_a_fence_is_not_stored
    a_fence_that_comes_meanwhile_keeps_it_from_being_stored
    a_refresh_within_after_commit_is_not_stored
    functions_that_the_body_calls_are_served
    an_order_around_a_refresh_does_not_reach_the_body
    only_the_first_call_is_refreshed
    a_call_after_something_else_is_refreshed
    a_refresh_without_condition_leaves_the_entry
    a_detached_refresh_goes_on_without_its_caller
    a_refresh_of_a_future_that_is_returned_loads
    a_refresh_in_the_load_of_its_own_key_loads
    entries_of_another_schema_version_are_replaced
}

/// A row whose loads end when the test says so, one by one. It has a value, or none (0), or cannot be
/// read ([`UNREADABLE`]), or its load panics ([`PANICS`]).
struct Row {
    cache: Cache,
    value: AtomicU64,
    loads: AtomicU64,
    began: Gate,
    may_end: [Gate; 4],
}

const UNREADABLE: u64 = 1_000;
const PANICS: u64 = 2_000;

type Read = Result<Option<u64>, String>;

impl Row {
    /// A row of value 1.
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

    /// A row that is cached. Later loads are gated.
    async fn cached(cache: &Cache) -> Arc<Self> {
        let row = Self::gated(cache);
        row.may_end[0].open();
        assert_eq!(row.read().await, Ok(Some(1)));
        row.began.passed().await;
        row
    }

    #[cached(key = "row", ttl = 60, invalidate_on = "rows", cache = self.cache, skip(self))]
    async fn read(&self) -> Read {
        let value = self.value.load(SeqCst);
        let load = self.loads.fetch_add(1, SeqCst);
        self.began.open();
        let may_end = usize::try_from(load).unwrap().min(self.may_end.len() - 1);
        self.may_end[may_end].pass().await;
        match value {
            0 => Ok(None),
            UNREADABLE => Err("it cannot be read".to_owned()),
            PANICS => panic!("as it should"),
            value => Ok(Some(value)),
        }
    }

    #[cache_invalidate("row", fence = "10m", cache = self.cache)]
    async fn write_behind_a_fence<F: Future>(&self, body: F) -> F::Output {
        body.await
    }

    fn change(&self, value: u64) {
        self.value.store(value, SeqCst);
    }

    /// A refresh in a task of its own, whose load has begun.
    async fn refreshing(self: &Arc<Self>) -> JoinHandle<Read> {
        let row = self.clone();
        let refreshing = tokio::spawn(async move { refresh(row.read()).await });
        self.began.passed().await;
        refreshing
    }

    fn reader(self: &Arc<Self>) -> JoinHandle<Read> {
        let row = self.clone();
        tokio::spawn(async move { row.read().await })
    }

    /// What a call is served; `None` if it would load.
    async fn stored(&self) -> Option<u64> {
        let entry = CachedEntry::of(self.read()).unwrap();
        entry.get().await.unwrap()
    }

    fn loads(&self) -> u64 {
        self.loads.load(SeqCst)
    }
}

async fn a_refresh_loads_and_stores_whatever_is_stored(Recorded { cache, events }: Recorded) {
    let row = Row::new(&cache);
    for value in 1..4 {
        row.change(value);
        assert_eq!(refresh(row.read()).await, Ok(Some(value)));
        assert_eq!(row.read().await, Ok(Some(value)));
    }
    let once = ["miss row", "load row", "fill row ttl=60s", "hit row"];
    assert_eq!(events.take(), once.repeat(3));
    // It has the tags of the function.
    cache.invalidate(["rows"]).await.unwrap();
    assert_eq!(row.stored().await, None);
}

async fn others_are_served_the_old_entry_while_a_refresh_loads(cache: Cache) {
    let row = Row::cached(&cache).await;
    row.change(2);
    let refreshing = row.refreshing().await;
    for _ in 0..3 {
        assert_eq!(answer(row.reader()).await, Ok(Some(1)));
    }
    row.may_end[1].open();
    assert_eq!(answer(refreshing).await, Ok(Some(2)));
    assert_eq!(row.read().await, Ok(Some(2)));
    assert_eq!(row.loads(), 2);
}

async fn without_an_entry_others_wait_for_the_refresh(Recorded { cache, events }: Recorded) {
    let row = Row::gated(&cache);
    let refreshing = row.refreshing().await;
    let reader = row.reader();
    events.until("wait row").await;
    row.may_end[0].open();
    assert_eq!(answer(refreshing).await, Ok(Some(1)));
    assert_eq!(answer(reader).await, Ok(Some(1)));
    assert_eq!(row.loads(), 1);
    assert_eq!(row.stored().await, Some(1));
}

async fn is_kept_from_being_stored_by(recorded: Recorded, name: &str) {
    let Recorded { cache, events } = recorded;
    let row = Row::cached(&cache).await;
    let refreshing = row.refreshing().await;
    row.change(2);
    cache.invalidate([name]).await.unwrap();
    events.take();
    row.may_end.iter().for_each(Gate::stay_open);
    // What it loaded is from before the change.
    assert_eq!(answer(refreshing).await, Ok(Some(1)));
    assert_eq!(row.read().await, Ok(Some(2)));
    let expected = [
        "not filled row: overtaken",
        "miss row",
        "load row",
        "fill row ttl=60s",
    ];
    // By a tag, the entry is stored on a server, and is dead.
    let events = events.take();
    assert!(
        events == expected || events[0] == "fill row ttl=60s" && events[1..] == expected[1..],
        "{events:?}"
    );
}

async fn an_invalidation_of_the_key_meanwhile_keeps_it_from_being_stored(recorded: Recorded) {
    is_kept_from_being_stored_by(recorded, "row").await;
}

async fn an_invalidation_of_a_tag_meanwhile_keeps_it_from_being_stored(recorded: Recorded) {
    is_kept_from_being_stored_by(recorded, "rows").await;
}

async fn a_value_that_is_set_meanwhile_stays(cache: Cache) {
    let row = Row::cached(&cache).await;
    let refreshing = row.refreshing().await;
    let options = Options::new().tag("rows");
    cache.set("row", &7_u64, options).await.unwrap();
    row.may_end[1].open();
    assert_eq!(answer(refreshing).await, Ok(Some(1)));
    assert_eq!(row.read().await, Ok(Some(7)));
}

async fn a_value_that_is_primed_meanwhile_stays(cache: Cache) {
    for is_cached in [true, false] {
        cache.clear().await.unwrap();
        let row = if is_cached {
            Row::cached(&cache).await
        } else {
            Row::gated(&cache)
        };
        let refreshing = row.refreshing().await;
        prime(row.read(), 7).await.unwrap();
        row.may_end.iter().for_each(Gate::stay_open);
        assert_eq!(answer(refreshing).await, Ok(Some(1)));
        assert_eq!(row.read().await, Ok(Some(7)));
    }
}

async fn a_refresh_that_fails_leaves_the_entry(Recorded { cache, events }: Recorded) {
    let row = Row::new(&cache);
    row.read().await.unwrap();
    row.change(UNREADABLE);
    events.take();
    assert_eq!(refresh(row.read()).await.unwrap_err(), "it cannot be read");
    assert_eq!(row.read().await, Ok(Some(1)));
    let expected = ["miss row", "load row", "load failed row", "hit row"];
    assert_eq!(events.take(), expected);
}

async fn a_refresh_that_panics_leaves_the_entry(cache: Cache) {
    let row = Row::cached(&cache).await;
    row.change(PANICS);
    let refreshing = row.refreshing().await;
    row.may_end[1].open();
    assert!(refreshing.await.unwrap_err().is_panic());
    assert_eq!(row.read().await, Ok(Some(1)));
    row.change(2);
    row.may_end[2].open();
    assert_eq!(refresh(row.read()).await, Ok(Some(2)));
    assert_eq!(row.stored().await, Some(2));
}

async fn a_refresh_that_is_dropped_leaves_the_entry(cache: Cache) {
    let row = Row::cached(&cache).await;
    row.change(2);
    let refreshing = row.refreshing().await;
    refreshing.abort();
    assert!(refreshing.await.unwrap_err().is_cancelled());
    assert_eq!(row.read().await, Ok(Some(1)));
    row.may_end[2].open();
    assert_eq!(refresh(row.read()).await, Ok(Some(2)));
    assert_eq!(row.stored().await, Some(2));
}

async fn a_refresh_that_is_dropped_hands_its_load_to_a_waiter(
    Recorded { cache, events }: Recorded,
) {
    let row = Row::gated(&cache);
    let refreshing = row.refreshing().await;
    let reader = row.reader();
    events.until("wait row").await;
    refreshing.abort();
    row.may_end[1].open();
    assert_eq!(answer(reader).await, Ok(Some(1)));
    assert_eq!((row.loads(), row.stored().await), (2, Some(1)));
}

/// A load that read the value 1, and a refresh that read 2.
async fn load_and_refresh(cache: &Cache) -> (Arc<Row>, JoinHandle<Read>, JoinHandle<Read>) {
    let row = Row::gated(cache);
    let reader = row.reader();
    row.began.passed().await;
    row.change(2);
    let refreshing = row.refreshing().await;
    (row, reader, refreshing)
}

async fn a_load_that_began_before_is_not_shared(cache: Cache) {
    let (row, reader, refreshing) = load_and_refresh(&cache).await;
    row.may_end[0].open();
    assert_eq!(answer(reader).await, Ok(Some(1)));
    assert_eq!(row.stored().await, None);
    row.may_end[1].open();
    assert_eq!(answer(refreshing).await, Ok(Some(2)));
    assert_eq!(row.stored().await, Some(2));
}

async fn a_load_that_began_before_and_ends_later_is_not_stored(cache: Cache) {
    let (row, reader, refreshing) = load_and_refresh(&cache).await;
    row.may_end[1].open();
    assert_eq!(answer(refreshing).await, Ok(Some(2)));
    row.may_end[0].open();
    assert_eq!(answer(reader).await, Ok(Some(1)));
    assert_eq!(row.stored().await, Some(2));
}

/// Two refreshes of a row, which read 2 and 3.
async fn two_refreshes(cache: &Cache) -> (Arc<Row>, JoinHandle<Read>, JoinHandle<Read>) {
    let row = Row::cached(cache).await;
    row.change(2);
    let first = row.refreshing().await;
    row.change(3);
    let second = row.refreshing().await;
    (row, first, second)
}

async fn of_two_refreshes_the_later_is_stored_if_it_ends_last(cache: Cache) {
    let (row, first, second) = two_refreshes(&cache).await;
    row.may_end[1].open();
    assert_eq!(answer(first).await, Ok(Some(2)));
    assert_eq!(row.stored().await, Some(1));
    row.may_end[2].open();
    assert_eq!(answer(second).await, Ok(Some(3)));
    assert_eq!(row.stored().await, Some(3));
}

async fn of_two_refreshes_the_later_is_stored_if_it_ends_first(cache: Cache) {
    let (row, first, second) = two_refreshes(&cache).await;
    row.may_end[2].open();
    assert_eq!(answer(second).await, Ok(Some(3)));
    assert_eq!(row.stored().await, Some(3));
    row.may_end[1].open();
    assert_eq!(answer(first).await, Ok(Some(2)));
    assert_eq!(row.stored().await, Some(3));
}

async fn what_is_not_cached_removes_the_entry(Recorded { cache, events }: Recorded) {
    let row = Row::new(&cache);
    row.read().await.unwrap();
    row.change(0);
    events.take();
    assert_eq!(refresh(row.read()).await, Ok(None));
    assert!(!cache.exists("row").await.unwrap());
    let expected = ["miss row", "load row", "not filled row: unwanted"];
    assert_eq!(events.take(), expected);
}

async fn what_is_not_cached_leaves_what_was_set_meanwhile(cache: Cache) {
    let row = Row::cached(&cache).await;
    row.change(0);
    let refreshing = row.refreshing().await;
    prime(row.read(), 7).await.unwrap();
    row.may_end[1].open();
    assert_eq!(answer(refreshing).await, Ok(None));
    assert_eq!(row.stored().await, Some(7));
}

async fn a_refresh_behind_a_fence_is_not_stored(cache: Cache) {
    let row = Row::new(&cache);
    row.read().await.unwrap();
    row.write_behind_a_fence(Box::pin(async {
        row.change(2);
        assert_eq!(refresh(row.read()).await, Ok(Some(2)));
        assert_eq!(row.stored().await, None);
    }))
    .await;
    assert_eq!(row.stored().await, None);
}

async fn a_fence_that_comes_meanwhile_keeps_it_from_being_stored(cache: Cache) {
    let row = Row::cached(&cache).await;
    let refreshing = row.refreshing().await;
    row.write_behind_a_fence(async {
        row.change(2);
        row.may_end[1].open();
        assert_eq!(answer(refreshing).await, Ok(Some(1)));
    })
    .await;
    assert_eq!(row.stored().await, None);
}

async fn a_refresh_within_after_commit_is_not_stored(cache: Cache) {
    let row = Row::new(&cache);
    row.read().await.unwrap();
    let transaction = after_commit(async {
        cache.invalidate(["row"]).await.unwrap();
        row.change(2);
        assert_eq!(refresh(row.read()).await, Ok(Some(2)));
        // What others are served.
        let others = row.reader();
        assert_eq!(answer(others).await, Ok(Some(1)));
        row.change(1);
        Err::<Infallible, _>("rolled back")
    });
    assert_eq!(transaction.await, Err("rolled back"));
    assert_eq!(row.read().await, Ok(Some(1)));
}

/// Two functions, one of which calls the other.
struct Nested {
    cache: Cache,
    inner_loads: AtomicU64,
    outer_loads: AtomicU64,
}

impl Nested {
    fn new(cache: Cache) -> Self {
        Self {
            cache,
            inner_loads: AtomicU64::new(0),
            outer_loads: AtomicU64::new(0),
        }
    }

    #[cached(key = "inner:<n>", ttl = 60, cache = self.cache, skip(self))]
    async fn inner(&self, n: u64) -> u64 {
        self.inner_loads.fetch_add(1, SeqCst);
        n
    }

    #[cached(key = "outer:<n>", ttl = 60, cache = self.cache, skip(self))]
    async fn outer(&self, n: u64) -> u64 {
        self.outer_loads.fetch_add(1, SeqCst);
        tokio::task::yield_now().await;
        2 * self.inner(n).await
    }

    fn loads(&self) -> (u64, u64) {
        (self.outer_loads.load(SeqCst), self.inner_loads.load(SeqCst))
    }
}

async fn functions_that_the_body_calls_are_served(cache: Cache) {
    let nested = Nested::new(cache);
    assert_eq!(nested.outer(1).await, 2);
    assert_eq!(refresh(nested.outer(1)).await, 2);
    assert_eq!(nested.loads(), (2, 1));
}

async fn an_order_around_a_refresh_does_not_reach_the_body(cache: Cache) {
    let nested = Nested::new(cache);
    assert_eq!(nested.outer(1).await, 2);
    assert_eq!(refresh(refresh(nested.outer(1))).await, 2);
    assert_eq!(nested.loads(), (2, 1));
    let captures = async {
        let entry = CachedEntry::of(nested.outer(1)).unwrap();
        assert_eq!(entry.key().as_str(), "outer:1");
        nested.outer(1).await
    };
    assert_eq!(refresh(captures).await, 2);
    assert_eq!(nested.loads(), (3, 1));
}

async fn only_the_first_call_is_refreshed(cache: Cache) {
    let nested = Nested::new(cache);
    let both = async || (nested.inner(1).await, nested.inner(2).await);
    both().await;
    assert_eq!(refresh(both()).await, (1, 2));
    assert_eq!(nested.loads(), (0, 3));
}

async fn a_call_after_something_else_is_refreshed(cache: Cache) {
    let nested = Nested::new(cache);
    nested.inner(1).await;
    let wrapped = async {
        tokio::task::yield_now().await;
        nested.inner(1).await
    };
    assert_eq!(refresh(wrapped).await, 1);
    assert_eq!(nested.loads(), (0, 2));
}

async fn a_refresh_without_condition_leaves_the_entry(Recorded { cache, events }: Recorded) {
    #[cached(key = "row", ttl = 60, condition = is_cached, skip(cache, is_cached, value), cache = cache)]
    async fn row(cache: &Cache, is_cached: bool, value: u64) -> u64 {
        let _ = is_cached;
        value
    }
    row(&cache, true, 1).await;
    events.take();
    assert_eq!(refresh(row(&cache, false, 2)).await, 2);
    assert_eq!(events.take(), [""; 0]);
    assert_eq!(row(&cache, true, 3).await, 1);
}

#[derive(Clone)]
struct Detached(Arc<DetachedState>);

struct DetachedState {
    cache: Cache,
    value: AtomicU64,
    began: Gate,
    may_end: Gate,
}

impl Detached {
    #[cached(key = "row", ttl = 60, cache = self.0.cache, skip(self), detach)]
    async fn read(&self) -> u64 {
        let value = self.0.value.load(SeqCst);
        self.0.began.open();
        self.0.may_end.pass().await;
        value
    }
}

async fn a_detached_refresh_goes_on_without_its_caller(Recorded { cache, events }: Recorded) {
    let row = Detached(Arc::new(DetachedState {
        cache,
        value: AtomicU64::new(1),
        began: Gate::new(),
        may_end: Gate::new(),
    }));
    row.0.may_end.open();
    assert_eq!(row.read().await, 1);
    row.0.began.passed().await;
    row.0.value.store(2, SeqCst);
    let caller = row.clone();
    let refreshing = tokio::spawn(async move { refresh(caller.read()).await });
    row.0.began.passed().await;
    refreshing.abort();
    assert!(refreshing.await.unwrap_err().is_cancelled());
    assert_eq!(row.read().await, 1);
    row.0.may_end.open();
    events.until_count("fill row ttl=60s", 2).await;
    assert_eq!(row.read().await, 2);
}

#[async_trait]
trait Rows {
    async fn by_trait(&self) -> u64;
}

struct Returned {
    cache: Cache,
    loads: AtomicU64,
}

impl Returned {
    #[cached(key = "future", ttl = 60, cache = self.cache, skip(self))]
    fn future(&self) -> impl Future<Output = u64> + '_ {
        async { self.loads.fetch_add(1, SeqCst) }
    }

    #[cached(key = "boxed", ttl = 60, cache = self.cache, skip(self))]
    fn boxed(&self) -> Pin<Box<dyn Future<Output = u64> + Send + '_>> {
        Box::pin(async { self.loads.fetch_add(1, SeqCst) })
    }
}

#[async_trait]
impl Rows for Returned {
    #[cached(key = "trait", ttl = 60, cache = self.cache, skip(self))]
    async fn by_trait(&self) -> u64 {
        self.loads.fetch_add(1, SeqCst)
    }
}

async fn a_refresh_of_a_future_that_is_returned_loads(cache: Cache) {
    let rows = Returned {
        cache,
        loads: AtomicU64::new(0),
    };
    assert_eq!((rows.future().await, refresh(rows.future()).await), (0, 1));
    assert_eq!((rows.boxed().await, refresh(rows.boxed()).await), (2, 3));
    let by_trait = refresh(rows.by_trait()).await;
    assert_eq!((by_trait, rows.by_trait().await), (4, 4));
    assert_eq!((rows.future().await, rows.boxed().await), (1, 3));
}

/// Deeper than once is not asked for: each refresh would begin another.
struct Recursive {
    cache: Cache,
    is_inner: AtomicBool,
}

impl Recursive {
    #[cached(key = "row", ttl = 60, cache = self.cache, skip(self))]
    fn read(&self) -> Pin<Box<dyn Future<Output = u64> + Send + '_>> {
        Box::pin(async {
            if self.is_inner.swap(true, SeqCst) {
                return 1;
            }
            2 * refresh(self.read()).await
        })
    }
}

async fn a_refresh_in_the_load_of_its_own_key_loads(cache: Cache) {
    let row = Recursive {
        cache,
        is_inner: AtomicBool::new(false),
    };
    let read = tokio::time::timeout(LIMIT, row.read()).await;
    assert_eq!(read, Ok(2));
    // The inner load began later.
    assert_eq!(row.read().await, 1);
}

async fn entries_of_another_schema_version_are_replaced(cache: Cache) {
    #[cached(key = "row", ttl = 60, cache = cache, skip(cache))]
    async fn old(cache: &Cache) -> u64 {
        let _ = cache;
        1
    }
    #[cached(key = "row", ttl = 60, version = 2, cache = cache, skip(cache))]
    async fn new(cache: &Cache) -> u64 {
        let _ = cache;
        2
    }
    assert_eq!(old(&cache).await, 1);
    let entry = CachedEntry::of(new(&cache)).unwrap();
    assert!(!entry.exists().await.unwrap());
    assert_eq!(refresh(new(&cache)).await, 2);
    assert!(entry.exists().await.unwrap());
    assert!(
        !CachedEntry::of(old(&cache))
            .unwrap()
            .exists()
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_refresh_uses_the_cache_of_its_scope() {
    #[cached(key = "refresh:scope:<n>", ttl = 60)]
    async fn scoped(n: u64) -> u64 {
        n
    }
    let [outside, inside] = ["memory:"; 2].map(|url| builder(url).build().unwrap());
    with_cache(&outside, refresh(scoped(1))).await;
    refresh(with_cache(&inside, scoped(1))).await;
    for cache in [outside, inside] {
        assert!(cache.exists("refresh:scope:1").await.unwrap());
    }
}

#[tokio::test]
async fn a_refresh_without_a_store_loads() {
    let row = Row::new(&Cache::builder().url("off:").build().unwrap());
    assert_eq!(refresh(row.read()).await, Ok(Some(1)));
    assert_eq!(row.loads(), 1);
}

#[tokio::test]
async fn a_refresh_without_a_server_loads() {
    // Nothing listens on port 1.
    let row = Row::new(&builder("redis://127.0.0.1:1").build().unwrap());
    assert_eq!(refresh(row.read()).await, Ok(Some(1)));
    assert_eq!(row.loads(), 1);
}

/// Two processes, as two caches of one server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_does_not_wait_for_a_load_in_another_process() {
    let server = RedisServer::start();
    let [here, there] = [(); 2].map(|()| builder(&server.url()).build().unwrap());
    let (row, elsewhere) = (Row::gated(&here), Row::gated(&there));
    let loading = elsewhere.reader();
    elsewhere.began.passed().await;
    row.change(2);
    row.may_end[0].open();
    assert_eq!(refresh(row.read()).await, Ok(Some(2)));
    elsewhere.may_end[0].open();
    assert_eq!(answer(loading).await, Ok(Some(1)));
    // The older load has not replaced it.
    assert_eq!(elsewhere.read().await, Ok(Some(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_refreshes_in_two_processes_the_later_is_stored() {
    let server = RedisServer::start();
    let [here, there] = [(); 2].map(|()| builder(&server.url()).build().unwrap());
    let row = Row::cached(&here).await;
    let elsewhere = Row::gated(&there);
    let earlier = row.refreshing().await;
    elsewhere.change(2);
    let later = elsewhere.refreshing().await;
    row.may_end[1].open();
    assert_eq!(answer(earlier).await, Ok(Some(1)));
    elsewhere.may_end[0].open();
    assert_eq!(answer(later).await, Ok(Some(2)));
    assert_eq!(row.stored().await, Some(2));
}

/// An entry that would end while the body runs is replaced by a lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_ends_soon_is_given_up_for_a_lease() {
    #[cached(key = "row", ttl = "900ms", cache = cache, skip(cache, value))]
    async fn row(cache: &Cache, value: &AtomicU64) -> u64 {
        let _ = cache;
        tokio::time::sleep(Duration::from_secs(1)).await;
        value.fetch_add(1, SeqCst)
    }
    let server = RedisServer::start();
    let events = EventLog::default();
    let builder = events.record(builder(&server.url()).jitter(0.0));
    let cache = builder.build().unwrap();
    let value = AtomicU64::new(1);
    assert_eq!(row(&cache, &value).await, 1);
    assert_eq!(refresh(row(&cache, &value)).await, 2);
    // The first entry has ended while the body ran.
    assert_eq!(row(&cache, &value).await, 2);
}

/// What is set aside between two polls leaves no order behind on the thread.
#[tokio::test]
async fn the_order_is_known_only_while_the_future_is_polled() {
    let cache = builder("memory:").build().unwrap();
    let nested = Nested::new(cache);
    nested.inner(1).await;
    let mut aside = pin!(refresh(async {
        tokio::task::yield_now().await;
        nested.inner(1).await
    }));
    assert!(poll_once(aside.as_mut()).is_pending());
    nested.inner(1).await;
    assert_eq!(nested.loads(), (0, 1));
    aside.await;
    assert_eq!(nested.loads(), (0, 2));
}

/// The lines that `tracing` shows.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl tracing::field::Visit for Lines {
    fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.lock().unwrap().push(format!("{value:?}"));
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn a_refresh_of_no_call_is_said() {
    let lines = Lines::default();
    let _listening = tracing::subscriber::set_default(lines.clone());
    assert_eq!(refresh(async { 7 }).await, 7);
    let said =
        |line: &String| line.contains("refresh.rs") && line.contains("nothing was refreshed");
    let lines = lines.0.lock().unwrap();
    assert!(lines.iter().any(said), "{lines:?}");
}

/// The old entry stays for other callers while a refresh of an unreachable server fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_that_the_server_cannot_store_is_returned() {
    let mut server = RedisServer::start();
    let cache = builder(&server.url()).build().unwrap();
    let row = Row::cached(&cache).await;
    row.change(2);
    let refreshing = row.refreshing().await;
    server.kill();
    row.may_end.iter().for_each(Gate::stay_open);
    assert_eq!(answer(refreshing).await, Ok(Some(2)));
    assert_eq!(row.read().await, Ok(Some(2)));
    until(async || !cache.health().status.is_working()).await;
}
