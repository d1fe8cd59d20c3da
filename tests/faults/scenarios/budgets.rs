//! Budgets: a namespace that is filled ten times over while it is in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cache_runtime::{Options, Scope};
use cache_tests::RedisServer;

use super::patterns::SlowCommand;
use crate::figure::Figure;
use crate::rows::patient;
use crate::suite::Size;

pub(crate) const OTHERS: &str = "fences, leases and other keys that went";

/// How many bytes of a value there are, and how many entries are in use.
const BYTES: usize = 900;
const IN_USE: u64 = 50;

/// A sweep is to have it under its budget within some seconds, while the rest is being filled and read.
const SOON: Duration = Duration::from_secs(5);

/// No command of a sweep takes the server longer.
const MOMENT: Duration = Duration::from_millis(5);

pub(crate) async fn overfilled(size: Size) -> Vec<Figure> {
    let server = RedisServer::start();
    let cache = patient(&server.url());
    let reports = cache.scope("reports");
    let entries = size.pick(100_000, 1_000);
    let others = others(&server);
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = {
        let (reports, is_over) = (reports.clone(), is_over.clone());
        tokio::spawn(async move { read_those_in_use(&reports, &is_over).await })
    };
    fill(&reports, entries).await;
    // Those that are read are the only ones that were used in the last second.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let before = taken(&server);
    let budget = before / 10;
    server.configure("slowlog-log-slower-than", "1000");
    let _: () = server.query(&["SLOWLOG", "RESET"]);
    let began = Instant::now();
    let keeper = tokio::spawn(reports.budget(budget).keep(Duration::from_millis(100)));
    while taken(&server) > budget && began.elapsed() < SOON * 4 {
        // The sum of many takes the server a tenth of a second, in which it answers no sweep.
        tokio::time::sleep(Duration::from_millis(size.pick(1_000, 20))).await;
    }
    let took = began.elapsed();
    let longest = longest_command(&server);
    let mut gone = 0;
    for id in 0..IN_USE {
        gone += u64::from(!reports.exists(id.to_string()).await.expect("no error"));
    }
    is_over.store(true, SeqCst);
    keeper.abort();
    let errors = reader.await.expect("no panic");
    let left = others
        .iter()
        .filter(|key| server.query::<u64>(&["EXISTS", key]) == 1);
    vec![
        Figure::within("until it is under its budget", took, SOON),
        Figure::within("the longest command", longest, MOMENT),
        Figure::none(OTHERS, (others.len() - left.count()) as u64),
        Figure::none("entries in use that went", gone).of(IN_USE),
        Figure::none("reads that failed", errors),
    ]
}

async fn fill(reports: &Scope, entries: u64) {
    let value = "x".repeat(BYTES);
    for first in (0..entries).step_by(500) {
        let written = (first..first + 500).map(|id| (reports.key(id.to_string()), &value));
        let stored = reports.cache().set_many(written, Options::new()).await;
        stored.expect("the server runs");
    }
}

/// The longest command since the log was reset, but for our own measurements.
fn longest_command(server: &RedisServer) -> Duration {
    let slow: Vec<SlowCommand> = server.query(&["SLOWLOG", "GET", "-1"]);
    let theirs = slow.iter().filter(|line| {
        let script = line.3.get(1);
        script.is_none_or(|script| !script.starts_with(&TAKEN.as_bytes()[..40]))
    });
    Duration::from_micros(theirs.map(|line| line.2).max().unwrap_or_default())
}

/// Reads some entries again and again. Returns how many reads failed.
async fn read_those_in_use(reports: &Scope, is_over: &AtomicBool) -> u64 {
    let mut errors = 0;
    while !is_over.load(SeqCst) {
        for id in 0..IN_USE {
            let read = reports.get::<String>(id.to_string()).await;
            errors += u64::from(read.is_err());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    errors
}

/// Keys that no sweep may take, last used long ago: what writers and loads hold, and what tools keep.
fn others(server: &RedisServer) -> Vec<String> {
    let kept: [(&str, &[u8]); 5] = [
        ("e:reports:fence", b"F\x0112345678"),
        ("e:reports:lease", b"L\x0112345678"),
        ("v:reports:1", b"7"),
        ("s:reports:1", b"a text"),
        ("l:reports:1", b"1 9999999999999 me"),
    ];
    let mut connection = server.connection();
    let keys = kept.map(|(name, bytes)| {
        let key = format!("{}:{name}", crate::rows::NAMESPACE);
        let mut set = redis::cmd("SET");
        set.arg(&key)
            .arg(bytes)
            .exec(&mut connection)
            .expect("the server runs");
        let dump: Vec<u8> = redis::cmd("DUMP")
            .arg(&key)
            .query(&mut connection)
            .expect("it is there");
        let mut restore = redis::cmd("RESTORE");
        restore
            .arg(&key)
            .arg(0)
            .arg(dump)
            .arg("REPLACE")
            .arg("IDLETIME")
            .arg(100_000);
        restore.exec(&mut connection).expect("the server runs");
        key
    });
    keys.into()
}

/// Sums up what the slots of a glob take.
const TAKEN: &str = "
    local sum, cursor = 0, '0'
    repeat
      local page = redis.call('SCAN', cursor, 'MATCH', ARGV[1], 'COUNT', 1000)
      cursor = page[1]
      for _, key in ipairs(page[2]) do
        sum = sum + (redis.call('MEMORY', 'USAGE', key) or 0)
      end
    until cursor == '0'
    return sum";

/// What the slots of the scope take.
fn taken(server: &RedisServer) -> u64 {
    let slots = format!("{}:e:reports:*", crate::rows::NAMESPACE);
    server.query(&["EVAL", TAKEN, "0", &slots])
}
