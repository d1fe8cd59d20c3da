//! One error for all that can go wrong with the cache itself.

use std::fmt;
use std::sync::Arc;

/// What went wrong with the cache.
///
/// Annotated functions never return it: they run as if they were not annotated.
/// The builder and the manual API do. The message says what failed, where, and
/// how to mend it; a password never appears in it.
///
/// ```
/// use cache_runtime::Cache;
///
/// let error = Cache::builder().url("http://localhost").build().unwrap_err();
/// assert!(error.is_config());
/// assert!(error.to_string().contains("write `memory:`"));
/// ```
#[derive(Clone, thiserror::Error)]
#[error("{0}")]
pub struct Error(Arc<Kind>);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("{0}")]
    Config(String),
    #[error("{0}")]
    Key(String),
    #[error("{0}")]
    Codec(String),
    #[error("{message}")]
    Lacks {
        feature: &'static str,
        message: String,
    },
    #[error("the cache server at {address} did not answer within {limit:?}")]
    Timeout {
        address: String,
        limit: std::time::Duration,
    },
    #[error("the cache server at {address} cannot be reached: {reason}")]
    Unavailable { address: String, reason: String },
    #[error("the cache server at {address} refused: {reason}")]
    Refused {
        address: String,
        reason: String,
        refusal: Refusal,
    },
    #[error("{names} invalidations wait for the cache server at {address}: {reason}")]
    Kept {
        address: String,
        names: String,
        reason: String,
    },
}

/// What a server refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// The credentials, or a command.
    Access,
    /// To write anything.
    Writes,
    /// The same, because it is a replica.
    WritesToReplica,
}

impl Error {
    pub(crate) fn config(message: impl Into<String>) -> Self {
        Kind::Config(message.into()).into()
    }

    pub(crate) fn key(text: &str) -> Self {
        let max = crate::Key::MAX_LEN;
        let message = if text.is_empty() {
            "a cache key is empty; name what is cached".to_owned()
        } else {
            let start: String = text.chars().take(32).collect();
            format!(
                "the cache key `{start}…` has {} bytes, more than the {max} allowed; \
                 put a digest of the long part in it instead",
                text.len()
            )
        };
        Kind::Key(message).into()
    }

    pub(crate) fn codec(key: &str, doing: &str, reason: &dyn fmt::Display) -> Self {
        Kind::Codec(format!("the value of `{key}` cannot be {doing}: {reason}")).into()
    }

    /// A name that no entry can have: empty, or longer than [`Key::MAX_LEN`](crate::Key::MAX_LEN).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let cache = cache_runtime::Cache::builder().url("memory:").build().unwrap();
    /// let error = cache.get::<u32>("").await.unwrap_err();
    /// assert!(error.is_key());
    /// # }
    /// ```
    pub fn is_key(&self) -> bool {
        matches!(*self.0, Kind::Key(_))
    }

    /// A setting that cannot be: of the builder, the environment, or a call's [`Options`](crate::Options).
    ///
    /// ```
    /// let error = cache_runtime::Cache::builder().jitter(2.0).build().unwrap_err();
    /// assert!(error.is_config());
    /// ```
    pub fn is_config(&self) -> bool {
        matches!(*self.0, Kind::Config(_))
    }

    /// A value that cannot be encoded, or that is stored in another form than the one
    /// asked for, or in one that this program was built without the feature for.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use cache_runtime::{Cache, Options};
    ///
    /// let cache = Cache::builder().url("memory:").build().unwrap();
    /// cache.set("answer", &42_u32, Options::new()).await.unwrap();
    /// assert!(cache.get::<String>("answer").await.unwrap_err().is_codec());
    /// # }
    /// ```
    pub fn is_codec(&self) -> bool {
        matches!(*self.0, Kind::Codec(_) | Kind::Lacks { .. })
    }

