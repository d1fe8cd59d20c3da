//! Each row is read and updated once, within a few milliseconds of each other.

use std::sync::Arc;
use std::time::Duration;

use cache_tests::RedisServer;
use tokio::task::JoinSet;

use crate::figure::Figure;
use crate::rows::{A_SHELF, Rows, cache, patient};
use crate::suite::Size;

pub(crate) const STUCK: &str = "stale for good";

/// How many rows at a time: few enough for a read and an update of a row to meet.
const AT_ONCE: u32 = 20;
pub(super) const LATENCY: Duration = Duration::from_millis(5);

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

pub(super) async fn race(rows: Arc<Rows>, size: Size) -> Vec<Figure> {
    let pairs: u32 = size.pick(20_000, 2_000);
    for first in (0..pairs).step_by(AT_ONCE as usize) {
        let mut calls = JoinSet::new();
        for row in (first..first + AT_ONCE).map(|row| row * A_SHELF) {
            let (reader, writer) = (rows.clone(), rows.clone());
            calls.spawn(async move {
                reader.pause().await;
                reader.read(row).await;
            });
            calls.spawn(async move {
                writer.pause().await;
                writer.write(row).await;
            });
        }
        calls.join_all().await;
    }
    let stuck = rows.stuck((0..pairs).map(|row| row * A_SHELF)).await;
    let tally = rows.tally();
    assert!(
        tally.hits > 0,
        "an entry that is not served cannot be stale"
    );
    vec![
        Figure::none(STUCK, stuck).of(pairs.into()),
        Figure::broken(tally.broken()),
    ]
}
