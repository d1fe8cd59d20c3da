//! An invalidation that fails is kept and repeated; until then its names are not served.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

use cache_runtime::{Cache, CacheBuilder, Key, Options, Status, cache_invalidate, cached};
use cache_tests::{EventLog, LIMIT, Proxy, RedisServer, poll_once, until, until_blocking};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::behaviour::{Recorded, on_every_backend};

on_every_backend! {
    after_an_update_that_failed_the_invalidation_is_repeated
    flush_does_not_wait_for_what_is_due_later
    flush_with_nothing_to_do_counts_no_error
    settings_without_end_do_not_overflow
}

/// Calls end soon in an outage, and a busy machine does not look like one.
fn builder(url: &str) -> CacheBuilder {
    const SOON: Duration = Duration::from_secs(2);
    let builder = Cache::builder().url(url).namespace("test").jitter(0.0);
    builder.op_timeout(SOON).connect_timeout(SOON)
}

fn cache(url: &str) -> Cache {
    builder(url).build().unwrap()
}

/// A cache, and what happens to it.
fn recorded(url: &str) -> (Cache, EventLog) {
    let events = EventLog::default();
    (events.record(builder(url)).build().unwrap(), events)
}

/// A row of a database, with a tag.
#[derive(Clone, Default)]
struct Row(Arc<AtomicU64>);

impl Row {
    fn set(&self, value: u64) {
        self.0.store(value, SeqCst);
    }

    fn value(&self) -> u64 {
        self.0.load(SeqCst)
    }

    async fn read(&self, cache: &Cache) -> u64 {
        let load = async { Ok::<_, Infallible>(self.0.load(SeqCst)) };
        let options = Options::new().tag("rows");
        let Ok(value) = cache.get_or_load("row", options, load).await;
        value
    }

    /// A row whose value 1 is in the cache.
    async fn cached(cache: &Cache) -> Self {
        let row = Self::default();
        row.set(1);
        assert_eq!((row.read(cache).await, row.read(cache).await), (1, 1));
        assert!(cache.exists("row").await.unwrap());
        row
    }
}

/// The events of a read whose invalidation is in the journal.
const DISTRUSTED_READ: [&str; 4] = [
    "distrust row",
    "miss row",
    "load row",
    "not filled row: unstorable",
];

