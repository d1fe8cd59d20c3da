//! What others load meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cache_runtime::{Cache, cache_invalidate, cached};
use cache_tests::LIMIT;
use tokio::task::JoinSet;

use super::{Recorded, counts, map, on_every_backend};
use crate::gated::Gate;

on_every_backend! {
    two_batches_that_need_each_others_keys_load_each_once
    a_batch_waits_for_what_another_caller_loads
    a_caller_waits_for_what_a_batch_loads
    an_error_of_another_caller_is_shared
    what_another_caller_gives_up_is_loaded
    a_batch_that_is_given_up_hands_over
    a_batch_that_is_set_aside_holds_nobody_up
    many_batches_share_loads
    a_batch_inside_of_a_load_does_not_wait_for_that
    a_batch_that_comes_after_an_update_does_not_share_an_older_load
    two_caches_load_each_key_once
}

/// A table whose loads end when the test says so.
struct Slow {
    cache: Cache,
    value: AtomicU64,
    loads: AtomicU64,
    started: Gate,
    may_end: Gate,
}

impl Slow {
    fn new(cache: &Cache) -> Arc<Self> {
        Arc::new(Self {
            cache: cache.clone(),
            value: AtomicU64::new(1),
            loads: AtomicU64::new(0),
            started: Gate::new(),
            may_end: Gate::new(),
        })
    }

    async fn load(&self, ids: &[u64]) -> Result<Vec<(u64, u64)>, String> {
        let value = self.value.load(Ordering::SeqCst);
        self.loads.fetch_add(ids.len() as u64, Ordering::SeqCst);
        self.started.open();
        self.may_end.pass().await;
        match value {
            0 => Err("no database".to_owned()),
            value => Ok(ids.iter().map(|id| (*id, value)).collect()),
        }
    }

    #[cached(key = "slow:<id>", ttl = 60, invalidate_on = "slow", each(id in ids), cache = self.cache)]
    async fn some(&self, ids: &[u64]) -> Result<std::collections::HashMap<u64, u64>, String> {
        Ok(self.load(ids).await?.into_iter().collect())
    }

    #[cached(key = "slow:<id>", ttl = 60, invalidate_on = "slow", cache = self.cache)]
    async fn one(&self, id: u64) -> Result<Option<u64>, String> {
        Ok(self.load(&[id]).await?.first().map(|(_, value)| *value))
    }

    #[cache_invalidate("slow:<id>", cache = self.cache)]
    async fn set(&self, id: u64, value: u64) {
        let _ = id;
        self.value.store(value, Ordering::SeqCst);
    }
}

type Loaded = Result<std::collections::HashMap<u64, u64>, String>;

fn batch(table: &Arc<Slow>, ids: &[u64]) -> tokio::task::JoinHandle<Loaded> {
    let (table, ids) = (table.clone(), ids.to_vec());
    tokio::spawn(async move { table.some(&ids).await })
}

fn single(table: &Arc<Slow>, id: u64) -> tokio::task::JoinHandle<Result<Option<u64>, String>> {
    let table = table.clone();
    tokio::spawn(async move { table.one(id).await })
}

async fn answer<T>(task: tokio::task::JoinHandle<T>) -> T {
    tokio::time::timeout(LIMIT, task)
        .await
        .expect("it ends")
        .unwrap()
}

async fn two_batches_that_need_each_others_keys_load_each_once(
    Recorded { cache, events }: Recorded,
) {
    let table = Slow::new(&cache);
    let one = batch(&table, &[1, 2]);
    table.started.passed().await;
    let other = batch(&table, &[3, 2, 1]);
    table.started.passed().await;
    // What the second call wants of the first is loaded in the first.
    table.may_end.stay_open();
    assert_eq!(answer(one).await, Ok(map([(1, 1), (2, 1)])));
    assert_eq!(answer(other).await, Ok(map([(1, 1), (2, 1), (3, 1)])));
    assert_eq!(table.loads.load(Ordering::SeqCst), 3);
    let loads = events
        .take()
        .into_iter()
        .filter(|event| event.starts_with("load "));
    assert_eq!(loads.count(), 3);
}

async fn a_batch_waits_for_what_another_caller_loads(Recorded { cache, events }: Recorded) {
    let table = Slow::new(&cache);
    let one = single(&table, 1);
    table.started.passed().await;
    let batch = batch(&table, &[1]);
    events.until("wait slow:1").await;
    table.may_end.stay_open();
    assert_eq!(answer(one).await, Ok(Some(1)));
    assert_eq!(answer(batch).await, Ok(map([(1, 1)])));
    assert_eq!(counts(&cache), [0, 2, 1]);
}

async fn a_caller_waits_for_what_a_batch_loads(Recorded { cache, events }: Recorded) {
    let table = Slow::new(&cache);
    let batch = batch(&table, &[1, 2]);
    table.started.passed().await;
    let one = single(&table, 2);
    events.until("wait slow:2").await;
    table.may_end.stay_open();
    assert_eq!(answer(one).await, Ok(Some(1)));
    assert_eq!(answer(batch).await, Ok(map([(1, 1), (2, 1)])));
    assert_eq!(counts(&cache), [0, 3, 2]);
}

async fn an_error_of_another_caller_is_shared(Recorded { cache, events }: Recorded) {
    let table = Slow::new(&cache);
    table.value.store(0, Ordering::SeqCst);
    let error = || "no database".to_owned();
    let one = single(&table, 1);
    table.started.passed().await;
    let waiting = batch(&table, &[1]);
    events.until("wait slow:1").await;
    table.may_end.open();
    assert_eq!(answer(one).await, Err(error()));
    assert_eq!(answer(waiting).await, Err(error()));

    let leading = batch(&table, &[2, 3]);
    table.started.passed().await;
    events.take();
    let one = single(&table, 2);
    events.until("wait slow:2").await;
    table.may_end.open();
    assert_eq!(answer(leading).await, Err(error()));
    assert_eq!(answer(one).await, Err(error()));
    assert_eq!(table.loads.load(Ordering::SeqCst), 3);
}

