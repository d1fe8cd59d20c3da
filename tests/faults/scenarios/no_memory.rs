//! The server has no memory left, and may not throw anything out.

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
    let () = server.query(&["CONFIG", "SET", "maxmemory", "1"]);
    // What is there is still read.
    let before = rows.cache.stats().hits;
    rows.warm(0..1).await;
    assert!(rows.cache.stats().hits > before, "entries are served");
    update_all(&rows).await;
    // What did not is kept, and distrusted; so nothing stale is read of it, and this says more.
    let waiting = rows.cache.health().waiting;
    vec![
        Figure::none(LATE, waiting as u64),
        Figure::none(STALE, rows.stuck(0..ROWS).await).of(ROWS.into()),
        Figure::none("errors, panics and hangs", rows.tally().broken()),
    ]
}
