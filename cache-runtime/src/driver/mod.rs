//! The door to a server: what the protocol says to it, and what it answers.
//!
//! The protocol says [`Operation`]s and reads [`ReadKeys`]; a [`Connection`] sends them and
//! returns neutral [`Reply`]s. Only the files in this folder name the client library.
//!
//! A connection knows two things that the protocol depends on: the [epoch](Connection::epoch) of
//! the server that it reached, and whether it can [listen](Connection::listen) to what other
//! processes publish. It is never remade behind the protocol's back. And it has a [`Home`], the
//! runtime that drives it: only calls on that runtime can rely on it.
//!
//! There are two drivers, `redis` and `upstash`, and [`any`] chooses. Without its feature, a driver has
//! `absent` in its place: the same types, of which no value exists. Without the features `tls` and
//! `tls-ring`, `without_tls` takes the place of `tls`.

#[cfg_attr(
    not(feature = "redis"),
    allow(
        clippy::match_same_arms,
        reason = "without a driver, both are of one type"
    )
)]
mod any;
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "without a driver, there is no cluster")
)]
mod cluster;
mod home;
mod info;
mod mark;
#[cfg_attr(
    not(feature = "redis"),
    allow(
        dead_code,
        reason = "without a driver, nothing reads what is said to a server"
    )
)]
mod operation;
mod read_keys;
mod server_clock;
mod trust;
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "without a driver, no command is sent")
)]
pub(crate) mod words;

#[cfg(feature = "__tls")]
mod tls;
#[cfg(not(feature = "__tls"))]
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "without a driver, nothing is encrypted")
)]
#[path = "without_tls.rs"]
mod tls;

#[cfg(not(feature = "__upstash"))]
#[cfg_attr(
    feature = "redis",
    allow(
        dead_code,
        reason = "in the place of Upstash's driver, which has no cluster"
    )
)]
mod absent;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "__upstash")]
mod upstash;

use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

#[cfg(not(feature = "redis"))]
use self::absent as redis;
#[cfg(not(feature = "__upstash"))]
use self::absent as upstash;
pub(crate) use self::any::{Cluster, Connection, Driver, Servers};
pub(crate) use self::cluster::{Elsewhere, HASH_SLOTS, NodeAddress, SlotRanges, hash_slot};
pub(crate) use self::home::Home;
pub(crate) use self::info::field;
pub(crate) use self::mark::{ASCII, ENTRY, FENCE, LEASE, Mark};
pub(crate) use self::operation::{Answers, Argument, Operation, Reply};
pub(crate) use self::read_keys::ReadKeys;
pub(crate) use self::server_clock::ServerClock;
#[cfg(feature = "__tls")]
pub use self::tls::Tls;
#[cfg(not(feature = "__tls"))]
pub(crate) use self::tls::Tls;
pub(crate) use self::trust::{Hearing, Trust, Trusts};
use crate::clock;
use crate::error::Error;

/// Whether a host is not this machine.
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "without a driver, nothing is sent to a host")
)]
fn is_elsewhere(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    match host.parse::<IpAddr>() {
        Ok(address) => !address.to_canonical().is_loopback(),
        Err(_) => !host.eq_ignore_ascii_case("localhost"),
    }
}

/// Why a request failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// The connection had been closed, perhaps long before the request: another one may do.
    pub(crate) was_disconnected: bool,
}

impl Connection {
    /// Sends operations, and waits for all of their replies, at most for `limit`.
    pub(crate) async fn run_within(
        &self,
        operations: &[Operation],
        limit: Duration,
    ) -> Result<Vec<Reply>, Error> {
        match clock::within(limit, pin!(self.run(operations))).await {
            Some(result) => result.map_err(|failure| failure.error),
            None => Err(Error::timeout(self.address(), limit)),
        }
    }
}