#[tokio::test]
async fn a_lost_invalidation_is_replayed_and_its_name_is_not_served_until_then() {
    for name in ["row", "rows"] {
        let server = RedisServer::start();
        let mut proxy = Proxy::start(server.port()).await;
        let elsewhere = cache(&server.url());
        let (here, events) = recorded(&proxy.url());
        let row = Row::cached(&here).await;
        assert_eq!(row.read(&elsewhere).await, 1);
        events.take();

        proxy.cut().await;
        row.set(2);
        assert!(here.invalidate([name]).await.unwrap_err().is_unavailable());
        let lost = format!("not invalidated {name}");
        let expected = ["server away", "journal keeps", &lost];
        assert_eq!(events.take_without_reasons(), expected);
        assert_eq!(here.health().waiting, 1);
        assert_eq!(row.read(&here).await, 2);
        assert_eq!(events.take(), DISTRUSTED_READ);
        assert!(matches!(here.health().status, Status::Unreachable(_)));

        proxy.heal().await;
        here.flush(LIMIT).await.unwrap();
        assert_eq!(here.health().waiting, 0);
        assert!(here.health().status.is_working());
        assert_eq!((row.read(&elsewhere).await, row.read(&here).await), (2, 2));
        let expected = ["journal emptied", "server back", "hit row"];
        assert_eq!(events.take(), expected);
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
    // The connection comes back, and the journal is replayed, while this reads.
    let reads = async {
        while cache.health().waiting > 0 {
            assert_eq!(row.read(&cache).await, 2);
            assert!(!cache.exists("row").await.unwrap_or_default());
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, reads)
        .await
        .expect("the journal is replayed");
    assert_eq!(row.read(&cache).await, 2);
}

#[tokio::test]
async fn a_journal_that_overflows_loses_no_invalidation() {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let events = EventLog::default();
    let builder = events.record(builder(&proxy.url()).backlog_room(3 * 170));
    let cache = builder.build().unwrap();
    let names: Vec<Key> = (0..20).map(|i| format!("row:{i}").into()).collect();
    for name in &names {
        cache.set(name, &1, Options::new()).await.unwrap();
    }
    events.take();
    proxy.cut().await;
    cache.invalidate(&names).await.unwrap_err();
    let kept = events.take_without_reasons();
    assert_eq!(
        kept[..3],
        ["server away", "journal keeps", "journal overflows"]
    );
    assert!(cache.health().overflowed);
    proxy.heal().await;
    cache.flush(LIMIT).await.unwrap();
    assert_eq!(events.take(), ["journal emptied", "server back"]);
    assert!(!cache.health().overflowed);
    for name in names {
        assert_eq!(cache.get::<i32>(name).await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_invalidation_that_the_server_refuses_is_served_by_no_process() {
    let server = RedisServer::start();
    let (here, events) = recorded(&server.url());
    let (elsewhere, events_elsewhere) = recorded(&server.url());
    let row = Row::cached(&here).await;
    assert_eq!(row.read(&elsewhere).await, 1);
    events.take();
    events_elsewhere.take();

    server.refuse_writes();
    row.set(2);
    assert!(here.invalidate(["rows"]).await.unwrap_err().is_refused());
    let expected = ["server refuses", "journal keeps", "not invalidated rows"];
    assert_eq!(events.take_without_reasons(), expected);
    // It hears of the name before the invalidation returns.
    assert_eq!((row.read(&elsewhere).await, row.read(&here).await), (2, 2));
    assert_eq!(events_elsewhere.lines()[0], "journal keeps");
    assert!(matches!(here.health().status, Status::WritesRefused(_)));
    assert_eq!(here.stats().refusals, 1);

    server.accept_writes();
    for cache in [&here, &elsewhere] {
        until(async || {
            let health = cache.health();
            health.waiting == 0 && health.status.is_working()
        })
        .await;
    }
    assert_eq!((row.read(&elsewhere).await, row.read(&here).await), (2, 2));
    assert!(here.exists("row").await.unwrap());
    assert!(here.health().status.is_working());
}

#[tokio::test]
async fn an_invalidation_that_is_dropped_goes_on_in_the_background() {
    let server = RedisServer::start();
    let (cache, events) = recorded(&server.url());
    let row = Row::cached(&cache).await;
    row.set(2);
    events.take();
    {
        // Dropped after one poll: the command is on its way, and no caller waits for the answer.
        let invalidation = pin!(cache.invalidate(["row"]));
        assert!(poll_once(invalidation).is_pending());
    }
    assert_eq!(events.take(), ["journal keeps"]);
    assert_eq!(row.read(&cache).await, 2);
    assert_eq!(events.take(), DISTRUSTED_READ);
    until(async || cache.health().waiting == 0).await;
    assert_eq!((row.read(&cache).await, row.read(&cache).await), (2, 2));
    assert!(cache.exists("row").await.unwrap(), "it is cached again");
}

/// There is no runtime on which a keeper task could replay the journal: a thread does it.
#[test]
fn outside_of_a_runtime_the_journal_is_replayed_too() {
    let mut server = RedisServer::start();
    let (cache, events) = recorded(&server.url());
    let row = Runtime::new().unwrap().block_on(Row::cached(&cache));
    events.take();
    row.set(2);
    at_once(cache.invalidate(["row"])).unwrap_err();
    let expected = ["journal keeps", "not invalidated row"];
    assert_eq!(events.take_without_reasons()[..2], expected);
    let flush = || poll_once(pin!(cache.flush(LIMIT))).is_ready();
    until_blocking(flush);
    // What the keeper writes to see whether it may lives for a moment.
    until_blocking(|| server.keys() == ["test:v:rows"]);
    server.kill();
    at_once(cache.invalidate(["row"])).unwrap_err();
    assert!(!flush());
}

/// An update has committed when its runtime is shut down, so its invalidation is not sent. Another
/// runtime has a connection, and reads other keys.
#[test]
fn what_a_runtime_leaves_behind_is_replayed_by_any_use_of_another_connection() {
    let server = RedisServer::start();
    let cache = cache(&server.url());
    let reader = Runtime::new().unwrap();
    let row = reader.block_on(Row::cached(&cache));
    let short = Runtime::new().unwrap();
    short.block_on(async {
        cache.ping().await.unwrap();
        row.set(2);
        let cache = cache.clone();
        let (begun, has_begun) = oneshot::channel();
        tokio::spawn(async move {
            let mut update = pin!(cache.invalidate(["row"]));
            assert!(poll_once(update.as_mut()).is_pending());
            begun.send(()).unwrap();
            update.await
        });
        has_begun.await.unwrap();
    });
    drop(short);
    until_blocking(|| {
        reader.block_on(async { cache.exists("another").await.unwrap() });
        cache.health().waiting == 0
    });
    // What the keeper writes to see whether it may lives for a moment.
    until_blocking(|| server.keys() == ["test:v:rows"]);
}

#[test]
fn a_cache_that_is_dropped_with_invalidations_says_so() {
    let mut server = RedisServer::start();
    let (cache, events) = recorded(&server.url());
    server.kill();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(cache.invalidate(["row"])).unwrap_err();
    events.take();
    // With its keeper.
    drop(runtime);
    drop(cache);
    assert_eq!(events.take().last().unwrap(), "journal lost");
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
        cache.flush(LIMIT).await.unwrap();
        cache.ping().await.unwrap();
        assert_eq!((row.read(&cache).await, row.read(&cache).await), (2, 2));
        assert!(cache.exists("row").await.unwrap());
    });
}

/// An update that fails before its commit happens.
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
    row.value()
}

/// Time enough to read and commit between an update that fails and the second invalidation. A
/// busy machine may need longer: then the tests try again.
const SETTLE: Duration = Duration::from_millis(50);

/// The commit of an update that has failed, once a read has stored the old value. True if the
/// second invalidation is still to come.
fn commit(row: &Row, cache: &Cache) -> bool {
    row.set(row.value() + 1);
    cache.health().waiting == 1
}

async fn after_an_update_that_failed_the_invalidation_is_repeated(builder: CacheBuilder) {
    let cache = builder.settle(SETTLE).build().unwrap();
    let row = Row::default();
    for unnamed in [false, true] {
        until(async || {
            if unnamed {
                assert!(fail_as_an_unnamed_type(&cache).await.is_err());
            } else {
                fail(&cache).await.unwrap_err();
            }
            let old = row.value();
            assert_eq!(read(&row, &cache).await, old);
            let committed = commit(&row, &cache);
            if committed {
                until(async || read(&row, &cache).await == old + 1).await;
            }
            committed
        })
        .await;
    }
}

async fn flush_does_not_wait_for_what_is_due_later(builder: CacheBuilder) {
    let events = EventLog::default();
    let builder = events.record(builder.settle(Duration::from_secs(600)));
    let cache = builder.build().unwrap();
    let row = Row::default();
    fail(&cache).await.unwrap_err();
    assert_eq!(events.take(), ["invalidate row"]);
    assert_eq!(read(&row, &cache).await, 0);
    assert!(commit(&row, &cache));
    events.take();
    cache.flush(LIMIT).await.unwrap();
    // In process that takes no waiting. On a server, the keeper task does it, and may tell so a
    // moment after `flush` has returned.
    let at_once: &[&str] = &["invalidate row"];
    let by_the_keeper: &[&str] = &["invalidate later row", "journal keeps", "journal emptied"];
    events
        .until_lines(|lines| lines == at_once || lines == by_the_keeper)
        .await;
    assert_eq!(read(&row, &cache).await, 1);
}

async fn flush_with_nothing_to_do_counts_no_error(Recorded { cache, events }: Recorded) {
    cache.flush(LIMIT).await.unwrap();
    cache.invalidate(["row"]).await.unwrap();
    cache.flush(LIMIT).await.unwrap();
    assert_eq!(events.take(), ["invalidate row"]);
    assert_eq!(cache.stats().errors, 0);
}

async fn settings_without_end_do_not_overflow(builder: CacheBuilder) {
    let builder = builder.settle(Duration::MAX);
    let builder = builder
        .op_timeout(Duration::MAX)
        .connect_timeout(Duration::MAX);
    let cache = builder.build().unwrap();
    fail(&cache).await.unwrap_err();
    assert_eq!(read(&Row::default(), &cache).await, 0);
    cache.flush(LIMIT).await.unwrap();
    assert_eq!(cache.health().waiting, 0);
}

/// The output of a future that is ready when it is polled for the first time.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match poll_once(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits for something"),
    }
}

