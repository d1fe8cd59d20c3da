//! What a cache counts besides hits, misses and loads: see `Stats`.

use std::time::Duration;

use cache_runtime::{Cache, MissReason, Misses, Options, SiteStats, cached, refresh};
use cache_tests::{RedisServer, patient, until};

use crate::behaviour::on_every_backend;

on_every_backend! {
    each_miss_has_one_reason
    loads_are_timed_and_hits_save_their_time
    a_load_for_several_keys_is_timed_once
}

const TIME: Duration = Duration::from_millis(20);

#[cached(key = "square:<n>", ttl = 60, invalidate_on = "squares", cache = cache, skip(cache))]
async fn square(cache: &Cache, n: u64) -> Result<u64, &'static str> {
    tokio::time::sleep(TIME).await;
    n.checked_mul(n).ok_or("too much")
}

#[cached(key = "cube:<n>", ttl = 60, each(n in ns), cache = cache, skip(cache))]
async fn cubes(cache: &Cache, ns: &[u64]) -> Vec<(u64, u64)> {
    tokio::time::sleep(TIME).await;
    ns.iter().map(|n| (*n, n * n * n)).collect()
}

fn is_in_process(cache: &Cache) -> bool {
    format!("{cache:?}").contains("\"local\"")
}

/// The reasons of all misses but those with none.
fn reasons(missed: &Misses) -> Vec<(MissReason, u64)> {
    missed.iter().filter(|(_, count)| *count > 0).collect()
}

fn only_site(cache: &Cache) -> SiteStats {
    let mut sites = cache.stats().sites;
    assert_eq!(sites.len(), 1, "{sites:?}");
    sites.remove(0)
}

async fn each_miss_has_one_reason(cache: Cache) {
    assert_eq!(square(&cache, 3).await, Ok(9));
    assert_eq!(square(&cache, 3).await, Ok(9));
    cache.invalidate(["squares"]).await.unwrap();
    assert_eq!(square(&cache, 3).await, Ok(9));
    cache.invalidate(["square:3"]).await.unwrap();
    assert_eq!(square(&cache, 3).await, Ok(9));
    assert_eq!(refresh(square(&cache, 3)).await, Ok(9));
    assert_eq!(square(&cache, u64::MAX).await, Err("too much"));
    let (one, other) = tokio::join!(square(&cache, 4), square(&cache, 4));
    assert_eq!((one, other), (Ok(16), Ok(16)));
    let in_scope = cache_runtime::after_commit(square(&cache, 3));
    assert_eq!(in_scope.await, Ok(9));

    let stats = cache.stats();
    let site = &stats.sites[0];
    assert_eq!((site.hits, site.misses), (1, 8));
    assert_eq!(site.missed, stats.missed);
    let (absent, invalidated) = if is_in_process(&cache) {
        (5, 0)
    } else {
        (4, 1)
    };
    let mut expected = vec![
        (MissReason::Absent, absent),
        (MissReason::Loading, 1),
        (MissReason::Invalidated, invalidated),
        (MissReason::Refreshed, 1),
        (MissReason::Bypassed, 1),
    ];
    let mut found = reasons(&site.missed);
    expected.retain(|(_, count)| *count > 0);
    // On a server, both of the callers that come at once may see an empty slot.
    if site.missed.loading == 0 {
        assert!(!is_in_process(&cache));
        expected.retain(|(why, _)| *why != MissReason::Loading);
        expected[0].1 += 1;
    }
    found.sort_unstable_by_key(|(why, _)| why.name());
    expected.sort_unstable_by_key(|(why, _)| why.name());
    assert_eq!(found, expected);
    assert_eq!((site.loads, site.load_failures, site.waits), (7, 1, 1));
    assert_eq!((site.stored, site.load_time.count), (5, 6));
    assert_eq!((stats.stored, stats.waits, stats.invalidated), (5, 1, 2));
}