    /// The server did not answer in time, so it may or may not have done what it was asked.
    ///
    /// ```
    /// # fn is_it(error: cache_runtime::Error) {
    /// if error.is_timeout() {
    ///     eprintln!("is the server overloaded? {error}");
    /// }
    /// # }
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(*self.0, Kind::Timeout { .. })
    }

    /// The server cannot be reached, or it did not answer in time.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # #[cfg(feature = "redis")] {
    /// // Nothing listens on port 1.
    /// let cache = cache_runtime::Cache::builder().url("redis://127.0.0.1:1").build().unwrap();
    /// assert!(cache.exists("user:42").await.unwrap_err().is_unavailable());
    /// # }
    /// # }
    /// ```
    pub fn is_unavailable(&self) -> bool {
        matches!(
            *self.0,
            Kind::Unavailable { .. } | Kind::Timeout { .. } | Kind::Kept { .. }
        )
    }

    /// The server answered, and refused: wrong credentials, no permission, no
    /// memory, a replica that takes no writes. Waiting does not mend it.
    ///
    /// ```
    /// # fn is_it(error: cache_runtime::Error) {
    /// if error.is_refused() {
    ///     eprintln!("check the credentials in CACHE_URL: {error}");
    /// }
    /// # }
    /// ```
    pub fn is_refused(&self) -> bool {
        matches!(*self.0, Kind::Refused { .. })
    }
}

impl Error {
    /// The reason of what fails without a runtime.
    pub(crate) const NO_RUNTIME: &str = "this task does not run on a Tokio runtime";

    pub(crate) fn lacks(key: &str, feature: &'static str, reason: &dyn fmt::Display) -> Self {
        let message = format!("the value of `{key}` cannot be decoded: {reason}");
        Kind::Lacks { feature, message }.into()
    }

    /// The feature without which this program was built, and a value cannot be decoded.
    pub(crate) fn lacks_feature(&self) -> Option<&'static str> {
        match &*self.0 {
            Kind::Lacks { feature, .. } => Some(feature),
            _ => None,
        }
    }

    pub(crate) fn timeout(address: &str, limit: std::time::Duration) -> Self {
        let address = address.to_owned();
        Kind::Timeout { address, limit }.into()
    }

    pub(crate) fn unavailable(address: &str, reason: &dyn fmt::Display) -> Self {
        Kind::Unavailable {
            address: address.to_owned(),
            reason: reason.to_string(),
        }
        .into()
    }

    pub(crate) fn denied(address: &str, reason: &dyn fmt::Display) -> Self {
        Self::refused(address, reason, Refusal::Access)
    }

    pub(crate) fn refuses_writes(address: &str, reason: &dyn fmt::Display) -> Self {
        Self::refused(address, reason, Refusal::Writes)
    }

    pub(crate) fn is_replica(address: &str, reason: &dyn fmt::Display) -> Self {
        Self::refused(address, reason, Refusal::WritesToReplica)
    }

    fn refused(address: &str, reason: &dyn fmt::Display, refusal: Refusal) -> Self {
        Kind::Refused {
            address: address.to_owned(),
            reason: reason.to_string(),
            refusal,
        }
        .into()
    }

    /// Something in the place of a slot or a version that is no string.
    pub(crate) fn foreign(address: &str) -> Self {
        Kind::Codec(format!(
            "the cache server at {address} holds something else in the cache's namespace; \
             give the cache a namespace of its own"
        ))
        .into()
    }

    /// Invalidations that could not be carried out in time.
    pub(crate) fn kept(address: &str, names: &str, reason: &dyn fmt::Display) -> Self {
        Kind::Kept {
            address: address.to_owned(),
            names: names.to_owned(),
            reason: reason.to_string(),
        }
        .into()
    }

    pub(crate) fn is_write_refused(&self) -> bool {
        use Refusal::{Writes, WritesToReplica};
        matches!(
            &*self.0,
            Kind::Refused {
                refusal: Writes | WritesToReplica,
                ..
            }
        )
    }

    pub(crate) fn is_read_only(&self) -> bool {
        use Refusal::WritesToReplica;
        matches!(
            &*self.0,
            Kind::Refused {
                refusal: WritesToReplica,
                ..
            }
        )
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self(Arc::new(kind))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
