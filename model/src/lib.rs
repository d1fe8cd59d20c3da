//! The protocol as a model, every state of which is looked at.
//!
//! [`shared`] is the shared tier: slots, versions, leases, flights, fences, the
//! server's epoch, refresh and the journal. [`local`] is the in-process tier, and
//! [`front`] that tier in front of the shared one. All take the steps that the code
//! takes, one atomic command or one lock at a time, in every order, among faults of
//! which each configuration has a budget. What they leave out is in ARCHITECTURE.md.
//!
//! The promises:
//!
//! * **No stale read.** A read that begins after an invalidation returned yields
//!   nothing older than what was committed before that invalidation began.
//! * **Nothing stale at rest.** When all are done, a further read yields the newest
//!   data: nothing waits for its ttl to be corrected.
//! * **Nobody waits for ever.** From each state, the protocol's own steps lead to one
//!   where all are done.
//! * **One load.** Without faults, any number of readers make one.
//!
//! Each rule of the protocol can be left out (`Without`): then a promise is broken,
//! and the search says how. A rule whose absence breaks nothing is not among them.

#![allow(
    clippy::unused_self,
    reason = "steps that ask for no rule read like those that do"
)]

#[macro_use]
mod declare;

pub mod front;
pub mod local;
pub mod search;
pub mod shared;
