//! Functions with other attributes above and below `#[cached]`, and with visibilities.

use cache_runtime::{Cache, cache_invalidate, cached};
use tracing::instrument;

use super::{counts, miss_hit_invalidate, on_every_backend};

on_every_backend! {
    a_function_with_instrument_above_is_cached
    a_function_with_instrument_below_is_cached
    a_function_that_returns_an_instrumented_future_is_cached
    attributes_of_the_compiler_are_kept
    a_deprecated_function_is_cached
    several_invalidations_of_a_function_all_happen
    several_invalidations_of_a_returned_future_all_happen
}

#[instrument(skip(cache))]
#[cached(key = "above:<id>", cache = cache, skip(cache))]
async fn above(cache: &Cache, id: u64) -> Result<u64, String> {
    Ok(id)
}

#[instrument(skip_all, fields(id))]
#[cache_invalidate("above:<id>", cache = cache)]
async fn change_above(cache: &Cache, id: u64) {}

async fn a_function_with_instrument_above_is_cached(cache: Cache) {
    miss_hit_invalidate!(cache, above(&cache, 1), Ok(1), change_above(&cache, 1));
}

#[cached(key = "below:<id>", cache = cache, skip(cache))]
#[instrument(skip(cache), err)]
async fn below(cache: &Cache, id: String) -> Result<String, String> {
    let owned = id;
    Ok(owned)
}

#[cache_invalidate("below:<id>", cache = cache)]
#[instrument(skip(cache), ret)]
async fn change_below(cache: &Cache, id: String) -> String {
    id
}

async fn a_function_with_instrument_below_is_cached(cache: Cache) {
    let id = || "a".to_owned();
    miss_hit_invalidate!(
        cache,
        below(&cache, id()),
        Ok(id()),
        change_below(&cache, id())
    );
}

#[instrument(skip(cache))]
#[cached(key = "future:<id>", cache = cache, skip(cache))]
fn future(
    cache: &Cache,
    id: String,
) -> std::pin::Pin<Box<dyn Future<Output = String> + Send + '_>> {
    Box::pin(async move { id })
}

#[cache_invalidate("future:<id>", cache = cache)]
#[instrument(skip(cache))]
fn change_future(
    cache: &Cache,
    id: String,
) -> std::pin::Pin<Box<dyn Future<Output = String> + Send + '_>> {
    Box::pin(async move { id })
}

async fn a_function_that_returns_an_instrumented_future_is_cached(cache: Cache) {
    let id = || "a".to_owned();
    miss_hit_invalidate!(
        cache,
        future(&cache, id()),
        "a",
        change_future(&cache, id())
    );
}

/// Documented above.
#[cfg(test)]
#[must_use = "it was asked for"]
#[cached(key = "attributes:<Id>", cache = cache, skip(cache))]
/// Documented below.
#[allow(non_snake_case)]
#[inline]
async fn attributes(cache: &Cache, #[allow(unused)] Id: u64) -> u64 {
    1
}

#[cfg(not(test))]
#[cached(key = "attributes:<id>", cache = cache, skip(cache))]
async fn attributes(cache: &Cache, id: u64) -> u64 {
    2
}

#[cache_invalidate("attributes:<id>", cache = cache)]
#[cfg(test)]
async fn change_attributes(cache: &Cache, id: u64) {}

async fn attributes_of_the_compiler_are_kept(cache: Cache) {
    miss_hit_invalidate!(
        cache,
        attributes(&cache, 1),
        1,
        change_attributes(&cache, 1)
    );
}

mod inner {
    use cache_runtime::{Cache, cached};

    #[deprecated = "ask another"]
    #[cached(key = "deprecated:<id>", cache = cache, skip(cache))]
    pub(in crate::behaviour) async fn deprecated(cache: &Cache, id: u64) -> u64 {
        id
    }
}

#[expect(deprecated, reason = "the test calls it")]
async fn a_deprecated_function_is_cached(cache: Cache) {
    miss_hit_invalidate!(cache, inner::deprecated(&cache, 1), 1, async {
        cache.invalidate(["deprecated:1"]).await.unwrap();
    });
}

#[cached(key = "a:<id>", cache = cache, skip(cache))]
async fn a(cache: &Cache, id: u64) -> u64 {
    id
}

#[cached(key = "b:<id>", cache = cache, skip(cache))]
async fn b(cache: &Cache, id: u64) -> u64 {
    id
}

#[cache_invalidate("a:<id>", cache = cache)]
#[cache_invalidate("b:<result>", cache = cache)]
#[cache_invalidate("c", cache = cache, on = ok)]
async fn change(cache: &Cache, id: u64) -> Result<u64, String> {
    id.checked_add(1).ok_or_else(String::new)
}

#[cache_invalidate("a:<id>", cache = cache)]
#[cache_invalidate("b:<result>", cache = cache)]
fn change_future_of_both(cache: &Cache, id: u64) -> impl Future<Output = u64> + Send {
    let next = id + 1;
    async move { next }
}

async fn both(cache: &Cache) -> u64 {
    a(cache, 1).await + b(cache, 2).await
}

async fn several_invalidations_of_a_function_all_happen(cache: Cache) {
    assert_eq!([both(&cache).await, both(&cache).await], [3, 3]);
    assert_eq!(counts(&cache), [2, 2, 2]);
    assert_eq!(change(&cache, 1).await, Ok(2));
    assert_eq!(both(&cache).await, 3);
    assert_eq!(counts(&cache), [2, 4, 4]);
}

async fn several_invalidations_of_a_returned_future_all_happen(cache: Cache) {
    assert_eq!([both(&cache).await, both(&cache).await], [3, 3]);
    assert_eq!(change_future_of_both(&cache, 1).await, 2);
    assert_eq!(both(&cache).await, 3);
    assert_eq!(counts(&cache), [2, 4, 4]);
}
