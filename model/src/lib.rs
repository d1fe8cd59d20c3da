//! The protocol as a model whose every state is checked.
//!
//! [`shared`] is the shared tier: slots, versions, leases, flights, fences, the
//! server's epoch, refresh and the journal. [`local`] is the local tier, and
//! [`front`] is the local tier in front of the shared one. [`nested`] has several keys, and
//! calls that are made inside of loads. [`batch`] has calls for several keys. Each model takes the steps that the code takes, one
//! atomic command or one lock at a time, in every order. Among them are faults, of which
//! each configuration has a budget. ARCHITECTURE.md says what the models leave out.
//!
//! The promises:
//!
//! * **No stale read.** A read that begins after an invalidation returned yields
//!   nothing older than what was committed before that invalidation began.
//! * **Nothing stale at rest.** When all callers are done, a further read yields the
//!   newest data. No stale entry is left for its ttl to remove.
//! * **No caller waits for ever.** From each state, the protocol's own steps lead to one
//!   where all callers that move are done: those that are not set aside, and whose load
//!   does not hang.
//! * **One load.** Without faults, any number of readers make one load, and at most one more
//!   for each load that is dropped, set aside, hangs or fails. Where only the value tells its tags,
//!   and they are not known, they make one more.
//!
//! Each rule of the protocol can be left out (`Without`). Then a promise is broken, and
//! the search finds out how. A rule whose absence breaks nothing is not listed.

#![allow(
    clippy::unused_self,
    reason = "a step that depends on no rule reads like one that does"
)]

#[macro_use]
mod declare;

pub mod batch;
pub mod front;
pub mod local;
pub mod nested;
pub mod search;
pub mod shared;
