//! The server has no memory left, and may not evict anything.

use cache_tests::RedisServer;

use super::restored::{ROWS, STALE, update_all};
use crate::figure::Figure;
use crate::rows::{Rows, patient};
use crate::suite::Size;

pub(crate) const LATE: &str = "invalidations that did not land";

pub(crate) async fn no_eviction(_size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = ["--maxmemory-policy", "noeviction"];
    let server = RedisServer::builder().args(&settings).start();
    let rows = Rows::new(patient(&server.url()), folder.path());
    rows.warm(0..ROWS).await;
    server.configure("maxmemory", "1");
    // The entries are still read.
    let before = rows.cache.stats().hits;
    rows.warm(0..1).await;
    assert!(rows.cache.stats().hits > before, "entries are served");
    update_all(&rows).await;
    // An invalidation that did not land is kept and its names are distrusted, so the stale rows
    // would not show it.
    let waiting = rows.cache.health().waiting;
    vec![
        Figure::none(LATE, waiting as u64),
        Figure::none(STALE, rows.stuck(0..ROWS).await).of(ROWS.into()),
        Figure::broken(rows.tally().broken()),
    ]
}
