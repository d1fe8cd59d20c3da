//! Invalidations that the server refuses, and that processes announce to each other.

use std::sync::Arc;
use std::time::Duration;

use cache_tests::{Messages, RedisServer};
use tokio::task::JoinSet;

use super::restored::STALE;
use crate::figure::Figure;
use crate::rows::{Row, Rows, cache};
use crate::suite::Size;

pub(crate) const MISSED: &str = "misses of eight other processes";
pub(crate) const MESSAGES: &str = "messages of eight processes";
const MESSAGES_OF_TWO: &str = "messages of two";

/// The rows that all processes read.
const HOT: u32 = 50;

/// The server refuses scripts to the user of one process only. That process cannot invalidate what
/// it updates. The others can.
pub(crate) async fn among_others(size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start();
    let rules = [
        "on", ">secret", "~*", "&*", "+@all", "-eval", "-evalsha", "-fcall",
    ];
    server.set_user("limited", &rules);
    let limited = format!("redis://limited:secret@127.0.0.1:{}", server.port());
    let limited = Rows::new(cache(&limited).build().expect("a cache"), folder.path());
    let others = processes(8, &server, folder.path()).await;
    let (misses_before, reads_before) = (misses(&others), reads(&others));
    let reading = read_on(&others);
    for row in 0..HOT {
        let _ = limited.update(Row(row)).await;
    }
    tokio::time::sleep(lasts(size)).await;
    drop(reading);
    let missed = misses(&others) - misses_before;
    let reads = reads(&others) - reads_before;
    let (stale, broken) = at_rest(&others).await;
    vec![
        Figure::none(STALE, stale),
        // The first that misses loads the row for all, unless its load was overtaken.
        Figure::at_most(MISSED, missed, 4 * u64::from(HOT)).of(reads),
        Figure::broken(broken + limited.tally().broken()),
    ]
}

/// The server refuses the writes of all processes. One of them invalidates all rows at once.
pub(crate) async fn all(size: Size) -> Vec<Figure> {
    let two = messages(2, size).await;
    let eight = messages(8, size).await;
    vec![
        Figure::at_most(MESSAGES_OF_TWO, two, 2 * 2),
        // So they do not grow with the square.
        Figure::at_most(MESSAGES, eight, 2 * 8),
    ]
}

async fn messages(processes: usize, size: Size) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start();
    let all = self::processes(processes, &server, folder.path()).await;
    server.refuse_writes();
    let announced = Messages::on(&server, "faults:0:i");
    let reading = read_on(&all);
    let names = (0..HOT).map(|row| format!("row:{row}"));
    let refused = all[0].cache.invalidate(names).await;
    refused.expect_err("the server takes no writes");
    tokio::time::sleep(lasts(size)).await;
    drop(reading);
    let distrust = all.iter().filter(|rows| rows.cache.health().waiting > 0);
    assert_eq!(distrust.count(), processes, "all have heard of it");
    announced.count()
}

fn lasts(size: Size) -> Duration {
    size.pick(Duration::from_secs(5), Duration::from_secs(4))
}

/// Caches that know as little of each other as processes do.
async fn processes(count: usize, server: &RedisServer, folder: &std::path::Path) -> Vec<Arc<Rows>> {
    let mut processes = Vec::new();
    for _ in 0..count {
        // A busy machine is no outage.
        let cache = cache(&server.url()).op_timeout(Duration::from_secs(2));
        let rows = Rows::new(cache.build().expect("a cache"), folder);
        rows.warm(0..HOT).await;
        processes.push(rows);
    }
    processes
}

/// All of them read until the result is dropped.
fn read_on(processes: &[Arc<Rows>]) -> JoinSet<()> {
    let mut reading = JoinSet::new();
    for rows in processes {
        let rows = rows.clone();
        reading.spawn(async move {
            loop {
                rows.read(rows.below(HOT)).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
    reading
}

fn misses(processes: &[Arc<Rows>]) -> u64 {
    let misses = processes.iter().map(|rows| rows.cache.stats().misses);
    misses.sum()
}

fn reads(processes: &[Arc<Rows>]) -> u64 {
    processes.iter().map(|rows| rows.tally().reads).sum()
}

/// How many rows are stale at the end, and how many reads hung.
async fn at_rest(processes: &[Arc<Rows>]) -> (u64, u64) {
    let (mut stale, mut hung) = (0, 0);
    for rows in processes {
        stale += rows.stuck(0..HOT).await;
        hung += rows.tally().hung;
    }
    (stale, hung)
}
