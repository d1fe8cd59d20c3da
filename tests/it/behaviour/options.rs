//! The options that decide for each call, or for each value, what is cached or invalidated.

use std::pin::pin;
use std::time::Duration;

use cache_runtime::{Cache, Options, cache_invalidate, cached};
use cache_tests::poll_once;

use super::{counts, on_every_backend};

on_every_backend! {
    a_condition_that_is_false_runs_the_function_without_the_cache
    a_value_that_unless_rejects_is_loaded_each_time
    a_ttl_can_be_computed_from_the_arguments
    a_ttl_can_be_computed_from_the_value
    a_value_of_another_schema_version_is_not_served
    with_on_ok_only_a_success_invalidates
    a_condition_that_is_false_invalidates_nothing
}

#[cached(key = "page:<page>", condition = page < 10, cache = cache, skip(cache))]
async fn first_pages(cache: &Cache, page: u32) -> u32 {
    page
}

async fn a_condition_that_is_false_runs_the_function_without_the_cache(cache: Cache) {
    for _ in 0..2 {
        assert_eq!(first_pages(&cache, 9).await, 9);
        assert_eq!(first_pages(&cache, 10).await, 10);
    }
    assert_eq!(counts(&cache), [1, 1, 1]);
    assert!(cache.exists("page:9").await.unwrap());
    assert!(!cache.exists("page:10").await.unwrap());
}

#[cached(key = "name:<id>", unless = String::is_empty, cache = cache, skip(cache))]
async fn name(cache: &Cache, id: u32) -> Result<String, ()> {
    Ok("x".repeat(id as usize))
}

async fn a_value_that_unless_rejects_is_loaded_each_time(cache: Cache) {
    for _ in 0..2 {
        assert_eq!(name(&cache, 0).await.as_deref(), Ok(""));
        assert_eq!(name(&cache, 1).await.as_deref(), Ok("x"));
    }
    assert_eq!(counts(&cache), [1, 3, 3]);
}

const HOUR: Duration = Duration::from_secs(3_600);

/// Whether the entry lives about this long: jitter may take a tenth off.
async fn lives(cache: &Cache, key: &'static str, ttl: Duration) -> bool {
    let left = cache.ttl(key).await.unwrap().unwrap();
    left <= ttl && left > ttl.mul_f64(0.8)
}

#[cached(key = "hours:<hours>", ttl = HOUR * hours, cache = cache, skip(cache))]
async fn for_hours(cache: &Cache, hours: u32) -> u32 {
    hours
}

async fn a_ttl_can_be_computed_from_the_arguments(cache: Cache) {
    for_hours(&cache, 2).await;
    for_hours(&cache, 5).await;
    assert!(lives(&cache, "hours:2", HOUR * 2).await);
    assert!(lives(&cache, "hours:5", HOUR * 5).await);
}

#[cached(
    key = "token:<hours>",
    ttl = |token| HOUR * u32::try_from(token.len()).unwrap(),
    unless = |token| token == "xxx",
    cache = cache,
    skip(cache)
)]
async fn token(cache: &Cache, hours: usize) -> Option<String> {
    Some("x".repeat(hours))
}

async fn a_ttl_can_be_computed_from_the_value(cache: Cache) {
    for hours in [0, 2, 3] {
        assert!(token(&cache, hours).await.is_some());
    }
    assert!(!cache.exists("token:0").await.unwrap(), "a ttl of zero");
    assert!(lives(&cache, "token:2", HOUR * 2).await);
    assert!(
        !cache.exists("token:3").await.unwrap(),
        "`unless` rejects it"
    );
}

mod celsius {
    use super::{Cache, cached};

    #[cached(key = "temperature:<city>", version = 1, cache = cache, skip(cache))]
    pub(super) async fn temperature(cache: &Cache, city: &str) -> i32 {
        20
    }
}

mod fahrenheit {
    use super::{Cache, cached};

    #[cached(key = "temperature:<city>", version = 2, cache = cache, skip(cache))]
    pub(super) async fn temperature(cache: &Cache, city: &str) -> i32 {
        68
    }
}

async fn a_value_of_another_schema_version_is_not_served(cache: Cache) {
    assert_eq!(celsius::temperature(&cache, "Oslo").await, 20);
    assert_eq!(fahrenheit::temperature(&cache, "Oslo").await, 68);
    assert_eq!(fahrenheit::temperature(&cache, "Oslo").await, 68);
    assert_eq!(counts(&cache), [1, 2, 2]);
}

#[cache_invalidate("row:<id>", "value:<result>", on = ok, cache = cache)]
async fn update(cache: &Cache, id: u32, outcome: Result<u32, ()>) -> Result<u32, ()> {
    if id == 0 {
        std::future::pending::<()>().await;
    }
    outcome
}

async fn with_on_ok_only_a_success_invalidates(cache: Cache) {
    for key in ["row:0", "row:1", "value:7"] {
        cache.set(key, &1, Options::new()).await.unwrap();
    }
    {
        let dropped_half_way = pin!(update(&cache, 0, Ok(7)));
        assert!(poll_once(dropped_half_way).is_pending());
    }
    assert_eq!(update(&cache, 1, Err(())).await, Err(()));
    assert!(cache.exists("row:0").await.unwrap());
    assert!(cache.exists("row:1").await.unwrap());
    assert!(cache.exists("value:7").await.unwrap());
    assert_eq!(update(&cache, 1, Ok(7)).await, Ok(7));
    assert!(!cache.exists("row:1").await.unwrap());
    assert!(!cache.exists("value:7").await.unwrap());
}

#[cache_invalidate("row:<id>", "value:<result>", condition = id > 1, cache = cache)]
async fn update_some(cache: &Cache, id: u32) -> u32 {
    id + 10
}

async fn a_condition_that_is_false_invalidates_nothing(cache: Cache) {
    for key in ["row:1", "value:11", "row:2", "value:12"] {
        cache.set(key, &1, Options::new()).await.unwrap();
    }
    update_some(&cache, 1).await;
    assert!(cache.exists("row:1").await.unwrap());
    assert!(cache.exists("value:11").await.unwrap());
    update_some(&cache, 2).await;
    assert!(!cache.exists("row:2").await.unwrap());
    assert!(!cache.exists("value:12").await.unwrap());
}
