//! One load, however many callers and processes want it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cache_runtime::{Cache, CacheBuilder};
use cache_tests::{RedisServer, SlowDatabase, Stampede, stampede};

const CALLERS: usize = 512;
const LOAD: Duration = Duration::from_millis(20);

/// A busy machine is not to look like an outage.
fn patient(url: &str) -> CacheBuilder {
    Cache::builder()
        .url(url)
        .op_timeout(Duration::from_secs(60))
}

async fn one_process(url: &str) -> Stampede {
    let cache = patient(url).build().unwrap();
    let database = Arc::new(SlowDatabase::new(cache, LOAD));
    stampede(&database, 7, CALLERS).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_load_for_512_callers_in_process() {
    let seen = one_process("memory:").await;
    println!("{seen:?}");
    assert_eq!(seen.loads, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_load_for_512_callers_on_redis() {
    let server = RedisServer::start();
    let seen = one_process(&server.url()).await;
    println!("{seen:?}");
    assert_eq!(seen.loads, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_outlives_its_lease_is_still_the_only_one() {
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
fn one_load_for_512_callers_in_each_of_two_processes() {
    let server = RedisServer::start();
    let mut peers = [Peer::start(&server), Peer::start(&server)];
    for peer in &mut peers {
        peer.go();
    }
    let seen = peers.map(Peer::finish);
    println!("{seen:?}");
    assert_eq!(seen[0].loads + seen[1].loads, 1);
}

/// A second process, ready to call.
struct Peer {
    process: Child,
    orders: ChildStdin,
    reports: BufReader<ChildStdout>,
}

impl Peer {
    fn start(server: &RedisServer) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_peer"))
            .args(["load", "--url", &server.url(), "--namespace", "stampede"])
            .args(["--key", "7", "--callers", &CALLERS.to_string()])
            .args(["--load-ms", &LOAD.as_millis().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut peer = Self {
            orders: process.stdin.take().unwrap(),
            reports: BufReader::new(process.stdout.take().unwrap()),
            process,
        };
        assert_eq!(peer.line(), "ready");
        peer
    }

    fn go(&mut self) {
        self.orders.write_all(b"go\n").unwrap();
    }

    fn finish(mut self) -> Stampede {
        let report = self.line();
        assert!(self.process.wait().unwrap().success());
        serde_json::from_str(&report).unwrap()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reports.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}
