//! A link that carries the invalidation of about 400 names within a deadline.

use std::time::{Duration, Instant};

use cache_runtime::Key;
use cache_tests::{Proxy, RedisServer};

use crate::figure::Figure;
use crate::rows::cache;
use crate::suite::Size;

pub(crate) const WAITING: &str = "invalidations that still wait, 3 s after the end of a cut";
pub(crate) const FAILED: &str = "invalidations of 500 names that failed";

const NAMES: usize = 600;
const REPLAY: Duration = Duration::from_secs(3);

pub(crate) async fn many_names(size: Size) -> Vec<Figure> {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let cache = cache(&proxy.url()).build().expect("a cache");
    let names: Vec<Key> = (0..NAMES).map(|i| format!("name:{i}").into()).collect();
    proxy.cut().await;
    for name in &names {
        assert!(cache.invalidate([name]).await.is_err(), "nothing passes");
    }
    proxy.bandwidth(64 * 1024, Duration::from_millis(15));
    proxy.heal().await;
    let healed = Instant::now();
    while cache.health().waiting > 0 && healed.elapsed() < REPLAY {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let waiting = cache.health().waiting as u64;
    let tries = size.pick(20, 3);
    let mut failed = 0;
    for _ in 0..tries {
        failed += u64::from(cache.invalidate(&names[..500]).await.is_err());
    }
    vec![
        Figure::none(WAITING, waiting).of(NAMES as u64),
        Figure::none(FAILED, failed).of(tries),
    ]
}
