//! The error type of the cache itself.

use std::fmt;
use std::sync::Arc;

use crate::codec::Reason;

/// An error of the cache.
///
/// The builder and the API by hand return it. An annotated function does not: it runs as if
/// it were not annotated. (A function with `fence_required` does return it, as its own error.)
/// The message says what failed, where, and how to mend it. A password never appears in it.
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

#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "without a driver there is no server that refuses")
)]
#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("{0}")]
    Config(String),
    #[error("{0}")]
    Key(String),
    #[error("{0}")]
    Codec(String),
    #[error("{0}")]
    Altered(String),
    #[error("{0}")]
    Call(String),
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
    #[error(
        "the cache server at {address} did not answer the TLS handshake within {limit:?}; if it does \
         not speak TLS on this port, write the port on which it does, or `{plain}` for a connection \
         that is not encrypted"
    )]
    NoHandshake {
        address: String,
        limit: std::time::Duration,
        plain: &'static str,
    },
    #[error("the cache server at {address} cannot be reached: {reason}")]
    Unavailable { address: String, reason: String },
    /// A node of a cluster leaves a key to another one.
    #[error("the cache server at {address} cannot be asked for this key: {reason}")]
    Elsewhere {
        address: String,
        reason: String,
        moved_to: Option<(String, u16)>,
    },
    #[error("the cache server at {address} refused: {reason}")]
    Refused {
        address: String,
        reason: String,
        refusal: Refusal,
    },
    /// It refuses one command of a program, and is well.
    #[error("the cache server at {address} refused `{command}`: {reason}")]
    RefusedCommand {
        address: String,
        command: String,
        reason: String,
    },
    #[error("{names} invalidations wait for the cache server at {address}: {reason}")]
    Kept {
        address: String,
        names: String,
        reason: String,
    },
}

/// What the server refuses to do.
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "without a driver there is no server that refuses")
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// It refuses the credentials, or a command.
    Access,
    /// It refuses every write.
    Writes,
    /// It refuses every write because it is a replica.
    WritesToReplica,
}

impl Error {
    pub(crate) fn config(message: impl Into<String>) -> Self {
        Kind::Config(message.into()).into()
    }

    pub(crate) fn empty_key() -> Self {
        Kind::Key("a cache key is empty; name what is cached".to_owned()).into()
    }

    pub(crate) fn call(message: impl Into<String>) -> Self {
        Kind::Call(message.into()).into()
    }

    /// The answer to a command is another one than the program asked for.
    pub(crate) fn answer(command: &str, asked: &str, came: &str) -> Self {
        Kind::Codec(format!(
            "the answer to {command} cannot be read as {asked}: it is {came}"
        ))
        .into()
    }

    pub(crate) fn codec(key: &str, doing: &str, reason: &dyn fmt::Display) -> Self {
        Kind::Codec(format!("the value of `{key}` cannot be {doing}: {reason}")).into()
    }

    /// A value that cannot be encoded, or would come back as another one.
    pub(crate) fn unstorable(key: &str, reason: &Reason) -> Self {
        match reason {
            Reason::Altered(reason) => {
                Kind::Altered(format!("the value of `{key}` is not stored: {reason}")).into()
            }
            reason => Self::codec(key, "encoded", reason),
        }
    }

    /// Whether a value was not stored because it would come back as another one.
    pub(crate) fn is_altered(&self) -> bool {
        matches!(*self.0, Kind::Altered(_))
    }

    /// A key or a tag is invalid: it is empty.
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

    /// A setting is invalid: one of the builder, of the environment, or of a call's
    /// [`Options`](crate::Options). Or a command is none that [`Raw`](crate::raw::Raw) sends.
    ///
    /// ```
    /// let error = cache_runtime::Cache::builder().jitter(2.0).build().unwrap_err();
    /// assert!(error.is_config());
    /// ```
    pub fn is_config(&self) -> bool {
        matches!(*self.0, Kind::Config(_))
    }

