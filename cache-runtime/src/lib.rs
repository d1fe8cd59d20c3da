//! Annotate a function, and its results are cached. Annotate the functions that change the
//! data, and no later read gets what they replaced.
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
//! * If the cache fails, callers see no error and no hang. At worst the function
//!   runs as if it were not annotated, after one bounded delay.
//! * Concurrent callers of one key share one load, in a process and in all
//!   processes on one server.
//! * Two different argument lists never share a key, nor do templates whose text differs.
//! * A mistake in a template does not compile: [what the compiler says](mistakes).
//!
//! [Guarantees](guarantees) has the bounds of each promise, and the tests that show it;
//! [servers] which server a cache can use, and [operation] what a server must permit, and how to look
//! at it; [What you know it as](known_as) what the parts of other helpers over Redis are here.
//! The most important limits:
//!
//! * A load that reads from an older state of the database (an open `REPEATABLE READ`
//!   transaction, a replica that lags) caches what it read.
//! * A process that dies between its commit and its invalidation leaves old data until its
//!   ttl ends, unless the function has a [fence](macro@cache_invalidate#fence).
//! * A transaction that commits after the function has ended must run within [`after_commit`]:
//!   see [Transactions](transactions).
//! * A load that hangs makes the other callers of its key wait for [`hedge`](CacheBuilder::hedge)
//!   (2 s, or four usual loads). One that is woken and polled all the time, and does not end, makes
//!   them wait for up to [`load_limit`](CacheBuilder::load_limit) (30 s).
//!
//! Two functions may use one template on purpose, and share entries. Then they
//! must return the same type.
//!
//! # What it needs
//!
//! The shared tier needs a Tokio runtime with I/O enabled (`#[tokio::main]` enables it).
//! Without one, calls do not use the cache. The local tier runs on any executor. Neither
//! needs Tokio's timers: a thread of the library's own, `cache-timer`, ends what takes
//! longer than its limit.
//!
//! # Where entries are
//!
//! Without a server, in this process: `memory:` is the default. With
//! `CACHE_URL=redis://…`, on a Redis or Valkey server, and all processes share them.
//! See [`CacheBuilder::from_env`], [`CacheBuilder::url`] and [which server](servers).
//!
//! Values are written to the server as JSON, or as a [`Codec`] says, after a binary header.
//! Keys are readable in `redis-cli`: `cache:e:user:42`.
//!
//! # Features
//!
//! * `redis` (default): the shared tier. Without it, entries live in the process only.
//! * `tls`: `rediss://`, by rustls and aws-lc-rs. `tls-ring`: the same by ring. See [`CacheBuilder::url`].
//! * `upstash`: `upstash://`, Upstash's HTTP interface, with the cryptography of `tls`. `upstash-ring`: the
//!   same with that of `tls-ring`.
//! * `postcard`, `msgpack`: these formats of values on the server, beside JSON.
//! * `lz4`, `zstd`: compression of them. `zstd` is built by a C compiler.
//! * `uuid`, `ulid`, `rust_decimal`, `smol_str`, `chrono`, `time`, `jiff`: the types of these crates in
//!   keys.
//! * `metrics`: [metrics](observing), for the recorder that the program has installed.
//! * `tower-sessions-014`, `tower-sessions-015`: `Cache::sessions`, a session store for these versions of the
//!   crate `tower-sessions`.
//! * `test-util`: a clock that a test moves, in `testing`.

// In reading order: the API; a call; where entries are, and how a server is spoken to; what all of
// that stands on.
mod cache;
mod core;

mod toolkit;

mod backlog;
mod call;
mod context;
mod flight;
mod unsettled;

mod tier;

mod driver;

mod codec;
mod key;
mod value;

mod counters;
mod load_times;
mod missed;
mod observe;
pub mod registry;

mod clock;
mod diagnosis;
mod duration;
mod error;
mod fallback;
mod freshness;
mod health;
mod inspection;
mod join;
mod refreshes;
mod removal;
mod sync;
mod type_name;
mod unique;
mod weigher;

#[cfg(feature = "test-util")]
pub mod testing;

#[cfg(all(test, shuttle))]
mod interleavings;
#[cfg(feature = "sabotage")]
#[doc(hidden)]
pub mod sabotage;
#[cfg(not(feature = "sabotage"))]
mod sabotage;

#[cfg(all(doc, not(doctest)))]
#[doc = include_str!("../docs/guarantees.md")]
pub mod guarantees {}

