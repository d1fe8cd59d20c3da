//! An annotated function within a transaction that commits later.

use std::convert::Infallible;

use cache_tests::RedisServer;

use super::restored::{ROWS, STALE};
use crate::figure::Figure;
use crate::rows::{Row, Rows, patient};
use crate::suite::Size;

/// Rows that were never committed, and that a cached function returns.
pub(crate) const GHOSTS: &str = "ghost rows";

pub(crate) async fn after_commit(_size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start();
    let rows = Rows::new(patient(&server.url()), folder.path());
    rows.warm(0..ROWS).await;
    for row in 0..ROWS {
        let Ok(version) = cache_runtime::after_commit(async {
            rows.stage(Row(row)).await;
            // Another task reads what is committed: still the old row.
            let other = rows.clone();
            let read = tokio::spawn(async move { other.read(row).await });
            read.await.expect("no panic");
            Ok::<_, Infallible>(rows.database.commit(row))
        })
        .await;
        rows.database.promise(row, version);
        rows.read(row).await;
    }
    let stuck = rows.stuck(0..ROWS).await;
    vec![
        Figure::none(STALE, stuck).of(ROWS.into()),
        Figure::none("stale reads", rows.tally().stale),
        Figure::broken(rows.tally().broken()),
    ]
}

/// A transaction changes rows, reads them through a cached function, and is rolled back. It has
/// invalidated nothing.
pub(crate) async fn rolled_back(_size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start();
    let rows = Rows::new(patient(&server.url()), folder.path());
    for row in 0..ROWS {
        let transaction = cache_runtime::after_commit(async {
            let Ok(_) = rows.find_uncommitted(Row(row)).await;
            Err::<(), _>("roll back")
        });
        transaction.await.expect_err("it is rolled back");
    }
    let ghosts = rows.stuck(0..ROWS).await;
    vec![
        Figure::none(GHOSTS, ghosts).of(ROWS.into()),
        Figure::broken(rows.tally().broken()),
    ]
}