async fn what_another_caller_gives_up_is_loaded(Recorded { cache, events }: Recorded) {
    let table = Slow::new(&cache);
    let one = single(&table, 1);
    table.started.passed().await;
    let batch = batch(&table, &[1, 2]);
    table.started.passed().await;
    one.abort();
    assert!(one.await.unwrap_err().is_cancelled());
    // The load of 2 ends, and then nobody loads 1.
    table.may_end.open();
    events.until("wait slow:1").await;
    table.started.passed().await;
    table.may_end.stay_open();
    assert_eq!(answer(batch).await, Ok(map([(1, 1), (2, 1)])));
    assert_eq!(table.loads.load(Ordering::SeqCst), 3);
    assert_eq!(table.one(1).await, Ok(Some(1)));
    assert_eq!(table.loads.load(Ordering::SeqCst), 3);
}

async fn a_batch_that_is_given_up_hands_over(Recorded { cache, events }: Recorded) {
    let table = Slow::new(&cache);
    let batch = batch(&table, &[1, 2, 3]);
    table.started.passed().await;
    let one = single(&table, 2);
    events.until("wait slow:2").await;
    batch.abort();
    assert!(batch.await.unwrap_err().is_cancelled());
    table.started.passed().await;
    table.may_end.stay_open();
    assert_eq!(answer(one).await, Ok(Some(1)));
    assert_eq!(
        table.some(&[1, 2, 3]).await,
        Ok(map([(1, 1), (2, 1), (3, 1)]))
    );
    assert_eq!(table.loads.load(Ordering::SeqCst), 6);
}

async fn a_batch_that_is_set_aside_holds_nobody_up(cache: Cache) {
    let table = Slow::new(&cache);
    let mut batch = Box::pin(table.some(&[1, 2]));
    tokio::select! {
        _ = &mut batch => unreachable!("its load may not end"),
        () = table.started.passed() => {}
    }
    table.may_end.stay_open();
    // From here on, the first call is not polled.
    assert_eq!(answer(single(&table, 2)).await, Ok(Some(1)));
    let other = tokio::time::timeout(LIMIT, table.some(&[1, 2, 3])).await;
    assert_eq!(other.unwrap(), Ok(map([(1, 1), (2, 1), (3, 1)])));
    assert_eq!(batch.await, Ok(map([(1, 1), (2, 1)])));
}

async fn many_batches_share_loads(cache: Cache) {
    let table = Slow::new(&cache);
    table.may_end.stay_open();
    let mut callers = JoinSet::new();
    for first in 0..50 {
        let table = table.clone();
        callers.spawn(async move {
            let ids: Vec<u64> = (0..20).map(|id| (first * 7 + id * 3) % 60).collect();
            let some = table.some(&ids).await.unwrap();
            assert_eq!(some.len(), 20);
        });
    }
    tokio::time::timeout(LIMIT, callers.join_all())
        .await
        .unwrap();
    // One for each key; and one more where a busy machine has polled a load late.
    let loads = table.loads.load(Ordering::SeqCst);
    assert!((60..120).contains(&loads), "{loads}");
    assert_eq!(cache.stats().errors, 0);
}

async fn a_batch_inside_of_a_load_does_not_wait_for_that(cache: Cache) {
    #[cached(key = "slow:<id>", ttl = 60, invalidate_on = "slow", cache = table.cache, skip(table))]
    async fn outer(table: &Slow, id: u64) -> Result<Option<u64>, String> {
        let some = table.some(&[id, id + 1]).await?;
        Ok(some.get(&id).map(|value| value + some[&(id + 1)]))
    }
    let table = Slow::new(&cache);
    table.may_end.stay_open();
    let outer = tokio::time::timeout(LIMIT, outer(&table, 1));
    assert_eq!(outer.await.unwrap(), Ok(Some(2)));
}

async fn a_batch_that_comes_after_an_update_does_not_share_an_older_load(cache: Cache) {
    let table = Slow::new(&cache);
    let older = batch(&table, &[1, 2]);
    table.started.passed().await;
    table.set(1, 2).await;
    let newer = batch(&table, &[1]);
    table.started.passed().await;
    table.may_end.stay_open();
    assert_eq!(answer(newer).await, Ok(map([(1, 2)])));
    assert_eq!(answer(older).await, Ok(map([(1, 1), (2, 1)])));
    assert_eq!(table.some(&[1, 2]).await, Ok(map([(1, 2), (2, 1)])));
}

/// On a server, they are as two processes are.
async fn two_caches_load_each_key_once(builder: cache_runtime::CacheBuilder) {
    let one = builder.clone().build().unwrap();
    let other = if super::super::is_in_process(&one) {
        one.clone()
    } else {
        builder.build().unwrap()
    };
    let [one, other] = [&one, &other].map(Slow::new);
    let first = batch(&one, &[1, 2]);
    one.started.passed().await;
    let second = batch(&other, &[2, 3, 1]);
    other.started.passed().await;
    other.may_end.stay_open();
    one.may_end.stay_open();
    assert_eq!(answer(first).await, Ok(map([(1, 1), (2, 1)])));
    assert_eq!(answer(second).await, Ok(map([(1, 1), (2, 1), (3, 1)])));
    let loads = [&one, &other].map(|table| table.loads.load(Ordering::SeqCst));
    assert_eq!(loads.iter().sum::<u64>(), 3);
}
