//! Many transactions, and large ones.

use std::sync::Arc;
use std::time::Duration;

use cache_runtime::{CacheBuilder, after_commit, cache_invalidate};
use cache_tests::RedisServer;
use tokio::task::JoinSet;

use super::many_failures::{MISSED, Unrelated, on, settled};
use super::restored::ROWS;
use crate::figure::Figure;
use crate::rows::{Row, Rows, cache};
use crate::suite::Size;

pub(crate) const WAITING: &str = "names that wait after it";

/// The first row that the scopes change.
const CHANGED: u32 = 1_000_000;

pub(crate) async fn in_process(size: Size) -> Vec<Figure> {
    many(cache("memory:"), size).await
}

pub(crate) async fn on_the_server(size: Size) -> Vec<Figure> {
    let server = RedisServer::start();
    many(on(&server), size).await
}

pub(crate) async fn large_in_process(size: Size) -> Vec<Figure> {
    large(cache("memory:"), size).await
}

pub(crate) async fn large_on_the_server(size: Size) -> Vec<Figure> {
    let server = RedisServer::start();
    large(on(&server), size).await
}

#[cache_invalidate("row:<row>", cache = rows.cache)]
async fn change(rows: &Rows, row: Row) -> Result<(), &'static str> {
    Ok(())
}

/// Scopes that are `Ok`.
async fn many(builder: CacheBuilder, size: Size) -> Vec<Figure> {
    let scopes = size.pick(10_001, 1_001);
    let (_folder, rows) = warm(builder).await;
    let unrelated = Unrelated::read(&rows);
    let mut running = JoinSet::new();
    for row in CHANGED..CHANGED + scopes {
        let rows = rows.clone();
        running.spawn(async move { after_commit(change(&rows, Row(row))).await });
        if running.len() == 100 {
            running.join_next().await;
        }
    }
    running.join_all().await;
    let waiting = rows.cache.health().waiting as u64;
    settled(&rows, SETTLE).await;
    let (missed, hits) = unrelated.end(&rows).await;
    vec![
        Figure::none(WAITING, waiting).of(scopes.into()),
        Figure::none(MISSED, missed).of(missed + hits),
        Figure::broken(rows.tally().broken()),
    ]
}

/// One scope that changes very many rows, and fails: all of them are invalidated twice.
async fn large(builder: CacheBuilder, size: Size) -> Vec<Figure> {
    let changed = size.pick(200_000, 5_000);
    let (_folder, rows) = warm(builder).await;
    let unrelated = Unrelated::read(&rows);
    let scope = after_commit(async {
        for row in CHANGED..CHANGED + changed {
            change(&rows, Row(row)).await?;
        }
        Err::<(), _>("rolled back")
    });
    scope.await.expect_err("it is rolled back");
    settled(&rows, SETTLE).await;
    let (missed, hits) = unrelated.end(&rows).await;
    let waiting = rows.cache.health().waiting as u64;
    vec![
        Figure::none(WAITING, waiting).of(changed.into()),
        Figure::none(MISSED, missed).of(missed + hits),
        Figure::broken(rows.tally().broken()),
    ]
}

const SETTLE: Duration = Duration::from_secs(1);

async fn warm(builder: CacheBuilder) -> (tempfile::TempDir, Arc<Rows>) {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = builder.settle(SETTLE).build().expect("a cache");
    let rows = Rows::new(cache, folder.path());
    rows.warm(0..ROWS).await;
    (folder, rows)
}
