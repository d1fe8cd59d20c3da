//! Many callers read large values at once: more bytes than a server keeps for one connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use cache_runtime::{Cache, Options};
use cache_tests::RedisServer;
use tokio::task::JoinSet;

use crate::figure::Figure;
use crate::rows::cache;
use crate::suite::Size;

pub(crate) const MISSED: &str = "cached rows that are missed";
pub(crate) const FAILED: &str = "requests that failed";

const CALLERS: u64 = 800;
const BYTES: usize = 100 << 10;

/// Reads a row, and returns whether it had to be loaded.
async fn is_missed(cache: &Cache, row: u64) -> bool {
    let mut is_missed = false;
    let load = async {
        is_missed = true;
        Ok::<_, Infallible>("x".repeat(BYTES))
    };
    let Ok(value) = cache
        .get_or_load(format!("row:{row}"), Options::new(), load)
        .await;
    assert_eq!(value.len(), BYTES);
    is_missed
}

pub(crate) async fn read_at_once(size: Size) -> Vec<Figure> {
    /// Long: the promise is that the server keeps the connection.
    const REQUEST: Duration = Duration::from_secs(20);
    let rounds = size.pick(5, 1);
    let server = RedisServer::start();
    let build = || cache(&server.url()).op_timeout(REQUEST).build();
    let writer = build().expect("a cache");
    for row in 0..CALLERS {
        is_missed(&writer, row).await;
    }
    // It knows no sizes.
    let reader = build().expect("a cache");
    reader.ping().await.expect("the server is there");
    let misses = Arc::new(AtomicU64::new(0));
    for _ in 0..rounds {
        let mut callers = JoinSet::new();
        for row in 0..CALLERS {
            let (reader, misses) = (reader.clone(), misses.clone());
            callers.spawn(async move {
                if is_missed(&reader, row).await {
                    misses.fetch_add(1, SeqCst);
                }
            });
        }
        callers.join_all().await;
    }
    let tries = CALLERS * rounds;
    vec![
        Figure::none(MISSED, misses.load(SeqCst)).of(tries),
        Figure::none(FAILED, reader.stats().errors),
    ]
}
