//! A cache that several Tokio runtimes use. A current-thread runtime runs only inside of
//! `block_on`, and so does what drives its connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use cache_runtime::{Cache, CacheBuilder, Options};
use cache_tests::{EventLog, LIMIT, Proxy, RedisServer, until};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

/// Short enough that a call that waits for it does not hold the test up for long, and long enough
/// for a busy machine.
fn builder(url: &str) -> CacheBuilder {
    const SOON: Duration = Duration::from_secs(2);
    let builder = Cache::builder().url(url).namespace("test").jitter(0.0);
    builder.op_timeout(SOON).connect_timeout(SOON)
}

fn recorded(url: &str) -> (Cache, EventLog) {
    let events = EventLog::default();
    (events.record(builder(url)).build().unwrap(), events)
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi_thread() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

async fn read(cache: &Cache, value: u64) -> u64 {
    let load = async { Ok::<_, Infallible>(value) };
    let options = Options::new().tag("rows");
    let Ok(value) = cache.get_or_load("row", options, load).await;
    value
}

/// The connections that clients have to the server, without the one that asks.
fn connections(server: &RedisServer) -> usize {
    let clients: String = server.query(&["CLIENT", "LIST"]);
    clients.lines().count() - 1
}

#[test]
fn two_runtimes_that_run_by_turns_hit() {
    let server = RedisServer::start();
    let (cache, events) = recorded(&server.url());
    let runtimes = [current_thread(), current_thread()];
    for runtime in &runtimes {
        assert_eq!(runtime.block_on(read(&cache, 1)), 1);
    }
    events.take();
    for _ in 0..10 {
        for runtime in &runtimes {
            assert_eq!(runtime.block_on(read(&cache, 2)), 1);
        }
    }
    assert_eq!(events.take(), ["hit row"; 20]);
    assert_eq!(connections(&server), 2);
}

#[test]
fn a_runtime_that_is_shut_down_leaves_the_other_alone() {
    let server = RedisServer::start();
    let (cache, events) = recorded(&server.url());
    let staying = current_thread();
    assert_eq!(staying.block_on(read(&cache, 1)), 1);
    events.take();
    for _ in 0..5 {
        let ending = current_thread();
        for _ in 0..2 {
            assert_eq!(ending.block_on(read(&cache, 2)), 1);
            assert_eq!(staying.block_on(read(&cache, 2)), 1);
        }
    }
    assert_eq!(staying.block_on(read(&cache, 2)), 1);
    assert_eq!(events.take(), ["hit row"; 21]);
}

#[test]
fn a_runtime_with_threads_and_one_without_hit_side_by_side() {
    let server = RedisServer::start();
    let (cache, events) = recorded(&server.url());
    let (threads, by_turns) = (multi_thread(), current_thread());
    assert_eq!(by_turns.block_on(read(&cache, 1)), 1);
    events.take();
    let there = cache.clone();
    let reader = threads.spawn(async move {
        for _ in 0..100 {
            assert_eq!(read(&there, 2).await, 1);
        }
    });
    for _ in 0..100 {
        assert_eq!(by_turns.block_on(read(&cache, 2)), 1);
    }
    threads.block_on(reader).unwrap();
    assert_eq!(events.take(), ["hit row"; 200]);
}

#[test]
fn many_short_runtimes_leave_few_connections() {
    let server = RedisServer::start();
    let (cache, events) = recorded(&server.url());
    let staying = current_thread();
    for _ in 0..200 {
        assert_eq!(current_thread().block_on(read(&cache, 1)), 1);
        assert_eq!(staying.block_on(read(&cache, 1)), 1);
    }
    assert_eq!(
        events.take().iter().filter(|it| *it == "hit row").count(),
        399
    );
    assert_eq!(cache.stats().errors, 0);
    staying.block_on(until(async || connections(&server) <= 2));
}

/// Each of the two connections hears the announcement.
#[test]
fn a_name_that_is_announced_to_both_runtimes_is_distrusted_and_then_trusted_again() {
    let server = RedisServer::start();
    let (cache, _) = recorded(&server.url());
    let other_process = builder(&server.url()).build().unwrap();
    let runtimes = [multi_thread(), current_thread()];
    for runtime in &runtimes {
        assert_eq!(runtime.block_on(read(&cache, 1)), 1);
    }
    server.refuse_writes();
    let invalidation = other_process.invalidate(["rows"]);
    let refused = runtimes[0].block_on(invalidation).unwrap_err();
    assert!(refused.is_refused());
    for runtime in &runtimes {
        assert_eq!(runtime.block_on(read(&cache, 2)), 2);
    }
    server.accept_writes();
    runtimes[1].block_on(until(async || {
        cache.health().waiting == 0 && other_process.health().waiting == 0
    }));
    for _ in 0..2 {
        for runtime in &runtimes {
            assert_eq!(runtime.block_on(read(&cache, 3)), 3);
        }
    }
    assert_eq!(cache.stats().errors, 0);
}

/// The leader's lease was taken over the connection of a runtime that does not run any more.
#[test]
fn a_waiter_fills_under_the_lease_of_a_leader_on_another_runtime() {
    let server = RedisServer::start();
    let (cache, events) = recorded(&server.url());
    let (leading, waiting) = (current_thread(), current_thread());
    let loads = Arc::new(AtomicU64::new(0));
    let began = Arc::new(Notify::new());
    let lead = {
        let (cache, loads, began) = (cache.clone(), loads.clone(), began.clone());
        async move {
            let load = async {
                loads.fetch_add(1, SeqCst);
                began.notify_one();
                std::future::pending::<Result<u64, Infallible>>().await
            };
            cache
                .get_or_load("row", Options::new().tag("rows"), load)
                .await
        }
    };
    let mut lead = Box::pin(lead);
    leading.block_on(async {
        tokio::select! {
            _ = &mut lead => unreachable!("its load does not end"),
            () = began.notified() => {}
        }
    });
    waiting.block_on(async {
        let there = cache.clone();
        let wait = tokio::spawn(async move { read(&there, 2).await });
        events.until("wait row").await;
        drop(lead);
        let waited = tokio::time::timeout(LIMIT, wait).await;
        assert_eq!(waited.expect("it takes over").unwrap(), 2);
    });
    assert_eq!(cache.stats().errors, 0);
    assert_eq!(waiting.block_on(read(&cache, 3)), 2);
    assert_eq!(loads.load(SeqCst), 1);
}

/// A connection of one runtime still leads to the old server when the other runtime finds the
/// new one.
#[test]
fn after_a_failover_no_runtime_reads_what_the_other_has_invalidated() {
    let old = RedisServer::start();
    let new = RedisServer::start();
    let network = multi_thread();
    let proxy = network.block_on(Proxy::start(old.port()));
    let (cache, _) = recorded(&proxy.url());
    let (first, second) = (current_thread(), current_thread());
    assert_eq!(first.block_on(read(&cache, 1)), 1);
    proxy.redirect(new.port());
    second.block_on(cache.invalidate(["rows"])).unwrap();
    assert_eq!(first.block_on(read(&cache, 2)), 2);
    assert_eq!(second.block_on(read(&cache, 3)), 2);
}
