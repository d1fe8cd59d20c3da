//! Readers and writers of the same rows at the same time leave nothing stale
//! behind; and the test would notice if they did.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache_runtime::{Cache, Options, cache_invalidate, cached, key};
use cache_tests::{Proxy, RedisServer};
use tokio::task::JoinSet;

const ROWS: usize = 4_000;
/// So many rows are read and written at a time: few enough that reads and updates really meet.
const AT_ONCE: usize = 20;
const SEED: u64 = 0x5eed;

/// Rows with a version each, read some time before they arrive.
#[derive(Debug)]
struct Rows {
    cache: Cache,
    versions: Vec<AtomicU64>,
}

impl Rows {
    fn new(cache: Cache) -> Self {
        Self {
            cache,
            versions: (0..ROWS).map(|_| AtomicU64::new(1)).collect(),
        }
    }

    fn now(&self, row: usize) -> u64 {
        self.versions[row].load(Ordering::SeqCst)
    }

    async fn load(&self, row: usize, delay: Duration) -> u64 {
        let version = self.now(row);
        pause(delay).await;
        version
    }

    fn store(&self, row: usize) {
        self.versions[row].fetch_add(1, Ordering::SeqCst);
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

/// What people write by hand: get, else load and set; delete after an update.
struct ByHand(Rows);

impl Access for ByHand {
    fn rows(&self) -> &Rows {
        &self.0
    }

    async fn read(&self, row: usize, delay: Duration) -> u64 {
        let key = key!("row:<row>");
        if let Some(version) = self.0.cache.get(key.clone()).await.unwrap() {
            return version;
        }
        let version = self.0.load(row, delay).await;
        self.0
            .cache
            .set(key, &version, Options::new())
            .await
            .unwrap();
        version
    }

    async fn update(&self, row: usize) {
        self.0.store(row);
        self.0.cache.delete(key!("row:<row>")).await.unwrap();
    }
}

/// Reads and updates each row once, within five milliseconds of each other, and
/// then counts the rows of which something old is read.
async fn stale_rows<A: Access>(access: A) -> usize {
    let access = Arc::new(access);
    let mut random = Random(SEED);
    for first in (0..ROWS).step_by(AT_ONCE) {
        let mut calls = JoinSet::new();
        for row in first..first + AT_ONCE {
            let [read_after, update_after, delay] = [(); 3].map(|()| random.up_to_5_ms());
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
    // Whatever still runs in the background may do its worst.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut stale = 0;
    for row in 0..ROWS {
        let read = access.read(row, Duration::ZERO).await;
        stale += usize::from(read != access.rows().now(row));
    }
    stale
}

/// Outages are for other tests: a busy machine is not to look like one.
fn on_redis(url: String) -> Cache {
    let patience = Duration::from_secs(60);
    let builder = Cache::builder().url(url).op_timeout(patience);
    builder.connect_timeout(patience).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_stale_in_process() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    assert_eq!(stale_rows(Annotated(Rows::new(cache))).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_stale_on_redis() {
    let server = RedisServer::start();
    let cache = on_redis(server.url());
    assert_eq!(stale_rows(Annotated(Rows::new(cache.clone()))).await, 0);
    let stats = cache.stats();
    assert_eq!(stats.errors, 0, "the server took part in all of it");
    assert!(stats.hits > 0, "something was cached to be stale");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_lease_check_the_same_test_finds_stale_rows() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    // `fill.lua` stores whether or not the lease is still there.
    proxy.rewrite(
        b"== ARGV[1] then\n  redis.call('SET'",
        b"~= nil     then\n  redis.call('SET'",
    );
    let cache = on_redis(proxy.url());
    let stale = stale_rows(Annotated(Rows::new(cache))).await;
    println!("{stale} of {ROWS} rows are stale without the check");
    assert!(proxy.rewrites() > 0, "the script is no longer what it was");
    assert!(stale > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_hand_the_same_test_finds_stale_rows() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    let stale = stale_rows(ByHand(Rows::new(cache))).await;
    println!("{stale} of {ROWS} rows are stale with get, load, set");
    assert!(stale > 0);
}

/// The timer rounds up to whole milliseconds, none included.
async fn pause(duration: Duration) {
    if duration.is_zero() {
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(duration).await;
    }
}

/// `SplitMix64`: the same sequence on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn up_to_5_ms(&mut self) -> Duration {
        Duration::from_millis(self.next() % 6)
    }
}
