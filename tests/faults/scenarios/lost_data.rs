//! The server loses some of its data, or all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cache_tests::RedisServer;

use super::mixed::stale_reads;
use super::outage::{CALL, LONGEST};
use crate::figure::Figure;
use crate::rows::{A_SHELF, Mix, Rows, cache, patient};
use crate::suite::Size;

pub(crate) const HITS_AGAIN: &str = "hits again after the server's return";

/// The promise about [`HITS_AGAIN`].
pub(crate) const BACK_WITHIN: Duration = Duration::from_millis(300);

pub(super) fn mix(rows: u32, lasts: Duration) -> Mix {
    Mix {
        rows,
        apart: 1,
        readers: 8,
        writers: 0..2,
        all_writers: 2,
        lasts,
    }
}

/// The versions of tags are deleted, one at a time.
pub(crate) async fn versions_deleted(size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start();
    let rows = Rows::new(patient(&server.url()), folder.path());
    let lasts = size.pick(Duration::from_secs(10), Duration::from_secs(2));
    let mixing = tokio::spawn({
        let rows = rows.clone();
        async move { rows.mix(mix(40, lasts)).await }
    });
    let deleted = tokio::task::spawn_blocking({
        let rows = rows.clone();
        move || {
            let mut connection = server.connection();
            let began = Instant::now();
            let mut deleted = 0;
            while began.elapsed() < lasts {
                let version = format!("faults:v:shelf:{}", rows.below(4));
                let one: u64 = redis::cmd("DEL")
                    .arg(version)
                    .query(&mut connection)
                    .expect("the server answers");
                deleted += one;
                std::thread::sleep(Duration::from_millis(1));
            }
            // The server must live until the readers and writers have ended too.
            (server, deleted)
        }
    });
    let (_server, deleted) = deleted.await.expect("no panic");
    mixing.await.expect("no panic");
    assert!(deleted > 10, "versions were deleted");
    stale_reads(rows.tally())
}

/// The entries need more memory than the server has. It evicts what was not used for longest:
/// versions as well as entries.
pub(crate) async fn evicted(size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = vec!["--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru"];
    // With one sample the server's choice is rough: more versions go before their entries.
    settings.extend(["--maxmemory-samples", "1"]);
    let server = RedisServer::builder().args(&settings).start();
    let rows = Rows::with(
        patient(&server.url()),
        folder.path(),
        Duration::from_millis(1),
        4_000,
    );
    let lasts = size.pick(Duration::from_secs(15), Duration::from_secs(3));
    let apart = A_SHELF;
    rows.mix(Mix {
        apart,
        ..mix(1_000, lasts)
    })
    .await;
    let info: String = server.query(&["INFO", "stats"]);
    assert!(!info.contains("evicted_keys:0\r"), "memory ran out");
    stale_reads(rows.tally())
}

pub(crate) async fn flushed(size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start();
    let rows = Rows::new(patient(&server.url()), folder.path());
    let lasts = size.pick(Duration::from_secs(6), Duration::from_secs(2));
    let flushing = tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        while began.elapsed() < lasts {
            server.flush_all();
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    });
    // So few rows that each is read and updated between two flushes.
    rows.mix(mix(4, lasts)).await;
    let _server = flushing.await.expect("no panic");
    stale_reads(rows.tally())
}

/// With the default limits, calls go on without the server, and use it again once it is back.
pub(crate) async fn killed(_size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = RedisServer::start();
    let rows = Rows::new(
        cache(&server.url()).build().expect("a cache"),
        folder.path(),
    );
    rows.warm(0..40).await;
    let mixing = tokio::spawn({
        let rows = rows.clone();
        async move { rows.mix(mix(40, Duration::from_secs(4))).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.kill();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let server = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    let _server = server.await.expect("no panic");
    let again = hits_again(&rows).await;
    mixing.await.expect("no panic");
    let mut figures = stale_reads(rows.tally());
    figures.push(Figure::within(LONGEST, rows.tally().longest, CALL));
    figures.push(Figure::within(HITS_AGAIN, again, BACK_WITHIN));
    figures
}

/// How long it takes until something is read from the cache.
pub(crate) async fn hits_again(rows: &Arc<Rows>) -> Duration {
    let began = Instant::now();
    let before = rows.cache.stats().hits;
    while rows.cache.stats().hits == before && began.elapsed() < Duration::from_secs(3) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    began.elapsed()
}
