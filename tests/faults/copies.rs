//! Whether the caches of a scenario keep copies of the server's entries.
//!
//! Then a promise is two: an invalidation ends copies in its own process before it returns, and in other
//! processes within the lag.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use cache_runtime::CacheBuilder;

/// The environment variable that has all scenarios keep copies. A process hands it on to its peers.
pub(crate) const VARIABLE: &str = "FAULTS_COPIES";

/// The longest that a copy is served in another process after its invalidation.
pub(crate) const LAG: Duration = Duration::from_millis(500);

static ARE_KEPT: AtomicBool = AtomicBool::new(false);

/// Has all caches that this process and its peers make from now on keep copies.
pub(crate) fn keep() {
    ARE_KEPT.store(true, Relaxed);
}

pub(crate) fn are_kept() -> bool {
    ARE_KEPT.load(Relaxed) || std::env::var_os(VARIABLE).is_some()
}

/// Sets that up for the cache at a URL. Over HTTP, nothing is heard.
pub(crate) fn of(builder: CacheBuilder, url: &str) -> CacheBuilder {
    if are_kept() && !url.starts_with("upstash") {
        builder.local_ttl(Duration::from_secs(600))
    } else {
        builder
    }
}
