//! Updates keep failing, as when a client changes rows that do not exist.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cache_runtime::{CacheBuilder, Event, cache_invalidate};
use cache_tests::RedisServer;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::restored::{ROWS, STALE};
use crate::figure::Figure;
use crate::rows::{Ends, Row, Rows, cache};
use crate::suite::Size;

pub(crate) const MISSED: &str = "misses of unrelated rows";
const MOST_WAITING: &str = "names that wait at the same time";
const UNREPORTED: &str = "overflows that are not reported";

/// The first row whose updates fail.
const FAILING: u32 = 1_000_000;

pub(crate) async fn in_process(size: Size) -> Vec<Figure> {
    keep_failing(cache("memory:"), size).await
}

pub(crate) async fn on_the_server(size: Size) -> Vec<Figure> {
    let server = RedisServer::start();
    keep_failing(on(&server), size).await
}

pub(crate) async fn overflow_in_process(size: Size) -> Vec<Figure> {
    overflow(cache("memory:"), size).await
}

pub(crate) async fn overflow_on_the_server(size: Size) -> Vec<Figure> {
    let server = RedisServer::start();
    overflow(on(&server), size).await
}

pub(super) fn on(server: &RedisServer) -> CacheBuilder {
    // A busy machine is no outage.
    cache(&server.url()).op_timeout(Duration::from_secs(60))
}

#[cache_invalidate("row:<row>", cache = rows.cache)]
async fn fail(rows: &Rows, row: Row) -> Result<(), &'static str> {
    Err("no such row")
}

/// Many updates a second of rows that do not exist.
async fn keep_failing(builder: CacheBuilder, size: Size) -> Vec<Figure> {
    const A_TICK: u32 = 100;
    let tick = size.pick(Duration::from_millis(10), Duration::from_millis(50));
    let lasts = size.pick(Duration::from_secs(10), Duration::from_secs(2));
    let settle = size.pick(Duration::from_secs(5), Duration::from_secs(1));
    let folder = tempfile::tempdir().expect("a folder");
    let cache = builder.settle(settle).build().expect("a cache");
    let rows = Rows::new(cache, folder.path());
    rows.warm(0..ROWS).await;
    let unrelated = Unrelated::read(&rows);
    let began = Instant::now();
    let mut failing = FAILING;
    let mut most_waiting = 0;
    let mut ticks = tokio::time::interval(tick);
    // A machine that is too slow has fewer updates, and not more later.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while began.elapsed() < lasts {
        ticks.tick().await;
        let mut updates = JoinSet::new();
        for row in failing..failing + A_TICK {
            let rows = rows.clone();
            updates.spawn(async move { fail(&rows, Row(row)).await });
        }
        failing += A_TICK;
        updates.join_all().await;
        most_waiting = most_waiting.max(rows.cache.health().waiting as u64);
    }
    settled(&rows, settle).await;
    let failed = u64::from(failing - FAILING);
    // So many fail within `settle`, and the eighth of it for which names may be late.
    let within_settle = failed.min(
        u64::try_from(settle.as_millis() * 3 / 2 / tick.as_millis()).unwrap_or(u64::MAX)
            * u64::from(A_TICK),
    );
    let (missed, hits) = unrelated.end(&rows).await;
    vec![
        Figure::none(MISSED, missed).of(missed + hits),
        Figure::at_most(MOST_WAITING, most_waiting, within_settle).of(failed),
        Figure::broken(rows.tally().broken()),
    ]
}

/// The same with room for some fifty names, and updates whose commits happen later after all.
async fn overflow(builder: CacheBuilder, size: Size) -> Vec<Figure> {
    const SETTLE: Duration = Duration::from_secs(2);
    const COMMIT_TAKES: Duration = Duration::from_millis(300);
    const ROOM: usize = 5_500;
    let updates = size.pick(10_000, 1_000);
    let folder = tempfile::tempdir().expect("a folder");
    let was_told = Arc::new(AtomicBool::new(false));
    let cache = builder
        .settle(SETTLE)
        .backlog_room(ROOM)
        .on_event({
            let was_told = was_told.clone();
            move |event| {
                if matches!(event, Event::RepeatsOverflow { .. }) {
                    was_told.store(true, SeqCst);
                }
            }
        })
        .build()
        .expect("a cache");
    let rows = Rows::new(cache, folder.path());
    rows.warm(0..ROWS).await;
    let unrelated = Unrelated::read(&rows);
    let mut most_waiting = 0;
    let mut was_shown = false;
    for first in (FAILING..FAILING + updates).step_by(100) {
        let mut failing = JoinSet::new();
        for row in first..first + 100 {
            let rows = rows.clone();
            failing.spawn(async move {
                let _ = rows.update_slowly(Row(row), COMMIT_TAKES, Ends::Err).await;
                // Others cache the row as it was before the commit.
                let _ = rows.find(Row(row)).await;
            });
        }
        failing.join_all().await;
        let health = rows.cache.health();
        most_waiting = most_waiting.max(health.waiting as u64);
        was_shown |= health.overflowed;
    }
    // Without its mechanism nothing waits any more, so a look at `waiting` is not enough.
    tokio::time::sleep(COMMIT_TAKES + SETTLE * 5 / 4).await;
    settled(&rows, SETTLE).await;
    let (missed, hits) = unrelated.end(&rows).await;
    let stale = rows.stuck(FAILING..FAILING + updates).await;
    let unreported = u64::from(!was_told.load(SeqCst)) + u64::from(!was_shown);
    vec![
        Figure::none(STALE, stale).of(updates.into()),
        // One in sixteen million for each update and each unrelated row.
        Figure::at_most(MISSED, missed, 2).of(missed + hits),
        // A name takes a hundred bytes at least.
        Figure::at_most(MOST_WAITING, most_waiting, ROOM as u64 / 100).of(updates.into()),
        Figure::none(UNREPORTED, unreported),
        Figure::broken(rows.tally().broken()),
    ]
}

/// Waits until what has failed was invalidated again.
pub(super) async fn settled(rows: &Rows, settle: Duration) {
    let began = Instant::now();
    while began.elapsed() < settle * 5 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let health = rows.cache.health();
        if health.waiting == 0 && !health.overflowed {
            break;
        }
    }
}

/// Reads warm rows that nothing changes, again and again.
pub(super) struct Unrelated {
    reader: JoinHandle<()>,
    /// The loads there were before.
    loads: u64,
    reads: Arc<AtomicU64>,
}

impl Unrelated {
    pub(super) fn read(rows: &Arc<Rows>) -> Self {
        let loads = rows.unrelated_loads();
        let reads = Arc::new(AtomicU64::new(0));
        let reader = tokio::spawn({
            let (rows, reads) = (rows.clone(), reads.clone());
            async move {
                for row in (0..ROWS).cycle() {
                    rows.read(row).await;
                    reads.fetch_add(1, SeqCst);
                    if row % 10 == 0 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            }
        });
        Self {
            reader,
            loads,
            reads,
        }
    }

    /// Reads each row once more. How many misses there were, and how many hits.
    pub(super) async fn end(self, rows: &Rows) -> (u64, u64) {
        self.reader.abort();
        let _ = self.reader.await;
        for row in 0..ROWS {
            rows.read(row).await;
        }
        let reads = self.reads.load(SeqCst) + u64::from(ROWS);
        let loads = rows.unrelated_loads() - self.loads;
        (loads, reads - loads.min(reads))
    }
}