#[cfg(doc)]
#[doc = include_str!("../docs/operation.md")]
pub mod operation {}
#[cfg(doc)]
#[doc = include_str!("../docs/observing.md")]
pub mod observing {}
#[cfg(all(doc, not(doctest)))]
#[doc = include_str!("../docs/servers.md")]
pub mod servers {}
#[cfg(all(doc, not(doctest)))]
#[doc = include_str!("../docs/mistakes.md")]
pub mod mistakes {}
// Its code is in `examples/src/known_as.rs`, where it runs in process and on a server.
#[cfg(all(doc, not(doctest)))]
#[doc = include_str!("../docs/known_as.md")]
pub mod known_as {}
// Its code is compiled in `examples`, where the database is.
#[cfg(all(doc, not(doctest)))]
#[doc = include_str!("../docs/transactions.md")]
pub mod transactions {}

pub use cache_macros::{
    CacheTag, KeyPart, cache_defaults, cache_invalidate, cached, key, key_name,
};

pub use crate::cache::{
    AsCache, Cache, CacheBuilder, CachedEntry, Entry, InvalidateOnDrop, Options, Scope, SiteStats,
    Stats, Yields, bypass, global, install, prime, refresh, refresh_all, with_cache,
};
pub use crate::call::after_commit::after_commit;
pub use crate::call::future::BoxedFuture;
pub use crate::call::invalidate::RequiresFence;
pub use crate::call::transaction::Transaction;
pub use crate::codec::Codec;
pub use crate::diagnosis::{Check, Diagnosis, Severity};
#[cfg(feature = "__tls")]
pub use crate::driver::Tls;
pub use crate::error::Error;
pub use crate::health::{Health, Status};
pub use crate::inspection::{
    BreakerState, FailedLoad, Holds, Inspection, ServerState, ShownValue, StoreKind, StoreState,
    StoredEntry, StoredTag, TagVersion,
};
pub use crate::key::{
    CacheTag, Float, Key, KeyPart, KeyWriter, Keys, ListWriter, Ordered, Pattern, Written,
};
pub use crate::load_times::LoadTimes;
pub use crate::missed::{MissReason, Misses};
pub use crate::observe::{Event, NeverHit, NotFilledReason, StaleReason};
pub use crate::removal::Removed;
#[cfg(feature = "__tower-sessions")]
pub use crate::toolkit::Sessions;
pub use crate::toolkit::raw;
pub use crate::toolkit::{
    Budget, Decision, Loads, Lock, LockGuard, OnError, OptionalTtl, Rate, RateLimit, Strings,
    Swept, Warm, Warmed, warm,
};
pub use crate::value::CacheValue;

/// What the attributes expand to. Not for use by hand, and not covered by semver.
#[doc(hidden)]
pub mod __private {
    use std::sync::Arc;

    pub use crate::__register as register;
    pub use crate::cache::{DefaultCache, default_cache};
    pub use crate::call::batch::{Asked, Bare, BatchCall, Pairs, batch_shape, one};
    pub use crate::call::cached::{Answer, CachedCall, ask};
    pub use crate::call::compare::{Compare, Values, comparison};
    pub use crate::call::detach::{Argument, argument_copy, owned_by_task};
    pub use crate::call::duration_of::{IsDuration, duration};
    pub use crate::call::fresh::may_fail;
    pub use crate::call::future::{Returned, future_of, returned_future};
    pub use crate::call::in_process::{InProcess, LocalValue, Unwritten, local_shape};
    pub use crate::call::invalidate::{InvalidateCall, ReturnsError};
    pub use crate::call::of_value::tell;
    pub use crate::call::receiver::Receiver;
    pub use crate::call::request::Keep;
    pub use crate::call::return_type::{
        Borrowing, NoBorrow, ReturnType, ReturnsNone, borrowing_shape, cacheable_shape,
        error_sharing_shape, return_failure, return_shape, returns_none,
    };
    pub use crate::call::site::CallSite;
    pub use crate::call::transaction::{AskedTypes, GivenTransaction, argument_transaction};
    use crate::core::Core;
    pub use crate::freshness::Freshness;
    pub use crate::key::{
        AndOfValue, Name, OtherField, Parts, ReceiverField, RenderedPart, TypeName, checked_part,
        part, receiver_field, tag,
    };
    pub use crate::registry::{Node, Registered};
    pub use crate::tier::shared::{EntryParts, SlotParts, decode_entry, encode_entry, slot_parts};

    use crate::AsCache;
    use crate::key::Key;

    /// The cache of functions with it.
    pub fn as_cache<C: AsCache + ?Sized>(cache: &C) -> &Arc<Core> {
        cache.as_cache().core()
    }

    /// The key that `key!` yields.
    pub fn key<P: Parts>(name: Name<P>) -> Key {
        name.render()
    }
}
