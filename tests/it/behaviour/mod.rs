//! What a cache does, the same in this process and on Redis.

mod flights;
mod invalidation;
mod manual;
mod options;
mod shapes;
mod tags;
mod values;

use std::time::Duration;

use cache_runtime::{Cache, CacheBuilder};
use cache_tests::RedisServer;

/// Runs each function on both tiers, as a test of its own.
macro_rules! on_both_tiers {
    ($($behaviour:ident)+) => {
        mod in_process {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                let cache = crate::behaviour::builder().url("memory:");
                super::$behaviour(cache.build().unwrap()).await;
            })+
        }

        mod on_redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                let server = cache_tests::RedisServer::start();
                let cache = crate::behaviour::builder().url(server.url());
                super::$behaviour(cache.build().unwrap()).await;
            })+
        }
    };
}
pub(crate) use on_both_tiers;

/// Nobody's patience ends before that of the tests: what is stranded shows as a
/// test that fails, not as one that is slow, and a busy machine not as an outage.
pub(crate) fn builder() -> CacheBuilder {
    let patience = Duration::from_secs(60);
    Cache::builder()
        .op_timeout(patience)
        .connect_timeout(patience)
        .lease(patience)
        .lease_wait(patience)
        .load_limit(patience)
}

/// Hits, misses and loads so far.
fn counts(cache: &Cache) -> [u64; 3] {
    let stats = cache.stats();
    [stats.hits, stats.misses, stats.loads]
}

#[tokio::test]
async fn off_is_a_miss_each_time() {
    let cache = Cache::builder().url("off:").build().unwrap();
    let options = cache_runtime::Options::new;
    cache.set("a", &1, options()).await.unwrap();
    assert_eq!(cache.get::<i32>("a").await.unwrap(), None);
    assert!(!cache.exists("a").await.unwrap());
    for _ in 0..2 {
        let load = async { Ok::<_, ()>(2) };
        assert_eq!(cache.get_or_load("a", options(), load).await, Ok(2));
    }
    assert_eq!(counts(&cache), [0, 3, 2]);
}

#[tokio::test]
async fn a_unix_socket_and_another_namespace_are_another_cache() {
    let server = RedisServer::start();
    let one = builder()
        .url(server.unix_url())
        .namespace("one")
        .build()
        .unwrap();
    let two = builder()
        .url(server.url())
        .namespace("two")
        .build()
        .unwrap();
    for cache in [&one, &two] {
        let set = cache.set("a", &1, cache_runtime::Options::new());
        set.await.unwrap();
    }
    assert_eq!(server.keys(), ["one:e:a", "two:e:a"]);
    one.clear().await.unwrap();
    assert_eq!(server.keys(), ["two:e:a"]);
}
