//! `each` on `#[cached]`: one call for several keys.

mod forms;
mod others;
mod random;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cache_runtime::{
    Cache, CachedEntry, after_commit, bypass, cache_invalidate, cached, prime, refresh, refresh_all,
};

use cache_tests::EventLog;

use super::{Recorded, counts, on_every_backend};

on_every_backend! {
    the_body_loads_what_is_not_cached
    each_element_is_shared_with_the_function_for_one
    what_the_result_leaves_out_has_no_value
    rows_of_other_ids_are_returned_and_not_stored
    an_id_with_several_rows_is_returned_and_not_stored
    an_error_stores_nothing
    each_element_is_invalidated_by_itself
    what_all_elements_have_invalidates_all
    what_is_invalidated_during_the_load_is_not_stored
    behind_the_fence_of_one_element_the_others_are_stored
    within_a_transaction_nothing_is_read_or_stored
    a_batch_is_refreshed
    a_batch_is_bypassed
    a_batch_is_no_entry
    values_decide_how_long_they_are_cached
    values_tell_their_tags
    more_elements_than_fit_one_request
}

/// A table, and which ids each load asked for.
#[derive(Clone)]
struct Table {
    cache: Cache,
    rows: Arc<Mutex<BTreeMap<u64, u64>>>,
    loads: Arc<Mutex<Vec<Vec<u64>>>>,
}

#[derive(Debug, Clone, PartialEq)]
struct NoDatabase;

impl Table {
    /// The rows 1 to 9, each ten times its id.
    fn new(cache: &Cache) -> Self {
        Self {
            cache: cache.clone(),
            rows: Arc::new(Mutex::new((1..10).map(|id| (id, id * 10)).collect())),
            loads: Arc::default(),
        }
    }

    fn load(&self, ids: &[u64]) -> Vec<(u64, u64)> {
        self.loads.lock().unwrap().push(ids.to_vec());
        let rows = self.rows.lock().unwrap();
        ids.iter()
            .filter_map(|id| Some((*id, *rows.get(id)?)))
            .collect()
    }

    fn loads(&self) -> Vec<Vec<u64>> {
        std::mem::take(&mut *self.loads.lock().unwrap())
    }

    fn set_silently(&self, id: u64, value: u64) {
        self.rows.lock().unwrap().insert(id, value);
    }

    #[cached(
        key = "row:<id>", ttl = 60, none_ttl = 30, invalidate_on = ["rows", "row-tag:<id>"],
        each(id in ids), cache = self.cache
    )]
    async fn some(&self, ids: &[u64]) -> HashMap<u64, u64> {
        self.load(ids).into_iter().collect()
    }

    #[cached(
        key = "row:<id>", ttl = 60, none_ttl = 30, invalidate_on = ["rows", "row-tag:<id>"],
        cache = self.cache
    )]
    async fn one(&self, id: u64) -> Option<u64> {
        self.load(&[id]).first().map(|(_, value)| *value)
    }

    #[cache_invalidate("row:<id>", cache = self.cache)]
    async fn set(&self, id: u64, value: u64) {
        self.set_silently(id, value);
    }

    #[cache_invalidate("row-tag:<id>", cache = self.cache)]
    async fn set_by_tag(&self, id: u64, value: u64) {
        self.set_silently(id, value);
    }

    #[cache_invalidate("rows", cache = self.cache)]
    async fn set_all(&self, value: u64) {
        let mut rows = self.rows.lock().unwrap();
        rows.values_mut().for_each(|it| *it = value);
    }
}

fn map<const N: usize>(rows: [(u64, u64); N]) -> HashMap<u64, u64> {
    HashMap::from(rows)
}

async fn the_body_loads_what_is_not_cached(Recorded { cache, events }: Recorded) {
    let table = Table::new(&cache);
    assert_eq!(table.some(&[]).await, map([]));
    assert_eq!(table.loads(), Vec::<Vec<u64>>::new());
    assert_eq!(table.some(&[2, 1, 2]).await, map([(1, 10), (2, 20)]));
    assert_eq!(table.loads(), [[2, 1]]);
    events.take();
    assert_eq!(
        table.some(&[3, 2, 1, 4]).await,
        map([(1, 10), (2, 20), (3, 30), (4, 40)])
    );
    assert_eq!(table.loads(), [[3, 4]]);
    let expected = [
        "fill row:3 ttl=60s",
        "fill row:4 ttl=60s",
        "hit row:1",
        "hit row:2",
        "load row:3",
        "load row:4",
        "miss row:3",
        "miss row:4",
    ];
    assert_eq!(events.take_sorted(), expected);
    assert_eq!(table.some(&[1, 2, 3, 4]).await.len(), 4);
    assert_eq!(table.loads(), Vec::<Vec<u64>>::new());
    assert_eq!(counts(&cache), [6, 4, 4]);
}

