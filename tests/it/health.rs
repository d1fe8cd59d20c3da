//! What a cache says of its server, and how calls leave a server alone that is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use cache_runtime::{Cache, Options, Status};
use cache_tests::{EventLog, LIMIT, Proxy, RedisServer, patient, until};
use tokio::net::TcpListener;

async fn call(cache: &Cache) {
    let load = async { Ok::<_, ()>(1) };
    let called = cache.get_or_load("row", Options::new(), load).await;
    assert_eq!(called, Ok(1));
}

/// Calls again and again, until the cache's status is as expected.
async fn call_until(cache: &Cache, expected: impl Fn(&Status) -> bool) {
    until(async || {
        call(cache).await;
        expected(&cache.health().status)
    })
    .await;
}

fn cache(url: String) -> Cache {
    Cache::builder().url(url).build().unwrap()
}

/// A cache, and what happened to it.
fn recorded(url: String) -> (Cache, EventLog) {
    let events = EventLog::default();
    // A busy machine does not look like an outage.
    let builder = Cache::builder().op_timeout(LIMIT).connect_timeout(LIMIT);
    let builder = builder.url(url);
    (events.record(builder).build().unwrap(), events)
}

/// What a cache said of its server, and not of the calls in between.
fn of_the_server(events: &EventLog) -> Vec<String> {
    let mut events = events.take_without_reasons();
    events.retain(|event| event.starts_with("server "));
    events
}

#[tokio::test]
async fn a_killed_server_is_unreachable_until_it_is_back() {
    let mut server = RedisServer::start();
    let (cache, events) = recorded(server.url());
    assert!(matches!(cache.health().status, Status::Unknown));
    cache.ping().await.unwrap();
    assert!(cache.health().status.is_working());
    server.kill();
    call_until(&cache, |status| matches!(status, Status::Unreachable(_))).await;
    assert!(cache.ping().await.unwrap_err().is_unavailable());
    server.restart();
    call_until(&cache, Status::is_working).await;
    cache.ping().await.unwrap();
    assert_eq!(of_the_server(&events), ["server away", "server back"]);
}

#[tokio::test]
async fn a_frozen_server_is_unreachable_until_it_goes_on() {
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
async fn a_server_that_refuses_the_password_denies_until_that_is_mended() {
    let server = RedisServer::builder().password("right").start();
    let (cache, events) = recorded(format!("redis://:wrong@127.0.0.1:{}", server.port()));
    call_until(&cache, |status| matches!(status, Status::Denied(_))).await;
    let error = cache.ping().await.unwrap_err();
    assert!(
        error.is_refused() && !error.to_string().contains("wrong"),
        "{error}"
    );
    // The server is mended, and the program is not restarted.
    server.configure("requirepass", "wrong");
    call_until(&cache, Status::is_working).await;
    let expected = [
        "server away",
        // The calls that follow fail for the same reason.
        "server refuses",
        "server accepts",
        "server back",
    ];
    assert_eq!(of_the_server(&events), expected);
}

#[tokio::test]
async fn a_server_that_refuses_a_command_denies_until_that_is_mended() {
    let server = RedisServer::start();
    server.set_user("ann", &["on", ">secret", "~*", "&*", "+@all", "-eval"]);
    let (cache, events) = recorded(format!("redis://ann:secret@127.0.0.1:{}", server.port()));
    call_until(&cache, |status| matches!(status, Status::Denied(_))).await;
    assert!(cache.ping().await.unwrap_err().is_refused());
    server.set_user("ann", &["+eval"]);
    call_until(&cache, Status::is_working).await;
    let expected = ["server refuses", "server accepts"];
    assert_eq!(of_the_server(&events), expected);
}

#[tokio::test]
async fn a_replica_refuses_writes_until_it_is_promoted() {
    let primary = RedisServer::start();
    let replica = RedisServer::start();
    let (cache, events) = recorded(replica.url());
    call(&cache).await;
    assert!(cache.health().status.is_working());
    replica.replicate(primary.port());
    assert!(cache.invalidate(["row"]).await.is_err());
    call_until(&cache, |status| matches!(status, Status::WritesRefused(_))).await;
    replica.promote();
    call_until(&cache, Status::is_working).await;
    cache.flush(LIMIT).await.unwrap();
    let expected = ["server refuses", "server accepts"];
    assert_eq!(of_the_server(&events), expected);
}

#[tokio::test]
async fn a_server_without_memory_refuses_writes_and_takes_invalidations() {
    let server = RedisServer::start();
    let (cache, events) = recorded(server.url());
    call(&cache).await;
    server.configure("maxmemory", "1");
    let refused = cache.set("another", &1, Options::new()).await.unwrap_err();
    assert!(refused.is_refused(), "{refused}");
    assert!(matches!(cache.health().status, Status::WritesRefused(_)));
    cache
        .invalidate(["row"])
        .await
        .expect("the server takes what only removes");
    server.configure("maxmemory", "0");
    call_until(&cache, Status::is_working).await;
    let expected = ["server refuses", "server accepts"];
    assert_eq!(of_the_server(&events), expected);
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
    // Only the keeper task tries, and it pauses for at least 10 ms in between.
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
async fn a_connection_that_is_closed_while_it_is_idle_is_no_outage() {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let events = EventLog::default();
    let builder = events.record(patient(&proxy.url()).jitter(0.0));
    let cache = builder.build().unwrap();
    call(&cache).await;
    proxy.cut().await;
    proxy.heal().await;
    call(&cache).await;
    let expected = ["miss row", "load row", "fill row ttl=300s", "hit row"];
    assert_eq!(events.take(), expected);
}

/// A listener to the log that asks the cache for its health at each line.
struct AsksTheCache(Cache);

impl tracing::Subscriber for AsksTheCache {
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
async fn a_listener_to_the_log_may_ask_the_cache() {
    let mut server = RedisServer::start();
    let builder = Cache::builder().url(server.url()).backlog_room(170);
    let cache = builder.build().unwrap();
    let _listening = tracing::subscriber::set_default(AsksTheCache(cache.clone()));
    call(&cache).await;
    server.kill();
    cache.invalidate(["a", "b"]).await.unwrap_err();
    call_until(&cache, |status| matches!(status, Status::Unreachable(_))).await;
    server.restart();
    call_until(&cache, Status::is_working).await;
    server.configure("maxmemory", "1");
    let refused = cache.set("another", &1, Options::new()).await;
    assert!(refused.unwrap_err().is_refused());
    server.configure("maxmemory", "0");
    call_until(&cache, Status::is_working).await;
}
