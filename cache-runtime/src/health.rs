//! How a cache is doing.

use crate::error::Error;

/// How a cache is doing, from [`Cache::health`](crate::Cache::health): as its last
/// requests found it, without asking the server.
///
/// ```
/// use cache_runtime::Cache;
///
/// let health = Cache::builder().url("memory:").build()?.health();
/// assert!(health.status.is_working());
/// assert_eq!(health.waiting, 0);
/// # Ok::<_, cache_runtime::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Health {
    /// Whether the store can be used, and else why not.
    pub status: Status,
    /// How many names wait for an invalidation that the server did not carry out, or that is
    /// to be repeated. Those that failed are distrusted here, and replayed.
    pub waiting: usize,
    /// Whether more failed than were kept: then nothing is served before the whole
    /// namespace is cleared.
    pub overflowed: bool,
}

/// Whether the store can be used.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # #[cfg(feature = "redis")] {
/// use cache_runtime::{Cache, Status};
///
/// // Nothing listens on port 1.
/// let cache = Cache::builder().url("redis://127.0.0.1:1").build().unwrap();
/// assert!(matches!(cache.health().status, Status::Unknown));
/// assert!(cache.exists("user:42").await.is_err());
/// assert!(matches!(cache.health().status, Status::Unreachable(_)));
/// # }
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Status {
    /// It works. A cache without a server always does.
    Working,
    /// There is no connection: none was needed yet, or the last one was lost just now.
    Unknown,
    /// The server cannot be reached, or does not answer in time. Calls are misses, and the
    /// cache tries again by itself.
    Unreachable(Error),
    /// The server refuses the credentials, or a command. Calls are misses until that is mended.
    Denied(Error),
    /// The server takes no writes: it has no memory left, too few replicas, a broken disk, or it is
    /// a replica. What is stored is served as long as it is true; nothing is added.
    WritesRefused(Error),
}

impl Status {
    pub(crate) fn of(error: &Error) -> Self {
        if error.is_write_refused() {
            Self::WritesRefused(error.clone())
        } else if error.is_refused() {
            Self::Denied(error.clone())
        } else {
            Self::Unreachable(error.clone())
        }
    }

    /// Whether it works.
    ///
    /// ```
    /// use cache_runtime::Cache;
    ///
    /// assert!(Cache::builder().url("memory:").build()?.health().status.is_working());
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn is_working(&self) -> bool {
        matches!(self, Self::Working)
    }

    /// What is wrong, if anything is.
    ///
    /// ```
    /// use cache_runtime::Cache;
    ///
    /// assert!(Cache::builder().url("memory:").build()?.health().status.error().is_none());
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::Working | Self::Unknown => None,
            Self::Unreachable(error) | Self::Denied(error) | Self::WritesRefused(error) => {
                Some(error)
            }
        }
    }
}
