//! `refresh_all` and `bypass`: what all calls do that are polled within a future.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use cache_runtime::{
    Cache, CachedEntry, Options, after_commit, bypass, cache_invalidate, cached, prime, refresh,
    refresh_all, with_cache,
};
use cache_tests::{LIMIT, poll_once};

use crate::behaviour::{Recorded, on_every_backend};
use crate::gated::{Gate, answer};

on_every_backend! {
    each_call_is_refreshed_and_stored
    each_call_is_bypassed_and_nothing_is_stored
    get_or_load_is_refreshed_and_bypassed
    calls_of_the_bodies_are_in_the_scope
    the_innermost_scope_decides
    an_order_to_one_call_and_a_bypass_within_each_other
    an_entry_is_asked_for_and_primed_within_a_scope
    a_detached_load_takes_the_scope_along
    a_detached_load_is_bypassed
    a_returned_future_is_in_the_scope_that_polls_it
    a_spawned_task_is_not_in_the_scope
    a_refresh_does_not_share_a_load_that_began_before
    a_bypass_waits_for_no_load_and_no_caller_waits_for_it
    an_invalidation_within_a_scope_is_made
    an_invalidation_meanwhile_keeps_a_refresh_from_being_stored
    within_after_commit_nothing_is_stored
    a_function_within_a_function_of_the_same_key_is_refreshed
    a_load_whose_body_bypasses_is_stored
    the_scope_is_known_only_while_its_future_is_polled
    a_scope_that_is_dropped_leaves_the_entry
}

/// Rows that are read and changed, and the number of loads of each.
struct Rows {
    cache: Cache,
    value: AtomicU64,
    loads: AtomicU64,
    sums: AtomicU64,
}

impl Rows {
    fn new(cache: &Cache) -> Arc<Self> {
        Arc::new(Self {
            cache: cache.clone(),
            value: AtomicU64::new(1),
            loads: AtomicU64::new(0),
            sums: AtomicU64::new(0),
        })
    }

    #[cached(key = "row:<id>", ttl = 60, invalidate_on = "rows", cache = self.cache, skip(self))]
    async fn read(&self, id: u64) -> Result<Option<u64>, String> {
        self.loads.fetch_add(1, SeqCst);
        tokio::task::yield_now().await;
        Ok(Some(10 * id + self.value.load(SeqCst)))
    }

    #[cached(key = "sum", ttl = 60, cache = self.cache, skip(self))]
    async fn sum(&self) -> u64 {
        self.sums.fetch_add(1, SeqCst);
        self.row(1).await + self.row(2).await
    }

    #[cache_invalidate("row:<id>", cache = self.cache)]
    async fn change(&self, id: u64, value: u64) {
        let _ = id;
        self.value.store(value, SeqCst);
    }

    async fn row(&self, id: u64) -> u64 {
        self.read(id).await.unwrap().unwrap()
    }

    /// A change that invalidates nothing.
    fn change_unseen(&self, value: u64) {
        self.value.store(value, SeqCst);
    }

    /// How often rows and sums were loaded.
    fn loads(&self) -> (u64, u64) {
        (self.loads.load(SeqCst), self.sums.load(SeqCst))
    }

    /// What a call is served; `None` if it would load.
    async fn stored(&self, id: u64) -> Option<u64> {
        let entry = CachedEntry::of(self.read(id)).unwrap();
        entry.get().await.unwrap()
    }
}

async fn each_call_is_refreshed_and_stored(Recorded { cache, events }: Recorded) {
    let rows = Rows::new(&cache);
    rows.row(1).await;
    rows.change_unseen(2);
    events.take();
    let read = refresh_all(async { (rows.row(1).await, rows.row(1).await, rows.row(2).await) });
    assert_eq!(read.await, (12, 12, 22));
    let loaded = |id| {
        ["miss", "load", "fill"].map(|what| match what {
            "fill" => format!("fill row:{id} ttl=60s"),
            what => format!("{what} row:{id}"),
        })
    };
    assert_eq!(events.take(), [loaded(1), loaded(1), loaded(2)].concat());
    assert_eq!((rows.row(1).await, rows.row(2).await), (12, 22));
    assert_eq!(events.take(), ["hit row:1", "hit row:2"]);
    // They have the tags of the function.
    cache.invalidate(["rows"]).await.unwrap();
    assert_eq!((rows.stored(1).await, rows.stored(2).await), (None, None));
}

