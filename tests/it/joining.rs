//! A caller must not share a load that is older than an invalidation, even where the server shows
//! the same lease as before.

use std::sync::Arc;
use std::time::Duration;

use cache_tests::{RedisServer, patient, until};
use tokio::task::JoinHandle;

use crate::gated::{Row, answer};

/// A row of which one load is under way, which began before the value was 2.
async fn row_with_an_older_load(server: &RedisServer) -> (Arc<Row>, JoinHandle<u64>) {
    let row = Row::new(&patient(&server.url()).build().unwrap());
    let before = row.reader();
    row.load_started().await;
    (row, before)
}

/// Waits until the server has answered so many looks at slots, and the callers have acted on the
/// answers.
async fn looks(server: &RedisServer, looks: u64) {
    until(async || server.calls("mget") >= looks).await;
    // EVENTS: wait until the second reader waits, or loads. This pause can be too short on a busy
    // machine: then the tests miss a mistake; they never find one that is not there.
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_is_not_shared_across_an_invalidation_of_its_tag() {
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
async fn a_load_is_not_shared_where_a_snapshot_brought_its_lease_and_version_back() {
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
