//! Commands that a program writes itself, and servers that fail.

use std::time::Duration;

use cache_runtime::raw::{Command, Raw, Script};
use cache_runtime::{Cache, Options, Status};
use cache_tests::{RedisCluster, RedisServer, Upstash, patient, until};
use futures_util::TryStreamExt as _;

fn raw(cache: &Cache) -> Raw {
    cache.raw().unwrap()
}

#[tokio::test]
async fn without_a_server_there_is_none() {
    for url in ["memory:", "off:"] {
        let cache = Cache::builder().url(url).build().unwrap();
        assert!(cache.raw().is_none());
        assert!(!cache.has_server());
        assert_eq!(cache.is_on(), url == "memory:");
        cache.connect(Duration::ZERO).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_an_error_in_time() {
    let mut server = RedisServer::start();
    let limit = Duration::from_millis(200);
    let cache = Cache::builder().url(server.url()).op_timeout(limit);
    let cache = cache.build().unwrap();
    let get = || Command::new("GET").key("a");
    raw(&cache).query::<Option<String>>(get()).await.unwrap();
    server.freeze();
    let error = raw(&cache).query::<()>(get()).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    server.thaw();
    server.kill();
    // Until the breaker is open, and after that.
    for _ in 0..10 {
        let error = raw(&cache).query::<()>(get()).await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
    }
    assert!(matches!(cache.health().status, Status::Unreachable(_)));
    let mut keys = raw(&cache).scan("*");
    assert!(keys.try_next().await.unwrap_err().is_unavailable());
    server.restart();
    until(async || raw(&cache).query::<()>(get()).await.is_ok()).await;
}

#[tokio::test]
async fn a_failure_of_the_server_as_such_is_one_for_the_cache() {
    let server = RedisServer::start();
    let cache = patient(&server.url()).build().unwrap();
    cache.ping().await.unwrap();
    server.refuse_writes();
    let set = Command::new("SET").key("a").arg(1);
    let error = raw(&cache).query::<()>(set).await.unwrap_err();
    assert!(error.is_refused(), "{error}");
    assert!(matches!(cache.health().status, Status::WritesRefused(_)));
    server.accept_writes();
    until(async || cache.health().status.is_working()).await;
}

#[tokio::test]
async fn a_command_that_a_user_may_not_send_is_no_failure_of_the_server() {
    let server = RedisServer::start();
    server.set_user("app", &["on", ">word", "~*", "&*", "+@all", "-lpush"]);
    let url = server.url().replace("://", "://app:word@");
    let cache = patient(&url).build().unwrap();
    let push = Command::new("LPUSH").key("a").arg(1);
    let error = raw(&cache).query::<()>(push).await.unwrap_err();
    assert!(error.is_refused(), "{error}");
    assert!(error.to_string().contains("NOPERM"), "{error}");
    assert!(cache.health().status.is_working());
    cache.set("a", &1, Options::new()).await.unwrap();
}

#[tokio::test]
async fn a_command_whose_connection_breaks_is_not_sent_again() {
    let server = RedisServer::start();
    let cache = patient(&server.url()).build().unwrap();
    // The server closes a connection for which it has a longer answer, whether it has subscribed or not.
    let closes = "normal 1mb 0 0 pubsub 1mb 0 0";
    server.configure("client-output-buffer-limit", closes);
    let text = "redis.call('INCR', KEYS[1]) return string.rep('x', 8000000)";
    let count = Command::new("EVAL").arg(text).arg(1).key("count");
    let error = raw(&cache).query::<()>(count).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    let count: u64 = server.query(&["GET", "count"]);
    assert_eq!(count, 1);
    // Nor is one whose connection was closed before, unless that was seen.
    for _ in 0..10 {
        until(async || cache.ping().await.is_ok()).await;
        let before: u64 = server.query(&["GET", "count"]);
        for kind in ["normal", "pubsub"] {
            let () = server.query(&["CLIENT", "KILL", "TYPE", kind]);
        }
        let count = Command::new("INCR").key("count");
        let counted = raw(&cache).query::<u64>(count).await;
        let counted = counted.map(|count| count - before);
        let after: u64 = server.query(&["GET", "count"]);
        assert!(matches!(
            (after - before, counted),
            (0 | 1, Err(_)) | (1, Ok(1))
        ));
    }
}

#[tokio::test]
async fn a_known_script_is_named_by_its_digest() {
    static ONE: Script = Script::new("return 1");
    let server = RedisServer::start();
    let cache = patient(&server.url()).build().unwrap();
    for _ in 0..5 {
        let one: u8 = raw(&cache).script(&ONE).key("a").run().await.unwrap();
        assert_eq!(one, 1);
    }
    assert_eq!((server.calls("eval"), server.calls("evalsha")), (1, 5));
}

#[tokio::test]
async fn in_a_cluster_the_keys_of_one_command_must_be_together() {
    let cluster = RedisCluster::shared();
    let cache = patient(&cluster.url()).namespace(cluster.namespace());
    let cache = cache.build().unwrap();
    let raw = raw(&cache);
    let get = |a: &str, b: &str| Command::new("MGET").key(raw.name(a)).key(raw.name(b));
    let error = raw.query::<()>(get("a", "b")).await.unwrap_err();
    assert!(error.is_config(), "{error}");
    assert!(error.to_string().contains("hash slots"), "{error}");
    let both: Vec<Option<String>> = raw.query(get("{u}:a", "{u}:b")).await.unwrap();
    assert_eq!(both, [None, None]);
    let two = Script::new("return #KEYS");
    let run = raw.script(&two).key(raw.name("a")).key(raw.name("b"));
    assert!(run.run::<u8>().await.unwrap_err().is_config());
    // Keys that are not marked are seen by the server alone.
    let unmarked = Command::new("MGET").key(raw.name("a")).arg(raw.name("b"));
    let error = raw.query::<()>(unmarked).await.unwrap_err();
    assert!(error.is_refused(), "{error}");
    assert!(error.to_string().contains("{user:7}"), "{error}");
    // Without a key, it goes to some node.
    assert_eq!(
        raw.query::<String>(Command::new("PING")).await.unwrap(),
        "PONG"
    );
    assert!(cache.health().status.is_working());
}

#[tokio::test]
async fn over_http_an_argument_must_be_text() {
    let emulator = Upstash::start();
    let cache = patient(&emulator.url()).build().unwrap();
    let set = |bytes: &[u8]| Command::new("SET").key("a").arg(bytes);
    let error = raw(&cache).query::<()>(set(&[255])).await.unwrap_err();
    assert!(error.is_codec(), "{error}");
    assert!(error.to_string().contains("`SET`"), "{error}");
    assert!(cache.health().status.is_working());
    raw(&cache).query::<()>(set(b"text")).await.unwrap();
}

#[tokio::test]
async fn bytes_are_bytes_on_a_server() {
    let server = RedisServer::start();
    let cache = patient(&server.url()).build().unwrap();
    let bytes: Vec<u8> = (0..=255).collect();
    let set = Command::new("SET").key(&*bytes).arg(&bytes);
    raw(&cache).query::<()>(set).await.unwrap();
    let got: Vec<u8> = raw(&cache)
        .query(Command::new("GET").key(&*bytes))
        .await
        .unwrap();
    assert_eq!(got, bytes);
    let mut keys = raw(&cache).scan("*");
    assert!(keys.try_next().await.unwrap_err().is_codec());
    assert_eq!(keys.try_next().await.unwrap(), None);
    let keys: Vec<Vec<u8>> = raw(&cache).scan("*").bytes().try_collect().await.unwrap();
    assert_eq!(keys, [bytes]);
}

#[tokio::test]
async fn a_scan_is_no_scan_any_more_once_its_server_has_restarted() {
    let mut server = RedisServer::start();
    let cache = patient(&server.url()).build().unwrap();
    for n in 0..100 {
        let set = Command::new("SET").key(format!("key:{n}")).arg(n);
        raw(&cache).query::<()>(set).await.unwrap();
    }
    let mut keys = raw(&cache).scan("key:*").count(10);
    assert!(keys.try_next().await.unwrap().is_some());
    server.save();
    server.kill();
    server.restart_from_snapshot();
    until(async || cache.ping().await.is_ok()).await;
    let error = loop {
        match keys.try_next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("keys may be missing"),
            Err(error) => break error,
        }
    };
    assert!(error.is_unavailable(), "{error}");
}

#[tokio::test]
async fn connecting_waits_for_a_server_that_starts_later() {
    let mut server = RedisServer::start();
    server.kill();
    let cache = Cache::builder().url(server.url()).build().unwrap();
    let error = cache.connect(Duration::from_millis(50)).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    let connecting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.connect(Duration::from_secs(60)).await }
    });
    until(async || !cache.health().status.is_working()).await;
    server.restart();
    connecting.await.unwrap().unwrap();
    cache.set("a", &1, Options::new()).await.unwrap();
    server.refuse_writes();
    let error = cache.connect(Duration::from_millis(50)).await.unwrap_err();
    assert!(error.is_refused(), "{error}");
}
