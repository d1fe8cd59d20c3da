//! How much a process keeps, where that is bounded by bytes.

use std::sync::Arc;

use cache_runtime::{Cache, Options, cached};
use cache_tests::{EventLog, RedisServer, patient, until};
use serde::{Deserialize, Serialize};

const KILOBYTE: u64 = 1_000;

fn text(len: u64) -> String {
    "x".repeat(usize::try_from(len).unwrap())
}

#[tokio::test]
async fn texts_are_kept_as_long_as_they_have_room() {
    let cache = Cache::builder()
        .url("memory:")
        .max_bytes(100 * KILOBYTE)
        .build()
        .unwrap();
    for id in 0..1_000 {
        let key = format!("text:{id}");
        cache
            .set(key, &text(KILOBYTE), Options::new())
            .await
            .unwrap();
        let bytes = cache.stats().bytes.unwrap();
        assert!(bytes <= 100 * KILOBYTE, "{bytes}");
    }
    let stats = cache.stats();
    assert!((80..=100).contains(&stats.entries), "{stats:?}");
    cache.clear().await.unwrap();
    assert_eq!((cache.stats().entries, cache.stats().bytes), (0, Some(0)));
    let unbounded = Cache::builder().url("memory:").build().unwrap();
    assert_eq!(unbounded.stats().bytes, None);
}

#[tokio::test]
async fn more_small_entries_than_the_default_are_kept() {
    let cache = Cache::builder()
        .url("memory:")
        .max_bytes(100_000 * KILOBYTE)
        .build()
        .unwrap();
    let keys = (0..150_000_u64).map(|id| format!("number:{id}"));
    cache
        .set_many(keys.map(|key| (key, &7_u64)), Options::new())
        .await
        .unwrap();
    assert_eq!(cache.stats().entries, 150_000);
}

#[tokio::test]
async fn what_is_larger_than_the_bound_is_not_kept_and_that_is_told() {
    let events = EventLog::default();
    let builder = Cache::builder().url("memory:").max_bytes(10 * KILOBYTE);
    let cache = events.record(builder).build().unwrap();
    cache
        .set("text", &text(KILOBYTE), Options::new())
        .await
        .unwrap();
    let (load, options) = (async { Ok::<_, ()>(text(20 * KILOBYTE)) }, Options::new());
    let loaded = cache.get_or_load("large", options, load).await;
    assert_eq!(loaded.map(|text| text.len()), Ok(20_000));
    // In the place of a smaller one, nothing is left: it would be the old value.
    cache
        .set("text", &text(20 * KILOBYTE), Options::new())
        .await
        .unwrap();
    assert_eq!(cache.stats().entries, 0);
    let told = events.take();
    assert!(
        told.contains(&"not filled large: too heavy".to_owned()),
        "{told:?}"
    );
    assert!(
        told.contains(&"not filled text: too heavy".to_owned()),
        "{told:?}"
    );
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Page {
    body: String,
}

#[cached(key = "page:<id>", ttl = 60, local_ttl = "1m", cache = cache, skip(cache))]
async fn page(cache: &Cache, id: u64) -> Page {
    Page {
        body: text(id % 2 * KILOBYTE + KILOBYTE),
    }
}

#[tokio::test]
async fn copies_of_what_a_server_holds_are_bounded() {
    let server = RedisServer::start();
    let cache = patient(&server.url())
        .max_bytes(50 * KILOBYTE)
        .build()
        .unwrap();
    for id in 0..100 {
        assert_eq!(page(&cache, id).await, page(&cache, id).await);
        assert!(cache.stats().bytes.unwrap() <= 50 * KILOBYTE);
    }
    let settled = until(|| async {
        page(&cache, 99).await;
        cache.stats().entries > 20
    });
    settled.await;
}

struct Parsed {
    nodes: Vec<u64>,
}

#[cached(key = "parsed:<id>", ttl = 60, local, cache = cache, skip(cache))]
async fn parsed(cache: &Cache, id: u64) -> Arc<Parsed> {
    Arc::new(Parsed {
        nodes: vec![id; 125],
    })
}

/// Of a value that serde does not know, only the size of its type is: 1,000 of them would fit.
#[tokio::test]
async fn a_function_weighs_the_values_of_its_type() {
    let builder = Cache::builder().url("memory:").max_bytes(100 * KILOBYTE);
    let cache = builder
        .weigh(|parsed: &Parsed| parsed.nodes.len() * size_of::<u64>())
        .build()
        .unwrap();
    for id in 0..500 {
        parsed(&cache, id).await;
    }
    let entries = cache.stats().entries;
    assert!((80..=100).contains(&entries), "{entries}");
}
