//! Which caller loads, which callers wait, and what becomes of the waiters.

use std::sync::Arc;

use cache_runtime::Cache;
use cache_tests::{EventLog, LIMIT};
use tokio::task::JoinHandle;

use super::{Recorded, counts, on_every_backend, without_watches};
use crate::gated::{Row, answer};

on_every_backend! {
    callers_of_one_key_share_one_load
    a_caller_that_gives_up_hands_over_to_a_waiter
    a_caller_that_gives_up_alone_leaves_nothing_behind
    a_load_that_panics_strands_no_waiter
    a_load_that_panics_alone_leaves_nothing_behind
    an_update_during_a_load_keeps_it_from_being_stored
    an_update_of_a_tag_during_a_load_keeps_it_from_being_served
    a_caller_that_comes_after_an_update_does_not_share_an_older_load
}

/// Events of two callers: the first loads, the second is served what it stored.
const LOADED_AND_HIT: [&str; 4] = ["miss row", "load row", "fill row ttl=60s", "hit row"];

/// A row whose first load is under way, and has been recorded.
async fn loading_row(cache: &Cache, events: &EventLog) -> (Arc<Row>, JoinHandle<u64>) {
    let row = Row::new(cache);
    let first = row.reader();
    row.load_started().await;
    assert_eq!(events.take(), ["miss row", "load row"]);
    (row, first)
}

/// Readers that wait for the load that is under way.
async fn waiting_readers(row: &Arc<Row>, events: &EventLog, count: usize) -> Vec<JoinHandle<u64>> {
    let readers = (0..count).map(|_| row.reader()).collect();
    events.until_count("wait row", count).await;
    assert_eq!(events.take(), vec!["wait row"; count]);
    readers
}

async fn callers_of_one_key_share_one_load(Recorded { cache, events }: Recorded) {
    let (row, first) = loading_row(&cache, &events).await;
    let others = waiting_readers(&row, &events, 20).await;
    row.end_load();
    for reader in others.into_iter().chain([first]) {
        assert_eq!(answer(reader).await, 1);
    }
    // The waiters may be answered before the value is stored.
    let mut expected = vec!["fill row ttl=60s"];
    expected.extend(["miss row"; 20]);
    expected.extend(["share row"; 20]);
    assert_eq!(events.take_sorted(), expected);
    assert_eq!(counts(&cache), [0, 21, 1]);
}

async fn a_caller_that_gives_up_hands_over_to_a_waiter(Recorded { cache, events }: Recorded) {
    let (row, first) = loading_row(&cache, &events).await;
    let others = waiting_readers(&row, &events, 2).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    row.load_started().await;
    assert_eq!(events.take(), ["miss row", "load row"]);
    row.end_load();
    for reader in others {
        assert_eq!(answer(reader).await, 1);
    }
    let expected = ["fill row ttl=60s", "miss row", "share row"];
    assert_eq!(events.take_sorted(), expected);
    assert_eq!(row.read().await, 1);
    assert_eq!(events.take(), ["hit row"]);
}

async fn a_caller_that_gives_up_alone_leaves_nothing_behind(Recorded { cache, events }: Recorded) {
    let (row, first) = loading_row(&cache, &events).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    row.end_loads();
    for _ in 0..2 {
        assert_eq!(answer(row.reader()).await, 1);
    }
    assert_eq!(without_watches(events.take()), LOADED_AND_HIT);
}

async fn a_load_that_panics_strands_no_waiter(Recorded { cache, events }: Recorded) {
    let row = Row::new(&cache);
    row.set_silently(0);
    let first = row.reader();
    row.load_started().await;
    assert_eq!(events.take(), ["miss row", "load row"]);
    row.set_silently(1);
    let others = waiting_readers(&row, &events, 2).await;
    row.end_loads();
    assert!(first.await.unwrap_err().is_panic());
    for reader in others {
        assert_eq!(answer(reader).await, 1);
    }
    let expected = [
        "fill row ttl=60s",
        "load row",
        "miss row",
        "miss row",
        "share row",
    ];
    assert_eq!(events.take_sorted(), expected);
    assert_eq!(row.read().await, 1);
    assert_eq!(events.take(), ["hit row"]);
}

async fn a_load_that_panics_alone_leaves_nothing_behind(Recorded { cache, events }: Recorded) {
    let row = Row::new(&cache);
    row.end_loads();
    row.set_silently(0);
    assert!(row.reader().await.unwrap_err().is_panic());
    assert_eq!(events.take(), ["miss row", "load row"]);
    row.set_silently(1);
    for _ in 0..2 {
        assert_eq!(answer(row.reader()).await, 1);
    }
    assert_eq!(without_watches(events.take()), LOADED_AND_HIT);
}

async fn an_update_during_a_load_keeps_it_from_being_stored(recorded: Recorded) {
    let events = an_update_meets_a_load(recorded, async |row| row.write(2).await).await;
    assert_eq!(events, ["invalidate row", "not filled row: overtaken"]);
}

/// The entry carries the version from before the update.
async fn an_update_of_a_tag_during_a_load_keeps_it_from_being_served(recorded: Recorded) {
    let events = an_update_meets_a_load(recorded, async |row| row.write_by_tag(2).await).await;
    assert_eq!(events, ["invalidate rows", "fill row ttl=60s"]);
}

/// The events from the update to the end of the load.
async fn an_update_meets_a_load(
    Recorded { cache, events }: Recorded,
    update: impl AsyncFnOnce(Arc<Row>),
) -> Vec<String> {
    let (row, reader) = loading_row(&cache, &events).await;
    update(row.clone()).await;
    row.end_loads();
    let read = answer(reader).await;
    assert_eq!(read, 1, "its own load, from before the update");
    let overtaken = events.take();
    for _ in 0..2 {
        assert_eq!(row.read().await, 2);
    }
    assert_eq!(without_watches(events.take()), LOADED_AND_HIT);
    overtaken
}

async fn a_caller_that_comes_after_an_update_does_not_share_an_older_load(
    Recorded { cache, events }: Recorded,
) {
    let (row, before) = loading_row(&cache, &events).await;
    row.write(2).await;
    let after = row.reader();
    // The second reader's load begins although the older one has not ended.
    row.load_started().await;
    assert_eq!(events.take(), ["invalidate row", "miss row", "load row"]);
    row.end_loads();
    assert_eq!(answer(before).await, 1);
    assert_eq!(answer(after).await, 2);
    // The younger load is stored, the older is not. Either may be the first to end.
    let expected = ["fill row ttl=60s", "not filled row: overtaken"];
    assert_eq!(events.take_sorted(), expected);
    assert_eq!(tokio::time::timeout(LIMIT, row.read()).await, Ok(2));
    assert_eq!(events.take(), ["hit row"]);
}
