//! Which driver: the only `match` on it.

use std::time::Duration;

use bytes::Bytes;

use super::{Failure, Home, Operation, ReadKeys, Reply, Tls, redis, upstash};
use crate::error::Error;

/// Opens connections to one server.
#[derive(Debug)]
pub(crate) enum Driver {
    Redis(redis::Driver),
    Upstash(upstash::Driver),
}

/// One connection, and the server that it reached.
#[derive(Debug)]
pub(crate) enum Connection {
    Redis(redis::Connection),
    Upstash(upstash::Connection),
}

impl Driver {
    /// A driver for the server that a URL names, whose callers wait up to `limit` for an answer. The URL
    /// may be from an environment variable that other programs use too. Touches no network.
    pub(crate) fn new(
        url: &str,
        tls: &Tls,
        limit: Duration,
        shared_by: Option<&'static str>,
    ) -> Result<Self, Error> {
        if url.starts_with("upstash") {
            let driver = upstash::Driver::new(url, tls);
            driver
                .map(|driver| driver.answered_within(limit))
                .map(Self::Upstash)
        } else {
            let driver = redis::Driver::new(url, tls);
            driver
                .map(|driver| driver.shared_by(shared_by))
                .map(Self::Redis)
        }
    }

    /// Where the server is, for messages: without credentials.
    pub(crate) fn address(&self) -> &str {
        match self {
            Self::Redis(driver) => driver.address(),
            Self::Upstash(driver) => driver.address(),
        }
    }

    /// The number of the database on the server.
    pub(crate) fn database(&self) -> i64 {
        match self {
            Self::Redis(driver) => driver.database(),
            Self::Upstash(driver) => driver.database(),
        }
    }

    /// Connects within `limit`, and asks which server this is. From then on `heard` gets each
    /// message of the channels that the connection [listens](Connection::listen) to. It is
    /// called by the task that reads the connection, before that task reads on.
    pub(crate) async fn connect(
        &self,
        limit: Duration,
        heard: impl Fn(&[u8]) + Send + Sync + 'static,
    ) -> Result<Connection, Error> {
        match self {
            Self::Redis(driver) => driver.connect(limit, heard).await.map(Connection::Redis),
            Self::Upstash(driver) => driver.connect(limit, heard).await.map(Connection::Upstash),
        }
    }
}

impl Connection {
    pub(crate) fn address(&self) -> &str {
        match self {
            Self::Redis(connection) => connection.address(),
            Self::Upstash(connection) => connection.address(),
        }
    }

    /// The server's identity, hashed; 0 where the server does not tell it.
    pub(crate) fn epoch(&self) -> u64 {
        match self {
            Self::Redis(connection) => connection.epoch(),
            Self::Upstash(connection) => connection.epoch(),
        }
    }

    /// The runtime that it was made on. Calls on that runtime can rely on it.
    pub(crate) fn home(&self) -> &Home {
        match self {
            Self::Redis(connection) => connection.home(),
            Self::Upstash(connection) => connection.home(),
        }
    }

    /// Whether no connection to this kind of server listens.
    pub(crate) fn is_deaf(&self) -> bool {
        matches!(self, Self::Upstash(_))
    }

    /// Listens to a channel from now on, and checks that the server answers in time. The
    /// answer to a request that is sent later comes after all messages that the server got
    /// before that request.
    pub(crate) async fn listen(&self, channel: &str, limit: Duration) -> Result<(), Error> {
        match self {
            Self::Redis(connection) => connection.listen(channel, limit).await,
            Self::Upstash(connection) => connection.listen(channel, limit).await,
        }
    }

    /// Reads keys by one `MGET`; an absent key, or one that holds no string, is `None`.
    pub(crate) async fn read(&self, keys: &ReadKeys) -> Result<Vec<Option<Bytes>>, Failure> {
        match self {
            Self::Redis(connection) => connection.read(keys).await,
            // Boxed, so that a hit over Redis has no room for it.
            Self::Upstash(connection) => Box::pin(connection.read(keys)).await,
        }
    }

    /// Runs operations in order, in one round trip. Each is carried out whether or not one
    /// before it failed; the first error is returned.
    pub(crate) async fn run(&self, operations: &[Operation]) -> Result<Vec<Reply>, Failure> {
        match self {
            Self::Redis(connection) => connection.run(operations).await,
            Self::Upstash(connection) => Box::pin(connection.run(operations)).await,
        }
    }
}