/// Checks that the second invalidation comes, although it can use no runtime. `fail_and_read` runs
/// an update that fails, and then reads the row.
fn check_repeated_without_a_runtime(fail_and_read: impl Fn(&Row, &Cache) -> u64) {
    let builder = Cache::builder().url("memory:").settle(SETTLE);
    let cache = builder.build().unwrap();
    let row = Row::default();
    until_blocking(|| {
        let old = row.value();
        assert_eq!(fail_and_read(&row, &cache), old);
        let committed = commit(&row, &cache);
        if committed {
            until_blocking(|| at_once(read(&row, &cache)) == old + 1);
        }
        committed
    });
}

#[test]
fn the_second_invalidation_outlives_the_runtime_of_the_update() {
    check_repeated_without_a_runtime(|row, cache| {
        Runtime::new().unwrap().block_on(async {
            fail(cache).await.unwrap_err();
            read(row, cache).await
        })
    });
}

#[test]
fn outside_of_a_runtime_the_invalidation_is_repeated_too() {
    check_repeated_without_a_runtime(|row, cache| {
        at_once(fail(cache)).unwrap_err();
        at_once(read(row, cache))
    });
}

#[test]
fn an_update_that_is_never_polled_is_not_repeated() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    drop(fail(&cache));
    assert_eq!(cache.health().waiting, 0);
}