async fn each_element_is_shared_with_the_function_for_one(cache: Cache) {
    let table = Table::new(&cache);
    assert_eq!(table.one(1).await, Some(10));
    assert_eq!(table.some(&[1, 2]).await, map([(1, 10), (2, 20)]));
    assert_eq!(table.one(2).await, Some(20));
    assert_eq!(table.loads(), [[1], [2]]);
}

async fn what_the_result_leaves_out_has_no_value(cache: Cache) {
    #[cached(key = "bare:<id>", ttl = 60, each(id in ids), cache = table.cache, skip(table))]
    async fn without_none_ttl(table: &Table, ids: &[u64]) -> HashMap<u64, u64> {
        table.load(ids).into_iter().collect()
    }
    let table = Table::new(&cache);
    for expected in [vec![vec![1, 99]], vec![]] {
        assert_eq!(table.some(&[1, 99]).await, map([(1, 10)]));
        assert_eq!(table.loads(), expected);
    }
    assert_eq!(table.one(99).await, None);
    assert_eq!(table.one(98).await, None);
    assert_eq!(table.some(&[98]).await, map([]));
    assert_eq!(table.loads(), [[98]]);
    for expected in [vec![1, 99], vec![99]] {
        assert_eq!(without_none_ttl(&table, &[1, 99]).await, map([(1, 10)]));
        assert_eq!(table.loads(), [expected]);
    }
}

async fn rows_of_other_ids_are_returned_and_not_stored(cache: Cache) {
    #[cached(
        key = "row:<id>", ttl = 60, invalidate_on = ["rows", "row-tag:<id>"], each(id in ids),
        cache = table.cache, skip(table)
    )]
    async fn with_more(table: &Table, ids: &[u64]) -> Vec<(u64, u64)> {
        let more = table.load(&[8, 1]);
        table.load(ids).into_iter().chain(more).collect()
    }
    let table = Table::new(&cache);
    table.set_silently(1, 11);
    assert_eq!(with_more(&table, &[1]).await.len(), 3);
    table.loads();
    // Of 1, which was asked for, the value that is cached or loaded counts.
    table.set(1, 10).await;
    assert_eq!(table.some(&[1]).await, map([(1, 10)]));
    assert_eq!(
        with_more(&table, &[2, 1]).await,
        [(2, 20), (1, 10), (8, 80)]
    );
    assert_eq!(table.loads(), [vec![1], vec![8, 1], vec![2]]);
    assert_eq!(table.some(&[8]).await, map([(8, 80)]));
    assert_eq!(table.loads(), [[8]]);
}

async fn an_id_with_several_rows_is_returned_and_not_stored(Recorded { cache, events }: Recorded) {
    #[cached(key = "posts:<id>", ttl = 60, each(id in ids), cache = cache, skip(cache))]
    async fn posts(cache: &Cache, ids: &[u64]) -> Vec<(u64, u64)> {
        ids.iter()
            .flat_map(|id| (0..*id).map(move |post| (*id, post)))
            .collect()
    }
    for ids in [[1, 3], [3, 1]] {
        let mut posts = posts(&cache, &ids).await;
        posts.sort_unstable();
        assert_eq!(posts, [(1, 0), (3, 0), (3, 1), (3, 2)]);
    }
    let events = events.take();
    let told = events
        .iter()
        .filter(|event| event.contains("several values"));
    assert_eq!(told.count(), 2);
    assert!(!events.iter().any(|event| event.starts_with("fill posts:3")));
    assert_eq!(counts(&cache), [1, 3, 3]);
}

async fn an_error_stores_nothing(Recorded { cache, events }: Recorded) {
    #[cached(key = "row:<id>", ttl = 60, each(id in ids), cache = table.cache, skip(table, fails))]
    async fn may_fail(
        table: &Table,
        ids: &[u64],
        fails: bool,
    ) -> Result<HashMap<u64, u64>, NoDatabase> {
        let answer = if fails { Err(NoDatabase) } else { Ok(()) };
        answer?;
        if ids.len() > 5 {
            return Err(NoDatabase);
        }
        Ok(table.load(ids).into_iter().collect())
    }
    let table = Table::new(&cache);
    assert_eq!(may_fail(&table, &[1, 2], true).await, Err(NoDatabase));
    let expected = [
        "load failed row:1",
        "load failed row:2",
        "load row:1",
        "load row:2",
        "miss row:1",
        "miss row:2",
    ];
    assert_eq!(events.take_sorted(), expected);
    assert_eq!(may_fail(&table, &[1], false).await, Ok(map([(1, 10)])));
    assert_eq!(
        may_fail(&table, &[1, 2, 3, 4, 5, 6, 7], false).await,
        Err(NoDatabase)
    );
    assert_eq!(may_fail(&table, &[1], true).await, Ok(map([(1, 10)])));
    assert_eq!(table.loads(), [[1]]);
}

