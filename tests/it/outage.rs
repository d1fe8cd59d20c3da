//! A server that fails makes calls slower, and causes no error and no hang.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache_runtime::{Cache, CacheBuilder, cached};
use cache_tests::{EventLog, LIMIT, RedisServer};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

const CALLERS: u64 = 16;
const CALLS_EACH: u64 = 60;
const LOAD: Duration = Duration::from_millis(5);

/// How much longer than its load one call may take in an outage.
const PROMISE: Duration = Duration::from_millis(150);
/// A busy machine makes waits longer. More than four times as long is not noise any more.
const SLACK: u32 = 4;

struct Squares {
    cache: Cache,
    calls: AtomicU64,
    a_third_is_done: Notify,
}

impl Squares {
    fn new(builder: CacheBuilder) -> Self {
        Self {
            cache: builder.build().unwrap(),
            calls: AtomicU64::new(0),
            a_third_is_done: Notify::new(),
        }
    }

    #[cached(key = "square:<n>", ttl = 60, cache = self.cache)]
    async fn square(&self, n: u64) -> Result<u64, Infallible> {
        tokio::time::sleep(LOAD).await;
        Ok(n * n)
    }

    /// Asks for the same few keys as the other callers, in another order.
    async fn call(self: Arc<Self>, caller: u64) -> Duration {
        let mut longest = Duration::ZERO;
        for call in 0..CALLS_EACH {
            let n = (caller + call) % 24;
            let start = Instant::now();
            let Ok(square) = self.square(n).await;
            longest = longest.max(start.elapsed());
            assert_eq!(square, n * n);
            if self.calls.fetch_add(1, Ordering::Relaxed) == CALLERS * CALLS_EACH / 3 {
                self.a_third_is_done.notify_one();
            }
        }
        longest
    }
}

/// The longest of many calls. The outage begins after a third of them.
async fn longest_call(url: String, outage: impl FnOnce()) -> Duration {
    let squares = Arc::new(Squares::new(Cache::builder().url(url)));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        callers.spawn(squares.clone().call(caller));
    }
    squares.a_third_is_done.notified().await;
    outage();
    let longest = callers.join_all().await.into_iter().max();
    println!("{:?}", squares.cache.stats());
    longest.expect("there are callers")
}

fn check(what: &str, longest: Duration) {
    println!("{what}: the longest call took {longest:.1?}, of which {LOAD:?} its load");
    assert!(longest < PROMISE * SLACK + LOAD, "{what}: {longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_quick_when_the_server_is_killed() {
    let mut server = RedisServer::start();
    check("killed", longest_call(server.url(), || server.kill()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_quick_when_the_server_is_frozen() {
    let server = RedisServer::start();
    check(
        "frozen",
        longest_call(server.url(), || server.freeze()).await,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_quick_when_the_server_was_never_there() {
    let mut server = RedisServer::start();
    server.kill();
    check("absent", longest_call(server.url(), || {}).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_is_used_again() {
    let mut server = RedisServer::start();
    let events = EventLog::default();
    // A busy machine does not look like an outage.
    let builder = Cache::builder().op_timeout(LIMIT).connect_timeout(LIMIT);
    let builder = builder.url(server.url()).jitter(0.0);
    let squares = Squares::new(events.record(builder));
    server.kill();
    assert_eq!(squares.square(3).await, Ok(9));
    let away = [
        "server away",
        "degrade square:3",
        "miss square:3",
        "load square:3",
        "not filled square:3",
    ];
    assert_eq!(events.take_without_reasons(), away);
    server.restart();
    let back = Instant::now();
    events.until("server back").await;
    println!("back {:.1?} after the server", back.elapsed());
    for _ in 0..2 {
        assert_eq!(squares.square(3).await, Ok(9));
    }
    let back = [
        "server back",
        "miss square:3",
        "load square:3",
        "fill square:3 ttl=60s",
        "hit square:3",
    ];
    assert_eq!(events.take(), back);
}
