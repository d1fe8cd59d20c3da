//! Passwords, users, databases and sockets.

use cache_runtime::{Cache, Options};
use cache_tests::{EventLog, Proxy, RedisServer, patient};
use tokio::io::{AsyncReadExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

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
async fn a_user_may_lack_the_right_to_ask_for_any_answer() {
    check_serves_user("-ping").await;
    let server = RedisServer::start();
    server.set_user(
        "ann",
        &["on", ">secret", "~test:*", "+@all", "-ping", "-hello"],
    );
    let url = format!("redis://ann:secret@127.0.0.1:{}", server.port());
    let cache = Cache::builder().url(url).namespace("test").build().unwrap();
    cache.ping().await.unwrap();
    cache.clear().await.unwrap();
}

#[tokio::test]
async fn a_right_without_which_nothing_is_cached_is_named() {
    let server = RedisServer::start();
    server.set_user("ann", &["on", ">secret", "~test:*", "+@all", "-eval"]);
    let url = format!("redis://ann:secret@127.0.0.1:{}", server.port());
    let cache = Cache::builder().url(url).namespace("test").build().unwrap();
    let load = async { Ok::<_, ()>(7) };
    assert_eq!(
        cache.get_or_load("seven", Options::new(), load).await,
        Ok(7)
    );
    let error = cache.ping().await.unwrap_err().to_string();
    assert!(error.contains("'eval'"), "{error}");
}

/// Each of these takes the place of `HELLO` on its way to the server.
#[tokio::test]
async fn a_server_may_refuse_to_choose_the_protocol_in_any_way() {
    // An unknown command; one that the server answers by hanging up, without a word.
    for refused in [b"HULLO", b"Host:"] {
        let server = RedisServer::start();
        let proxy = Proxy::start(server.port()).await;
        proxy.rewrite(b"HELLO", refused);
        check_serves(&proxy.url()).await;
        assert!(proxy.rewrites() > 0);
    }
    // An argument that ends the connection with an error of the protocol.
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    proxy.rewrite(b"HELLO\r\n$1", b"HELLO\r\n$x");
    check_serves(&proxy.url()).await;
    assert!(proxy.rewrites() > 0);
}

/// That a connection was closed once, while it was made, does not mean that `HELLO` is refused.
#[tokio::test]
async fn a_server_that_has_hung_up_once_is_heard_afterwards() {
    let server = RedisServer::start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let relay = async {
        let (mut first, _) = listener.accept().await.unwrap();
        first.read_u8().await.unwrap();
        drop(first);
        let mut connections = JoinSet::new();
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let upstream = TcpStream::connect(("127.0.0.1", server.port())).await;
            let mut upstream = upstream.unwrap();
            connections.spawn(async move { copy_bidirectional(&mut client, &mut upstream).await });
        }
    };
    let events = EventLog::default();
    let builder = events.record(patient(&format!("redis://{address}")));
    let cache = builder.build().unwrap();
    tokio::select! {
        () = relay => {},
        pinged = cache.ping() => pinged.unwrap(),
    }
    assert_eq!(events.take(), [""; 0]);
}

/// A cache on such a server cannot tell that it was restarted from an old snapshot.
#[tokio::test]
async fn a_server_may_leave_out_which_one_it_is() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    proxy.rewrite(b"INFO\r\n$6\r\nserver", b"INFO\r\n$6\r\nmemory");
    check_serves(&proxy.url()).await;
    assert!(proxy.rewrites() > 0);
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
