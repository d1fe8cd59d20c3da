//! What cannot be invalidated is kept, not served meanwhile, and invalidated in the end.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use cache_runtime::{Cache, Key, Options, Status, cache_invalidate, cached};
use cache_tests::{Proxy, RedisServer};
use tokio::runtime::Runtime;

const A_WHILE: Duration = Duration::from_secs(20);

fn cache(url: &str) -> Cache {
    let builder = Cache::builder().url(url).namespace("test");
    // A busy machine is not to look like an outage.
    builder.op_timeout(Duration::from_secs(2)).build().unwrap()
}

/// A row of a database, with a tag.
#[derive(Clone, Default)]
struct Row(Arc<AtomicU64>);

impl Row {
    fn set(&self, value: u64) {
        self.0.store(value, SeqCst);
    }

    async fn read(&self, cache: &Cache) -> u64 {
        let load = async { Ok::<_, Infallible>(self.0.load(SeqCst)) };
        let options = Options::new().tag("rows");
        let Ok(value) = cache.get_or_load("row", options, load).await;
        value
    }

    /// Reads it while it is 1, so that this is cached.
    async fn cached(cache: &Cache) -> Self {
        let row = Self::default();
        row.set(1);
        assert_eq!((row.read(cache).await, row.read(cache).await), (1, 1));
        assert!(cache.exists("row").await.unwrap());
        row
    }
}

#[tokio::test]
async fn a_lost_invalidation_is_replayed_and_until_then_distrusted() {
    for name in ["row", "rows"] {
        let server = RedisServer::start();
        let mut proxy = Proxy::start(server.port()).await;
        let (here, elsewhere) = (cache(&proxy.url()), cache(&server.url()));
        let row = Row::cached(&here).await;
        assert_eq!(row.read(&elsewhere).await, 1);

        proxy.cut().await;
        row.set(2);
        assert!(here.invalidate([name]).await.unwrap_err().is_unavailable());
        assert_eq!(here.health().waiting, 1);
        assert_eq!(row.read(&here).await, 2);
        assert!(matches!(here.health().status, Status::Unreachable(_)));

        proxy.heal().await;
        here.flush(A_WHILE).await.unwrap();
        assert_eq!(here.health().waiting, 0);
        assert!(here.health().status.is_working());
        assert_eq!((row.read(&elsewhere).await, row.read(&here).await), (2, 2));
        assert_eq!(here.stats().outages, 1);
    }
}

#[tokio::test]
async fn nothing_is_served_between_the_reconnect_and_the_replay() {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let cache = cache(&proxy.url());
    let row = Row::cached(&cache).await;
    proxy.cut().await;
    row.set(2);
    cache.invalidate(["row"]).await.unwrap_err();
    proxy.heal().await;
    // Whenever the connection comes back in here.
    while cache.health().waiting > 0 {
        assert_eq!(row.read(&cache).await, 2);
        assert!(!cache.exists("row").await.unwrap_or_default());
        tokio::task::yield_now().await;
    }
    assert_eq!(row.read(&cache).await, 2);
}

#[tokio::test]
async fn a_journal_that_overflows_forgets_nothing() {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let builder = Cache::builder().url(proxy.url()).journal_capacity(3);
    let cache = builder.build().unwrap();
    let names: Vec<Key> = (0..20).map(|i| format!("row:{i}").into()).collect();
    for name in &names {
        cache.set(name, &1, Options::new()).await.unwrap();
    }
    proxy.cut().await;
    cache.invalidate(&names).await.unwrap_err();
    assert!(cache.health().overflowed);
    proxy.heal().await;
    cache.flush(A_WHILE).await.unwrap();
    assert!(!cache.health().overflowed);
    for name in names {
        assert_eq!(cache.get::<i32>(name).await.unwrap(), None);
    }
}

