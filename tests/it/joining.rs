//! On the server an older load can look like one that may be shared; it is not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cache_runtime::Cache;
use cache_tests::RedisServer;

use crate::gated::{LIMIT, Row, answer};

/// A row of which one load is under way, from before the value was 2.
async fn row_with_an_older_load(server: &RedisServer) -> (Arc<Row>, tokio::task::JoinHandle<u64>) {
    let builder = Cache::builder().url(server.url()).op_timeout(LIMIT);
    let cache = builder.build().unwrap();
    let row = Row::new(&cache);
    let before = row.reader();
    row.load_started().await;
    (row, before)
}

/// Until the server has answered so many looks at slots, and what was seen had
/// its effect. That can't be observed: a pause that is too short makes this test
/// miss a mistake, never find one that isn't there.
async fn looks(server: &RedisServer, looks: u64) {
    let start = Instant::now();
    while server.calls("mget") < looks {
        assert!(start.elapsed() < LIMIT, "nobody looks");
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_was_invalidated_under_the_same_lease() {
    let server = RedisServer::start();
    let (row, before) = row_with_an_older_load(&server).await;
    row.write_by_tag(2).await;
    let so_far = server.calls("mget");
    let after = row.reader();
    looks(&server, so_far + 1).await;
    row.end_loads();
    assert_eq!(answer(before).await, 1);
    assert_eq!(answer(after).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_brought_lease_and_version_back() {
    let mut server = RedisServer::start();
    let (row, before) = row_with_an_older_load(&server).await;
    server.save();
    row.write_by_tag(2).await;
    server.restart_from_snapshot();
    let after = row.reader();
    looks(&server, 1).await;
    row.end_loads();
    assert_eq!(answer(before).await, 1);
    assert_eq!(answer(after).await, 2);
}
