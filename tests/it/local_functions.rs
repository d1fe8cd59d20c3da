//! Functions whose values never leave the process, of a cache on a server: what ends their entries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cache_runtime::{Cache, CacheBuilder, Key, cached};
use cache_tests::{Proxy, RedisServer, Upstash, patient, until};

/// What one process sees of a row.
#[derive(Clone)]
struct Rows {
    cache: Cache,
    row: Arc<AtomicU64>,
}

impl Rows {
    fn new(builder: CacheBuilder, row: &Arc<AtomicU64>) -> Self {
        Self {
            cache: builder.build().unwrap(),
            row: row.clone(),
        }
    }

    #[cached(key = "plain:<id>", ttl = "1h", local, invalidate_on = "rows", cache = self.cache)]
    async fn plain(&self, id: &str) -> u64 {
        let _ = id;
        self.row.load(SeqCst)
    }

    #[cached(key = "early", ttl = "1h", local, early_refresh = 1.0, invalidate_on = "rows", cache = self.cache)]
    async fn early(&self) -> u64 {
        self.row.load(SeqCst)
    }

    #[cached(
        key = "stale", ttl = "1h", local, stale_while_revalidate = "1h", invalidate_on = "rows", cache = self.cache
    )]
    async fn stale(&self) -> u64 {
        self.row.load(SeqCst)
    }

    #[cached(
        key = "excused", ttl = "1h", local, stale_if_error = "1h", invalidate_on = "rows", cache = self.cache
    )]
    async fn excused(&self) -> Result<u64, std::io::Error> {
        Ok(self.row.load(SeqCst))
    }

    async fn all(&self) -> [u64; 4] {
        [
            self.plain("7").await,
            self.early().await,
            self.stale().await,
            self.excused().await.unwrap(),
        ]
    }
}

#[tokio::test]
async fn a_lost_connection_ends_entries_whatever_their_windows() {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let row = Arc::new(AtomicU64::new(1));
    let ours = Rows::new(Cache::builder().url(proxy.url()), &row);
    let elsewhere = Rows::new(patient(&server.url()), &row);
    until(async || {
        let loads = ours.cache.stats().loads;
        ours.all().await == [1; 4] && ours.cache.stats().loads == loads
    })
    .await;
    proxy.cut().await;
    row.store(2, SeqCst);
    elsewhere.cache.invalidate(["rows"]).await.unwrap();
    until(async || ours.all().await == [2; 4]).await;
    proxy.heal().await;
    until(async || {
        let loads = ours.cache.stats().loads;
        ours.all().await == [2; 4] && ours.cache.stats().loads == loads
    })
    .await;
}

#[tokio::test]
async fn what_the_server_tells_ends_entries_also_where_they_are_kept_unheard() {
    let server = RedisServer::start();
    let row = Arc::new(AtomicU64::new(1));
    let unheard = |url: &str| patient(url).local_ttl_unheard(Duration::from_secs(3600));
    let [ours, elsewhere] = [(); 2].map(|()| Rows::new(unheard(&server.url()), &row));
    until(async || {
        let loads = ours.cache.stats().loads;
        ours.plain("7").await == 1 && ours.cache.stats().loads == loads
    })
    .await;
    row.store(2, SeqCst);
    elsewhere.cache.invalidate(["rows"]).await.unwrap();
    until(async || ours.plain("7").await == 2).await;
}

#[tokio::test]
async fn where_nothing_is_heard_an_entry_ends_with_the_time_that_is_allowed() {
    const TTL: Duration = Duration::from_millis(600);
    let emulator = Upstash::start();
    let row = Arc::new(AtomicU64::new(1));
    let ours = Rows::new(patient(&emulator.url()).local_ttl_unheard(TTL), &row);
    let began = Instant::now();
    assert_eq!(ours.all().await, [1; 4]);
    let loads = ours.cache.stats().loads;
    assert_eq!(ours.all().await, [1; 4]);
    if began.elapsed() < TTL / 2 {
        assert_eq!(ours.cache.stats().loads, loads, "entries are kept");
    }
    row.store(2, SeqCst);
    until(async || ours.all().await == [2; 4]).await;
}

/// What a process hears of such a name is its short form.
#[tokio::test]
async fn a_long_name_is_not_kept() {
    let server = RedisServer::start();
    let row = Arc::new(AtomicU64::new(1));
    let [ours, elsewhere] = [(); 2].map(|()| Rows::new(patient(&server.url()), &row));
    let id = "x".repeat(Key::MAX_LEN);
    for now in 1..4 {
        row.store(now, SeqCst);
        elsewhere.cache.invalidate(["rows"]).await.unwrap();
        assert_eq!(ours.plain(&id).await, now);
    }
}
