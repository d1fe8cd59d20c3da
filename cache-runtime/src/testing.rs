//! For the tests of programs: time that passes when the test says so.
//!
//! Entries of a cache in this process (`memory:`) expire by one of three clocks:
//!
//! * A [`TestClock`], if the cache was built with [one](crate::CacheBuilder::clock). It stands still
//!   until the test [advances](TestClock::advance) it.
//! * The clock of the Tokio runtime that the call runs on, if the test has paused it, with
//!   `#[tokio::test(start_paused = true)]` or `tokio::time::pause`. Then `tokio::time::advance`
//!   expires entries, and so does a `sleep`. This is so in debug builds, and in release builds with
//!   the feature `test-util`.
//! * Else the system's.
//!
//! ```
//! use std::time::Duration;
//! use cache_runtime::{Cache, Options};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), cache_runtime::Error> {
//! let cache = Cache::builder().url("memory:").build()?;
//! let minute = Duration::from_secs(60);
//! cache.set("row", &1, Options::new().ttl(minute)).await?;
//! tokio::time::advance(minute).await;
//! assert!(!cache.exists("row").await?);
//! # Ok(()) }
//! ```
//!
//! # Limits
//!
//! * **What waits, waits in real time.** Neither clock moves the deadline of a request to a server,
//!   the wait for another caller's load, or the repetition of an invalidation.
//! * **A server keeps its entries' ttls by its own clock,** which no test moves.
//! * **A runtime whose time is paused skips to its next timer when it has nothing to do,** and it has
//!   nothing to do while it waits for a server. So a `tokio::time::timeout` around a call of a
//!   server's cache ends at once. Pause the time only where the cache is in `memory:`.
//! * **An entry lives a little less than its ttl,** at random, unless the cache has a
//!   [jitter](crate::CacheBuilder::jitter) of zero. It is gone once its ttl has passed.
//! * **Tests that share a cache** each see its entries by a clock of their own. Give a test that
//!   moves time a cache of its own.
//!
//! Needs the feature `test-util`, except for the paused time of debug builds.

pub use crate::clock::TestClock;
