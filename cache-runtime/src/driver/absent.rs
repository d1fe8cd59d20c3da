//! No driver: what is left of one without its feature.

use std::time::Duration;

use super::{
    Answers, Failure, Hearing, Home, NodeAddress, Operation, ReadKeys, Reply, ServerClock,
    SlotRanges, Tls,
};
use crate::error::Error;

/// A driver, of which no value exists.
#[derive(Debug)]
pub(crate) enum Driver {}

/// A connection, of which no value exists.
#[derive(Debug)]
pub(crate) enum Connection {}

impl Driver {
    pub(crate) fn new(url: &str, _tls: &Tls) -> Result<Self, Error> {
        if url.starts_with("upstash") {
            return Err(Error::config(
                "cache-runtime was built without Upstash's HTTP interface; turn on its feature \
                 `upstash`, or `upstash-ring`: `cargo add cache-runtime --features upstash`",
            ));
        }
        #[cfg(not(feature = "redis"))]
        if url.starts_with("rediss") || url.starts_with("valkeys") {
            return Err(super::tls::missing());
        }
        Err(Error::config(
            "cache-runtime was built without its feature `redis`",
        ))
    }

    pub(crate) fn shared_by(&mut self, _variable: &'static str) {
        match *self {}
    }

    pub(crate) fn answered_within(self, _limit: Duration) -> Self {
        match self {}
    }

    pub(crate) fn address(&self) -> &str {
        match *self {}
    }

    pub(crate) fn is_exposed(&self) -> bool {
        match *self {}
    }

    pub(crate) fn is_open(&self) -> bool {
        match *self {}
    }

    pub(crate) fn database(&self) -> i64 {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "as that of a driver")]
    pub(crate) async fn connect(
        &self,
        _limit: Duration,
        _heard: impl Fn(&[u8]) + Send + Sync + 'static,
    ) -> Result<Connection, Error> {
        match *self {}
    }
}

#[expect(clippy::unused_async, reason = "as those of a connection")]
impl Connection {
    pub(crate) fn address(&self) -> &str {
        match *self {}
    }

    pub(crate) fn epoch(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn clock(&self) -> ServerClock {
        match *self {}
    }

    pub(crate) fn is_closed(&self) -> bool {
        match *self {}
    }

    pub(crate) fn is_of_cluster(&self) -> bool {
        match *self {}
    }

    pub(crate) fn home(&self) -> &Home {
        match *self {}
    }

    pub(crate) fn hearing(&self) -> &Hearing {
        match *self {}
    }

    pub(crate) async fn hash_slots_told(&self, _trial: &str) -> Result<Option<u64>, Failure> {
        match *self {}
    }

    pub(crate) async fn listen(&self, _channel: &str, _limit: Duration) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) async fn read(&self, _keys: &ReadKeys) -> Result<Answers, Failure> {
        match *self {}
    }

    pub(crate) async fn run(&self, _operations: &[Operation]) -> Result<Vec<Reply>, Failure> {
        match *self {}
    }

    pub(crate) async fn run_asking(
        &self,
        _operations: &[Operation],
    ) -> Result<Vec<Reply>, Failure> {
        match *self {}
    }
}

/// A cluster, of which no value exists.
#[derive(Debug)]
pub(crate) enum Cluster {}

impl Cluster {
    pub(crate) fn named_by(_url: &str, _tls: &Tls) -> Option<Result<Self, Error>> {
        None
    }

    pub(crate) fn shared_by(&mut self, _variable: &'static str) {
        match *self {}
    }

    pub(crate) fn address(&self) -> &str {
        match *self {}
    }

    pub(crate) fn seeds(&self) -> &[NodeAddress] {
        match *self {}
    }

    pub(crate) fn node(&self, _node: &NodeAddress) -> Result<Driver, Error> {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "as that of a cluster")]
    pub(crate) async fn ask(
        &self,
        _node: &NodeAddress,
        _limit: Duration,
    ) -> Result<SlotRanges, Error> {
        match *self {}
    }
}
