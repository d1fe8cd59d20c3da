//! A cache that takes no busy machine for an outage.

use std::time::Duration;

use cache_runtime::{Cache, CacheBuilder};

/// A cache at `url` that waits a minute for each answer, for tests without an outage: on a busy
/// machine an answer may come later than the usual deadline, which would look like one.
pub fn patient(url: &str) -> CacheBuilder {
    const PATIENCE: Duration = Duration::from_secs(60);
    Cache::builder()
        .url(url)
        .op_timeout(PATIENCE)
        .connect_timeout(PATIENCE)
}