async fn each_element_is_invalidated_by_itself(cache: Cache) {
    let table = Table::new(&cache);
    table.some(&[1, 2, 3]).await;
    table.set(1, 11).await;
    table.set_by_tag(2, 22).await;
    table.set_silently(3, 33);
    table.loads();
    assert_eq!(
        table.some(&[1, 2, 3]).await,
        map([(1, 11), (2, 22), (3, 30)])
    );
    assert_eq!(table.loads(), [[1, 2]]);
}

async fn what_all_elements_have_invalidates_all(cache: Cache) {
    let table = Table::new(&cache);
    table.some(&[1, 2]).await;
    table.set_all(5).await;
    assert_eq!(table.some(&[1, 2]).await, map([(1, 5), (2, 5)]));
    assert_eq!(table.loads(), [[1, 2], [1, 2]]);
}

async fn what_is_invalidated_during_the_load_is_not_stored(cache: Cache) {
    #[cached(
        key = "row:<id>", ttl = 60, invalidate_on = ["rows", "row-tag:<id>"], each(id in ids),
        cache = table.cache, skip(table)
    )]
    async fn while_others_write(table: &Table, ids: &[u64]) -> HashMap<u64, u64> {
        let rows = table.load(ids);
        table.set(1, 11).await;
        table.set_by_tag(2, 22).await;
        rows.into_iter().collect()
    }
    let table = Table::new(&cache);
    assert_eq!(
        while_others_write(&table, &[1, 2, 3]).await,
        map([(1, 10), (2, 20), (3, 30)])
    );
    table.loads();
    assert_eq!(
        table.some(&[1, 2, 3]).await,
        map([(1, 11), (2, 22), (3, 30)])
    );
    assert_eq!(table.loads(), [[1, 2]]);
}

async fn behind_the_fence_of_one_element_the_others_are_stored(
    Recorded { cache, events }: Recorded,
) {
    #[cache_invalidate("row:<id>", "row-tag:<tag>", fence = "60s", cache = table.cache)]
    async fn set_fenced(table: &Table, events: &EventLog, id: u64, tag: u64) -> Result<(), ()> {
        events.take();
        assert_eq!(table.some(&[1, 2, 3]).await.len(), 3);
        let fills = events.take().into_iter();
        let fills: Vec<_> = fills.filter(|event| event.starts_with("fill")).collect();
        assert_eq!(fills, ["fill row:3 ttl=60s"]);
        table.set_silently(id, 11);
        Ok(())
    }
    let table = Table::new(&cache);
    set_fenced(&table, &events, 1, 2).await.unwrap();
    table.loads();
    assert_eq!(
        table.some(&[1, 2, 3]).await,
        map([(1, 11), (2, 20), (3, 30)])
    );
    assert_eq!(table.loads(), [[1, 2]]);
}

async fn within_a_transaction_nothing_is_read_or_stored(cache: Cache) {
    let table = Table::new(&cache);
    table.some(&[1]).await;
    after_commit(async {
        table.set_silently(1, 11);
        assert_eq!(table.some(&[1, 2]).await, map([(1, 11), (2, 20)]));
        table.set_silently(1, 10);
        Ok::<_, ()>(())
    })
    .await
    .unwrap();
    assert_eq!(table.loads(), [vec![1], vec![1, 2]]);
    assert_eq!(table.some(&[1, 2]).await, map([(1, 10), (2, 20)]));
    assert_eq!(table.loads(), [[2]]);
}

async fn a_batch_is_refreshed(cache: Cache) {
    let table = Table::new(&cache);
    table.some(&[1, 2]).await;
    for (id, value) in [(1, 11), (2, 12)] {
        table.set_silently(id, value);
        assert_eq!(table.one(id).await, Some(id * 10));
    }
    assert_eq!(refresh(table.some(&[1, 3])).await, map([(1, 11), (3, 30)]));
    assert_eq!(table.some(&[1, 2]).await, map([(1, 11), (2, 20)]));
    assert_eq!(refresh_all(table.some(&[2])).await, map([(2, 12)]));
    assert_eq!(table.one(2).await, Some(12));
    assert_eq!(table.loads(), [vec![1, 2], vec![1, 3], vec![2]]);
}