async fn each_call_is_bypassed_and_nothing_is_stored(Recorded { cache, events }: Recorded) {
    let rows = Rows::new(&cache);
    rows.row(1).await;
    rows.change_unseen(2);
    events.take();
    let read = bypass(async { (rows.row(1).await, rows.row(1).await, rows.row(2).await) });
    assert_eq!(read.await, (12, 12, 22));
    assert_eq!(events.take(), [""; 0]);
    assert_eq!(
        (rows.stored(1).await, rows.stored(2).await),
        (Some(11), None)
    );
    assert_eq!(rows.loads(), (4, 0));
}

async fn get_or_load_is_refreshed_and_bypassed(Recorded { cache, events }: Recorded) {
    let load = async |value: u64| {
        let load = async { Ok::<_, ()>(value) };
        cache.get_or_load("by hand", Options::new(), load).await
    };
    assert_eq!(load(1).await, Ok(1));
    assert_eq!(refresh_all(load(2)).await, Ok(2));
    assert_eq!(load(3).await, Ok(2));
    events.take();
    assert_eq!(bypass(load(4)).await, Ok(4));
    assert_eq!(events.take(), [""; 0]);
    assert_eq!(load(5).await, Ok(2));
    // The other methods do what they always do.
    let by_hand = async {
        let options = Options::new;
        cache.set("by hand", &6_u64, options()).await.unwrap();
        cache.get::<u64>("by hand").await.unwrap()
    };
    assert_eq!(bypass(by_hand).await, Some(6));
    assert!(bypass(cache.delete("by hand")).await.unwrap());
}

async fn calls_of_the_bodies_are_in_the_scope(cache: Cache) {
    let rows = Rows::new(&cache);
    assert_eq!(rows.sum().await, 32);
    rows.change_unseen(2);
    assert_eq!(bypass(rows.sum()).await, 34);
    assert_eq!(rows.sum().await, 32);
    assert_eq!(rows.loads(), (4, 2));
    // One call is refreshed, and its body is served what is stored.
    assert_eq!(refresh(rows.sum()).await, 32);
    assert_eq!(rows.loads(), (4, 3));
    assert_eq!(refresh_all(rows.sum()).await, 34);
    assert_eq!((rows.sum().await, rows.row(1).await), (34, 12));
    assert_eq!(rows.loads(), (6, 4));
}

async fn the_innermost_scope_decides(cache: Cache) {
    let rows = Rows::new(&cache);
    rows.row(1).await;
    rows.change_unseen(2);
    bypass(async {
        assert_eq!(rows.row(1).await, 12);
        assert_eq!(rows.stored(1).await, Some(11));
        assert_eq!(refresh_all(rows.row(1)).await, 12);
        assert_eq!(rows.stored(1).await, Some(12));
        rows.change_unseen(3);
        assert_eq!(rows.row(1).await, 13);
        assert_eq!(rows.stored(1).await, Some(12));
    })
    .await;
    refresh_all(async {
        rows.change_unseen(4);
        assert_eq!(bypass(rows.row(1)).await, 14);
        assert_eq!(rows.stored(1).await, Some(12));
        assert_eq!(rows.row(1).await, 14);
        assert_eq!(rows.stored(1).await, Some(14));
    })
    .await;
    rows.change_unseen(5);
    assert_eq!(rows.row(1).await, 14);
}

