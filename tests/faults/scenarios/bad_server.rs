//! A server that answers with something else than what was asked for.

use std::time::{Duration, Instant};

use cache_tests::RedisServer;

use super::outage::{CALL, LONGEST};
use crate::fake::{FakeServer, Manner};
use crate::figure::Figure;
use crate::rows::{Row, Rows, cache};
use crate::suite::Size;

pub(crate) const BROKEN: &str = "wrong answers, errors, panics, hangs";
const UNREPORTED: &str = "failures that are not reported";

const ROWS: u32 = 10;

/// How long a caller waits for a lease by default.
const LEASE_WAIT: Duration = Duration::from_secs(1);

pub(crate) async fn wrong_password() -> Vec<Figure> {
    let server = RedisServer::builder().password("sesame").start();
    let url = format!("redis://:secret@127.0.0.1:{}", server.port());
    only_misses(&url, 0, CALL).await
}

/// A user who may read, and may not run scripts.
pub(crate) async fn no_permission() -> Vec<Figure> {
    let server = RedisServer::start();
    let rules = [
        "on", ">secret", "~*", "+@all", "-eval", "-evalsha", "-fcall",
    ];
    server.set_user("limited", &rules);
    let url = format!("redis://limited:secret@127.0.0.1:{}", server.port());
    only_misses(&url, 0, CALL).await
}

pub(crate) async fn read_only() -> Vec<Figure> {
    let (primary, replica) = (RedisServer::start(), RedisServer::start());
    replica.replicate(primary.port());
    only_misses(&replica.url(), 0, CALL).await
}

/// The server takes no value of this size, and closes the connection of a client that sends one.
pub(crate) async fn too_large_a_value() -> Vec<Figure> {
    let settings = ["--proto-max-bulk-len", "1mb"];
    let server = RedisServer::builder().args(&settings).start();
    // The next such value may end the connection before the lease has been given back over it.
    // Then the next caller waits for the lease.
    only_misses(&server.url(), (1 << 20) + 1, LEASE_WAIT + CALL).await
}

/// With its header the value is larger than a server takes by default. That of the short form is
/// smaller, and is still being sent when the call gives up.
pub(crate) async fn half_a_gigabyte(size: Size) -> Vec<Figure> {
    let server = RedisServer::start();
    let folder = tempfile::tempdir().expect("a folder");
    let cache = cache(&server.url()).build().expect("a cache");
    let padding = size.pick(512, 64) << 20;
    let rows = Rows::with(cache, folder.path(), Duration::from_millis(1), padding);
    let began = Instant::now();
    // In a task of its own, so that a panic would not end the scenario.
    let call = rows.clone();
    let _ = tokio::spawn(async move { call.find(Row(0)).await }).await;
    let took = began.elapsed();
    // Later callers find a connection that works.
    let small = Rows::new(rows.cache.clone(), folder.path());
    let wrong = small.stuck([1]).await;
    vec![
        Figure::none(BROKEN, wrong + rows.tally().broken()),
        Figure::none(UNREPORTED, u64::from(rows.tally().reported == 0)),
        Figure::within("longest call after it", small.tally().longest, CALL),
        Figure::shown("its own call, which encodes it", took),
    ]
}

pub(crate) async fn fake(manner: Manner) -> Vec<Figure> {
    let server = FakeServer::start(manner).await;
    only_misses(&server.url(), 0, CALL).await
}

/// Checks that callers of this server get what they would get without a cache.
async fn only_misses(url: &str, padding: usize, limit: Duration) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = cache(url).build().expect("a cache");
    let rows = Rows::with(cache, folder.path(), Duration::from_millis(1), padding);
    let mut wrong = 0;
    for row in 0..ROWS {
        wrong += rows.stuck([row]).await;
        // One call that hangs is enough.
        if rows.tally().hung > 0 {
            break;
        }
        rows.write(row).await;
        wrong += rows.stuck([row]).await;
    }
    let tally = rows.tally();
    vec![
        Figure::none(BROKEN, wrong + tally.broken()),
        Figure::none(UNREPORTED, u64::from(tally.reported == 0)),
        Figure::within(LONGEST, tally.longest, limit),
    ]
}

/// Another program has written into the slots.
pub(crate) async fn foreign_values() -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start();
    let rows = Rows::new(
        cache(&server.url()).build().expect("a cache"),
        folder.path(),
    );
    let spoils: [fn(&RedisServer, &str); 5] = [
        |server, slot| server.query(&["SET", slot, "{\"version\":0}"]),
        |server, slot| server.query(&["SET", slot, "E\u{1}34567890"]),
        // A part of an entry's header.
        |server, slot| shorten(server, slot, |length| length / 4),
        // The whole header, and a part of the value.
        |server, slot| shorten(server, slot, |length| length - 10),
        |server, slot| {
            let _: u64 = server.query(&["DEL", slot]);
            let _: u64 = server.query(&["RPUSH", slot, "a list"]);
        },
    ];
    let (mut wrong, mut unreported) = (0, 0);
    for (row, spoil) in (0..).zip(spoils) {
        rows.warm(row..row + 1).await;
        spoil(&server, &format!("faults:e:row:{row}"));
        let before = rows.tally().reported;
        wrong += rows.stuck([row]).await;
        unreported += u64::from(rows.tally().reported == before);
    }
    vec![
        Figure::none(BROKEN, wrong + rows.tally().broken()),
        Figure::none(UNREPORTED, unreported).of(spoils.len() as u64),
        Figure::within(LONGEST, rows.tally().longest, CALL),
    ]
}

fn shorten(server: &RedisServer, slot: &str, to: impl FnOnce(usize) -> usize) {
    let mut connection = server.connection();
    let mut value: Vec<u8> = redis::cmd("GET")
        .arg(slot)
        .query(&mut connection)
        .expect("an entry");
    value.truncate(to(value.len()));
    let mut set = redis::cmd("SET");
    let () = set
        .arg(slot)
        .arg(value)
        .query(&mut connection)
        .expect("the server takes it");
}
