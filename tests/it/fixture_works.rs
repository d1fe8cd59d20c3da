//! The server and the network do what the other tests take for granted.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use cache_tests::{Proxy, RedisServer, Way};

fn connects(port: u16) -> Result<(), ErrorKind> {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .map(drop)
        .map_err(|error| error.kind())
}

fn ping(url: &str) -> redis::RedisResult<String> {
    let limit = Duration::from_millis(300);
    let mut connection = redis::Client::open(url)?.get_connection_with_timeout(limit)?;
    connection.set_read_timeout(Some(limit))?;
    redis::cmd("PING").query(&mut connection)
}

#[test]
fn a_server_answers_on_its_port_and_on_its_socket() {
    let server = RedisServer::start();
    assert_eq!(ping(&server.url()).unwrap(), "PONG");
    assert_eq!(ping(&server.unix_url()).unwrap(), "PONG");
}

#[test]
fn a_server_with_a_password_lets_no_one_else_in() {
    let server = RedisServer::builder().password("sesame").start();
    assert_eq!(ping(&server.url()).unwrap(), "PONG");
    assert_eq!(ping(&server.unix_url()).unwrap(), "PONG");
    let stranger = ping(&format!("redis://127.0.0.1:{}", server.port()));
    assert_eq!(stranger.unwrap_err().code(), Some("NOAUTH"));
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
fn a_snapshot_brings_old_data_back_until_a_plain_restart() {
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
fn a_frozen_server_is_silent_but_loses_nothing() {
    let server = RedisServer::start();
    let _: () = server.query(&["SET", "a", "1"]);
    server.freeze();
    assert_eq!(connects(server.port()), Ok(()));
    assert!(ping(&server.url()).unwrap_err().is_timeout());
    server.thaw();
    assert_eq!(server.query::<String>(&["GET", "a"]), "1");
}

#[test]
fn a_server_ends_with_its_test_even_frozen_and_in_a_panic() {
    let server = RedisServer::start();
    let port = server.port();
    let test = catch_unwind(AssertUnwindSafe(move || {
        server.freeze();
        panic!("as a failed assertion does");
    }));
    assert!(test.is_err());
    assert_eq!(connects(port), Err(ErrorKind::ConnectionRefused));
}

#[test]
fn commands_are_counted_but_not_the_look_at_the_count() {
    let server = RedisServer::start();
    assert_eq!(server.commands_processed(), 0);
    let _: () = server.query(&["MSET", "a", "1", "b", "2"]);
    let _: Vec<String> = server.query(&["MGET", "a", "b"]);
    assert_eq!(server.calls("mget"), 1);
    assert_eq!(server.commands_processed(), 2);
    assert_eq!(server.commands_processed(), 2);
}

/// `redis-rs` blocks, and the proxy runs on the test's own runtime.
async fn echo(url: String, word: &'static str) -> redis::RedisResult<String> {
    tokio::task::spawn_blocking(move || {
        let limit = Duration::from_millis(300);
        let mut connection = redis::Client::open(url)?.get_connection_with_timeout(limit)?;
        connection.set_read_timeout(Some(limit))?;
        redis::cmd("ECHO").arg(word).query(&mut connection)
    })
    .await
    .expect("no panic")
}

#[tokio::test]
async fn a_cut_network_refuses_and_a_healed_one_passes() {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    assert_eq!(echo(proxy.url(), "hello").await.unwrap(), "hello");
    proxy.cut().await;
    let refused = echo(proxy.url(), "hello").await.unwrap_err();
    assert!(refused.is_connection_refusal(), "{refused:?}");
    proxy.heal().await;
    assert_eq!(echo(proxy.url(), "again").await.unwrap(), "again");
}

#[tokio::test]
async fn a_black_hole_keeps_the_connection_and_passes_on_later() {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let mut connection = {
        let client = redis::Client::open(proxy.url()).unwrap();
        tokio::task::spawn_blocking(move || client.get_connection().unwrap())
            .await
            .unwrap()
    };
    proxy.black_hole();
    let asked = tokio::task::spawn_blocking(move || {
        redis::cmd("ECHO")
            .arg("late")
            .query::<String>(&mut connection)
    });
    assert!(echo(proxy.url(), "new").await.unwrap_err().is_timeout());
    assert!(!asked.is_finished());
    proxy.heal().await;
    assert_eq!(asked.await.unwrap().unwrap(), "late");
}

#[tokio::test]
async fn answers_can_be_lost_while_what_is_asked_is_done() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    let client = redis::Client::open(proxy.url()).unwrap();
    let connect = tokio::task::spawn_blocking(move || client.get_connection().unwrap());
    let mut connection = connect.await.unwrap();
    proxy.hold(Way::ToClient);
    let set = tokio::task::spawn_blocking(move || {
        connection
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        redis::cmd("SET")
            .arg("a")
            .arg("1")
            .query::<()>(&mut connection)
    });
    assert!(set.await.unwrap().unwrap_err().is_timeout());
    assert_eq!(server.keys(), ["a"]);
}

#[tokio::test]
async fn a_redirected_network_leads_to_another_server() {
    let (one, other) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::start(one.port()).await;
    echo(proxy.url(), "one").await.unwrap();
    proxy.redirect(other.port());
    echo(proxy.url(), "other").await.unwrap();
    assert_eq!((one.calls("echo"), other.calls("echo")), (1, 1));
}

#[tokio::test]
async fn a_delay_is_felt_both_ways() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    proxy.delay(Duration::from_millis(30));
    let start = tokio::time::Instant::now();
    assert_eq!(echo(proxy.url(), "slow").await.unwrap(), "slow");
    assert!(start.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn the_network_can_change_what_the_server_is_told() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    proxy.rewrite(b"black", b"white");
    assert_eq!(
        echo(proxy.url(), "a black cat").await.unwrap(),
        "a white cat"
    );
    assert_eq!(proxy.rewrites(), 1);
}
