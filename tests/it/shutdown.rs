//! A runtime that ends while calls are under way.

use cache_runtime::{Cache, cache_invalidate};
use cache_tests::{EventLog, LIMIT, RedisServer, until_blocking};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

#[cache_invalidate("row", cache = cache)]
async fn update_for_ever(cache: Cache, started: oneshot::Sender<()>) {
    let _ = started.send(());
    std::future::pending::<()>().await;
}

#[test]
fn an_invalidation_that_ends_with_its_runtime_is_counted_as_an_error() {
    let server = RedisServer::start();
    let events = EventLog::default();
    let builder = events.record(Cache::builder().url(server.url()));
    let cache = builder.build().unwrap();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let (started, has_started) = oneshot::channel();
        tokio::spawn(update_for_ever(cache.clone(), started));
        has_started.await.unwrap();
    });
    drop(runtime);
    assert_eq!(events.take(), ["invalidate later row", "journal keeps"]);
    assert_eq!(cache.stats().errors, 1);
}

/// In the tests of a program each test has a runtime of its own, and a static cache outlives it.
#[test]
fn a_connection_outlives_the_runtime_it_was_made_on() {
    let server = RedisServer::start();
    let cache = Cache::builder().url(server.url()).build().unwrap();
    for _ in 0..3 {
        Runtime::new().unwrap().block_on(async {
            let load = async { Ok::<_, ()>(1) };
            let options = cache_runtime::Options::new();
            assert_eq!(cache.get_or_load("row", options, load).await, Ok(1));
        });
    }
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.loads, stats.errors), (2, 1, 0));
}

/// Other processes need not wait for a load that ended with its runtime.
#[test]
fn a_lease_goes_back_when_its_runtime_is_shut_down() {
    let server = RedisServer::start();
    let cache = Cache::builder().url(server.url()).lease(LIMIT);
    let cache = cache.build().unwrap();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let (started, has_started) = oneshot::channel();
        tokio::spawn(async move {
            let load = async {
                let _ = started.send(());
                std::future::pending::<Result<u32, ()>>().await
            };
            let options = cache_runtime::Options::new();
            let _ = cache.get_or_load("row", options, load).await;
        });
        has_started.await.unwrap();
    });
    assert_eq!(server.keys(), ["cache:e:row"]);
    drop(runtime);
    until_blocking(|| server.keys().is_empty());
}