async fn loads_are_timed_and_hits_save_their_time(cache: Cache) {
    for _ in 0..11 {
        assert_eq!(square(&cache, 3).await, Ok(9));
    }
    let (stats, site) = (cache.stats(), only_site(&cache));
    let times = site.load_time;
    assert_eq!(times, stats.load_time);
    assert_eq!((times.count, site.hits), (1, 10));
    assert!(times.total >= TIME, "{times:?}");
    assert!(times.max == times.total && times.p50 <= times.max);
    assert!(times.p50 * 8 >= times.max * 7, "{times:?}");
    assert_eq!(site.time_saved, times.total * 10);
    assert_eq!(stats.time_saved, site.time_saved);

    let json = serde_json::to_value(&site).unwrap();
    assert_eq!(json["load_time"]["max_seconds"], times.max.as_secs_f64());
    assert_eq!(json["time_saved_seconds"], site.time_saved.as_secs_f64());
    assert_eq!(json["missed"]["absent"], 1);
}

async fn a_load_for_several_keys_is_timed_once(cache: Cache) {
    for ns in [&[1, 2, 3, 4][..], &[1, 2], &[3, 4]] {
        assert_eq!(cubes(&cache, ns).await.len(), ns.len());
    }
    let site = only_site(&cache);
    assert_eq!((site.hits, site.misses, site.stored), (4, 4, 4));
    assert_eq!(site.load_time.count, 1);
    assert_eq!(site.time_saved, site.load_time.total);
}

#[cached(key = "answer", ttl = 60, version = 1, cache = cache, skip(cache))]
async fn old_answer(cache: &Cache) -> u64 {
    41
}

#[cached(key = "answer", ttl = 60, version = 2, cache = cache, skip(cache))]
async fn answer(cache: &Cache) -> u64 {
    42
}

#[tokio::test]
async fn what_a_server_shows_is_told_apart() {
    let server = RedisServer::start();
    let cache = patient(&server.url()).build().unwrap();
    old_answer(&cache).await;
    answer(&cache).await;
    assert_eq!(cache.stats().missed.mismatched, 1);
    server.query::<()>(&["SET", "cache:e:answer", "not by a cache"]);
    answer(&cache).await;
    assert_eq!(cache.stats().missed.unreadable, 1);
    answer(&cache).await;
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.missed.absent), (1, 1));
    let reasons: u64 = stats.missed.iter().map(|(_, count)| count).sum();
    assert_eq!(reasons, stats.misses);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_a_reason() {
    let cache = patient("redis://127.0.0.1:1").build().unwrap();
    answer(&cache).await;
    assert!(cache.get::<u64>("answer").await.is_err());
    let missed = cache.stats().missed;
    assert_eq!(reasons(&missed), [(MissReason::Unavailable, 2)]);
}

/// Hits on copies are not counted on their path. They are the hits that no server has answered.
#[tokio::test]
async fn hits_on_copies_are_told_from_those_of_the_server() {
    let server = RedisServer::start();
    let cache = patient(&server.url()).build().unwrap();
    for _ in 0..3 {
        answer(&cache).await;
    }
    assert_eq!(only_site(&cache).hits_in_front, 0);
    let local_ttl = Duration::from_secs(60);
    let cache = patient(&server.url()).local_ttl(local_ttl).build().unwrap();
    until(async || {
        answer(&cache).await;
        cache.stats().entries == 1
    })
    .await;
    let before = cache.stats();
    for _ in 0..5 {
        answer(&cache).await;
    }
    assert_eq!(cache.get::<u64>("answer").await.unwrap(), Some(42));
    let (stats, site) = (cache.stats(), only_site(&cache));
    assert_eq!(stats.hits - before.hits, 6);
    assert_eq!(stats.hits_in_front - before.hits_in_front, 5);
    assert_eq!(site.hits_in_front, stats.hits_in_front);
}

#[tokio::test]
async fn in_the_process_there_is_no_front() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    cache.set("a", &1, Options::new()).await.unwrap();
    assert_eq!(cache.get::<i32>("a").await.unwrap(), Some(1));
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.hits_in_front, stats.stored), (1, 0, 1));
}
