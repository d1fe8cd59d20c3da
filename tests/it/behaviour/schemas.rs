//! Functions of two schema versions under one key, as during a rolling deploy.

use cache_runtime::{Cache, CacheBuilder, cached, prime, refresh};
use serde::{Deserialize, Serialize};

use super::{counts, is_in_process, on_every_backend};

on_every_backend! {
    an_older_entry_is_replaced_once_and_a_newer_one_never
    an_older_function_stores_again_after_an_invalidation
    an_older_function_does_not_replace_a_newer_entry_by_hand_either
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Length {
    Miles(u32),
    Kilometres(u32),
}

mod older {
    #[super::cached(
        key = "length:<road>",
        version = 1,
        invalidate_on = "roads",
        cache = cache,
        skip(cache)
    )]
    pub(super) async fn length(cache: &super::Cache, road: u32) -> super::Length {
        super::Length::Miles(3)
    }
}

mod newer {
    #[super::cached(
        key = "length:<road>",
        version = 2,
        invalidate_on = "roads",
        cache = cache,
        skip(cache)
    )]
    pub(super) async fn length(cache: &super::Cache, road: u32) -> super::Length {
        super::Length::Kilometres(5)
    }
}

use Length::{Kilometres, Miles};

/// Two caches on one server share no more than two processes do. In the process there is one table,
/// so there the two are handles of one cache.
fn two(builder: CacheBuilder) -> [Cache; 2] {
    let before = builder.clone().build().unwrap();
    let after = builder.build().unwrap();
    if is_in_process(&before) {
        return [before.clone(), before];
    }
    [before, after]
}

/// How many loads there were, in all.
fn loads([before, after]: &[Cache; 2]) -> u64 {
    let [.., of_before] = counts(before);
    let [.., of_after] = counts(after);
    if is_in_process(before) {
        of_before
    } else {
        of_before + of_after
    }
}

async fn an_older_entry_is_replaced_once_and_a_newer_one_never(builder: CacheBuilder) {
    let caches = two(builder);
    let [before, after] = &caches;
    assert_eq!(older::length(before, 1).await, Miles(3));
    for _ in 0..10 {
        assert_eq!(newer::length(after, 1).await, Kilometres(5));
        assert_eq!(older::length(before, 1).await, Miles(3));
    }
    // One of the older for its own entry, one of the newer, and each further one of the older.
    assert_eq!(loads(&caches), 1 + 1 + 10);
}

async fn an_older_function_stores_again_after_an_invalidation(builder: CacheBuilder) {
    let caches = two(builder);
    let [before, after] = &caches;
    for name in ["length:1", "roads"] {
        assert_eq!(newer::length(after, 1).await, Kilometres(5));
        let so_far = loads(&caches);
        assert_eq!(older::length(before, 1).await, Miles(3));
        assert_eq!(loads(&caches), so_far + 1);

        before.invalidate([name]).await.unwrap();
        assert_eq!(older::length(before, 1).await, Miles(3));
        assert_eq!(older::length(before, 1).await, Miles(3));
        assert_eq!(loads(&caches), so_far + 2, "after {name}");
    }
}

async fn an_older_function_does_not_replace_a_newer_entry_by_hand_either(builder: CacheBuilder) {
    let caches = two(builder);
    let [before, after] = &caches;
    assert_eq!(newer::length(after, 1).await, Kilometres(5));
    prime(older::length(before, 1), Miles(4)).await.unwrap();
    assert_eq!(refresh(older::length(before, 1)).await, Miles(3));
    let so_far = loads(&caches);
    assert_eq!(newer::length(after, 1).await, Kilometres(5));
    assert_eq!(loads(&caches), so_far);

    prime(newer::length(after, 1), Kilometres(6)).await.unwrap();
    assert_eq!(newer::length(after, 1).await, Kilometres(6));
    after.invalidate(["length:1"]).await.unwrap();
    prime(older::length(before, 1), Miles(4)).await.unwrap();
    assert_eq!(older::length(before, 1).await, Miles(4));
    prime(newer::length(after, 1), Kilometres(6)).await.unwrap();
    assert_eq!(newer::length(after, 1).await, Kilometres(6));
}
