//! Which caller loads, which callers wait, and what becomes of the waiters.

use std::sync::Arc;

use cache_runtime::Cache;
use cache_tests::LIMIT;

use super::{counts, on_every_backend};
use crate::gated::{Row, answer};

on_every_backend! {
    callers_of_one_key_share_one_load
    a_caller_that_gives_up_hands_over_to_a_waiter
    a_caller_that_gives_up_alone_leaves_nothing_behind
    a_load_that_panics_strands_no_waiter
    a_load_that_panics_alone_leaves_nothing_behind
    an_update_during_a_load_keeps_it_from_being_stored
    an_update_of_a_tag_during_a_load_keeps_it_from_being_stored
    a_caller_that_comes_after_an_update_does_not_share_an_older_load
}

async fn callers_of_one_key_share_one_load(cache: Cache) {
    let row = Row::new(&cache);
    let first = row.reader();
    row.load_started().await;
    let others: Vec<_> = (0..20).map(|_| row.reader()).collect();
    // EVENTS: wait until the 20 others wait; else some come later, and are served from the cache.
    row.end_load();
    for reader in others.into_iter().chain([first]) {
        assert_eq!(answer(reader).await, 1);
    }
    assert_eq!(row.loads(), 1);
    let [hits, misses, loads] = counts(&cache);
    assert_eq!((hits + misses, loads), (21, 1));
}

async fn a_caller_that_gives_up_hands_over_to_a_waiter(cache: Cache) {
    let row = Row::new(&cache);
    let first = row.reader();
    row.load_started().await;
    let others = [row.reader(), row.reader()];
    // EVENTS: wait until both others wait; else no waiter can take over.
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    row.load_started().await;
    row.end_load();
    for reader in others {
        assert_eq!(answer(reader).await, 1);
    }
    assert_eq!(row.loads(), 2);
    assert_eq!(row.read().await, 1);
    assert_eq!(row.loads(), 2, "the second load was stored");
}

async fn a_caller_that_gives_up_alone_leaves_nothing_behind(cache: Cache) {
    let row = Row::new(&cache);
    let first = row.reader();
    row.load_started().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    row.end_loads();
    assert_eq!(answer(row.reader()).await, 1);
    assert_eq!(row.read().await, 1);
    assert_eq!(row.loads(), 2, "the second load was stored");
}

async fn a_load_that_panics_strands_no_waiter(cache: Cache) {
    let row = Row::new(&cache);
    row.set_silently(0);
    let first = row.reader();
    row.load_started().await;
    row.set_silently(1);
    let others = [row.reader(), row.reader()];
    // EVENTS: wait until both others wait.
    row.end_loads();
    assert!(first.await.unwrap_err().is_panic());
    for reader in others {
        assert_eq!(answer(reader).await, 1);
    }
    assert_eq!(row.read().await, 1);
    assert_eq!(row.loads(), 2);
}

async fn a_load_that_panics_alone_leaves_nothing_behind(cache: Cache) {
    let row = Row::new(&cache);
    row.end_loads();
    row.set_silently(0);
    assert!(row.reader().await.unwrap_err().is_panic());
    row.set_silently(1);
    assert_eq!(answer(row.reader()).await, 1);
    assert_eq!(row.read().await, 1);
    assert_eq!(row.loads(), 2);
}

async fn an_update_during_a_load_keeps_it_from_being_stored(cache: Cache) {
    an_update_meets_a_load(cache, async |row| row.write(2).await).await;
}

async fn an_update_of_a_tag_during_a_load_keeps_it_from_being_stored(cache: Cache) {
    an_update_meets_a_load(cache, async |row| row.write_by_tag(2).await).await;
}

async fn an_update_meets_a_load(cache: Cache, update: impl AsyncFnOnce(Arc<Row>)) {
    let row = Row::new(&cache);
    let reader = row.reader();
    row.load_started().await;
    update(row.clone()).await;
    row.end_loads();
    let read = answer(reader).await;
    assert_eq!(read, 1, "its own load, from before the update");
    assert_eq!(row.read().await, 2);
    assert_eq!(row.read().await, 2);
    assert_eq!(row.loads(), 2);
}

async fn a_caller_that_comes_after_an_update_does_not_share_an_older_load(cache: Cache) {
    let row = Row::new(&cache);
    let before = row.reader();
    row.load_started().await;
    row.write(2).await;
    let after = row.reader();
    // The second reader's load begins although the older one has not ended.
    row.load_started().await;
    row.end_loads();
    assert_eq!(answer(before).await, 1);
    assert_eq!(answer(after).await, 2);
    assert_eq!(tokio::time::timeout(LIMIT, row.read()).await, Ok(2));
    assert_eq!(
        row.loads(),
        2,
        "the younger load was stored, the older was not"
    );
}
