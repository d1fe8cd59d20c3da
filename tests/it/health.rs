//! What a cache says of its server, and how it keeps from a server that is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use cache_runtime::{Cache, Options, Status};
use cache_tests::{Proxy, RedisServer};
use tokio::net::TcpListener;

async fn call(cache: &Cache) {
    let load = async { Ok::<_, ()>(1) };
    let called = cache.get_or_load("row", Options::new(), load).await;
    assert_eq!(called, Ok(1));
}

/// Calls until the cache says so of itself.
async fn call_until(cache: &Cache, is_so: impl Fn(&Status) -> bool) {
    for _ in 0..2_000 {
        call(cache).await;
        if is_so(&cache.health().status) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it says {:?}", cache.health());
}

fn cache(url: String) -> Cache {
    Cache::builder().url(url).build().unwrap()
}

#[tokio::test]
async fn a_server_that_goes_and_comes_back() {
    let mut server = RedisServer::start();
    let cache = cache(server.url());
    assert!(matches!(cache.health().status, Status::Unknown));
    cache.ping().await.unwrap();
    assert!(cache.health().status.is_working());
    server.kill();
    call_until(&cache, |status| matches!(status, Status::Unreachable(_))).await;
    assert!(cache.ping().await.unwrap_err().is_unavailable());
    server.restart();
    call_until(&cache, Status::is_working).await;
    cache.ping().await.unwrap();
}

#[tokio::test]
async fn a_server_that_stands_still() {
    let server = RedisServer::start();
    let builder = Cache::builder().url(server.url());
    let cache = builder
        .op_timeout(Duration::from_millis(20))
        .build()
        .unwrap();
    call(&cache).await;
    server.freeze();
    call_until(&cache, |status| matches!(status, Status::Unreachable(_))).await;
    let error = cache.health().status.error().cloned().unwrap();
    assert!(error.is_timeout(), "{error}");
    server.thaw();
    call_until(&cache, Status::is_working).await;
}

#[tokio::test]
async fn wrong_credentials() {
    let server = RedisServer::builder().password("right").start();
    let cache = cache(format!("redis://:wrong@127.0.0.1:{}", server.port()));
    call_until(&cache, |status| matches!(status, Status::Denied(_))).await;
    let error = cache.ping().await.unwrap_err();
    assert!(
        error.is_refused() && !error.to_string().contains("wrong"),
        "{error}"
    );
    // Mended on the server, without a restart of the program.
    let words = ["CONFIG", "SET", "requirepass", "wrong"];
    assert_eq!(server.query::<String>(&words), "OK");
    call_until(&cache, Status::is_working).await;
}

#[tokio::test]
async fn a_command_that_is_not_allowed() {
    let server = RedisServer::start();
    let rules = |rules: &[&str]| {
        let words = [
            &["ACL", "SETUSER", "ann", "on", ">secret", "~*", "&*"],
            rules,
        ]
        .concat();
        assert_eq!(server.query::<String>(&words), "OK");
    };
    rules(&["+@all", "-eval"]);
    let cache = cache(format!("redis://ann:secret@127.0.0.1:{}", server.port()));
    call_until(&cache, |status| matches!(status, Status::Denied(_))).await;
    assert!(cache.ping().await.unwrap_err().is_refused());
    rules(&["+eval"]);
    call_until(&cache, Status::is_working).await;
}

#[tokio::test]
async fn a_replica() {
    let primary = RedisServer::start();
    let replica = RedisServer::start();
    let cache = cache(replica.url());
    call(&cache).await;
    assert!(cache.health().status.is_working());
    let port = primary.port().to_string();
    assert_eq!(
        replica.query::<String>(&["REPLICAOF", "127.0.0.1", &port]),
        "OK"
    );
    assert!(cache.invalidate(["row"]).await.is_err());
    call_until(&cache, |status| matches!(status, Status::WritesRefused(_))).await;
    assert_eq!(replica.query::<String>(&["REPLICAOF", "NO", "ONE"]), "OK");
    call_until(&cache, Status::is_working).await;
    cache.flush(Duration::from_secs(20)).await.unwrap();
}

#[tokio::test]
async fn a_server_without_memory() {
    let server = RedisServer::start();
    let cache = cache(server.url());
    call(&cache).await;
    assert_eq!(
        server.query::<String>(&["CONFIG", "SET", "maxmemory", "1"]),
        "OK"
    );
    let refused = cache.set("another", &1, Options::new()).await.unwrap_err();
    assert!(refused.is_refused(), "{refused}");
    assert!(matches!(cache.health().status, Status::WritesRefused(_)));
    cache
        .invalidate(["row"])
        .await
        .expect("what only removes is not refused");
    assert_eq!(
        server.query::<String>(&["CONFIG", "SET", "maxmemory", "0"]),
        "OK"
    );
    call_until(&cache, Status::is_working).await;
}

#[tokio::test]
async fn while_the_server_is_away_calls_do_not_touch_the_network() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let attempts = Arc::new(AtomicU64::new(0));
    let counted = attempts.clone();
    let server = tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            counted.fetch_add(1, SeqCst);
            drop(connection);
        }
    });
    let cache = cache(url);
    call_until(&cache, |status| matches!(status, Status::Unreachable(_))).await;
    let before = (attempts.load(SeqCst), tokio::time::Instant::now());
    for _ in 0..10_000 {
        call(&cache).await;
    }
    // The keeper's alone, however fast or slow the calls were.
    let keeper = before.1.elapsed().as_millis() / 10 + 2;
    let made = attempts.load(SeqCst) - before.0;
    assert!(
        u128::from(made) <= keeper,
        "{made} in {:?}",
        before.1.elapsed()
    );
    assert_eq!(cache.stats().outages, 1);
    server.abort();
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_was_idle_is_no_outage() {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let cache = cache(proxy.url());
    call(&cache).await;
    proxy.cut().await;
    proxy.heal().await;
    call(&cache).await;
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.errors, stats.outages), (1, 0, 0));
}

/// Asks the cache how it is, whenever something is said of it.
struct Curious(Cache);

impl tracing::Subscriber for Curious {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn event(&self, _: &tracing::Event<'_>) {
        let _ = (self.0.health(), self.0.stats());
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn who_listens_to_the_log_may_ask_the_cache() {
    let mut server = RedisServer::start();
    let builder = Cache::builder().url(server.url()).journal_capacity(1);
    let cache = builder.build().unwrap();
    let _listening = tracing::subscriber::set_default(Curious(cache.clone()));
    call(&cache).await;
    server.kill();
    cache.invalidate(["a", "b"]).await.unwrap_err();
    call_until(&cache, |status| matches!(status, Status::Unreachable(_))).await;
    server.restart();
    call_until(&cache, Status::is_working).await;
    let words = ["CONFIG", "SET", "maxmemory", "1"];
    assert_eq!(server.query::<String>(&words), "OK");
    let refused = cache.set("another", &1, Options::new()).await;
    assert!(refused.unwrap_err().is_refused());
    let words = ["CONFIG", "SET", "maxmemory", "0"];
    assert_eq!(server.query::<String>(&words), "OK");
    call_until(&cache, Status::is_working).await;
}
