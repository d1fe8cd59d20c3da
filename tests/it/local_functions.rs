//! Functions whose values never leave the process, of a cache on a server: what ends their entries.

use std::future::pending;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cache_runtime::{Cache, CacheBuilder, Key, cache_invalidate, cached};
use cache_tests::{Proxy, RedisServer, Upstash, Way, patient, poll_once, until};

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

    #[cache_invalidate("plain:<id>", fence = "1s", cache = self.cache)]
    async fn write_for_ever(&self, id: &str) -> Result<(), std::io::Error> {
        let _ = id;
        pending().await
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

/// The fence is placed after the server was asked and before the load begins. Its writer commits and dies, and
/// invalidates nothing.
#[tokio::test]
async fn a_fence_that_comes_while_the_server_is_asked_is_kept() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    let row = Arc::new(AtomicU64::new(1));
    let ours = Rows::new(patient(&proxy.url()), &row);
    let elsewhere = Rows::new(patient(&server.url()), &row);
    // From here on, the connection listens.
    until(async || {
        let loads = ours.cache.stats().loads;
        ours.plain("other").await == 1 && ours.cache.stats().loads == loads
    })
    .await;
    for id in ["1", "2", "3", "4", "5"] {
        row.store(1, SeqCst);
        proxy.hold(Way::ToClient);
        let asked = server.calls("mget");
        let call = tokio::spawn({
            let ours = ours.clone();
            async move { ours.plain(id).await }
        });
        until(async || server.calls("mget") > asked).await;
        let mut write = Box::pin(elsewhere.write_for_ever(id));
        until(async || {
            assert!(poll_once(write.as_mut()).is_pending());
            server
                .keys()
                .iter()
                .any(|key| key.ends_with(&format!("plain:'{id}'")))
        })
        .await;
        proxy.release(Way::ToClient);
        assert_eq!(call.await.unwrap(), 1);
        row.store(2, SeqCst);
        // It dies.
        mem::forget(write);
        assert_eq!(ours.plain(id).await, 2, "{id}");
    }
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
