//! Locks while the server fails, restarts and forgets; and without a server, a runtime or a cache.

use std::time::Duration;

use cache_runtime::Cache;
use cache_runtime::testing::TestClock;
use cache_tests::{Proxy, RedisServer, patient, until, until_blocking};

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

fn memory() -> Cache {
    Cache::builder().url("memory:").build().unwrap()
}

#[tokio::test]
async fn a_guard_hears_that_the_server_has_lost_its_lock() {
    let server = RedisServer::start();
    let cache = patient(&server.url()).build().unwrap();
    let lock = cache.lock("report", Duration::from_millis(600));
    let held = lock.try_lock().await.unwrap().unwrap();
    server.flush_all();
    let next = lock.try_lock().await.unwrap().unwrap();
    assert!(next.token() > held.token());
    held.lost().await;
    assert!(!held.is_held());
    // Its next holder is not disturbed.
    assert!(!held.release().await.unwrap());
    assert!(lock.try_lock().await.unwrap().is_none());
}

#[tokio::test]
async fn a_guard_whose_server_is_away_is_lost_when_its_ttl_ends() {
    let mut server = RedisServer::start();
    let timeout = Duration::from_millis(100);
    let cache = Cache::builder().url(server.url()).op_timeout(timeout);
    let cache = cache.build().unwrap();
    let lock = cache.lock("report", Duration::from_secs(2));
    let held = lock.try_lock().await.unwrap().unwrap();
    server.kill();
    assert!(lock.try_lock().await.unwrap_err().is_unavailable());
    let waited = lock.lock_within(Duration::from_millis(50)).await;
    assert!(waited.unwrap_err().is_unavailable());
    held.lost().await;
    assert!(held.release().await.unwrap_err().is_unavailable());
}

/// What is not known of is given back once the server can be reached: the lock's ttl is an hour.
#[tokio::test]
async fn an_attempt_whose_answer_was_lost_is_given_back() {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let cache = Cache::builder().url(proxy.url());
    let cache = cache
        .op_timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    let lock = cache.lock("report", HOUR);
    cache.ping().await.unwrap();
    proxy.hold(cache_tests::Way::ToClient);
    assert!(lock.try_lock().await.unwrap_err().is_unavailable());
    proxy.release(cache_tests::Way::ToClient);
    proxy.heal().await;
    let held = lock.lock_within(MINUTE).await.unwrap();
    assert!(held.is_some());
}

#[tokio::test]
async fn a_waiter_survives_a_restart_of_the_server() {
    let mut server = RedisServer::start();
    let cache = patient(&server.url()).build().unwrap();
    let lock = cache.lock("report", HOUR);
    let first = lock.acquire("one").await.unwrap().unwrap();
    let waiter = {
        let lock = lock.clone();
        tokio::spawn(async move { lock.lock_within(MINUTE).await })
    };
    until(async || server.calls("eval") > 1).await;
    // It comes back empty.
    server.restart();
    let held = waiter.await.unwrap().unwrap().expect("in time");
    assert!(held.token() > first);
}

#[tokio::test]
async fn without_a_cache_there_is_no_lock() {
    let cache = Cache::builder().url("off:").build().unwrap();
    let lock = cache.lock("report", HOUR);
    for error in [
        lock.try_lock().await.err(),
        lock.lock_within(HOUR).await.err(),
        lock.acquire("me").await.err(),
        lock.release("me").await.err(),
        lock.extend("me").await.err(),
    ] {
        let error = error.unwrap();
        assert!(
            error.is_config() && error.to_string().contains("off"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_ttl_that_is_too_short_is_an_error() {
    let cache = memory();
    for ttl in [Duration::ZERO, Duration::from_millis(9)] {
        for lock in [
            cache.lock("a", ttl),
            cache.lock("a", HOUR).held_at_most(ttl),
        ] {
            let error = lock.try_lock().await.unwrap_err();
            assert!(
                error.is_config() && error.to_string().contains("10 ms"),
                "{error}"
            );
        }
    }
    let longest = cache
        .lock("a", Duration::MAX)
        .try_lock()
        .await
        .unwrap()
        .unwrap();
    assert!(longest.is_held());
}

#[tokio::test]
async fn in_process_a_lock_ends_by_the_clock_of_a_test() {
    let clock = TestClock::new();
    let cache = Cache::builder().url("memory:").clock(&clock);
    let cache = cache.build().unwrap();
    let lock = cache.lock("report", MINUTE);
    let first = lock.acquire("one").await.unwrap().unwrap();
    clock.advance(Duration::from_millis(59_999));
    assert!(lock.acquire("two").await.unwrap().is_none());
    clock.advance(Duration::from_millis(1));
    let second = lock.acquire("two").await.unwrap().unwrap();
    assert!(second > first && !lock.release("one").await.unwrap());
    // A token is remembered for an hour, and then the clock of the machine has gone on.
    clock.advance(HOUR * 2);
    assert!(lock.acquire("three").await.unwrap().unwrap() > second);
}

#[test]
fn in_process_a_lock_needs_no_runtime() {
    let cache = memory();
    let lock = cache.lock("report", Duration::from_secs(2));
    let held = block_on(lock.try_lock()).unwrap().unwrap();
    assert!(block_on(lock.try_lock()).unwrap().is_none());
    let ended = held.token();
    drop(held);
    let held = block_on(lock.lock_within(MINUTE)).unwrap().unwrap();
    assert!(held.token() > ended);
}

/// The background of a runtime that is shut down goes on elsewhere.
#[test]
fn a_lock_of_a_runtime_that_is_shut_down_is_given_back() {
    let server = RedisServer::start();
    let cache = patient(&server.url()).build().unwrap();
    let lock = cache.lock("report", HOUR);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let held = runtime.block_on(lock.try_lock()).unwrap().unwrap();
    drop(runtime);
    drop(held);
    until_blocking(|| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let held = runtime.block_on(lock.acquire("me")).unwrap();
        held.is_some()
    });
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(output) = cache_tests::poll_once(future.as_mut()) {
            return output;
        }
        std::thread::yield_now();
    }
}