async fn a_batch_is_bypassed(cache: Cache) {
    #[cached(
        key = "row:<id>", ttl = 60, each(id in ids), condition = ids.len() < 3, cache = table.cache,
        skip(table)
    )]
    async fn few(table: &Table, ids: &[u64]) -> Vec<(u64, u64)> {
        table.load(ids)
    }
    let table = Table::new(&cache);
    few(&table, &[1, 2]).await;
    table.set_silently(1, 11);
    for (id, value) in [(1, 11), (1, 10)] {
        let rows = match value {
            11 => bypass(few(&table, &[id, 2])).await,
            _ => few(&table, &[id, 2]).await,
        };
        assert_eq!(rows, [(id, value), (2, 20)]);
    }
    assert_eq!(few(&table, &[1, 2, 3]).await, [(1, 11), (2, 20), (3, 30)]);
    assert_eq!(table.loads().len(), 3);
    assert_eq!(counts(&cache), [2, 2, 2]);
}

async fn a_batch_is_no_entry(cache: Cache) {
    let table = Table::new(&cache);
    let error = CachedEntry::of(table.some(&[1])).unwrap_err();
    assert!(error.is_call());
    assert!(error.to_string().contains("several keys"), "{error}");
    let error = prime(table.some(&[1]), map([(1, 7)])).await.unwrap_err();
    assert!(error.is_call());
    assert_eq!(table.loads(), Vec::<Vec<u64>>::new());
}

async fn values_decide_how_long_they_are_cached(Recorded { cache, events }: Recorded) {
    #[cached(
        key = "row:<id>", ttl = |value| std::time::Duration::from_secs(*value), unless = |value| *value == 20,
        each(id in ids), cache = table.cache, skip(table)
    )]
    async fn some(table: &Table, ids: &[u64]) -> BTreeMap<u64, u64> {
        table.load(ids).into_iter().collect()
    }
    let table = Table::new(&cache);
    assert_eq!(some(&table, &[1, 2, 3]).await.len(), 3);
    let events = events.take();
    let fills: Vec<_> = events
        .iter()
        .filter(|event| event.starts_with("fill"))
        .collect();
    assert_eq!(fills, ["fill row:1 ttl=10s", "fill row:3 ttl=30s"]);
    assert!(
        events
            .iter()
            .any(|event| event.starts_with("not filled row:2"))
    );
}

/// As in a function for one, new tags are known from the second load on.
async fn values_tell_their_tags(cache: Cache) {
    #[cached(
        key = "row:<id>", ttl = 60, invalidate_on = ["rows", |value| [format!("value:{value}")]],
        each(id in ids), cache = table.cache, skip(table)
    )]
    async fn some(table: &Table, ids: &[u64]) -> BTreeMap<u64, u64> {
        table.load(ids).into_iter().collect()
    }
    #[cached(
        key = "row:<id>", ttl = 60, invalidate_on = ["rows", |value| [format!("value:{value}")]],
        cache = table.cache, skip(table)
    )]
    async fn one(table: &Table, id: u64) -> Option<u64> {
        table.load(&[id]).first().map(|(_, value)| *value)
    }
    let table = Table::new(&cache);
    for loads in [vec![vec![1, 2]], vec![vec![1, 2]], vec![]] {
        assert_eq!(some(&table, &[1, 2]).await, [(1, 10), (2, 20)].into());
        assert_eq!(table.loads(), loads);
    }
    assert_eq!(one(&table, 2).await, Some(20));
    assert_eq!(table.loads(), Vec::<Vec<u64>>::new());
    cache.invalidate(["value:20"]).await.unwrap();
    table.set_silently(2, 21);
    for (value, loads) in [(21, vec![vec![2]]), (21, vec![vec![2]]), (21, vec![])] {
        assert_eq!(some(&table, &[1, 2]).await, [(1, 10), (2, value)].into());
        assert_eq!(table.loads(), loads);
    }
    cache.invalidate(["rows"]).await.unwrap();
    assert_eq!(some(&table, &[1, 2]).await.len(), 2);
    assert_eq!(some(&table, &[1, 2]).await.len(), 2);
    assert_eq!(table.loads(), [[1, 2]]);
}

async fn more_elements_than_fit_one_request(cache: Cache) {
    #[cached(
        key = "text:<id>", ttl = 60, invalidate_on = "texts", each(id in ids), cache = cache,
        skip(cache, loads)
    )]
    async fn texts(cache: &Cache, ids: Vec<u64>, loads: &AtomicU64) -> HashMap<u64, String> {
        loads.fetch_add(ids.len() as u64, Ordering::SeqCst);
        let text = |id| (id, "x".repeat(if id % 10 == 0 { 200_000 } else { 2_000 }));
        ids.into_iter().map(text).collect()
    }
    let loads = AtomicU64::new(0);
    let ids = || (0..500).collect::<Vec<_>>();
    for _ in 0..2 {
        let texts = texts(&cache, ids(), &loads).await;
        assert_eq!(texts.len(), 500);
        assert!(
            texts
                .iter()
                .all(|(id, text)| text.len() >= 2_000 && *id < 500)
        );
    }
    assert_eq!(loads.load(Ordering::SeqCst), 500);
}
