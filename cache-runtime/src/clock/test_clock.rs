//! A clock that a test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::Moment;

/// A clock that stands still until a test moves it, for the ttls of a cache in this process: see
/// [`CacheBuilder::clock`](crate::CacheBuilder::clock). A clone is a handle to the same clock.
///
/// ```
/// use std::time::Duration;
/// use cache_runtime::testing::TestClock;
/// use cache_runtime::{Cache, Options};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
/// let clock = TestClock::new();
/// // Without jitter, an entry lives exactly as long as its ttl.
/// let cache = Cache::builder().clock(&clock).jitter(0.0).build()?;
///
/// let minute = Options::new().ttl(Duration::from_secs(60));
/// cache.set("row", &1, minute).await?;
/// clock.advance(Duration::from_secs(59));
/// assert!(cache.exists("row").await?);
/// clock.advance(Duration::from_secs(1));
/// assert!(!cache.exists("row").await?);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct TestClock {
    /// In nanoseconds. They last for 584 years.
    passed: Arc<AtomicU64>,
}

impl TestClock {
    /// A clock of its own.
    ///
    /// ```
    /// let clock = cache_runtime::testing::TestClock::new();
    /// # let _ = clock;
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock on, for all caches that have it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let clock = cache_runtime::testing::TestClock::new();
    /// clock.advance(Duration::from_secs(60));
    /// ```
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        let advance = |passed: u64| Some(passed.saturating_add(by));
        let _ = self.passed.fetch_update(Relaxed, Relaxed, advance);
    }

    pub(super) fn moment(&self) -> Moment {
        self.passed.load(Relaxed) / 1_000_000
    }
}
