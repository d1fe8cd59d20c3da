//! A link that carries less within a deadline than a call may ask for.

use std::time::Duration;

use cache_runtime::{Cache, Key, Options};
use cache_tests::{LIMIT, Proxy, RedisServer, until};

const KIB: usize = 1024;
const DEADLINE: Duration = Duration::from_secs(1);

fn cache(url: &str) -> Cache {
    let builder = Cache::builder().url(url).namespace("test");
    let builder = builder.op_timeout(DEADLINE).connect_timeout(DEADLINE);
    builder.build().unwrap()
}

/// Within a deadline it carries the invalidation of about 400 names.
fn slow_down(proxy: &Proxy) {
    proxy.bandwidth(64 * KIB, Duration::from_millis(150));
}

fn names(count: usize) -> Vec<Key> {
    (0..count).map(|i| format!("row:{i}").into()).collect()
}

#[tokio::test]
async fn one_invalidation_may_have_more_names_than_fit_its_deadline() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    let cache = cache(&proxy.url());
    for name in ["row:0", "row:499"] {
        cache.set(name, &1, Options::new()).await.unwrap();
    }
    slow_down(&proxy);
    cache.invalidate(names(500)).await.unwrap();
    assert_eq!(server.keys(), [""; 0]);
    assert!(cache.health().status.is_working());
    assert_eq!((cache.health().waiting, cache.stats().outages), (0, 0));
}

/// What was sent together before the link became slow does not fit any more.
#[tokio::test]
async fn an_invalidation_goes_on_with_fewer_names_when_the_link_becomes_slow() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    let cache = cache(&proxy.url());
    // The window grows.
    cache.invalidate(names(3_000)).await.unwrap();
    slow_down(&proxy);
    // This one may fail. It and the next ones find the size that fits.
    let _ = cache.invalidate(names(500)).await;
    cache.flush(LIMIT).await.unwrap();
    cache.invalidate(names(500)).await.unwrap();
    assert_eq!(cache.health().waiting, 0);
    assert_eq!(cache.stats().outages, 0);
}

#[tokio::test]
async fn a_slow_replay_keeps_the_cache_from_its_own_names_only() {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let cache = cache(&proxy.url());
    for name in ["row:0", "row:1999", "another"] {
        cache.set(name, &1, Options::new()).await.unwrap();
    }
    proxy.cut().await;
    cache.invalidate(names(2_000)).await.unwrap_err();
    assert_eq!(cache.health().waiting, 2_000);

    slow_down(&proxy);
    proxy.heal().await;
    until(async || cache.get("another").await.ok() == Some(Some(1))).await;
    assert!(cache.health().waiting > 0, "the replay goes on");
    cache.flush(LIMIT).await.unwrap();
    assert_eq!(server.keys(), ["test:e:another"]);
    assert_eq!(cache.stats().outages, 1);
}

#[tokio::test]
async fn a_cache_is_cleared_though_the_list_of_its_keys_does_not_fit_a_deadline() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    let cache = cache(&proxy.url());
    cache.ping().await.unwrap();
    let mut connection = server.connection();
    let mut sets = redis::pipe();
    for i in 0..3_000 {
        sets.set(format!("test:e:{i}{}", ".".repeat(600)), "")
            .ignore();
    }
    let () = sets.query(&mut connection).unwrap();
    slow_down(&proxy);
    cache.clear().await.unwrap();
    assert_eq!(server.keys(), [""; 0]);
    assert_eq!(cache.stats().outages, 0);
}
