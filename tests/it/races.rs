//! Readers and writers of the same rows at the same time leave nothing stale behind. The same test
//! does find stale rows where a check is taken away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache_runtime::{Cache, Options, cache_invalidate, cached, key};
use cache_tests::{Proxy, Random, RedisServer, patient, until};
use tokio::task::JoinSet;

const ROWS: usize = 4_000;
/// How many rows are read and written at a time: few enough for reads and updates to meet.
const AT_ONCE: usize = 20;
const SEED: u64 = 0x5eed;

/// Rows with a number each, which an update counts up. A load returns some time after its read.
#[derive(Debug)]
struct Rows {
    cache: Cache,
    numbers: Vec<AtomicU64>,
}

impl Rows {
    fn new(cache: Cache) -> Self {
        Self {
            cache,
            numbers: (0..ROWS).map(|_| AtomicU64::new(1)).collect(),
        }
    }

    fn now(&self, row: usize) -> u64 {
        self.numbers[row].load(Ordering::SeqCst)
    }

    async fn load(&self, row: usize, delay: Duration) -> u64 {
        let number = self.now(row);
        pause(delay).await;
        number
    }

    fn store(&self, row: usize) {
        self.numbers[row].fetch_add(1, Ordering::SeqCst);
    }
}

/// How the rows are cached.
trait Access: Send + Sync + 'static {
    fn rows(&self) -> &Rows;
    fn read(&self, row: usize, delay: Duration) -> impl Future<Output = u64> + Send;
    fn update(&self, row: usize) -> impl Future<Output = ()> + Send;
}

struct Annotated(Rows);

impl Annotated {
    #[cached(key = "row:<row>", ttl = 60, skip(delay), cache = self.0.cache)]
    async fn read_cached(&self, row: usize, delay: Duration) -> u64 {
        self.0.load(row, delay).await
    }

    #[cache_invalidate("row:<row>", cache = self.0.cache)]
    async fn update_cached(&self, row: usize) {
        self.0.store(row);
    }
}

impl Access for Annotated {
    fn rows(&self) -> &Rows {
        &self.0
    }

    async fn read(&self, row: usize, delay: Duration) -> u64 {
        self.read_cached(row, delay).await
    }

    async fn update(&self, row: usize) {
        self.update_cached(row).await;
    }
}

/// A cache used by hand: a read gets, else loads and sets; an update deletes.
struct ByHand(Rows);

impl Access for ByHand {
    fn rows(&self) -> &Rows {
        &self.0
    }

    async fn read(&self, row: usize, delay: Duration) -> u64 {
        let key = key!("row:<row>");
        if let Some(number) = self.0.cache.get(key.clone()).await.unwrap() {
            return number;
        }
        let number = self.0.load(row, delay).await;
        self.0
            .cache
            .set(key, &number, Options::new())
            .await
            .unwrap();
        number
    }

    async fn update(&self, row: usize) {
        self.0.store(row);
        self.0.cache.delete(key!("row:<row>")).await.unwrap();
    }
}

/// Reads and updates each row once, within five milliseconds of each other. Then counts the rows
/// that are read as they were once.
async fn stale_rows<A: Access>(access: A) -> usize {
    let access = Arc::new(access);
    let mut random = Random::new(SEED);
    let mut up_to_5_ms = || Duration::from_millis(random.below(6));
    for first in (0..ROWS).step_by(AT_ONCE) {
        let mut calls = JoinSet::new();
        for row in first..first + AT_ONCE {
            let [read_after, update_after, delay] = [(); 3].map(|()| up_to_5_ms());
            let (reader, writer) = (access.clone(), access.clone());
            calls.spawn(async move {
                pause(read_after).await;
                reader.read(row, delay).await;
            });
            calls.spawn(async move {
                pause(update_after).await;
                writer.update(row).await;
            });
        }
        calls.join_all().await;
    }
    // Every call has returned; an invalidation that has failed would still be repeated.
    until(async || access.rows().cache.health().waiting == 0).await;
    let mut stale = 0;
    for row in 0..ROWS {
        let read = access.read(row, Duration::ZERO).await;
        stale += usize::from(read != access.rows().now(row));
    }
    stale
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_stale_in_process() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    assert_eq!(stale_rows(Annotated(Rows::new(cache))).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_stale_on_redis() {
    let server = RedisServer::start();
    let cache = patient(&server.url()).build().unwrap();
    assert_eq!(stale_rows(Annotated(Rows::new(cache.clone()))).await, 0);
    let stats = cache.stats();
    assert_eq!(stats.errors, 0, "the server answered all calls");
    assert!(
        stats.hits > 0,
        "an entry that is not served cannot be stale"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_lease_check_the_same_test_finds_stale_rows() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    // Makes `fill.lua` store although the lease is gone.
    proxy.rewrite(
        b"== ARGV[1] then\n  redis.call('SET'",
        b"~= nil     then\n  redis.call('SET'",
    );
    let cache = patient(&proxy.url()).build().unwrap();
    let stale = stale_rows(Annotated(Rows::new(cache))).await;
    println!("{stale} of {ROWS} rows are stale without the check");
    assert!(proxy.rewrites() > 0, "the script has no such line any more");
    assert!(stale > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_cache_used_by_hand_the_same_test_finds_stale_rows() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    let stale = stale_rows(ByHand(Rows::new(cache))).await;
    println!("{stale} of {ROWS} rows are stale with get, load, set");
    assert!(stale > 0);
}

/// A pause of no length does not use the timer, which would round it up to a millisecond.
async fn pause(duration: Duration) {
    if duration.is_zero() {
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(duration).await;
    }
}