async fn an_order_to_one_call_and_a_bypass_within_each_other(cache: Cache) {
    let rows = Rows::new(&cache);
    assert_eq!(rows.sum().await, 32);
    rows.change_unseen(2);
    assert_eq!(refresh(bypass(rows.sum())).await, 34);
    assert_eq!(rows.sum().await, 32);
    assert_eq!(rows.loads(), (4, 2));
    // What the body calls is in the scope of the bypass.
    assert_eq!(bypass(refresh(rows.sum())).await, 34);
    assert_eq!((rows.sum().await, rows.row(1).await), (34, 11));
    rows.change_unseen(3);
    assert_eq!(refresh(refresh_all(rows.sum())).await, 36);
    assert_eq!((rows.sum().await, rows.row(1).await), (36, 13));
}

async fn an_entry_is_asked_for_and_primed_within_a_scope(cache: Cache) {
    let rows = Rows::new(&cache);
    bypass(async {
        let entry = CachedEntry::of(bypass(rows.read(1))).unwrap();
        assert_eq!(entry.key().as_str(), "row:1");
        prime(rows.read(1), 7).await.unwrap();
        assert_eq!(entry.get::<u64>().await.unwrap(), Some(7));
        entry.invalidate().await.unwrap();
    })
    .await;
    refresh_all(async { prime(rows.read(1), 8).await.unwrap() }).await;
    assert_eq!(rows.row(1).await, 8);
    assert_eq!(rows.loads(), (0, 0));
}

#[derive(Clone)]
struct Detached(Arc<Rows>);

impl Detached {
    #[cached(key = "detached", ttl = 60, cache = self.0.cache, skip(self), detach)]
    async fn sum(&self) -> u64 {
        self.0.sums.fetch_add(1, SeqCst);
        self.0.row(1).await + self.0.row(2).await
    }
}

async fn a_detached_load_takes_the_scope_along(cache: Cache) {
    let rows = Detached(Rows::new(&cache));
    assert_eq!(rows.sum().await, 32);
    rows.0.change_unseen(2);
    assert_eq!(refresh_all(rows.sum()).await, 34);
    assert_eq!((rows.sum().await, rows.0.row(1).await), (34, 12));
    assert_eq!(rows.0.loads(), (4, 2));
}

async fn a_detached_load_is_bypassed(Recorded { cache, events }: Recorded) {
    let rows = Detached(Rows::new(&cache));
    assert_eq!(rows.sum().await, 32);
    rows.0.change_unseen(2);
    events.take();
    assert_eq!(bypass(rows.sum()).await, 34);
    assert_eq!(events.take(), [""; 0]);
    assert_eq!((rows.sum().await, rows.0.row(1).await), (32, 11));
}

async fn a_returned_future_is_in_the_scope_that_polls_it(cache: Cache) {
    #[cached(key = "returned", ttl = 60, cache = cache, skip(cache, value))]
    fn returned(cache: &Cache, value: u64) -> impl Future<Output = u64> {
        async move { value }
    }
    #[cached(key = "boxed", ttl = 60, cache = cache, skip(cache, value))]
    fn boxed(cache: &Cache, value: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
        Box::pin(async move { value })
    }
    assert_eq!((returned(&cache, 1).await, boxed(&cache, 1).await), (1, 1));
    // They are called outside of the scope.
    let (one, other) = (returned(&cache, 2), boxed(&cache, 2));
    assert_eq!((bypass(one).await, bypass(other).await), (2, 2));
    assert_eq!((returned(&cache, 3).await, boxed(&cache, 3).await), (1, 1));
    let (one, other) = (returned(&cache, 4), boxed(&cache, 4));
    assert_eq!((refresh_all(one).await, refresh_all(other).await), (4, 4));
    assert_eq!((returned(&cache, 5).await, boxed(&cache, 5).await), (4, 4));
    // And here they are called within, and polled outside.
    let (one, other) = bypass(async { (returned(&cache, 6), boxed(&cache, 6)) }).await;
    assert_eq!((one.await, other.await), (4, 4));
}

