//! Lists of rows are read and rows are updated, within a few milliseconds of each other. Only the loaded
//! list tells which rows it has, and so which tags.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use cache_runtime::{cache_invalidate, cached, key};
use cache_tests::RedisServer;
use tokio::task::JoinSet;

use super::mixed::STALE;
use super::races::{LATENCY, STUCK};
use crate::figure::Figure;
use crate::rows::{A_SHELF, Row, Rows, cache, patient};
use crate::suite::Size;

/// How many lists at a time: few enough for a read and an update of a row to meet.
const AT_ONCE: u32 = 20;

struct Lists {
    rows: Arc<Rows>,
    /// Whether a load of the list has begun.
    begun: Vec<AtomicBool>,
    stale: AtomicU64,
}

impl Lists {
    /// A list of one row, with its version.
    #[cached(
        key = "list:<row>",
        ttl = 600,
        invalidate_on = |list| list.iter().map(|(row, _)| key!("in-list:<row>")),
        cache = self.rows.cache,
    )]
    async fn find(&self, row: Row) -> Vec<(u32, u64)> {
        let version = self.rows.database.version(row.0);
        self.begun[nth(row)].store(true, SeqCst);
        self.rows.pause().await;
        if is_met(row) && version == 0 {
            while self.rows.database.floor(row.0) == 0 {
                self.rows.pause().await;
            }
            // In this time, the reader that comes after the update asks the server.
            tokio::time::sleep(LATENCY * 4).await;
        }
        vec![(row.0, version)]
    }

    #[cache_invalidate("in-list:<row>", cache = self.rows.cache)]
    async fn update(&self, row: Row) -> u64 {
        self.rows.database.commit(row.0)
    }

    async fn read(&self, row: Row) {
        let floor = self.rows.database.floor(row.0);
        let list = self.find(row).await;
        if list.iter().any(|(_, version)| *version < floor) {
            self.stale.fetch_add(1, SeqCst);
        }
    }

    async fn write(&self, row: Row) {
        while is_met(row) && !self.begun[nth(row)].load(SeqCst) {
            self.rows.pause().await;
        }
        let version = self.update(row).await;
        self.rows.database.promise(row.0, version);
    }
}

/// Whether the update of this row comes during the first load of its list, and a further reader before that
/// load ends. In this way they meet however slow the machine is. The others meet by chance.
fn is_met(row: Row) -> bool {
    nth(row) % 2 == 1
}

fn nth(row: Row) -> usize {
    (row.0 / A_SHELF) as usize
}

pub(crate) async fn in_process(size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = cache("memory:").build().expect("a cache");
    race(Rows::with(cache, folder.path(), LATENCY, 0), size).await
}

pub(crate) async fn on_the_server(size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start();
    let cache = patient(&server.url());
    race(Rows::with(cache, folder.path(), LATENCY, 0), size).await
}

async fn race(rows: Arc<Rows>, size: Size) -> Vec<Figure> {
    let pairs: u32 = size.pick(20_000, 2_000);
    let lists = Arc::new(Lists {
        rows: rows.clone(),
        begun: (0..pairs).map(|_| AtomicBool::new(false)).collect(),
        stale: AtomicU64::new(0),
    });
    let at = |row| Row(row * A_SHELF);
    for first in (0..pairs).step_by(AT_ONCE as usize) {
        let mut calls = JoinSet::new();
        for row in (first..first + AT_ONCE).map(at) {
            for _ in 0..2 {
                let reader = lists.clone();
                calls.spawn(async move {
                    reader.rows.pause().await;
                    reader.read(row).await;
                });
            }
            let writer = lists.clone();
            calls.spawn(async move {
                writer.rows.pause().await;
                writer.write(row).await;
                writer.read(row).await;
            });
        }
        calls.join_all().await;
    }
    let mut stuck = 0;
    for row in (0..pairs).map(at) {
        let newest = rows.database.version(row.0);
        // The first of two loads may only tell the tags.
        for _ in 0..3 {
            let read = lists.find(row).await;
            stuck += u64::from(read != [(row.0, newest)]);
        }
    }
    let tally = rows.tally();
    assert!(
        tally.hits > 0,
        "an entry that is not served cannot be stale"
    );
    vec![
        Figure::none(STALE, lists.stale.load(SeqCst)).of(u64::from(pairs) * 3),
        Figure::none(STUCK, stuck).of(u64::from(pairs) * 3),
        Figure::broken(tally.broken()),
    ]
}
