//! Passwords, users, databases and sockets.

use cache_runtime::{Cache, Options};
use cache_tests::RedisServer;

/// Checks that a cache at `url` loads, serves and invalidates.
async fn check_serves(url: &str) {
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

/// The same for a user with all rights, except for what `rule` takes away.
async fn check_serves_user(rule: &str) {
    let server = RedisServer::start();
    server.set_user("ann", &["on", ">secret", "~test:*", "+@all", rule]);
    let port = server.port();
    check_serves(&format!("redis://ann:secret@127.0.0.1:{port}")).await;
}

#[tokio::test]
async fn a_url_may_have_a_password() {
    let server = RedisServer::builder().password("p@ss:word").start();
    let port = server.port();
    check_serves(&format!("redis://:p%40ss%3Aword@127.0.0.1:{port}")).await;
}

#[tokio::test]
async fn a_url_may_have_a_user_and_a_password() {
    check_serves_user("+ping").await;
}

/// Such a user's cache cannot hear what other processes announce.
#[tokio::test]
async fn a_user_may_lack_the_right_to_choose_the_protocol() {
    check_serves_user("-hello").await;
}

/// Such a user's cache cannot tell that a server was restarted from an old snapshot.
#[tokio::test]
async fn a_user_may_lack_the_right_to_ask_which_server_it_is() {
    check_serves_user("-info").await;
}

#[tokio::test]
async fn a_url_may_have_the_number_of_a_database() {
    let server = RedisServer::start();
    let port = server.port();
    check_serves(&format!("redis://127.0.0.1:{port}/3")).await;
    assert_eq!(server.query::<u64>(&["DBSIZE"]), 0, "not in database 0");
    check_serves(&format!("{}?db=4", server.unix_url())).await;
    assert_eq!(server.query::<u64>(&["DBSIZE"]), 0, "not in database 0");
}

#[tokio::test]
async fn a_url_may_name_valkey_or_a_socket() {
    let server = RedisServer::start();
    check_serves(&server.url().replace("redis://", "valkey://")).await;
    check_serves(&server.unix_url()).await;
}
