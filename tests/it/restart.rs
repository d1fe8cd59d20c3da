//! A server that loses data, or brings old data back: nothing stale is read.

use std::sync::Arc;

use cache_runtime::{Cache, CacheBuilder, Options};
use cache_tests::{EventLog, RedisServer, patient, until};

use crate::gated::{Row, answer};

fn builder(server: &RedisServer) -> CacheBuilder {
    patient(&server.url()).namespace("test").jitter(0.0)
}

fn cache(server: &RedisServer) -> Cache {
    builder(server).build().unwrap()
}

/// A row whose value 1 is in the cache.
async fn cached_row(cache: &Cache) -> Arc<Row> {
    let row = Row::new(cache);
    row.end_loads();
    assert_eq!(row.read().await, 1);
    assert_eq!(row.read().await, 1);
    assert_eq!(row.loads(), 1, "it is in the cache");
    row
}

#[tokio::test]
async fn an_entry_whose_version_was_lost_is_not_served() {
    let server = RedisServer::start();
    let row = cached_row(&cache(&server)).await;
    assert_eq!(server.query::<u64>(&["DEL", "test:v:rows"]), 1);
    assert_eq!(row.read().await, 1);
    assert_eq!(row.loads(), 2);
}

#[tokio::test]
async fn an_invalidation_that_finds_no_version_still_invalidates() {
    let server = RedisServer::start();
    let row = cached_row(&cache(&server)).await;
    assert_eq!(server.query::<u64>(&["DEL", "test:v:rows"]), 1);
    row.write_by_tag(2).await;
    assert_eq!(row.read().await, 2);
}

#[tokio::test]
async fn a_version_that_is_drawn_again_does_not_revive_old_entries() {
    let server = RedisServer::start();
    let cache = cache(&server);
    let row = cached_row(&cache).await;
    assert_eq!(server.query::<u64>(&["DEL", "test:v:rows"]), 1);
    row.write_by_tag(2).await;
    let options = || Options::new().tag("rows");
    cache.set("another", &0_u64, options()).await.unwrap();
    assert_eq!(
        server.query::<u64>(&["EXISTS", "test:v:rows", "test:e:row"]),
        2
    );
    assert_eq!(row.read().await, 2);
}

#[tokio::test]
async fn a_flushed_server_has_no_stale_entry() {
    let server = RedisServer::start();
    let row = cached_row(&cache(&server)).await;
    server.flush_all();
    row.write(2).await;
    assert_eq!(row.read().await, 2);
}

#[tokio::test]
async fn a_server_that_restarts_empty_has_no_stale_entry() {
    let mut server = RedisServer::start();
    let row = cached_row(&cache(&server)).await;
    server.restart();
    row.set_silently(2);
    assert_eq!(row.read().await, 2);
}

#[tokio::test]
async fn an_entry_from_an_old_snapshot_is_not_served() {
    let mut server = RedisServer::start();
    let row = cached_row(&cache(&server)).await;
    server.save();
    row.write(2).await;
    row.write_by_tag(3).await;
    server.restart_from_snapshot();
    assert_eq!(
        server.keys(),
        ["test:e:row", "test:v:rows"],
        "the snapshot has both keys"
    );
    assert_eq!(row.read().await, 3);
}

/// While a load runs, `accident` happens, and then an update that the load cannot have seen. What
/// becomes of the loaded value; in any case it is not served.
async fn a_load_meets(accident: impl FnOnce(&mut RedisServer)) -> String {
    let mut server = RedisServer::start();
    let events = EventLog::default();
    let row = Row::new(&events.record(builder(&server)).build().unwrap());
    let reader = row.reader();
    row.load_started().await;
    accident(&mut server);
    row.write_by_tag(2).await;
    assert_eq!(events.take(), ["miss row", "load row", "invalidate rows"]);
    row.end_loads();
    assert_eq!(
        answer(reader).await,
        1,
        "its own load, from before the update"
    );
    let [fate] = events.take_without_reasons().try_into().unwrap();
    for _ in 0..3 {
        assert_eq!(row.read().await, 2);
    }
    fate
}

/// An entry that carries an older version of its tag is as good as none.
const STORED: &str = "fill row ttl=60s";
const NOT_STORED: &str = "not filled row";

#[tokio::test]
async fn a_load_that_an_update_overtakes_is_not_served() {
    assert_eq!(a_load_meets(|_| {}).await, STORED);
}

#[tokio::test]
async fn a_load_whose_version_is_lost_meanwhile_is_not_served() {
    let fate = a_load_meets(|server| {
        assert_eq!(server.query::<u64>(&["DEL", "test:v:rows"]), 1);
    });
    assert_eq!(fate.await, STORED);
}

#[tokio::test]
async fn a_load_whose_lease_is_lost_meanwhile_is_not_stored() {
    let fate = a_load_meets(|server| {
        assert_eq!(server.query::<u64>(&["DEL", "test:e:row"]), 1);
    });
    assert_eq!(fate.await, NOT_STORED);
}

#[tokio::test]
async fn a_load_whose_server_is_flushed_meanwhile_is_not_stored() {
    let fate = a_load_meets(|server| server.flush_all());
    assert_eq!(fate.await, NOT_STORED);
}

#[tokio::test]
async fn a_load_whose_server_restarts_empty_meanwhile_is_not_stored() {
    assert_eq!(a_load_meets(RedisServer::restart).await, NOT_STORED);
}

#[tokio::test]
async fn a_load_whose_server_restarts_with_its_lease_meanwhile_is_not_stored() {
    let fate = a_load_meets(|server| {
        server.save();
        server.restart_from_snapshot();
        assert_eq!(server.keys(), ["test:e:row", "test:v:rows"]);
    });
    assert_eq!(fate.await, NOT_STORED);
}

/// It may have missed invalidations meanwhile, although its `run_id` is the same.
#[tokio::test]
async fn a_primary_that_was_demoted_and_is_promoted_again_is_another_server() {
    let server = RedisServer::start();
    let row = cached_row(&cache(&server)).await;
    // Nothing listens on port 1, so the server keeps its data.
    server.replicate(1);
    server.promote();
    let other = cache(&server);
    assert!(!other.exists("row").await.unwrap());
    drop(row);
}

#[tokio::test]
async fn a_primary_that_gets_its_first_replica_is_the_same_server() {
    let server = RedisServer::start();
    let row = cached_row(&cache(&server)).await;
    let replica = RedisServer::start();
    replica.replicate(server.port());
    let replicas = || server.query::<String>(&["INFO", "replication"]);
    until(async || replicas().contains("state=online")).await;
    assert!(cache(&server).exists("row").await.unwrap());
    drop(row);
}
