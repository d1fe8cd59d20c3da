//! The server and the network do what the other tests rely on.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use cache_tests::{
    Authority, LIMIT, Proxy, RedisCluster, RedisServer, Way, slot_of, until, until_blocking,
};

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

#[test]
fn a_cluster_has_its_keys_on_three_primaries() {
    let shared = RedisCluster::shared();
    let cluster = shared.cluster();
    assert_eq!(cluster.primaries(), [0, 1, 2]);
    for primary in 0..3 {
        let key = cluster.name_on(primary, shared.namespace());
        assert_eq!(cluster.primary_of(&key), primary);
        let set = ["SET", &key, "1", "PX", "60000"];
        let _: () = cluster.node(primary).query(&set);
        let slot: u16 = cluster.node(0).query(&["CLUSTER", "KEYSLOT", &key]);
        assert_eq!(slot, slot_of(&key));
        let other = cluster.plain_url((primary + 1) % 3);
        let moved = ask(&other, &["GET", &key], LIMIT).unwrap_err();
        assert_eq!(moved.code(), Some("MOVED"));
    }
    assert_ne!(RedisCluster::shared().namespace(), shared.namespace());
}

#[test]
fn a_slot_moves_with_its_keys_and_a_move_can_stop_in_the_middle() {
    let cluster = RedisCluster::start();
    let set = |node: usize, key: &str| {
        let _: () = cluster.node(node).query(&["SET", key, "1"]);
    };
    let code = |node: usize, words: &[&str]| {
        let error = ask(&cluster.plain_url(node), words, LIMIT).unwrap_err();
        error.code().map(str::to_owned)
    };
    let number = cluster.numbers_on(0).next().unwrap();
    let [one, other] = ["a", "b"].map(|stem| format!("{stem}:{{{number}}}"));
    let slot = slot_of(&one);
    set(0, &one);
    set(0, &other);

    let moving = cluster.begin_move(slot, 1);
    assert_eq!(cluster.owner(slot), 0);
    assert_eq!(cluster.move_keys(moving, 1), 1);
    // Redis 6.2 says the second.
    let of_both = code(0, &["MGET", &one, &other]);
    assert!(
        matches!(of_both.as_deref(), Some("TRYAGAIN" | "ASK")),
        "{of_both:?}"
    );
    assert_eq!(
        code(0, &["GET", &format!("c:{{{number}}}")]).as_deref(),
        Some("ASK")
    );
    cluster.abort_move(moving);
    assert_eq!(cluster.keys().len(), 2);
    assert_eq!(cluster.node(0).keys().len(), 1);

    cluster.move_slot(slot, 1);
    assert_eq!(cluster.owner(slot), 1);
    assert_eq!(cluster.node(1).keys(), [one.clone(), other.clone()]);
    for to in [0, 1, 2, 1, 0] {
        cluster.move_slot(slot, to);
    }
    assert_eq!(cluster.node(0).keys(), [one, other]);
}

#[test]
fn a_replica_takes_the_place_of_its_primary() {
    let mut cluster = RedisCluster::start();
    let key = cluster.name_on(1, "a");
    let _: () = cluster.node(1).query(&["SET", &key, "1"]);
    cluster.fail_over(4);
    cluster.wait_whole();
    assert_eq!(cluster.primary_of(&key), 4);
    assert_eq!(cluster.node(4).query::<String>(&["GET", &key]), "1");
    cluster.kill(4);
    cluster.wait_promoted(1);
    assert_eq!(cluster.primaries(), [0, 1, 2]);
    assert_eq!(cluster.keys(), [key]);
    cluster.restart(4);
    cluster.wait_whole();
    assert_eq!(cluster.primaries(), [0, 1, 2]);

    cluster.freeze(0);
    cluster.wait_promoted(3);
    cluster.thaw(0);
    until_blocking(|| cluster.primaries() == [1, 2, 3]);
}

#[test]
fn a_primary_that_is_not_replaced_comes_back_with_its_slots() {
    let mut cluster = RedisCluster::start();
    let key = cluster.name_on(2, "a");
    let _: () = cluster.node(2).query(&["SET", &key, "1"]);
    cluster.node(2).save();
    cluster.forbid_promotion();
    cluster.kill(2);
    cluster.restart_from_snapshot(2);
    cluster.wait_whole();
    assert_eq!(cluster.primaries(), [0, 1, 2]);
    assert_eq!(cluster.keys(), [key]);
    cluster.flush(2);
    assert!(cluster.keys().is_empty());
}

#[test]
fn a_cluster_can_have_a_password_and_speak_tls() {
    let cluster = RedisCluster::builder()
        .password("sesame")
        .tls(Authority::new().sign_local())
        .start();
    let (url, port) = (cluster.url_of(&[0]), cluster.node(0).port());
    let start = format!("rediss-cluster://:sesame@127.0.0.1:{port}?ca=/");
    assert!(url.starts_with(&start), "{url}");
    let key = cluster.name_on(0, "a");
    let _: () = cluster.node(0).query(&["SET", &key, "1"]);
    cluster.move_slot(slot_of(&key), 1);
    assert_eq!(cluster.node(1).keys(), [key]);
}

#[tokio::test]
async fn clients_of_a_cluster_can_be_led_through_proxies() {
    let mut cluster = RedisCluster::builder().start_behind_proxies().await;
    let key = cluster.name_on(1, "a");
    let asked = |url: String, key: &str| {
        let key = key.to_owned();
        tokio::task::spawn_blocking(move || ask(&url, &["GET", &key], BRIEF))
    };
    let moved = asked(cluster.plain_url(0), &key).await.unwrap();
    let moved = moved.unwrap_err().to_string();
    let port = cluster.proxy(1).port();
    assert!(moved.ends_with(&port.to_string()), "{moved}");
    cluster.proxy(1).black_hole();
    let there = asked(cluster.plain_url(1), &key).await.unwrap();
    assert!(there.unwrap_err().is_timeout());
    // Longer than the nodes take to replace one that is silent.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.primaries(), [0, 1, 2]);
}
