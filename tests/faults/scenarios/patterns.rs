//! All rows change at once, and are invalidated by a pattern, while no command reaches the server.

use std::time::Duration;

use tokio::task::JoinSet;

use super::outage::Setup;
use super::restored::ROWS;
use crate::figure::Figure;
use crate::rows::Rows;

/// How often all rows change.
const IMPORTS: u32 = 5;

/// Every other time it is the rows' tags that match.
const PATTERNS: [&str; 2] = ["row:*", "shelf:*"];

pub(crate) async fn cut(lasts: Duration) -> Vec<Figure> {
    let mut setup = Setup::new(|builder| builder).await;
    setup.proxy.cut().await;
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        let rows = setup.ours.clone();
        readers.spawn(async move {
            loop {
                rows.read(rows.below(ROWS)).await;
                rows.pause().await;
            }
        });
    }
    for pattern in PATTERNS.iter().cycle().take(IMPORTS as usize) {
        import(&setup.ours, pattern).await;
        tokio::time::sleep(lasts / IMPORTS).await;
    }
    readers.shutdown().await;
    setup.proxy.heal().await;
    setup.figures().await
}

/// Changes all rows. From then on, this process may read none as it was.
async fn import(rows: &Rows, pattern: &str) {
    let versions: Vec<u64> = (0..ROWS).map(|row| rows.database.commit(row)).collect();
    let _ = rows.cache.invalidate_matching(pattern).await;
    for (row, version) in (0..ROWS).zip(versions) {
        rows.database.promise(row, version);
    }
}
