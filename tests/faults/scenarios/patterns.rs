//! All rows change at once, and are invalidated by a pattern: while no command reaches the server, and while
//! it holds a million other keys.

use std::time::{Duration, Instant};

use cache_runtime::Options;
use cache_tests::RedisServer;
use tokio::task::JoinSet;

use super::outage::Setup;
use super::restored::ROWS;
use crate::figure::Figure;
use crate::rows::{Rows, cache};
use crate::suite::Size;

/// How often all rows change.
const IMPORTS: u32 = 5;

/// Every other time it is the rows' tags that match.
const PATTERNS: [&str; 2] = ["row:*", "shelf:*"];

pub(crate) const LEFT: &str = "entries that were left, and others that were not";
const LONGEST: &str = "the longest command";
/// It reads two bytes. What it takes longer than microseconds, the server's process did not run.
const SHORT: &str = "the longest `GETRANGE` of two bytes, beside it";
const ALL: &str = "all of it";

/// A line of the server's log: a number, the time, the microseconds that a command took, and more.
pub(super) type SlowCommand = (u64, u64, u64, Vec<Vec<u8>>, String, String);

/// How many entries are written at a time.
const AT_ONCE: u32 = 10_000;

/// Nine of ten entries match.
pub(crate) async fn a_million(size: Size) -> Vec<Figure> {
    let entries = size.pick(1_000_000, 20_000);
    let server = RedisServer::start();
    let cache = cache(&server.url()).op_timeout(Duration::from_secs(60));
    let cache = cache.build().expect("a cache");
    for first in (0..entries).step_by(AT_ONCE as usize) {
        let key = |entry: u64| match entry % 10 {
            0 => format!("other:{entry}"),
            _ => format!("row:{entry}"),
        };
        let written = (first..first + u64::from(AT_ONCE)).map(|entry| (key(entry), &7_u64));
        let written = cache.set_many(written, Options::new()).await;
        written.expect("the server answers");
    }
    server.configure("slowlog-log-slower-than", "1000");
    let _: () = server.query(&["SLOWLOG", "RESET"]);
    let began = Instant::now();
    let removed = cache.invalidate_matching("row:*").await;
    let took = began.elapsed();
    let removed = removed.expect("the server answers");
    let slow: Vec<SlowCommand> = server.query(&["SLOWLOG", "GET", "-1"]);
    let slowest = |is_asked: fn(&SlowCommand) -> bool| {
        let taken = slow.iter().filter(|line| is_asked(line)).map(|line| line.2);
        Duration::from_micros(taken.max().unwrap_or_default())
    };
    let left = |glob: &str| server.query::<Vec<String>>(&["KEYS", glob]).len() as u64;
    let wrong = removed.abs_diff(entries / 10 * 9)
        + left("*row:*")
        + left("*other:*").abs_diff(entries / 10);
    vec![
        Figure::none(LEFT, wrong).of(entries),
        Figure::within(LONGEST, slowest(|_| true), Duration::from_millis(5)),
        Figure::shown(SHORT, slowest(|line| line.3[0] == b"GETRANGE")),
        Figure::shown(ALL, took),
    ]
}

pub(crate) async fn cut(lasts: Duration) -> Vec<Figure> {
    let mut setup = Setup::new(|builder| builder).await;
    setup.proxy.cut().await;
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        let rows = setup.ours.clone();
        readers.spawn(async move {
            loop {
                rows.read(rows.below(ROWS)).await;
                rows.pause().await;
            }
        });
    }
    for pattern in PATTERNS.iter().cycle().take(IMPORTS as usize) {
        import(&setup.ours, pattern).await;
        tokio::time::sleep(lasts / IMPORTS).await;
    }
    readers.shutdown().await;
    setup.proxy.heal().await;
    setup.figures().await
}

/// Changes all rows. From then on, this process may read none as it was.
async fn import(rows: &Rows, pattern: &str) {
    let versions: Vec<u64> = (0..ROWS).map(|row| rows.database.commit(row)).collect();
    let _ = rows.cache.invalidate_matching(pattern).await;
    for (row, version) in (0..ROWS).zip(versions) {
        rows.database.promise(row, version);
    }
}
