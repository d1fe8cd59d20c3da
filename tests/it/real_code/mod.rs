//! Data access as published applications write it. The attributes are added, and no signature or
//! body is changed: each function misses, hits, and misses again after its update.

mod async_trait;
mod axum;
mod diesel_async;
mod sea_orm;
mod sqlx;
mod stub;

use std::fmt::Debug;

use cache_runtime::Cache;

use self::stub::Rows;

/// The cache of a test. Each test has a thread of its own, so the functions need no parameter for
/// the cache, and no test invalidates what another has just read.
fn cache() -> Cache {
    thread_local!(static CACHE: Cache = Cache::builder().url("memory:").build().unwrap());
    CACHE.with(Cache::clone)
}

/// Checks that the read asks the database once before the update, and once after it.
async fn is_cached_until<T: Debug + PartialEq>(
    rows: &Rows,
    mut read: impl AsyncFnMut() -> T,
    update: impl AsyncFnOnce(),
) {
    let mut read = async || {
        let before = rows.queries();
        let value = read().await;
        (value, rows.queries() > before)
    };
    let (old, asked) = read().await;
    assert!(asked, "a miss asks the database");
    let (hit, asked) = read().await;
    assert!(!asked, "a hit does not");
    assert_eq!(hit, old);
    update().await;
    let (new, asked) = read().await;
    assert!(asked, "the update invalidated {old:?}");
    assert_ne!(new, old);
    let (hit, asked) = read().await;
    assert!(!asked, "the new value is cached too");
    assert_eq!(hit, new);
}