async fn a_spawned_task_is_not_in_the_scope(cache: Cache) {
    let rows = Rows::new(&cache);
    rows.row(1).await;
    rows.change_unseen(2);
    let spawned = || {
        let rows = rows.clone();
        tokio::spawn(async move { rows.row(1).await })
    };
    assert_eq!(bypass(async { answer(spawned()).await }).await, 11);
    assert_eq!(refresh_all(async { answer(spawned()).await }).await, 11);
    let within = {
        let rows = rows.clone();
        tokio::spawn(bypass(async move { rows.row(1).await }))
    };
    assert_eq!(answer(within).await, 12);
}

/// A row whose loads end when the test says so.
struct Gated {
    cache: Cache,
    value: AtomicU64,
    began: Gate,
    may_end: Gate,
}

impl Gated {
    fn new(cache: &Cache) -> Arc<Self> {
        Arc::new(Self {
            cache: cache.clone(),
            value: AtomicU64::new(1),
            began: Gate::new(),
            may_end: Gate::new(),
        })
    }

    #[cached(key = "gated", ttl = 60, cache = self.cache, skip(self))]
    async fn read(&self) -> u64 {
        let value = self.value.load(SeqCst);
        self.began.open();
        self.may_end.pass().await;
        value
    }
}

async fn a_refresh_does_not_share_a_load_that_began_before(cache: Cache) {
    let row = Gated::new(&cache);
    let first = {
        let row = row.clone();
        tokio::spawn(async move { row.read().await })
    };
    row.began.passed().await;
    row.value.store(2, SeqCst);
    let second = {
        let row = row.clone();
        tokio::spawn(refresh_all(async move { row.read().await }))
    };
    row.began.passed().await;
    row.may_end.stay_open();
    assert_eq!((answer(first).await, answer(second).await), (1, 2));
    assert_eq!(row.read().await, 2);
}

async fn a_bypass_waits_for_no_load_and_no_caller_waits_for_it(cache: Cache) {
    let row = Gated::new(&cache);
    let bypassed = {
        let row = row.clone();
        tokio::spawn(bypass(async move { row.read().await }))
    };
    row.began.passed().await;
    row.value.store(2, SeqCst);
    let loading = {
        let row = row.clone();
        tokio::spawn(async move { row.read().await })
    };
    // Its load begins, though the other one has not ended.
    row.began.passed().await;
    row.may_end.stay_open();
    assert_eq!((answer(bypassed).await, answer(loading).await), (1, 2));
    assert_eq!(row.read().await, 2);
}

async fn an_invalidation_within_a_scope_is_made(cache: Cache) {
    let rows = Rows::new(&cache);
    rows.row(1).await;
    bypass(rows.change(1, 2)).await;
    assert_eq!(rows.stored(1).await, None);
    rows.row(1).await;
    refresh_all(rows.change(1, 3)).await;
    assert_eq!(rows.stored(1).await, None);
    assert_eq!(rows.row(1).await, 13);
}

async fn an_invalidation_meanwhile_keeps_a_refresh_from_being_stored(cache: Cache) {
    let row = Gated::new(&cache);
    let refreshing = {
        let row = row.clone();
        tokio::spawn(refresh_all(async move { row.read().await }))
    };
    row.began.passed().await;
    row.value.store(2, SeqCst);
    cache.invalidate(["gated"]).await.unwrap();
    row.may_end.stay_open();
    assert_eq!(answer(refreshing).await, 1);
    assert_eq!(row.read().await, 2);
}

async fn within_after_commit_nothing_is_stored(cache: Cache) {
    let rows = Rows::new(&cache);
    rows.row(1).await;
    let transaction = after_commit(async {
        rows.change_unseen(2);
        assert_eq!(refresh_all(rows.row(1)).await, 12);
        assert_eq!(bypass(rows.row(1)).await, 12);
        Err::<(), _>("rolled back")
    });
    assert_eq!(transaction.await, Err("rolled back"));
    let within = refresh_all(after_commit(async { Ok::<_, ()>(rows.row(1).await) }));
    assert_eq!(within.await, Ok(12));
    assert_eq!(rows.row(1).await, 11);
}