    /// A value cannot be encoded, or [would come back as another
    /// one](crate::CacheBuilder::check_values); or the stored value is of another type than the one
    /// asked for, or in a form that needs a feature which this program was built without. So may the answer
    /// to a command of [`Raw`](crate::raw::Raw) be.
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
        matches!(
            *self.0,
            Kind::Codec(_) | Kind::Altered(_) | Kind::Lacks { .. }
        )
    }

    /// A future is not the call of a `#[cached]` function, or not one that caches the value which
    /// [`prime`](crate::prime) was given.
    ///
    /// ```
    /// use cache_runtime::CachedEntry;
    ///
    /// let error = CachedEntry::of(async { 42 }).unwrap_err();
    /// assert!(error.is_call());
    /// ```
    pub fn is_call(&self) -> bool {
        matches!(*self.0, Kind::Call(_))
    }

    /// The server did not answer in time. It may or may not have carried out the command.
    ///
    /// ```
    /// # fn is_it(error: cache_runtime::Error) {
    /// if error.is_timeout() {
    ///     eprintln!("is the server overloaded? {error}");
    /// }
    /// # }
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(*self.0, Kind::Timeout { .. } | Kind::NoHandshake { .. })
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
            Kind::Unavailable { .. }
                | Kind::Timeout { .. }
                | Kind::NoHandshake { .. }
                | Kind::Elsewhere { .. }
                | Kind::Kept { .. }
        )
    }

    /// The server answered, and refused: wrong credentials, no permission, no
    /// memory, or a write to a replica. A retry does not help until that is changed.
    ///
    /// ```
    /// # fn is_it(error: cache_runtime::Error) {
    /// if error.is_refused() {
    ///     eprintln!("check the credentials in CACHE_URL: {error}");
    /// }
    /// # }
    /// ```
    pub fn is_refused(&self) -> bool {
        matches!(*self.0, Kind::Refused { .. } | Kind::RefusedCommand { .. })
    }
}

impl Error {
    /// The reason of what fails without a runtime.
    pub(crate) const NO_RUNTIME: &str = "this task does not run on a Tokio runtime";

    pub(crate) fn lacks(key: &str, feature: &'static str, reason: &dyn fmt::Display) -> Self {
        let message = format!("the value of `{key}` cannot be decoded: {reason}");
        Kind::Lacks { feature, message }.into()
    }

    /// The missing feature, if a value cannot be decoded because this program was built without it.
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

    /// A node of a cluster leaves a key to another one, for a reason. If the key's hash slot has moved,
    /// `moved_to` is the host and the port of that node.
    pub(crate) fn elsewhere(
        address: &str,
        reason: &dyn fmt::Display,
        moved_to: Option<(String, u16)>,
    ) -> Self {
        Kind::Elsewhere {
            address: address.to_owned(),
            reason: reason.to_string(),
            moved_to,
        }
        .into()
    }

    /// Whether a node of a cluster leaves a key to another one. The node itself is well.
    pub(crate) fn is_elsewhere(&self) -> bool {
        matches!(*self.0, Kind::Elsewhere { .. })
    }

    /// The host and the port of the node to which a key's hash slot has moved.
    pub(crate) fn moved_to(&self) -> Option<(&str, u16)> {
        match &*self.0 {
            Kind::Elsewhere { moved_to, .. } => {
                moved_to.as_ref().map(|(host, port)| (&**host, *port))
            }
            _ => None,
        }
    }

    /// Invalidations that were not carried out in time, and are kept.
    pub(crate) fn kept(address: &str, names: &str, reason: &dyn fmt::Display) -> Self {
        Kind::Kept {
            address: address.to_owned(),
            names: names.to_owned(),
            reason: reason.to_string(),
        }
        .into()
    }

