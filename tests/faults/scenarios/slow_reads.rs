//! A link that is so slow that a large request takes longer than its deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cache_tests::{Proxy, RedisServer};

use super::lost_data::{BACK_WITHIN, HITS_AGAIN, hits_again};
use super::outage::LOST;
use super::restored::ROWS;
use crate::figure::Figure;
use crate::rows::{Rows, cache, patient};

pub(crate) const EMPTIED: &str = "until no invalidation waits any more";
pub(crate) const WAITING: &str = "names that the invalidation left behind";
pub(crate) const LEFT: &str = "entries that `clear` left behind";
const MISSED: &str = "misses of warm rows meanwhile";

/// The first of the rows that are invalidated.
const CHANGED: u32 = 1_000;

struct Setup {
    /// Holds the rows.
    _folder: tempfile::TempDir,
    server: RedisServer,
    proxy: Proxy,
    rows: Arc<Rows>,
    others: Arc<Rows>,
}

impl Setup {
    /// A cache behind a link that is fast until the caches are warm.
    async fn new(changed: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = RedisServer::start();
        let proxy = Proxy::start(server.port()).await;
        let ours = cache(&proxy.url()).build().expect("a cache");
        let others = Rows::new(patient(&server.url()), folder.path());
        others.warm(0..ROWS).await;
        others.warm(CHANGED..CHANGED + changed).await;
        Self {
            rows: Rows::new(ours, folder.path()),
            others,
            _folder: folder,
            server,
            proxy,
        }
    }

    fn slow_down(&self) {
        self.proxy.bandwidth(64 * 1024, Duration::from_millis(15));
    }
}

/// 600 invalidations fail while the link is cut. Then it is back, and slow.
pub(crate) async fn outage_ends() -> Vec<Figure> {
    const FAILED: u32 = 600;
    let mut setup = Setup::new(FAILED).await;
    setup.rows.warm(0..1).await;
    setup.proxy.cut().await;
    for row in CHANGED..CHANGED + FAILED {
        setup.rows.database.commit(row);
        let _ = setup.rows.cache.invalidate([format!("row:{row}")]).await;
    }
    let failed = setup.rows.cache.health().waiting;
    assert_eq!(failed, FAILED as usize, "they have failed");
    setup.slow_down();
    setup.proxy.heal().await;
    let began = Instant::now();
    let reader = tokio::spawn({
        let rows = setup.rows.clone();
        async move {
            loop {
                rows.read(rows.below(ROWS)).await;
                tokio::task::yield_now().await;
            }
        }
    });
    let again = hits_again(&setup.rows).await;
    while setup.rows.cache.health().waiting > 0 && began.elapsed() < Duration::from_secs(9) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let emptied = began.elapsed();
    reader.abort();
    let lost = setup.others.stuck(CHANGED..CHANGED + FAILED).await;
    vec![
        Figure::none(LOST, lost).of(FAILED.into()),
        Figure::within(HITS_AGAIN, again, BACK_WITHIN),
        Figure::within(EMPTIED, emptied, Duration::from_secs(2)),
        Figure::broken(setup.rows.tally().broken()),
    ]
}

/// One call invalidates 500 names while others read.
pub(crate) async fn many_names() -> Vec<Figure> {
    const NAMES: u32 = 500;
    let setup = Setup::new(NAMES).await;
    setup.slow_down();
    setup.rows.warm(0..ROWS).await;
    let before = setup.rows.cache.stats();
    let reader = tokio::spawn({
        let rows = setup.rows.clone();
        async move {
            loop {
                rows.read(rows.below(ROWS)).await;
                tokio::task::yield_now().await;
            }
        }
    });
    for row in CHANGED..CHANGED + NAMES {
        setup.rows.database.commit(row);
    }
    let names = (CHANGED..CHANGED + NAMES).map(|row| format!("row:{row}"));
    let invalidated = setup.rows.cache.invalidate(names).await;
    let waiting = setup.rows.cache.health().waiting as u64;
    // The reads that an invalidation has made late come after it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    reader.abort();
    let stats = setup.rows.cache.stats();
    let lost = setup.others.stuck(CHANGED..CHANGED + NAMES).await;
    let failed = u64::from(invalidated.is_err());
    vec![
        Figure::none(LOST, lost).of(NAMES.into()),
        Figure::at_most(WAITING, waiting + failed, 0).of(NAMES.into()),
        Figure::at_most(MISSED, stats.misses - before.misses, 2).of(stats.hits - before.hits),
        Figure::broken(setup.rows.tally().broken()),
    ]
}

/// `clear`, with keys so long that a page of them takes too long.
pub(crate) async fn clear() -> Vec<Figure> {
    const ENTRIES: u64 = 3_000;
    let setup = Setup::new(0).await;
    let mut connection = setup.server.connection();
    let mut filling = redis::pipe();
    for entry in 0..ENTRIES {
        let key = format!("faults:e:long:{entry}:{}", "x".repeat(1_000));
        filling.set(key, "old").ignore();
    }
    let () = filling.query(&mut connection).expect("the server answers");
    setup.slow_down();
    setup.rows.warm(0..1).await;
    let cleared = setup.rows.cache.clear().await;
    let left: u64 = setup.server.query(&["DBSIZE"]);
    let failed = u64::from(cleared.is_err());
    vec![
        Figure::at_most(LEFT, left + failed, 0).of(ENTRIES),
        Figure::broken(setup.rows.tally().broken()),
    ]
}
