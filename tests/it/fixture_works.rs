//! The server and the network do what the other tests rely on.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use cache_tests::{LIMIT, Proxy, RedisServer, Way, until};

fn connects(port: u16) -> Result<(), ErrorKind> {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .map(drop)
        .map_err(|error| error.kind())
}

/// For commands that must not be answered.
const BRIEF: Duration = Duration::from_millis(300);

fn ask(url: &str, words: &[&str], limit: Duration) -> redis::RedisResult<String> {
    let mut connection = redis::Client::open(url)?.get_connection_with_timeout(limit)?;
    connection.set_read_timeout(Some(limit))?;
    redis::Cmd::new().arg(words).query(&mut connection)
}

fn ping(url: &str) -> redis::RedisResult<String> {
    ask(url, &["PING"], LIMIT)
}

#[test]
fn a_server_answers_on_its_port_and_on_its_socket() {
    let server = RedisServer::start();
    assert_eq!(ping(&server.url()).unwrap(), "PONG");
    assert_eq!(ping(&server.unix_url()).unwrap(), "PONG");
}

#[test]
fn a_server_with_a_password_refuses_clients_without_it() {
    let server = RedisServer::builder().password("sesame").start();
    assert_eq!(ping(&server.url()).unwrap(), "PONG");
    assert_eq!(ping(&server.unix_url()).unwrap(), "PONG");
    let without = ping(&format!("redis://127.0.0.1:{}", server.port()));
    assert_eq!(without.unwrap_err().code(), Some("NOAUTH"));
}

#[test]
fn a_killed_server_refuses_and_a_restarted_one_is_empty() {
    let mut server = RedisServer::start();
    let port = server.port();
    let _: () = server.query(&["SET", "a", "1"]);
    server.kill();
    assert_eq!(connects(port), Err(ErrorKind::ConnectionRefused));
    server.restart();
    assert_eq!(server.port(), port);
    assert!(server.keys().is_empty());
}

#[test]
fn a_snapshot_brings_old_data_back_and_a_plain_restart_removes_it() {
    let mut server = RedisServer::start();
    let _: () = server.query(&["SET", "a", "saved"]);
    server.save();
    let _: () = server.query(&["SET", "a", "later"]);
    server.restart_from_snapshot();
    assert_eq!(server.query::<String>(&["GET", "a"]), "saved");
    server.restart();
    assert!(server.keys().is_empty());
}

#[test]
fn a_frozen_server_does_not_answer_and_keeps_its_data() {
    let server = RedisServer::start();
    let _: () = server.query(&["SET", "a", "1"]);
    server.freeze();
    assert_eq!(connects(server.port()), Ok(()));
    let asked = ask(&server.url(), &["PING"], BRIEF);
    assert!(asked.unwrap_err().is_timeout());
    server.thaw();
    assert_eq!(server.query::<String>(&["GET", "a"]), "1");
}

#[test]
fn a_server_ends_with_its_test_even_if_it_is_frozen_and_the_test_panics() {
    let server = RedisServer::start();
    let port = server.port();
    let test = catch_unwind(AssertUnwindSafe(move || {
        server.freeze();
        panic!("as a failed assertion would");
    }));
    assert!(test.is_err());
    assert_eq!(connects(port), Err(ErrorKind::ConnectionRefused));
}

#[test]
fn commands_are_counted_and_a_look_at_the_count_is_not() {
    let server = RedisServer::start();
    assert_eq!(server.commands_processed(), 0);
    let _: () = server.query(&["MSET", "a", "1", "b", "2"]);
    let _: Vec<String> = server.query(&["MGET", "a", "b"]);
    assert_eq!(server.calls("mget"), 1);
    assert_eq!(server.commands_processed(), 2);
    assert_eq!(server.commands_processed(), 2);
}

/// `redis-rs` blocks its thread, and the proxy runs on the test's own runtime: so a thread of its
/// own asks.
async fn echo(proxy: &Proxy, word: &'static str, limit: Duration) -> redis::RedisResult<String> {
    let url = proxy.url();
    let asked = tokio::task::spawn_blocking(move || ask(&url, &["ECHO", word], limit));
    asked.await.expect("no panic")
}

/// A connection through the proxy.
async fn connect(proxy: &Proxy) -> redis::Connection {
    let client = redis::Client::open(proxy.url()).unwrap();
    let connected = tokio::task::spawn_blocking(move || client.get_connection());
    connected.await.expect("no panic").unwrap()
}

#[tokio::test]
async fn a_cut_network_refuses_connections_and_a_healed_one_does_not() {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    assert_eq!(echo(&proxy, "hello", LIMIT).await.unwrap(), "hello");
    proxy.cut().await;
    let refused = echo(&proxy, "hello", LIMIT).await.unwrap_err();
    assert!(refused.is_connection_refusal(), "{refused:?}");
    proxy.heal().await;
    assert_eq!(echo(&proxy, "again", LIMIT).await.unwrap(), "again");
}

#[tokio::test]
async fn a_black_hole_keeps_connections_open_and_passes_bytes_on_once_healed() {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let mut connection = connect(&proxy).await;
    proxy.black_hole();
    let asked = tokio::task::spawn_blocking(move || {
        redis::cmd("ECHO")
            .arg("late")
            .query::<String>(&mut connection)
    });
    assert!(echo(&proxy, "new", BRIEF).await.unwrap_err().is_timeout());
    assert!(!asked.is_finished());
    proxy.heal().await;
    assert_eq!(asked.await.unwrap().unwrap(), "late");
}

#[tokio::test]
async fn a_held_answer_does_not_hold_the_command() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    let mut connection = connect(&proxy).await;
    proxy.hold(Way::ToClient);
    let set = tokio::task::spawn_blocking(move || {
        connection.set_read_timeout(Some(BRIEF)).unwrap();
        redis::cmd("SET")
            .arg("a")
            .arg("1")
            .query::<()>(&mut connection)
    });
    assert!(set.await.unwrap().unwrap_err().is_timeout());
    until(async || server.keys() == ["a"]).await;
}

#[tokio::test]
async fn a_redirected_network_leads_to_another_server() {
    let (one, other) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::start(one.port()).await;
    echo(&proxy, "one", LIMIT).await.unwrap();
    proxy.redirect(other.port());
    echo(&proxy, "other", LIMIT).await.unwrap();
    assert_eq!((one.calls("echo"), other.calls("echo")), (1, 1));
}

#[tokio::test]
async fn a_delay_holds_commands_and_answers() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    proxy.delay(Duration::from_millis(30));
    let start = tokio::time::Instant::now();
    assert_eq!(echo(&proxy, "slow", LIMIT).await.unwrap(), "slow");
    assert!(start.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn the_network_can_rewrite_commands() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    proxy.rewrite(b"black", b"white");
    assert_eq!(
        echo(&proxy, "a black cat", LIMIT).await.unwrap(),
        "a white cat"
    );
    assert_eq!(proxy.rewrites(), 1);
}

#[tokio::test]
async fn a_slow_way_limits_the_bandwidth() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    proxy.slow_way(Way::ToServer);
    let word: &'static str = "x".repeat(10 * 64 * 1024).leak();
    let start = tokio::time::Instant::now();
    assert_eq!(echo(&proxy, word, LIMIT).await.unwrap(), word);
    assert!(start.elapsed() >= Duration::from_millis(150));
}
