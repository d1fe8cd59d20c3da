//! How long the versions of tags live.

use std::time::Duration;

use cache_runtime::{Cache, cache_invalidate, cached};
use cache_tests::{RedisServer, patient};

const DAY: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);

/// The default ttl is five minutes.
#[cached(
    key = "token:<id>",
    ttl = |days: &u32| if *days == 0 { MINUTE } else { DAY * *days },
    invalidate_on = "tokens",
    cache = cache,
    skip(cache, days)
)]
async fn token(cache: &Cache, id: u32, days: u32) -> u32 {
    days
}

fn milliseconds_left(server: &RedisServer, key: &str) -> i64 {
    server.query(&["PTTL", key])
}

#[tokio::test]
async fn a_version_outlives_an_entry_whose_ttl_comes_from_the_value() {
    let server = RedisServer::start();
    let cache = patient(&server.url()).namespace("test").build().unwrap();
    token(&cache, 1, 0).await;
    let before = server.calls("eval");
    let version = milliseconds_left(&server, "test:v:tokens");
    assert!(version > milliseconds_left(&server, "test:e:token:1"));

    token(&cache, 2, 7).await;
    let entry = milliseconds_left(&server, "test:e:token:2");
    assert!(entry > i64::try_from(DAY.as_millis() * 6).unwrap());
    let version = milliseconds_left(&server, "test:v:tokens");
    assert!(version > entry, "{version} {entry}");
    // The lease and the version; the version's new end and the fill.
    assert_eq!(server.calls("eval"), before + 4);

    token(&cache, 3, 0).await;
    assert_eq!(server.calls("eval"), before + 4 + 3);
    assert!(milliseconds_left(&server, "test:v:tokens") > entry);
}

#[tokio::test]
async fn a_fence_lives_no_longer_for_an_entry_that_comes_late() {
    #[cache_invalidate("tokens", fence = "10s", cache = cache)]
    async fn change(cache: &Cache) -> Result<(), ()> {
        // The fence stands until its deadline.
        Err(())
    }
    #[cached(key = "slow", ttl = |_| DAY, invalidate_on = "tokens", cache = cache, skip(cache))]
    async fn slow(cache: &Cache) -> u32 {
        change(cache).await.unwrap_err();
        1
    }
    let server = RedisServer::start();
    let cache = patient(&server.url()).namespace("test").build().unwrap();
    slow(&cache).await;
    let fence = milliseconds_left(&server, "test:v:tokens");
    assert!((1..=10_000).contains(&fence), "{fence}");
}
