//! The ways to a server: passwords, users, databases and sockets.

use cache_runtime::{Cache, Options};
use cache_tests::RedisServer;

/// Whether a cache at `url` is served, and which keys the server then has.
async fn check_served(url: String) {
    let cache = Cache::builder().url(url).namespace("test").build().unwrap();
    for _ in 0..2 {
        let load = async { Ok::<_, ()>(7) };
        let options = Options::new().tag("numbers");
        assert_eq!(cache.get_or_load("seven", options, load).await, Ok(7));
    }
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.loads, stats.errors), (1, 1, 0));
    cache.invalidate(["numbers"]).await.unwrap();
    assert_eq!(cache.get::<i32>("seven").await.unwrap(), None);
}

#[tokio::test]
async fn a_password() {
    let server = RedisServer::builder().password("p@ss:word").start();
    let port = server.port();
    check_served(format!("redis://:p%40ss%3Aword@127.0.0.1:{port}")).await;
}

#[tokio::test]
async fn a_user_with_a_password() {
    let server = RedisServer::start();
    let port = server.port();
    let rules = ["on", ">secret", "~test:*", "+@all"];
    let words = [&["ACL", "SETUSER", "ann"], &rules[..]].concat();
    assert_eq!(server.query::<String>(&words), "OK");
    check_served(format!("redis://ann:secret@127.0.0.1:{port}")).await;
}

/// Such a user's cache works; what other processes announce it cannot hear.
#[tokio::test]
async fn a_user_who_may_not_choose_the_protocol() {
    let server = RedisServer::start();
    let port = server.port();
    let rules = ["on", ">secret", "~test:*", "+@all", "-hello"];
    let words = [&["ACL", "SETUSER", "ann"], &rules[..]].concat();
    assert_eq!(server.query::<String>(&words), "OK");
    check_served(format!("redis://ann:secret@127.0.0.1:{port}")).await;
}

/// Such a user's cache works; a restart from an old snapshot it cannot notice.
#[tokio::test]
async fn a_user_who_may_not_ask_which_server_it_is() {
    let server = RedisServer::start();
    let port = server.port();
    let rules = ["on", ">secret", "~test:*", "+@all", "-info"];
    let words = [&["ACL", "SETUSER", "ann"], &rules[..]].concat();
    assert_eq!(server.query::<String>(&words), "OK");
    check_served(format!("redis://ann:secret@127.0.0.1:{port}")).await;
}

#[tokio::test]
async fn a_database_number() {
    let server = RedisServer::start();
    let port = server.port();
    check_served(format!("redis://127.0.0.1:{port}/3")).await;
    assert_eq!(server.query::<u64>(&["DBSIZE"]), 0, "not in database 0");
    check_served(format!("{}?db=4", server.unix_url())).await;
    assert_eq!(server.query::<u64>(&["DBSIZE"]), 0, "not in database 0");
}

#[tokio::test]
async fn other_names_of_the_scheme() {
    let server = RedisServer::start();
    check_served(server.url().replace("redis://", "valkey://")).await;
    check_served(server.unix_url()).await;
}
