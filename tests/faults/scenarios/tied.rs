//! A function whose values never leave the process asks the server, and a fence is placed before its load begins.

use std::future::pending;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use cache_runtime::{Cache, cache_invalidate, cached};
use cache_tests::{Proxy, RedisServer, Way, poll_once, until};

use crate::figure::Figure;
use crate::rows::patient;

pub(crate) const STALE: &str = "values from before the commit of a writer that has died";

const ROWS: u64 = 20;
/// Longer than what another process does may be unheard.
const BOUND: Duration = Duration::from_secs(1);
const BEFORE: u64 = 1;
const AFTER: u64 = 2;

/// What one process sees of a row.
#[derive(Clone)]
struct Rows {
    cache: Cache,
    row: Arc<AtomicU64>,
}

impl Rows {
    #[cached(key = "row:<id>", ttl = "1h", local, cache = self.cache)]
    async fn read(&self, id: u64) -> u64 {
        let _ = id;
        self.row.load(SeqCst)
    }

    /// It places its fence, and does not end.
    #[cache_invalidate("row:<id>", fence = "1m", cache = self.cache)]
    async fn write(&self, id: u64) -> Result<(), std::io::Error> {
        let _ = id;
        pending().await
    }
}

pub(crate) async fn fence() -> Vec<Figure> {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    let row = Arc::new(AtomicU64::new(BEFORE));
    let [ours, writer] = [proxy.url(), server.url()].map(|url| Rows {
        cache: patient(&url),
        row: row.clone(),
    });
    // From here on, the connection listens.
    until(async || {
        let loads = ours.cache.stats().loads;
        ours.read(ROWS).await == BEFORE && ours.cache.stats().loads == loads
    })
    .await;
    for id in 0..ROWS {
        row.store(BEFORE, SeqCst);
        // The answer that no writer is at work is held back.
        proxy.hold(Way::ToClient);
        let asked = server.calls("mget");
        let call = tokio::spawn({
            let ours = ours.clone();
            async move { ours.read(id).await }
        });
        until(async || server.calls("mget") > asked).await;
        let mut write = Box::pin(writer.write(id));
        let place = format!(":row:{id}");
        until(async || {
            assert!(poll_once(write.as_mut()).is_pending());
            server.keys().iter().any(|key| key.ends_with(&place))
        })
        .await;
        proxy.release(Way::ToClient);
        call.await.expect("it does not panic");
        row.store(AFTER, SeqCst);
        // It has committed, and dies.
        mem::forget(write);
    }
    tokio::time::sleep(BOUND).await;
    let mut stale = 0;
    for id in 0..ROWS {
        stale += u64::from(ours.read(id).await != AFTER);
    }
    vec![Figure::none(STALE, stale).of(ROWS)]
}
