//! Two processes ask one rate limit at once: as many are allowed as the rate says, and no other number.

use std::process::Command;
use std::time::Duration;

use cache_runtime::{Cache, Rate, RateLimit};
use cache_tests::{Peer, RedisServer, patient};

const CALLERS: u64 = 8;
const ASKS: u64 = 250;
/// How often both processes ask.
const ASKED: u64 = 2 * CALLERS * ASKS;

/// A rate that all processes of a test know.
#[derive(Clone, Copy)]
struct Limited {
    count: u32,
    window: Duration,
    is_sliding: bool,
}

impl Limited {
    /// The limit as this process has it.
    fn limit(self, cache: &Cache) -> RateLimit {
        let rate = Rate::new(self.count, self.window);
        cache.rate_limit(
            "all",
            if self.is_sliding {
                rate.sliding()
            } else {
                rate
            },
        )
    }

    fn peer(self, server: &RedisServer) -> Peer {
        let is_sliding = u8::from(self.is_sliding).to_string();
        let mut peer = Peer::start(
            Command::new(env!("CARGO_BIN_EXE_peer"))
                .args(["limit", "--url", &server.url(), "--namespace", "limits"])
                .args(["--count", &self.count.to_string()])
                .args(["--window-ms", &self.window.as_millis().to_string()])
                .args(["--sliding", &is_sliding])
                .args(["--callers", &CALLERS.to_string()])
                .args(["--asks", &ASKS.to_string()]),
        );
        assert_eq!(peer.answer(), "ready");
        peer
    }

    /// How often two processes that ask at once were allowed, in all.
    fn ask(self, server: &RedisServer) -> u64 {
        let mut peers = [self.peer(server), self.peer(server)];
        for peer in &mut peers {
            peer.tell("go");
        }
        let allowed = peers.map(|mut peer| peer.answer().parse::<u64>().unwrap());
        println!("{allowed:?} of {ASKED}");
        allowed.into_iter().sum()
    }
}

/// Microseconds by the server's clock.
fn now(server: &RedisServer) -> u64 {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(&mut connection).unwrap();
    seconds * 1_000_000 + micros
}

fn cache(server: &RedisServer) -> Cache {
    patient(&server.url()).namespace("limits").build().unwrap()
}

/// Of such a window, nothing comes back while the test runs.
const LONG: Duration = Duration::from_secs(1_000 * 24 * 60 * 60);

#[test]
fn of_two_processes_exactly_so_many_are_allowed() {
    for is_sliding in [false, true] {
        let server = RedisServer::start();
        let limited = Limited {
            count: 777,
            window: LONG,
            is_sliding,
        };
        assert_eq!(limited.ask(&server), 777, "sliding: {is_sliding}");
    }
}

/// While a bucket is never whole, what was allowed and what is left are together what it held at first and what
/// has come back since, by the server's clock.
#[tokio::test]
async fn a_bucket_fills_up_by_the_servers_clock() {
    let server = RedisServer::start();
    // One comes back each 50 ms, so an empty bucket is whole after five minutes.
    let (each, count) = (50_000, 6_000);
    let limited = Limited {
        count,
        window: Duration::from_secs(300),
        is_sliding: false,
    };
    let limit = limited.limit(&cache(&server));
    let before = now(&server);
    // From here on it is not whole.
    let first = limit.check_cost("subject", count).await.unwrap();
    let after = now(&server);
    assert!(first.allowed && first.remaining == 0);

    let allowed = limited.ask(&server);
    assert!(allowed < ASKED, "it was asked for more than there was");
    let earliest = now(&server);
    let left = limit.check_cost("subject", 0).await.unwrap().remaining;
    let latest = now(&server);
    let came_back = allowed + u64::from(left);
    let expected = (earliest - after) / each..=(latest - before) / each;
    assert!(expected.contains(&came_back), "{came_back}: {expected:?}");
}

/// What was stored is what a server has whose clock was put back by an hour.
#[tokio::test]
async fn a_clock_that_was_put_back_refuses_for_no_longer_than_the_limit_takes_to_fill() {
    let server = RedisServer::start();
    let minute = Duration::from_secs(60);
    for is_sliding in [false, true] {
        let limited = Limited {
            count: 5,
            window: minute,
            is_sliding,
        };
        let limit = limited.limit(&cache(&server));
        assert!(limit.check_cost("subject", 5).await.unwrap().allowed);
        let ahead = now(&server) + 3_600_000_000;
        let keys = server.keys();
        let place = keys.iter().find(|key| key.ends_with(":subject"));
        let place = place.expect("what was counted");
        if is_sliding {
            for member in server.query::<Vec<String>>(&["ZRANGE", place, "0", "-1"]) {
                let _: () = server.query(&["ZADD", place, &ahead.to_string(), &member]);
            }
        } else {
            let _: () = server.query(&["SET", place, &ahead.to_string()]);
        }
        let decision = limit.check("subject").await.unwrap();
        assert!(!decision.allowed, "{decision:?}");
        assert!(decision.retry_after <= Some(minute), "{decision:?}");
        assert!(decision.reset_after <= minute, "{decision:?}");
        limit.reset("subject").await.unwrap();
    }
}

/// No window of time has more than the count; and the first one has no less.
#[test]
fn a_sliding_window_moves_by_the_servers_clock() {
    let server = RedisServer::start();
    let limited = Limited {
        count: 40,
        window: Duration::from_millis(100),
        is_sliding: true,
    };
    let before = now(&server);
    let allowed = limited.ask(&server);
    let windows = (now(&server) - before) / 100_000 + 1;
    assert!(
        (40..=40 * windows).contains(&allowed),
        "{allowed} in {windows} windows"
    );
}
