//! What is sent together, and what is asked for together, is as much as the link carries in time.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use cache_runtime::{Cache, Key, Options};
use cache_tests::{Proxy, RedisServer};

fn names(count: usize) -> Vec<Key> {
    (0..count).map(|i| format!("row:{i}").into()).collect()
}

/// The names of one request have become many, so that a request of them says nothing about the
/// server. The trial before a replay does.
#[tokio::test]
async fn a_keeper_leaves_a_connection_that_answers_nothing_however_much_it_would_send() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    let cache = Cache::builder().url(proxy.url()).namespace("test");
    let cache = cache.build().unwrap();
    for _ in 0..3 {
        cache.invalidate(names(3_000)).await.unwrap();
    }
    proxy.black_hole();
    cache.invalidate(names(500)).await.unwrap_err();
    let begun = Instant::now();
    while cache.health().status.is_working() {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "the keeper stays with a dead connection"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A cold cache: nothing was read yet, and what is read is empty.
#[tokio::test]
async fn many_keys_of_an_empty_server_are_looked_at_together() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    let cache = Cache::builder().url(proxy.url()).namespace("test");
    let cache = cache.op_timeout(Duration::from_secs(1)).build().unwrap();
    cache.ping().await.unwrap();
    proxy.delay(Duration::from_millis(10));
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..400 {
        let cache = cache.clone();
        tasks.spawn(async move {
            let load = async {
                tokio::time::sleep(Duration::from_secs(2)).await;
                Ok::<_, Infallible>(i)
            };
            cache
                .get_or_load(format!("row:{i}"), Options::new(), load)
                .await
        });
    }
    while tasks.join_next().await.is_some() {}
    let stored = server
        .keys()
        .iter()
        .filter(|key| key.contains(":e:"))
        .count();
    assert_eq!(stored, 400);
}
