//! A lease of another process: how long its callers wait, and what they may share.

use std::time::Duration;

use cache_runtime::{Cache, CacheBuilder};
use cache_tests::RedisServer;

use crate::gated::{LIMIT, Row, answer};

/// Two caches on one server know no more of each other than two processes do.
fn builder(server: &RedisServer) -> CacheBuilder {
    Cache::builder()
        .url(server.url())
        .namespace("test")
        .op_timeout(LIMIT)
        .lease(LIMIT)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_wait_too_long_share_one_load() {
    let server = RedisServer::start();
    let theirs = Row::new(&builder(&server).build().unwrap());
    let their_reader = theirs.reader();
    theirs.load_started().await;

    let patience = Duration::from_millis(50);
    let ours = Row::new(&builder(&server).lease_wait(patience).build().unwrap());
    let readers: Vec<_> = (0..50).map(|_| ours.reader()).collect();
    ours.load_started().await;
    ours.end_load();
    for reader in readers {
        assert_eq!(answer(reader).await, 1);
    }
    assert_eq!(ours.loads(), 1);

    theirs.end_load();
    assert_eq!(answer(their_reader).await, 1);
}

/// Where a version is absent, an invalidation changes nothing that callers could see.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_find_no_version_share_no_load_across_an_invalidation() {
    let server = RedisServer::start();
    let theirs = Row::new(&builder(&server).build().unwrap());
    let their_reader = theirs.reader();
    theirs.load_started().await;
    assert_eq!(server.query::<u64>(&["DEL", "test:v:rows"]), 1);

    let patience = Duration::from_millis(50);
    let ours = Row::new(&builder(&server).lease_wait(patience).build().unwrap());
    let before = ours.reader();
    ours.load_started().await;
    ours.write_by_tag(2).await;
    let after = ours.reader();
    // Either it loads for itself, or it got the old value from the load under way.
    ours.load_started().await;
    ours.end_loads();
    assert_eq!(answer(after).await, 2);
    assert_eq!(answer(before).await, 1);

    theirs.end_load();
    assert_eq!(answer(their_reader).await, 1);
}

#[tokio::test]
async fn callers_who_wait_for_nobody_are_still_served_from_the_cache() {
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
async fn a_version_that_is_no_number_is_a_miss() {
    let server = RedisServer::start();
    let cache = builder(&server).build().unwrap();
    let row = Row::new(&cache);
    row.end_loads();
    server.query::<String>(&["SET", "test:v:rows", "foreign"]);
    for _ in 0..2 {
        assert_eq!(row.read().await, 1);
    }
    assert_eq!((row.loads(), cache.stats().errors), (2, 2));
    // Which puts an end to it.
    row.write_by_tag(2).await;
    for _ in 0..2 {
        assert_eq!(row.read().await, 2);
    }
    assert_eq!(row.loads(), 3);
}
