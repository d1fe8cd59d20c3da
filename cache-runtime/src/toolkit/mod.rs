//! What programs do with the same server besides caching: texts, such as sessions; locks; rate limits;
//! commands of their own. And loads before they are asked for.
//!
//! These are no cache entries. What is read must be what was written, so an error is returned, and not
//! turned into a miss. Each verb is one script on one key, with the cache's deadline and breaker. Without a
//! server, it is a function on one place of the cache's [`Memory`], which is as atomic.
//!
//! The keys are `<namespace>:<letter>:<name>:<key>`: `s` for texts, `l` and `b` for locks, `q` and `w` for rate
//! limits, `x` for what programs keep by commands of their own.
//! [`Cache::clear`](crate::Cache::clear) leaves them alone, and so does each invalidation.

mod budget;
mod locks;
mod memory;
mod rate_limit;
pub mod raw;
#[cfg(feature = "__tower-sessions")]
mod sessions;
mod strings;
mod verb;
mod warm;

pub use self::budget::{Budget, Swept};
pub(crate) use self::locks::Waits;
pub use self::locks::{Lock, LockGuard};
pub(crate) use self::memory::Memory;
pub use self::rate_limit::{Decision, OnError, Rate, RateLimit};
#[cfg(feature = "__tower-sessions")]
pub use self::sessions::Sessions;
pub use self::strings::{OptionalTtl, Strings};
pub use self::warm::{Loads, Warm, Warmed, warm};

const UNLINK: &str = "return redis.call('UNLINK', KEYS[1])";

/// The name of a tool in a key, whose end is the next `:`.
fn escaped(name: &str) -> String {
    name.replace('%', "%25").replace(':', "%3A")
}