    /// What is wrong, without the address of the server.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "without a driver there are no servers to list")
    )]
    pub(crate) fn reason(&self) -> String {
        match &*self.0 {
            Kind::Unavailable { reason, .. }
            | Kind::Refused { reason, .. }
            | Kind::RefusedCommand { reason, .. } => reason.clone(),
            Kind::Timeout { limit, .. } => format!("it did not answer within {limit:?}"),
            Kind::NoHandshake { limit, .. } => {
                format!("it did not answer the TLS handshake within {limit:?}")
            }
            kind => kind.to_string(),
        }
    }

    /// Whether the server refuses one command of a program. The server itself is well.
    pub(crate) fn is_of_command(&self) -> bool {
        matches!(*self.0, Kind::RefusedCommand { .. })
    }

    /// In which words the server refuses one command of a program.
    pub(crate) fn refusal_of_command(&self) -> Option<&str> {
        match &*self.0 {
            Kind::RefusedCommand { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// Whether the server does not know a script by its digest.
    pub(crate) fn is_unknown_script(&self) -> bool {
        let refusal = self.refusal_of_command();
        refusal.is_some_and(|reason| reason.starts_with("NOSCRIPT"))
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

/// What a server's answer means.
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "without a driver there is no server that refuses")
)]
impl Error {
    pub(crate) fn denied(address: &str, reason: &dyn fmt::Display) -> Self {
        Self::refused(address, reason, Refusal::Access)
    }

    pub(crate) fn refuses_writes(address: &str, reason: &dyn fmt::Display) -> Self {
        Self::refused(address, reason, Refusal::Writes)
    }

    pub(crate) fn is_replica(address: &str, reason: &dyn fmt::Display) -> Self {
        Self::refused(address, reason, Refusal::WritesToReplica)
    }

    /// The server refuses one command of a program.
    pub(crate) fn refused_command(address: &str, command: &str, reason: &dyn fmt::Display) -> Self {
        Kind::RefusedCommand {
            address: address.to_owned(),
            command: command.to_owned(),
            reason: reason.to_string(),
        }
        .into()
    }

    /// A command of a program cannot be sent where commands are text.
    #[cfg_attr(
        not(feature = "__upstash"),
        expect(dead_code, reason = "other servers take any bytes")
    )]
    pub(crate) fn no_text(address: &str, command: &str) -> Self {
        Kind::Codec(format!(
            "the cache server at {address} is reached over HTTP, which carries text, and an argument of \
             `{command}` is no text; write it as base64, for example"
        ))
        .into()
    }

    fn refused(address: &str, reason: &dyn fmt::Display, refusal: Refusal) -> Self {
        Kind::Refused {
            address: address.to_owned(),
            reason: reason.to_string(),
            refusal,
        }
        .into()
    }

    /// The server took the connection, and sent no byte of TLS. A Redis server without TLS does so: it
    /// waits for the end of a command.
    pub(crate) fn no_handshake(address: &str, limit: std::time::Duration) -> Self {
        Self::no_handshake_over(address, limit, "redis://")
    }

    /// As [`no_handshake`](Self::no_handshake), of a URL that would begin with `plain` if it were without TLS.
    pub(crate) fn no_handshake_over(
        address: &str,
        limit: std::time::Duration,
        plain: &'static str,
    ) -> Self {
        let address = address.to_owned();
        Kind::NoHandshake {
            address,
            limit,
            plain,
        }
        .into()
    }

    /// The server does not take what is to be stored, because of its length.
    #[cfg_attr(
        not(feature = "__upstash"),
        expect(dead_code, reason = "other servers take any length")
    )]
    pub(crate) fn too_long(address: &str, reason: &dyn fmt::Display) -> Self {
        Kind::Codec(format!(
            "the cache server at {address} does not take a value of this length: {reason}"
        ))
        .into()
    }

    /// The server holds something that is not a string where a slot or a version belongs.
    pub(crate) fn foreign(address: &str) -> Self {
        Kind::Codec(format!(
            "the cache server at {address} holds something else in the cache's namespace; \
             give the cache a namespace of its own"
        ))
        .into()
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
