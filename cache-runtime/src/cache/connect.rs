//! Whether there is a server, and whether it is there.

use std::pin::pin;
use std::time::{Duration, Instant};

use super::Cache;
use crate::clock;
use crate::error::Error;
use crate::tier::{Room, Store as _};

/// The first pause between two attempts, and the longest. Each is about twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl Cache {
    /// Waits until the server can be reached, read and written, at most for `limit`: as
    /// [`ping`](Self::ping), which it tries again after pauses of at most three quarters of a second. A cache
    /// without a server always passes, at once.
    ///
    /// Call it at start-up, where the server may start at the same time, or in a readiness probe.
    ///
    /// # Errors
    ///
    /// That of the last attempt, if none has succeeded within `limit`: the server cannot be reached
    /// ([`Error::is_unavailable`]), or refuses a read or a write ([`Error::is_refused`]).
    ///
    /// # Cancellation
    ///
    /// It may be dropped at any time.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use std::time::Duration;
    ///
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// cache.connect(Duration::from_secs(10)).await?;
    /// # Ok(()) }
    /// ```
    pub async fn connect(&self, limit: Duration) -> Result<(), Error> {
        let until = Instant::now() + limit.min(clock::FOREVER);
        let mut pause = FIRST_PAUSE;
        let mut last = None;
        loop {
            let attempt = pin!(self.core.tier.ping());
            let error = match clock::within_until(until, attempt).await {
                Some(Ok(())) => return Ok(()),
                Some(Err(error)) => error,
                None => last.unwrap_or_else(|| Error::timeout(&self.address(), limit)),
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return self.core.failed(Err(error));
            }
            last = Some(error);
            clock::pause(clock::around(pause).min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Whether this cache keeps anything: false if it is [off](crate::CacheBuilder::url), so that each call
    /// loads. [`servers`](Self::servers) tells more of where entries are.
    ///
    /// ```
    /// # use cache_runtime::Cache;
    /// assert!(Cache::builder().url("memory:").build()?.is_on());
    /// assert!(!Cache::builder().url("off:").build()?.is_on());
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn is_on(&self) -> bool {
        !matches!(self.core.tier.room(), Room::None)
    }

    /// Whether this cache is on a server or a cluster: false if it is in process or off. The server is not
    /// asked: [`health`](Self::health) tells whether it works.
    ///
    /// ```
    /// # use cache_runtime::Cache;
    /// assert!(!Cache::builder().url("memory:").build()?.has_server());
    /// # #[cfg(feature = "redis")]
    /// assert!(Cache::builder().url("redis://127.0.0.1").build()?.has_server());
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn has_server(&self) -> bool {
        matches!(self.core.tier.room(), Room::Server(_))
    }

    /// Where the server is, without credentials.
    fn address(&self) -> String {
        match self.core.tier.room() {
            Room::Server(server) => server.address().to_owned(),
            Room::InProcess(_) | Room::None => String::new(),
        }
    }
}
