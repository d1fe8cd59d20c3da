//! The state of a cache.

use std::fmt;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::error::Error;
use crate::observe::NeverHit;

/// The state of a cache, from [`Cache::health`](crate::Cache::health). It is what the last
/// requests to the server found; the server is not asked.
///
/// ```
/// use cache_runtime::Cache;
///
/// let health = Cache::builder().url("memory:").build()?.health();
/// assert!(health.status.is_working());
/// assert_eq!(health.waiting, 0);
/// # Ok::<_, cache_runtime::Error>(())
/// ```
///
/// It can be serialized, as the answer of a health check:
///
/// ```
/// # let cache = cache_runtime::Cache::builder().url("memory:").build().unwrap();
/// let json = serde_json::to_value(cache.health()).unwrap();
/// let expected = serde_json::json!({
///     "status": { "state": "working" },
///     "waiting": 0,
///     "overflowed": false,
///     "never_hit": [],
/// });
/// assert_eq!(json, expected);
/// ```
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// Whether the cache's store can be used, and if not, the reason.
    pub status: Status,
    /// How many names, and patterns, wait for an invalidation: one that failed, or the second one after
    /// an update that failed. A name whose invalidation failed is not served in this process, and
    /// the invalidation is repeated until the server carries it out.
    pub waiting: usize,
    /// Whether more names wait than there is [room](crate::CacheBuilder::backlog_room) for. Names
    /// that do not fit are kept as buckets of hashes, and all names in these buckets are invalidated
    /// with them: one in sixteen million for each.
    pub overflowed: bool,
    /// The functions that load at each call, since what they return cannot be stored, or is stored and
    /// cannot be read: at least ten loads in a row, without a hit since. Each has its reason.
    pub never_hit: Vec<NeverHit>,
}

/// Whether a cache's store can be used.
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
/// let status = cache.health().status;
/// assert!(matches!(status, Status::Unreachable(_)));
/// println!("the cache's server is {status}");
/// # }
/// # }
/// ```
///
/// It is shown with the reason, if there is one: `unreachable: …`. It is serialized as a `state`
/// (`working`, `unknown`, `unreachable`, `denied` or `writes_refused`) and, if there is one, an
/// `error`, as text. Neither shows a password.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Status {
    /// The store works. That of a cache without a server always does.
    Working,
    /// There is no connection, and the last request found no fault: nothing was asked yet, the
    /// runtime that had the connection has ended, or the connection was just lost, and no request
    /// has found out why. It stays so until something is asked; [`Cache::ping`](crate::Cache::ping)
    /// asks.
    Unknown,
    /// The server cannot be reached, or does not answer in time. Calls are misses, and a
    /// background task tries to connect again.
    Unreachable(Error),
    /// The server refuses the credentials, or a command. Calls are misses until it accepts them.
    Denied(Error),
    /// The server refuses writes: it has no memory left, too few replicas or a broken disk, or it
    /// is a replica. Entries are served while they are valid. Nothing new is stored.
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

    /// Whether calls do not use the store, since it fails.
    #[cfg_attr(
        not(feature = "metrics"),
        expect(dead_code, reason = "metrics ask for it")
    )]
    pub(crate) fn is_failing(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Denied(_))
    }

    /// What it is called where it is shown, and where it is serialized.
    fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Working => ("working", "working"),
            Self::Unknown => ("unknown", "unknown"),
            Self::Unreachable(_) => ("unreachable", "unreachable"),
            Self::Denied(_) => ("denied", "denied"),
            Self::WritesRefused(_) => ("writes refused", "writes_refused"),
        }
    }

    /// Whether the store works.
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

    /// The error that the server or the network gave, if there is one.
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

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, _) = self.names();
        match self.error() {
            None => f.write_str(shown),
            Some(error) => write!(f, "{shown}: {error}"),
        }
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (_, state) = self.names();
        let error = self.error().map(ToString::to_string);
        let mut status = serializer.serialize_struct("Status", 2)?;
        status.serialize_field("state", state)?;
        match &error {
            None => status.skip_field("error")?,
            Some(error) => status.serialize_field("error", error)?,
        }
        status.end()
    }
}
