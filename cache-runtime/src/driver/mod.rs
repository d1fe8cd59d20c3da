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
//! Without the features `tls` and `tls-ring`, `without_tls` takes the place of `tls`, and without
//! the feature `redis` there is no driver: `absent` has the same types, of which no
//! value exists.

mod cluster;
mod home;
#[cfg_attr(
    not(feature = "redis"),
    allow(
        dead_code,
        reason = "without a driver, nothing reads what is said to a server"
    )
)]
mod operation;
mod read_keys;

#[cfg(feature = "__tls")]
mod tls;
#[cfg(not(feature = "__tls"))]
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "without a driver, nothing is encrypted")
)]
#[path = "without_tls.rs"]
mod tls;

#[cfg(not(feature = "redis"))]
mod absent;
#[cfg(feature = "redis")]
mod redis;

use std::pin::pin;
use std::time::Duration;

#[cfg(not(feature = "redis"))]
pub(crate) use self::absent::{Cluster, Connection, Driver};
pub(crate) use self::cluster::{Elsewhere, HASH_SLOTS, NodeAddress, SlotRanges, hash_slot};
pub(crate) use self::home::Home;
pub(crate) use self::operation::{Answers, Operation, Reply};
pub(crate) use self::read_keys::ReadKeys;
#[cfg(feature = "redis")]
pub(crate) use self::redis::{Cluster, Connection, Driver};
#[cfg(feature = "__tls")]
pub use self::tls::Tls;
#[cfg(not(feature = "__tls"))]
pub(crate) use self::tls::Tls;
use crate::clock;
use crate::error::Error;

/// The servers that a URL names.
#[derive(Debug)]
pub(crate) enum Servers {
    One(Driver),
    Cluster(Cluster),
}

impl Servers {
    /// Reads a URL. Touches no network.
    pub(crate) fn new(url: &str, tls: &Tls) -> Result<Self, Error> {
        match Cluster::named_by(url, tls) {
            Some(cluster) => cluster.map(Self::Cluster),
            None => Driver::new(url, tls).map(Self::One),
        }
    }

    /// The number of the database on each server.
    pub(crate) fn database(&self) -> i64 {
        match self {
            Self::One(driver) => driver.database(),
            Self::Cluster(_) => 0,
        }
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
