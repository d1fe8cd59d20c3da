//! Wrong input is an error of [`Cache`]'s methods, and a miss of annotated functions.

use std::time::Duration;

use cache_runtime::{Cache, CacheBuilder, Options, cached};
use cache_tests::{EventLog, RedisServer};
use serde::{Deserialize, Serialize, Serializer};

use crate::behaviour::on_every_backend;

on_every_backend! {
    a_default_ttl_of_zero_is_refused
    a_ttl_of_zero_is_refused
    an_empty_key_is_an_error
}

#[cached(key = "length:<text>", ttl = 60, cache = cache, skip(cache))]
async fn length(cache: &Cache, text: &str) -> usize {
    text.len()
}

fn cache(url: &str) -> Cache {
    Cache::builder().url(url).namespace("test").build().unwrap()
}

/// Checks that an annotated function works, and that each call is a miss.
async fn check_only_misses(cache: &Cache) {
    for _ in 0..3 {
        assert_eq!(length(cache, "four").await, 4);
    }
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.loads), (0, 3, 3));
}

#[test]
fn an_invalid_url_is_refused_and_the_error_says_which_are_valid() {
    for url in [
        "http://:secret@localhost",
        "",
        "localhost:6379",
        "memory",
        "redis://localhost:port",
    ] {
        let error = Cache::builder().url(url).build().unwrap_err();
        assert!(error.is_config(), "{url}: {error:?}");
        assert!(error.to_string().contains("write `"), "{url}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_host_that_is_not_there_is_a_miss_for_functions_and_an_error_for_methods() {
    // Nothing listens on port 1, and no host's name ends in `invalid`.
    for url in ["redis://127.0.0.1:1", "redis://nowhere.invalid"] {
        let cache = cache(url);
        check_only_misses(&cache).await;
        let error = cache.exists("a").await.unwrap_err();
        assert!(error.is_unavailable(), "{url}: {error:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_a_miss_for_functions_and_an_error_for_methods() {
    let server = RedisServer::builder().password("sesame").start();
    let port = server.port();
    for url in [
        format!("redis://:secret@127.0.0.1:{port}"),
        format!("redis://127.0.0.1:{port}"),
    ] {
        let cache = cache(&url);
        check_only_misses(&cache).await;
        let error = cache.exists("a").await.unwrap_err();
        assert!(error.is_refused(), "{url}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
}

/// Spoils a slot, and checks that the next call loads and stores again.
async fn check_replaced(spoil: impl AsyncFnOnce(&RedisServer, &Cache)) {
    let server = RedisServer::start();
    let cache = cache(&server.url());
    assert_eq!(length(&cache, "four").await, 4);
    assert_eq!(server.keys(), ["test:e:length:'four'"]);
    spoil(&server, &cache).await;
    let before = cache.stats();
    assert_eq!(length(&cache, "four").await, 4);
    assert_eq!(cache.stats().loads, before.loads + 1);
    assert_eq!(length(&cache, "four").await, 4);
    assert_eq!(cache.stats().hits, before.hits + 1);
}

#[tokio::test]
async fn garbage_in_a_slot_is_replaced() {
    for garbage in ["", "E", "garbage", "E\u{1}234567890", "L\u{1}"] {
        check_replaced(async |server, _| server.query(&["SET", "test:e:length:'four'", garbage]))
            .await;
    }
}

#[tokio::test]
async fn a_truncated_entry_is_replaced() {
    check_replaced(async |server, _| {
        let slot = "test:e:length:'four'";
        let entry: Vec<u8> = server.query(&["GET", slot]);
        let half = &entry[..entry.len() / 2];
        let mut set = redis::cmd("SET");
        let () = set
            .arg(slot)
            .arg(half)
            .query(&mut server.connection())
            .unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_value_of_another_type_is_replaced() {
    check_replaced(async |_, cache| {
        let options = Options::new();
        cache
            .set("length:'four'", &"four".to_owned(), options)
            .await
            .unwrap();
    })
    .await;
}

/// A value that no codec writes.
#[derive(Clone, Deserialize)]
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it cannot be written"))
    }
}

fn recorded(server: &RedisServer) -> (Cache, EventLog) {
    let events = EventLog::default();
    let cache = Cache::builder().url(server.url()).namespace("test");
    (events.record(cache.jitter(0.0)).build().unwrap(), events)
}

/// The event of a method that has failed.
fn fail(error: &cache_runtime::Error) -> String {
    format!("fail: {error}")
}

#[tokio::test]
async fn a_method_tells_once_what_it_cannot_read_or_write() {
    let server = RedisServer::start();
    let (cache, events) = recorded(&server);
    let text = "a".to_owned();
    cache.set("text", &text, Options::new()).await.unwrap();
    assert!(cache.exists("text").await.unwrap());
    assert_eq!(events.take(), ["fill text ttl=300s"]);
    let error = cache.get::<i32>("text").await.unwrap_err();
    assert_eq!(events.take(), ["miss text", &fail(&error)]);

    let set = cache.set("unwritable", &Unwritable, Options::new());
    let error = set.await.unwrap_err();
    assert_eq!(events.take(), [fail(&error)]);
    let _: String = server.query(&["SET", "test:v:tag", "foreign"]);
    let set = cache.set("tagged", &1, Options::new().tag("tag"));
    let error = set.await.unwrap_err();
    assert_eq!(events.take(), [fail(&error)]);
    assert_eq!(cache.stats().errors, 3);
}

/// It is no entry, whatever else it is.
#[tokio::test]
async fn a_foreign_value_in_a_slot_is_no_failure_of_a_method() {
    let server = RedisServer::start();
    let (cache, events) = recorded(&server);
    let put_garbage = || server.query::<String>(&["SET", "test:e:a", "garbage"]);
    let put_list = || {
        server
            .query::<u64>(&["RPUSH", "test:e:a", "garbage"])
            .to_string()
    };
    for put in [&put_garbage as &dyn Fn() -> String, &put_list] {
        put();
        assert_eq!(cache.get::<i32>("a").await.unwrap(), None);
        assert!(!cache.exists("a").await.unwrap());
        assert_eq!(cache.ttl("a").await.unwrap(), None);
        assert!(cache.delete("a").await.unwrap());
        put();
        cache.set("a", &1, Options::new()).await.unwrap();
        assert_eq!(cache.get("a").await.unwrap(), Some(1));
        assert!(cache.delete("a").await.unwrap());
        let expected = ["miss a", "delete a", "fill a ttl=300s", "hit a", "delete a"];
        assert_eq!(events.take(), expected);
    }
    assert_eq!(cache.stats().errors, 0);
}

#[tokio::test]
async fn without_a_server_each_method_tells_its_failure_once() {
    let mut server = RedisServer::start();
    let (cache, events) = recorded(&server);
    cache.ping().await.unwrap();
    server.kill();
    let error = cache.ping().await.unwrap_err();
    assert_eq!(events.take_without_reasons(), ["server away", "fail"]);
    assert!(error.is_unavailable(), "{error:?}");

    let error = cache.get::<i32>("a").await.unwrap_err();
    assert_eq!(events.take(), ["miss a", &fail(&error)]);
    let error = cache.set("a", &1, Options::new()).await.unwrap_err();
    assert_eq!(events.take(), [fail(&error)]);
    let failures = [
        cache.exists("a").await.unwrap_err(),
        cache.ttl("a").await.unwrap_err(),
        cache.delete("a").await.unwrap_err(),
        cache.clear().await.unwrap_err(),
    ];
    assert_eq!(events.take(), failures.each_ref().map(fail));
    assert_eq!(cache.stats().errors, 7);
}

#[tokio::test]
async fn a_slot_that_is_not_a_string_is_a_miss() {
    let server = RedisServer::start();
    let cache = cache(&server.url());
    let _: u64 = server.query(&["RPUSH", "test:e:length:'four'", "a list"]);
    check_only_misses(&cache).await;
}

async fn a_default_ttl_of_zero_is_refused(builder: CacheBuilder) {
    let error = builder.default_ttl(Duration::ZERO).build().unwrap_err();
    assert!(error.is_config(), "{error:?}");
}

async fn a_ttl_of_zero_is_refused(cache: Cache) {
    let options = Options::new().ttl(Duration::ZERO);
    let error = cache.set("a", &1, options).await.unwrap_err();
    assert!(error.is_config(), "{error:?}");
    assert!(!cache.exists("a").await.unwrap());
}

async fn an_empty_key_is_an_error(cache: Cache) {
    let error = cache.set("", &1, Options::new()).await.unwrap_err();
    assert!(error.is_key(), "{error:?}");
    assert!(cache.invalidate([""]).await.unwrap_err().is_key());
}
