//! A caller must not share a load that is older than an invalidation, even where the server shows
//! the same lease as before.

use cache_tests::{EventLog, LIMIT, RedisServer, patient};

use crate::gated::{Row, answer};

/// While a load is under way, `update` writes 2. Then the caller that comes next must not share the
/// load, although it finds the lease of that load.
async fn the_next_caller_does_not_share(
    mut server: RedisServer,
    update: impl AsyncFnOnce(&Row, &mut RedisServer),
) {
    let events = EventLog::default();
    let builder = events.record(patient(&server.url()).jitter(0.0));
    let row = Row::new(&builder.build().unwrap());
    let before = row.reader();
    row.load_started().await;
    update(&row, &mut server).await;
    let after = row.reader();
    // No load holds the lease with the versions that this caller saw, so the caller replaces it.
    row.load_started().await;
    let begun = [
        "miss row",
        "load row",
        "invalidate rows",
        "miss row",
        "load row",
    ];
    assert_eq!(events.take(), begun);
    row.end_loads();
    assert_eq!(answer(before).await, 1);
    assert_eq!(answer(after).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_is_not_shared_across_an_invalidation_of_its_tag() {
    let update = async |row: &Row, _: &mut RedisServer| row.write_by_tag(2).await;
    the_next_caller_does_not_share(RedisServer::start(), update).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_is_not_shared_where_a_snapshot_brought_its_lease_and_version_back() {
    let update = async |row: &Row, server: &mut RedisServer| {
        server.save();
        row.write_by_tag(2).await;
        server.restart_from_snapshot();
    };
    the_next_caller_does_not_share(RedisServer::start(), update).await;
}

/// Another cache, as another process would have it, holds a lease of which the watching caller has
/// other versions than the load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_does_not_keep_the_lease_that_it_watches() {
    let server = RedisServer::start();
    let builder = || {
        patient(&server.url())
            .lease_wait(LIMIT)
            .lease(LIMIT)
            .jitter(0.0)
    };
    let theirs = Row::new(&builder().build().unwrap());
    let before = theirs.reader();
    theirs.load_started().await;
    let events = EventLog::default();
    let ours = Row::new(&events.record(builder()).build().unwrap());
    ours.write_by_tag(2).await;
    let after = ours.reader();
    events.until("watch row").await;
    events.take();
    before.abort();
    ours.load_started().await;
    ours.end_loads();
    assert_eq!(answer(after).await, 2);
    assert_eq!(events.take(), ["miss row", "load row", "fill row ttl=60s"]);
}
