//! The server refuses scripts to the user of one process only. That process cannot invalidate, and
//! tells the others, who can.

use std::time::Duration;

use cache_tests::RedisServer;
use tokio::task::JoinSet;

use super::restored::STALE;
use crate::figure::Figure;
use crate::rows::{Row, Rows, cache};
use crate::suite::Size;

pub(crate) const MISSED: &str = "misses of other processes";
pub(crate) const MESSAGES: &str = "messages, with eight other processes";

/// The rows that all processes read, and one cannot invalidate.
const HOT: u32 = 50;

pub(crate) async fn announces(size: Size) -> Vec<Figure> {
    let two = observe(2, size).await;
    let eight = observe(8, size).await;
    vec![
        Figure::none(STALE, two.stale + eight.stale),
        // Each process may load a row once for each update, and once more if that load was
        // overtaken by the next announcement.
        Figure::at_most(MISSED, eight.missed, 2 * 8 * eight.updates).of(eight.reads),
        // Four times as many as with two: with the square, there would be sixteen times as many.
        Figure::at_most(MESSAGES, eight.messages, 6 * two.messages),
        Figure::broken(two.broken + eight.broken),
    ]
}

struct Observed {
    updates: u64,
    reads: u64,
    missed: u64,
    messages: u64,
    stale: u64,
    broken: u64,
}

/// So many caches, which know as little of each other as processes do, read for some seconds.
async fn observe(processes: usize, size: Size) -> Observed {
    let lasts = size.pick(Duration::from_secs(5), Duration::from_secs(2));
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start();
    let rules = [
        "on", ">secret", "~*", "&*", "+@all", "-eval", "-evalsha", "-fcall",
    ];
    server.set_user("limited", &rules);
    let limited = format!("redis://limited:secret@127.0.0.1:{}", server.port());
    let limited = Rows::new(cache(&limited).build().expect("a cache"), folder.path());
    let mut others = Vec::new();
    for _ in 0..processes {
        let cache = cache(&server.url()).op_timeout(Duration::from_secs(2));
        let rows = Rows::new(cache.build().expect("a cache"), folder.path());
        rows.warm(0..HOT).await;
        others.push(rows);
    }
    let messages_before = server.calls("publish");
    let misses = || {
        others
            .iter()
            .map(|rows| rows.cache.stats().misses)
            .sum::<u64>()
    };
    let misses_before = misses();
    let mut reading = JoinSet::new();
    for rows in &others {
        let rows = rows.clone();
        reading.spawn(async move {
            loop {
                rows.read(rows.below(HOT)).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
    // All rows are changed once a second.
    let mut updates = 0;
    for round in 0..lasts.as_secs() {
        let began = tokio::time::Instant::now();
        for row in 0..HOT {
            let _ = limited.update(Row(row)).await;
            updates += 1;
        }
        let _ = round;
        tokio::time::sleep_until(began + Duration::from_secs(1)).await;
    }
    reading.shutdown().await;
    let missed = misses() - misses_before;
    let messages = server.calls("publish") - messages_before;
    let (mut stale, mut reads, mut broken) = (0, 0, 0);
    for rows in &others {
        stale += rows.stuck(0..HOT).await;
        reads += rows.tally().reads;
        broken += rows.tally().hung;
    }
    Observed {
        updates,
        reads,
        missed,
        messages,
        stale,
        broken: broken + limited.tally().broken(),
    }
}
