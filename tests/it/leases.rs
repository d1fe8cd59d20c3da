//! A lease of another process: how long callers wait for it, and which load they may share then.

use std::sync::Arc;
use std::time::Duration;

use cache_runtime::CacheBuilder;
use cache_tests::{EventLog, LIMIT, RedisServer, patient};
use tokio::task::JoinHandle;

use crate::gated::{Row, answer};

/// Two caches on one server share no more than two processes do.
fn builder(server: &RedisServer) -> CacheBuilder {
    patient(&server.url()).namespace("test").lease(LIMIT)
}

/// A row of another process, which holds the lease and loads.
async fn loads_elsewhere(server: &RedisServer) -> (Arc<Row>, JoinHandle<u64>) {
    let theirs = Row::new(&builder(server).build().unwrap());
    let reader = theirs.reader();
    theirs.load_started().await;
    (theirs, reader)
}

/// A row of which callers wait only for a moment until the other process has loaded, and what
/// they do.
fn impatient(server: &RedisServer) -> (Arc<Row>, EventLog) {
    let moment = Duration::from_millis(50);
    let events = EventLog::default();
    let builder = events.record(builder(server).lease_wait(moment));
    (Row::new(&builder.build().unwrap()), events)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_have_waited_too_long_share_one_load() {
    let server = RedisServer::start();
    let (theirs, their_reader) = loads_elsewhere(&server).await;

    let (ours, events) = impatient(&server);
    let readers: Vec<_> = (0..50).map(|_| ours.reader()).collect();
    ours.load_started().await;
    events.until_count("wait row", 49).await;
    let mut begun = vec!["load row", "miss row"];
    begun.extend(["wait row"; 49]);
    begun.push("watch row");
    assert_eq!(events.take_sorted(), begun);
    ours.end_load();
    for reader in readers {
        assert_eq!(answer(reader).await, 1);
    }
    let mut ended = vec!["miss row"; 49];
    // The lease is the other process's.
    ended.push("not filled row: unstorable");
    ended.extend(["share row"; 49]);
    assert_eq!(events.take_sorted(), ended);

    theirs.end_load();
    assert_eq!(answer(their_reader).await, 1);
}

/// Where a version is absent, an invalidation changes nothing that a caller could see.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_find_no_version_share_no_load_across_an_invalidation() {
    let server = RedisServer::start();
    let (theirs, their_reader) = loads_elsewhere(&server).await;
    assert_eq!(server.query::<u64>(&["DEL", "test:v:rows"]), 1);

    let (ours, events) = impatient(&server);
    let before = ours.reader();
    ours.load_started().await;
    assert_eq!(events.take(), ["watch row", "miss row", "load row"]);
    ours.write_by_tag(2).await;
    let after = ours.reader();
    // A reader that shared the load under way would begin none.
    ours.load_started().await;
    ours.end_loads();
    assert_eq!(answer(after).await, 2);
    assert_eq!(answer(before).await, 1);

    theirs.end_load();
    assert_eq!(answer(their_reader).await, 1);
}

#[tokio::test]
async fn callers_that_do_not_wait_for_leases_are_served_from_the_cache() {
    let server = RedisServer::start();
    let cache = builder(&server).lease_wait(Duration::ZERO);
    let row = Row::new(&cache.build().unwrap());
    row.end_loads();
    for _ in 0..3 {
        assert_eq!(row.read().await, 1);
    }
    assert_eq!(row.loads(), 1);
}

#[tokio::test]
async fn a_version_that_is_not_a_number_is_a_miss_until_an_invalidation_replaces_it() {
    let server = RedisServer::start();
    let cache = builder(&server).build().unwrap();
    let row = Row::new(&cache);
    row.end_loads();
    server.query::<String>(&["SET", "test:v:rows", "foreign"]);
    for _ in 0..2 {
        assert_eq!(row.read().await, 1);
    }
    assert_eq!((row.loads(), cache.stats().errors), (2, 2));
    row.write_by_tag(2).await;
    for _ in 0..2 {
        assert_eq!(row.read().await, 2);
    }
    assert_eq!(row.loads(), 3);
}
