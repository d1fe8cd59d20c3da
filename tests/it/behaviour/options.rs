//! The options that decide for each call, or for each value, what is cached or invalidated.

use std::pin::pin;
use std::time::Duration;

use cache_runtime::{Cache, Options, cache_invalidate, cached};
use cache_tests::poll_once;

use super::{Recorded, on_every_backend};

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

async fn a_condition_that_is_false_runs_the_function_without_the_cache(
    Recorded { cache, events }: Recorded,
) {
    for _ in 0..2 {
        assert_eq!(first_pages(&cache, 10).await, 10);
    }
    assert!(events.take().is_empty());
    for _ in 0..2 {
        assert_eq!(first_pages(&cache, 9).await, 9);
    }
    let expected = [
        "miss page:9",
        "load page:9",
        "fill page:9 ttl=300s",
        "hit page:9",
    ];
    assert_eq!(events.take(), expected);
    assert!(!cache.exists("page:10").await.unwrap());
}

#[cached(key = "name:<id>", unless = String::is_empty, cache = cache, skip(cache))]
async fn name(cache: &Cache, id: u32) -> Result<String, ()> {
    Ok("x".repeat(id as usize))
}

async fn a_value_that_unless_rejects_is_loaded_each_time(Recorded { cache, events }: Recorded) {
    for _ in 0..2 {
        assert_eq!(name(&cache, 0).await.as_deref(), Ok(""));
        let expected = ["miss name:0", "load name:0", "not filled name:0: unwanted"];
        assert_eq!(events.take(), expected);
    }
    for _ in 0..2 {
        assert_eq!(name(&cache, 1).await.as_deref(), Ok("x"));
    }
    let expected = [
        "miss name:1",
        "load name:1",
        "fill name:1 ttl=300s",
        "hit name:1",
    ];
    assert_eq!(events.take(), expected);
}

const HOUR: Duration = Duration::from_secs(3_600);

#[cached(key = "hours:<hours>", ttl = HOUR * hours, cache = cache, skip(cache))]
async fn for_hours(cache: &Cache, hours: u32) -> u32 {
    hours
}

async fn a_ttl_can_be_computed_from_the_arguments(Recorded { cache, events }: Recorded) {
    for_hours(&cache, 2).await;
    for_hours(&cache, 5).await;
    let expected = [
        "miss hours:2",
        "load hours:2",
        "fill hours:2 ttl=7200s",
        "miss hours:5",
        "load hours:5",
        "fill hours:5 ttl=18000s",
    ];
    assert_eq!(events.take(), expected);
    let left = cache.ttl("hours:5").await.unwrap().unwrap();
    assert!(left <= HOUR * 5 && left > HOUR * 4, "{left:?}");
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

async fn a_ttl_can_be_computed_from_the_value(Recorded { cache, events }: Recorded) {
    for hours in [0, 2, 3] {
        assert!(token(&cache, hours).await.is_some());
    }
    let expected = [
        "miss token:0",
        "load token:0",
        // A ttl of zero.
        "not filled token:0: unwanted",
        "miss token:2",
        "load token:2",
        "fill token:2 ttl=7200s",
        "miss token:3",
        "load token:3",
        // `unless` rejects it.
        "not filled token:3: unwanted",
    ];
    assert_eq!(events.take(), expected);
    assert!(!cache.exists("token:0").await.unwrap());
    assert!(!cache.exists("token:3").await.unwrap());
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

async fn a_value_of_another_schema_version_is_not_served(Recorded { cache, events }: Recorded) {
    assert_eq!(celsius::temperature(&cache, "Oslo").await, 20);
    assert_eq!(fahrenheit::temperature(&cache, "Oslo").await, 68);
    assert_eq!(fahrenheit::temperature(&cache, "Oslo").await, 68);
    let expected = [
        "miss temperature:'Oslo'",
        "load temperature:'Oslo'",
        "fill temperature:'Oslo' ttl=300s",
        "miss temperature:'Oslo'",
        "load temperature:'Oslo'",
        "fill temperature:'Oslo' ttl=300s",
        "hit temperature:'Oslo'",
    ];
    assert_eq!(events.take(), expected);
}

#[cache_invalidate("row:<id>", "value:<result>", on = ok, cache = cache)]
async fn update(cache: &Cache, id: u32, outcome: Result<u32, ()>) -> Result<u32, ()> {
    if id == 0 {
        std::future::pending::<()>().await;
    }
    outcome
}

async fn with_on_ok_only_a_success_invalidates(Recorded { cache, events }: Recorded) {
    for key in ["row:0", "row:1", "value:7"] {
        cache.set(key, &1, Options::new()).await.unwrap();
    }
    events.take();
    {
        let dropped_half_way = pin!(update(&cache, 0, Ok(7)));
        assert!(poll_once(dropped_half_way).is_pending());
    }
    assert_eq!(update(&cache, 1, Err(())).await, Err(()));
    assert!(events.take().is_empty());
    assert!(cache.exists("row:0").await.unwrap());
    assert_eq!(update(&cache, 1, Ok(7)).await, Ok(7));
    assert_eq!(events.take(), ["invalidate row:1 value:7"]);
    assert!(!cache.exists("row:1").await.unwrap());
    assert!(!cache.exists("value:7").await.unwrap());
}

#[cache_invalidate("row:<id>", "value:<result>", condition = id > 1, cache = cache)]
async fn update_some(cache: &Cache, id: u32) -> u32 {
    id + 10
}

async fn a_condition_that_is_false_invalidates_nothing(Recorded { cache, events }: Recorded) {
    for key in ["row:1", "row:2", "value:12"] {
        cache.set(key, &1, Options::new()).await.unwrap();
    }
    events.take();
    update_some(&cache, 1).await;
    assert!(events.take().is_empty());
    assert!(cache.exists("row:1").await.unwrap());
    update_some(&cache, 2).await;
    assert_eq!(events.take(), ["invalidate row:2 value:12"]);
    assert!(!cache.exists("row:2").await.unwrap());
    assert!(!cache.exists("value:12").await.unwrap());
}
