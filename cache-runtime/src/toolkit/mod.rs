//! What programs do with the same server besides caching: texts, such as sessions.
//!
//! These are no cache entries. What is read must be what was written, so an error is returned, and not
//! turned into a miss. Each verb is one script on one key, with the cache's deadline and breaker. Without a
//! server, it is a function on one place of the cache's [`Memory`], which is as atomic.
//!
//! The keys are `<namespace>:s:<store>:<key>`. [`Cache::clear`](crate::Cache::clear) leaves them alone, and so
//! does each invalidation.

mod memory;
mod strings;

pub(crate) use self::memory::Memory;
pub use self::strings::Strings;
