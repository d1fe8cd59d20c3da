//! Many callers and several processes ask for one key at once: one load.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use cache_tests::{Peer, RedisServer, SlowDatabase, Stampede, patient, stampede};

const CALLERS: usize = 512;
const LOAD: Duration = Duration::from_millis(20);

async fn one_process(url: &str) -> Stampede {
    let cache = patient(url).build().unwrap();
    let database = Arc::new(SlowDatabase::new(cache, LOAD));
    stampede(&database, 7, CALLERS).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_in_one_process_cause_one_load_in_process() {
    let seen = one_process("memory:").await;
    println!("{seen:?}");
    assert_eq!(seen.loads, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_in_one_process_cause_one_load_on_redis() {
    let server = RedisServer::start();
    let seen = one_process(&server.url()).await;
    println!("{seen:?}");
    assert_eq!(seen.loads, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_takes_longer_than_its_lease_is_still_the_only_one() {
    let server = RedisServer::start();
    let lease = Duration::from_secs(1);
    let process = || {
        let builder = patient(&server.url()).lease(lease);
        let cache = builder.lease_wait(lease * 60).build().unwrap();
        Arc::new(SlowDatabase::new(cache, lease * 5 / 2))
    };
    let (one, other) = (process(), process());
    let seen = tokio::join!(stampede(&one, 7, 4), stampede(&other, 7, 4));
    assert_eq!(seen.0.loads + seen.1.loads, 1, "{seen:?}");
}

#[test]
fn callers_in_two_processes_cause_one_load() {
    let server = RedisServer::start();
    let mut peers = [peer(&server), peer(&server)];
    for peer in &mut peers {
        peer.tell("go");
    }
    let seen: [Stampede; 2] =
        peers.map(|mut peer| serde_json::from_str(&peer.answer()).expect("what it has seen"));
    println!("{seen:?}");
    assert_eq!(seen[0].loads + seen[1].loads, 1);
}

/// A second process, ready to call.
fn peer(server: &RedisServer) -> Peer {
    let mut peer = Peer::start(
        Command::new(env!("CARGO_BIN_EXE_peer"))
            .args(["load", "--url", &server.url(), "--namespace", "stampede"])
            .args(["--key", "7", "--callers", &CALLERS.to_string()])
            .args(["--load-ms", &LOAD.as_millis().to_string()]),
    );
    assert_eq!(peer.answer(), "ready");
    peer
}
