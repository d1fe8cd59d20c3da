//! Who loads, who waits, and what becomes of those who wait.

use cache_runtime::Cache;

use super::{counts, on_both_tiers};
use crate::gated::{LIMIT, Row, answer};

on_both_tiers! {
    callers_of_one_key_share_one_load
    a_caller_who_gives_up_hands_over
    a_caller_who_gives_up_alone_leaves_nothing_behind
    a_load_that_panics_strands_nobody
    a_load_that_panics_alone_leaves_nothing_behind
    an_update_during_a_load_keeps_it_from_being_stored
    an_update_of_a_tag_during_a_load_keeps_it_from_being_stored
    a_caller_who_comes_after_an_update_does_not_share_an_older_load
}

async fn callers_of_one_key_share_one_load(cache: Cache) {
    let row = Row::new(&cache);
    let first = row.reader();
    row.load_started().await;
    let others: Vec<_> = (0..20).map(|_| row.reader()).collect();
    row.end_load();
    for reader in others.into_iter().chain([first]) {
        assert_eq!(answer(reader).await, 1);
    }
    assert_eq!(row.loads(), 1);
    let [hits, misses, loads] = counts(&cache);
    assert_eq!((hits + misses, loads), (21, 1));
}

async fn a_caller_who_gives_up_hands_over(cache: Cache) {
    let row = Row::new(&cache);
    let first = row.reader();
    row.load_started().await;
    let others = [row.reader(), row.reader()];
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

async fn a_caller_who_gives_up_alone_leaves_nothing_behind(cache: Cache) {
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

async fn a_load_that_panics_strands_nobody(cache: Cache) {
    let row = Row::new(&cache);
    row.set_silently(0);
    let first = row.reader();
    row.load_started().await;
    row.set_silently(1);
    let others = [row.reader(), row.reader()];
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
    let row = Row::new(&cache);
    let reader = row.reader();
    row.load_started().await;
    row.write(2).await;
    row.end_loads();
    assert_eq!(
        answer(reader).await,
        1,
        "its own load, from before the update"
    );
    assert_eq!(row.read().await, 2);
    assert_eq!(row.read().await, 2);
    assert_eq!(row.loads(), 2);
}

async fn an_update_of_a_tag_during_a_load_keeps_it_from_being_stored(cache: Cache) {
    let row = Row::new(&cache);
    let reader = row.reader();
    row.load_started().await;
    row.write_by_tag(2).await;
    row.end_loads();
    assert_eq!(
        answer(reader).await,
        1,
        "its own load, from before the update"
    );
    assert_eq!(row.read().await, 2);
    assert_eq!(row.read().await, 2);
    assert_eq!(row.loads(), 2);
}

async fn a_caller_who_comes_after_an_update_does_not_share_an_older_load(cache: Cache) {
    let row = Row::new(&cache);
    let before = row.reader();
    row.load_started().await;
    row.write(2).await;
    let after = row.reader();
    // Its own load begins although the older one has not ended.
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