#[tokio::test]
async fn what_a_server_refuses_to_invalidate_is_served_by_no_process() {
    let server = RedisServer::start();
    let (here, elsewhere) = (cache(&server.url()), cache(&server.url()));
    let row = Row::cached(&here).await;
    assert_eq!(row.read(&elsewhere).await, 1);
    let require_replicas = |count| {
        let words = ["CONFIG", "SET", "min-replicas-to-write", count];
        assert_eq!(server.query::<String>(&words), "OK");
    };

    require_replicas("1");
    row.set(2);
    assert!(here.invalidate(["rows"]).await.unwrap_err().is_refused());
    assert_eq!((row.read(&elsewhere).await, row.read(&here).await), (2, 2));
    assert!(matches!(here.health().status, Status::WritesRefused(_)));
    assert_eq!(here.stats().refusals, 1);

    require_replicas("0");
    for cache in [&here, &elsewhere] {
        while cache.health().waiting > 0 || !cache.health().status.is_working() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert_eq!((row.read(&elsewhere).await, row.read(&here).await), (2, 2));
    assert!(here.exists("row").await.unwrap());
    assert!(here.health().status.is_working());
}

#[tokio::test]
async fn an_invalidation_that_is_dropped_goes_on() {
    let server = RedisServer::start();
    let cache = cache(&server.url());
    let row = Row::cached(&cache).await;
    row.set(2);
    {
        // Once: it is on its way, and nobody waits for the answer.
        let mut invalidation = Box::pin(cache.invalidate(["row"]));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(invalidation.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(row.read(&cache).await, 2);
    let start = std::time::Instant::now();
    while cache.health().waiting > 0 {
        assert!(start.elapsed() < A_WHILE, "{:?}", cache.health());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((row.read(&cache).await, row.read(&cache).await), (2, 2));
    assert!(cache.exists("row").await.unwrap(), "it is cached again");
}

#[test]
fn a_flush_outside_of_a_runtime_says_what_is_left() {
    let server = RedisServer::start();
    let cache = cache(&server.url());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut flush = |cache: &Cache| {
        let mut flush = Box::pin(cache.flush(Duration::from_millis(1)));
        match flush.as_mut().poll(&mut context) {
            std::task::Poll::Ready(result) => result,
            std::task::Poll::Pending => panic!("there is nobody to wait for"),
        }
    };
    flush(&cache).unwrap();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut invalidation = Box::pin(cache.invalidate(["row"]));
    assert!(invalidation.as_mut().poll(&mut context).is_ready());
    assert!(flush(&cache).unwrap_err().is_unavailable());
    Runtime::new().unwrap().block_on(async {
        cache.flush(A_WHILE).await.unwrap();
    });
    flush(&cache).unwrap();
}

#[test]
fn the_second_invalidation_outlives_the_runtime_of_the_update() {
    let builder = Cache::builder()
        .url("memory:")
        .settle(Duration::from_millis(50));
    let cache = builder.build().unwrap();
    let row = Row::default();
    Runtime::new().unwrap().block_on(async {
        fail(&cache).await.unwrap_err();
        assert_eq!(read(&row, &cache).await, 0);
    });
    row.set(1);
    let start = std::time::Instant::now();
    while cache.health().waiting > 0 {
        assert!(start.elapsed() < A_WHILE);
        std::thread::sleep(Duration::from_millis(2));
    }
    // It is taken out before it is carried out.
    let read = || Runtime::new().unwrap().block_on(read(&row, &cache));
    while read() == 0 {
        assert!(start.elapsed() < A_WHILE);
    }
}

#[tokio::test]
async fn settings_that_are_for_ever_overflow_nothing() {
    let server = RedisServer::start();
    for url in ["memory:".to_owned(), server.url()] {
        let builder = Cache::builder().url(url).settle(Duration::MAX);
        let builder = builder
            .op_timeout(Duration::MAX)
            .connect_timeout(Duration::MAX);
        let cache = builder.build().unwrap();
        fail(&cache).await.unwrap_err();
        assert_eq!(read(&Row::default(), &cache).await, 0);
        cache.flush(A_WHILE).await.unwrap();
        assert_eq!(cache.health().waiting, 0);
    }
}

#[test]
fn a_journal_outlives_the_runtime_it_was_written_on() {
    let mut server = RedisServer::start();
    let cache = cache(&server.url());
    let row = Runtime::new().unwrap().block_on(Row::cached(&cache));
    server.save();
    server.kill();
    row.set(2);
    Runtime::new().unwrap().block_on(async {
        cache.invalidate(["row"]).await.unwrap_err();
    });
    server.restart();
    Runtime::new().unwrap().block_on(async {
        assert_eq!(row.read(&cache).await, 2);
        cache.flush(A_WHILE).await.unwrap();
        cache.ping().await.unwrap();
        assert_eq!((row.read(&cache).await, row.read(&cache).await), (2, 2));
        assert!(cache.exists("row").await.unwrap());
    });
}

/// An update whose commit comes after it has failed.
#[cache_invalidate("row", cache = cache)]
async fn fail(cache: &Cache) -> Result<(), &'static str> {
    Err("lost the connection to the database")
}

#[cache_invalidate("row", cache = cache)]
async fn fail_as_an_unnamed_type(cache: &Cache) -> Result<impl Sized, &'static str> {
    Err::<(), _>("lost the connection to the database")
}

#[cached(key = "row", cache = cache, skip(row, cache))]
async fn read(row: &Row, cache: &Cache) -> u64 {
    row.0.load(SeqCst)
}

#[tokio::test]
async fn after_an_update_that_failed_the_invalidation_is_repeated() {
    let server = RedisServer::start();
    for url in ["memory:".to_owned(), server.url()] {
        let builder = Cache::builder().url(url).settle(Duration::from_millis(50));
        let cache = builder.build().unwrap();
        let row = Row::default();
        for value in [1, 3] {
            if value == 1 {
                fail(&cache).await.unwrap_err();
            } else {
                assert!(fail_as_an_unnamed_type(&cache).await.is_err());
            }
            row.set(value);
            assert_eq!(read(&row, &cache).await, value);
            // The commit that was still under way.
            row.set(value + 1);
            assert_eq!(read(&row, &cache).await, value, "it is cached");
            assert_eq!(cache.health().waiting, 1);
            while cache.health().waiting > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            cache.flush(A_WHILE).await.unwrap();
            assert_eq!(read(&row, &cache).await, value + 1);
        }
    }
}

#[tokio::test]
async fn an_orderly_shutdown_does_not_wait_for_what_is_due_later() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    let row = Row::default();
    fail(&cache).await.unwrap_err();
    assert_eq!(read(&row, &cache).await, 0);
    row.set(1);
    cache.flush(A_WHILE).await.unwrap();
    assert_eq!(read(&row, &cache).await, 1);
}

/// Where there is no runtime, the local tier has its second invalidation too.
#[test]
fn outside_of_a_runtime_the_invalidation_is_repeated_as_well() {
    let builder = Cache::builder()
        .url("memory:")
        .settle(Duration::from_millis(20));
    let cache = builder.build().unwrap();
    let update = std::panic::AssertUnwindSafe(|| drop(fail(&cache)));
    drop(std::panic::catch_unwind(update));
    // Never polled, it has changed nothing.
    assert_eq!(cache.health().waiting, 0);
    let mut update = Box::pin(fail(&cache));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(update.as_mut().poll(&mut context).is_ready());
    assert_eq!(cache.health().waiting, 1);
    while cache.health().waiting > 0 {
        std::thread::sleep(Duration::from_millis(2));
    }
}
