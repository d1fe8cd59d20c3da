//! Updates while commands do not reach the server, or its answers do not come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cache_runtime::CacheBuilder;
use cache_tests::{Proxy, RedisServer, Way};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::restored::ROWS;
use crate::figure::Figure;
use crate::rows::{HUNG, Rows, cache};
use crate::suite::Size;

pub(crate) const LOST: &str = "lost invalidations";
pub(crate) const STALE_HERE: &str = "stale reads in the process that updates";
pub(crate) const LONGEST: &str = "longest call";
pub(crate) const SLOW: &str = "median call";
/// How long the median call may take with its load: far less than a request to the server.
const NO_REQUEST: Duration = Duration::from_millis(20);
pub(crate) const REPLAYED: &str = "stale elsewhere, after the end of it";

/// How long a call may take with its load.
pub(crate) const CALL: Duration = Duration::from_millis(150);

/// How long after an outage the journal must have been replayed.
pub(crate) const AT_REST: Duration = Duration::from_secs(3);

pub(crate) async fn cut(lasts: Duration) -> Vec<Figure> {
    let mut setup = Setup::new(|builder| builder).await;
    setup.proxy.cut().await;
    setup.update_for(lasts).await;
    setup.proxy.heal().await;
    setup.figures().await
}

/// More names are invalidated than the journal holds.
pub(crate) async fn overflow(lasts: Duration) -> Vec<Figure> {
    let mut setup = Setup::new(|builder| builder.backlog_room(50 * 170)).await;
    setup.proxy.cut().await;
    setup.update_for(lasts).await;
    setup.proxy.heal().await;
    setup.figures().await
}

/// Connections stay open, and no byte passes.
pub(crate) async fn black_hole(lasts: Duration) -> Vec<Figure> {
    let mut setup = Setup::new(|builder| builder).await;
    setup.proxy.black_hole();
    setup.update_for(lasts).await;
    setup.proxy.heal().await;
    setup.figures().await
}

/// The server carries out all commands, and no answer arrives.
pub(crate) async fn no_answers(lasts: Duration) -> Vec<Figure> {
    let mut setup = Setup::new(|builder| builder).await;
    setup.proxy.hold(Way::ToClient);
    setup.update_for(lasts).await;
    setup.proxy.heal().await;
    setup.figures().await
}

pub(crate) async fn frozen(lasts: Duration) -> Vec<Figure> {
    let setup = Setup::new(|builder| builder).await;
    setup.server.freeze();
    setup.update_for(lasts).await;
    setup.server.thaw();
    setup.figures().await
}

/// The first few callers open the breaker. Later callers do not wait for the server.
pub(crate) async fn breaker() -> Vec<Figure> {
    const CALLS: u32 = 101;
    let setup = Setup::new(|builder| builder).await;
    setup.server.freeze();
    for row in 0..10 {
        setup.ours.read(row).await;
    }
    let mut took = Vec::new();
    for row in 0..CALLS {
        let began = Instant::now();
        setup.ours.read(row).await;
        took.push(began.elapsed());
    }
    took.sort();
    vec![
        Figure::within(SLOW, took[took.len() / 2], NO_REQUEST),
        Figure::broken(setup.ours.tally().broken()),
    ]
}

/// How long an outage lasts.
pub(crate) fn three_seconds(size: Size) -> Duration {
    size.pick(Duration::from_secs(3), Duration::from_secs(1))
}

/// Two caches on one server know as little of each other as two processes do.
pub(crate) struct Setup {
    folder: TempDir,
    pub(crate) server: RedisServer,
    pub(crate) proxy: Proxy,
    pub(crate) ours: Arc<Rows>,
    others: Arc<Rows>,
}

impl Setup {
    pub(crate) async fn new(configure: impl FnOnce(CacheBuilder) -> CacheBuilder) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = RedisServer::start();
        let proxy = Proxy::start(server.port()).await;
        let ours = configure(cache(&proxy.url())).build().expect("a cache");
        let others = cache(&server.url()).build().expect("a cache");
        let setup = Self {
            ours: Rows::new(ours, folder.path()),
            others: Rows::new(others, folder.path()),
            folder,
            server,
            proxy,
        };
        setup.ours.warm(0..ROWS).await;
        setup
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(crate) async fn update_for(&self, lasts: Duration) {
        update_for(&self.ours, lasts).await;
    }

    pub(crate) async fn figures(self) -> Vec<Figure> {
        figures(&self.ours, &self.others).await
    }
}

/// Updates each row within this time, while others are read. Takes longer if the updates do.
pub(super) async fn update_for(ours: &Arc<Rows>, lasts: Duration) {
    const WRITERS: u32 = 10;
    let began = Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let rows = ours.clone();
        writers.spawn(async move {
            const EACH: u32 = ROWS / WRITERS;
            for i in 0..EACH {
                let due = lasts * i / EACH;
                tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
                rows.write(i * WRITERS + writer).await;
            }
        });
    }
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        let rows = ours.clone();
        readers.spawn(async move {
            loop {
                rows.read(rows.below(ROWS)).await;
                rows.pause().await;
            }
        });
    }
    // Updates that still hang then are counted.
    let _ = tokio::time::timeout(lasts * 4 + HUNG, writers.join_all()).await;
    tokio::time::sleep(lasts.saturating_sub(began.elapsed())).await;
    readers.shutdown().await;
}

/// The figures of a process that updates and of another one, once the outage is over.
pub(super) async fn figures(ours: &Arc<Rows>, others: &Arc<Rows>) -> Vec<Figure> {
    let began = Instant::now();
    let mut lost = 0;
    for row in 0..ROWS {
        while others.stuck([row]).await > 0 {
            if began.elapsed() > AT_REST {
                lost += 1;
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let replayed = began.elapsed();
    let stuck_here = ours.stuck(0..ROWS).await;
    let (ours, others) = (ours.tally(), others.tally());
    assert!(
        ours.reported + ours.hung > 0,
        "some calls have met the outage"
    );
    vec![
        Figure::none(LOST, lost).of(ROWS.into()),
        Figure::none(STALE_HERE, ours.stale + stuck_here).of(ours.reads + u64::from(ROWS)),
        Figure::broken(ours.broken() + others.hung),
        Figure::within(LONGEST, ours.longest, CALL),
        Figure::shown(REPLAYED, replayed),
    ]
}
