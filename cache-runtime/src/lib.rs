//! Annotate a function and it is cached; annotate the functions that change the
//! data, and no one reads what they replaced.
//!
//! ```
//! use cache_runtime::{cache_invalidate, cached};
//! # use std::io::Error;
//! # #[derive(Clone, serde::Serialize, serde::Deserialize)] struct User { id: u64, name: String }
//! struct Users;
//!
//! impl Users {
//!     #[cached(key = "user:<id>", ttl = 60, invalidate_on = "users")]
//!     async fn find(&self, id: u64) -> Result<Option<User>, Error> {
//!         // The query, as if nothing were cached.
//!         # Ok(Some(User { id, name: "Ada".to_owned() }))
//!     }
//!
//!     #[cache_invalidate("user:<id>")]
//!     async fn rename(&self, id: u64, name: &str) -> Result<(), Error> {
//!         // The update.
//!         # let _ = (id, name);
//!         # Ok(())
//!     }
//! }
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Error> {
//! # Users.find(1).await?; Users.rename(1, "Grace").await?; Ok(()) }
//! ```
//!
//! # What is promised
//!
//! * A read that begins after an invalidation has returned never gets data from before it.
//! * If the cache fails, callers see no error and no hang: at worst the function
//!   runs as if it were not annotated, after one bounded delay.
//! * Concurrent callers of one key share one load, in a process and in all
//!   processes on one server.
//! * Two different argument lists never share a key, nor do two templates.
//! * A mistake in a template does not compile: [what the compiler says](mistakes).
//!
//! Each of these has its bounds, and tests that show it: [what is guaranteed, and what
//! is not](guarantees). Above all: a load that reads from an older state of the database (an
//! open `REPEATABLE READ` transaction, a replica that lags) caches what it read. A process
//! that dies between its commit and its invalidation leaves old data until its ttl ends,
//! unless the function has a [fence](macro@cache_invalidate#fence). And a transaction
//! that commits after the function has ended is to be run within [`after_commit`].
//!
//! Two functions may use one template on purpose, and share entries: then they
//! must return the same type.
//!
//! # What it needs
//!
//! The shared tier needs a Tokio runtime with its timers and I/O enabled
//! (`#[tokio::main]` enables them); without one, calls pass the cache by. The local
//! tier runs on any executor; on a Tokio runtime, it needs the timers too.
//!
//! # Where entries are
//!
//! Without a server, in this process: `memory:` is the default. With
//! `CACHE_URL=redis://…`, on Redis or Valkey, which is then shared by all
//! processes. See [`CacheBuilder::from_env`] and [`CacheBuilder::url`].
//!
//! Values go to the server as JSON, or as a [`Codec`] says, after a binary header; keys
//! are readable in `redis-cli`: `cache:e:user:42`.
//!
//! # Features
//!
//! * `redis` (default): the shared tier. Without it the cache runs in-process only.
//! * `postcard`, `msgpack`: these formats of values on the server, beside JSON.
//! * `lz4`, `zstd`: compression of them. `zstd` is built by a C compiler.
//! * `uuid`, `chrono`, `time`, `jiff`: the types of these crates in keys.

// Some of what the tiers have in common is used, or awaited, by the shared one only.
#![cfg_attr(
    not(feature = "redis"),
    allow(
        dead_code,
        unused_imports,
        unused_mut,
        unused_variables,
        clippy::needless_return,
        clippy::unused_async,
        clippy::match_wildcard_for_single_variants
    )
)]

// In reading order: a call, then what it stands on, then what surrounds it.
mod cache;
mod call;
mod clock;
mod codec;
mod config;
mod duration;
#[cfg(feature = "redis")]
mod entry;
mod error;
mod flight;
mod health;
#[cfg(all(test, shuttle))]
mod interleavings;
mod key;
mod local;
mod options;
pub mod registry;
#[cfg(feature = "sabotage")]
#[doc(hidden)]
pub mod sabotage;
#[cfg(not(feature = "sabotage"))]
mod sabotage;
mod settle;
mod stats;
#[cfg(feature = "redis")]
mod store;
mod sync;
mod unique;
mod value;

#[cfg(all(doc, not(doctest)))]
#[doc = include_str!("../docs/guarantees.md")]
pub mod guarantees {}
#[cfg(all(doc, not(doctest)))]
#[doc = include_str!("../docs/mistakes.md")]
pub mod mistakes {}

pub use cache_macros::{CacheTag, KeyPart, cache_invalidate, cached, key};

pub use crate::cache::{AsCache, Cache, global, install};
pub use crate::call::{BoxedFuture, RequiresFence, after_commit};
pub use crate::codec::Codec;
pub use crate::config::CacheBuilder;
pub use crate::error::Error;
pub use crate::health::{Health, Status};
pub use crate::key::{CacheTag, Key, KeyPart, KeyWriter, ListWriter, Written};
pub use crate::options::Options;
pub use crate::stats::{SiteStats, Stats};
pub use crate::value::CacheValue;

/// What the attributes expand to. Not for use by hand, and not covered by semver.
#[doc(hidden)]
pub mod __private {
    pub use crate::__register as register;
    pub use crate::call::{
        CachedCall, InvalidateCall, Keep, Returned, ask, future_of, returned_future,
    };
    #[cfg(feature = "redis")]
    pub use crate::entry::{decode_entry, encode_entry};
    pub use crate::key::{Name, Parts, RenderedPart, TypeName, checked_part, part, tag};
    pub use crate::registry::{Node, Registered};
    pub use crate::stats::CallSite;
    pub use crate::value::{
        ReturnType, ReturnsNone, cacheable_shape, return_failure, return_shape, returns_none,
    };

    use crate::key::Key;
    use crate::{AsCache, Cache};

    /// The cache of functions without `cache = …`.
    pub fn global_cache() -> &'static Cache {
        crate::cache::global_or_off()
    }

    /// The cache of functions with it.
    pub fn as_cache<C: AsCache + ?Sized>(cache: &C) -> &Cache {
        cache.as_cache()
    }

    /// What `key!` makes.
    pub fn key<P: Parts>(name: Name<P>) -> Key {
        name.render()
    }
}
