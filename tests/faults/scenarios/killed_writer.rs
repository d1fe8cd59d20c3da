//! A process dies between the commit of its updates and their invalidations.

use std::time::Duration;

use cache_tests::RedisServer;

use super::restored::{ROWS, STALE};
use crate::figure::Figure;
use crate::peer::{Order, Peer};
use crate::rows::{Rows, patient};
use crate::suite::Size;

/// Longer than the fences last.
const FENCES: Duration = Duration::from_millis(2_500);

pub(crate) async fn with_a_fence(_size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start();
    let rows = Rows::new(patient(&server.url()), folder.path());
    rows.warm(0..ROWS).await;
    let mut peer = Peer::patient(&server.url(), folder.path());
    peer.tell(&Order::CommitAndHang(0..ROWS));
    peer.tally();
    // Reads before and after its death.
    let mut stale = rows.stuck(0..ROWS).await;
    peer.kill();
    stale += rows.stuck(0..ROWS).await;
    tokio::time::sleep(FENCES).await;
    stale += rows.stuck(0..ROWS).await;
    let before = rows.cache.stats().hits;
    stale += rows.stuck(0..ROWS).await;
    assert!(rows.cache.stats().hits > before, "rows are cached again");
    vec![
        Figure::none(STALE, stale).of(u64::from(ROWS) * 4),
        Figure::broken(rows.tally().broken()),
    ]
}