/// Two layers of a program that are both annotated.
struct Layers(Arc<Rows>);

impl Layers {
    #[cached(key = "layered", ttl = 60, cache = self.0.cache, skip(self))]
    async fn outer(&self) -> u64 {
        self.inner().await
    }

    #[cached(key = "layered", ttl = 60, cache = self.0.cache, skip(self))]
    async fn inner(&self) -> u64 {
        self.0.loads.fetch_add(1, SeqCst);
        self.0.value.load(SeqCst)
    }
}

async fn a_function_within_a_function_of_the_same_key_is_refreshed(cache: Cache) {
    let layers = Layers(Rows::new(&cache));
    assert_eq!(layers.outer().await, 1);
    layers.0.change_unseen(2);
    let refreshed = tokio::time::timeout(LIMIT, refresh_all(layers.outer()));
    assert_eq!(refreshed.await, Ok(2));
    assert_eq!((layers.outer().await, layers.inner().await), (2, 2));
    assert_eq!(layers.0.loads(), (2, 0));
}

async fn a_load_whose_body_bypasses_is_stored(cache: Cache) {
    let rows = Rows::new(&cache);
    #[cached(key = "fresh", ttl = 60, cache = rows.cache, skip(rows))]
    async fn fresh(rows: &Rows) -> u64 {
        bypass(rows.row(1)).await
    }
    rows.row(1).await;
    rows.change_unseen(2);
    assert_eq!((fresh(&rows).await, rows.row(1).await), (12, 11));
    rows.change_unseen(3);
    assert_eq!(fresh(&rows).await, 12);
}

/// What is set aside between two polls, dropped or panics leaves no scope behind on the thread.
async fn the_scope_is_known_only_while_its_future_is_polled(cache: Cache) {
    let rows = Rows::new(&cache);
    rows.row(1).await;
    rows.change_unseen(2);
    let mut aside = Box::pin(bypass(async {
        tokio::task::yield_now().await;
        rows.row(1).await
    }));
    assert!(poll_once(aside.as_mut()).is_pending());
    assert_eq!(rows.row(1).await, 11);
    assert_eq!(aside.await, 12);
    assert_eq!(rows.row(1).await, 11);
    let panics = tokio::spawn(refresh_all(async { panic!("as it should") }));
    panics.await.unwrap_err();
    assert_eq!(rows.row(1).await, 11);
}

async fn a_scope_that_is_dropped_leaves_the_entry(cache: Cache) {
    let row = Gated::new(&cache);
    row.may_end.open();
    assert_eq!(row.read().await, 1);
    row.began.passed().await;
    row.value.store(2, SeqCst);
    let refreshing = {
        let row = row.clone();
        tokio::spawn(refresh_all(async move { row.read().await }))
    };
    row.began.passed().await;
    refreshing.abort();
    assert!(refreshing.await.unwrap_err().is_cancelled());
    assert_eq!(row.read().await, 1);
}

#[tokio::test]
async fn a_scope_and_a_cache_of_a_future_do_not_hide_each_other() {
    #[cached(key = "scopes:both", ttl = 60, skip(value))]
    async fn both(value: u64) -> u64 {
        value
    }
    let cache = Cache::builder().build().unwrap();
    with_cache(&cache, async {
        assert_eq!(both(1).await, 1);
        assert_eq!(refresh_all(both(2)).await, 2);
        assert_eq!(bypass(both(3)).await, 3);
    })
    .await;
    let refreshed = refresh_all(with_cache(&cache, both(4)));
    assert_eq!(refreshed.await, 4);
    assert_eq!(with_cache(&cache, both(5)).await, 4);
}
