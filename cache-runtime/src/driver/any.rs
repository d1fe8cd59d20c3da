//! Which driver: the only `match` on it.

use std::time::Duration;

use super::{
    Answers, Failure, Hearing, Home, NodeAddress, Operation, ReadKeys, Reply, ServerClock,
    SlotRanges, Tls, redis, upstash,
};
use crate::error::Error;

/// Opens connections to one server.
#[derive(Debug)]
pub(crate) enum Driver {
    /// Boxed, since it has more to say of its server.
    Redis(Box<redis::Driver>),
    Upstash(upstash::Driver),
}

/// One connection, and the server that it reached.
#[derive(Debug)]
pub(crate) enum Connection {
    Redis(redis::Connection),
    Upstash(upstash::Connection),
}

impl Driver {
    /// A driver for the server that a URL names, whose callers wait up to `limit` for an answer. Touches
    /// no network.
    fn new(url: &str, tls: &Tls, limit: Duration) -> Result<Self, Error> {
        if url.starts_with("upstash") {
            let driver = upstash::Driver::new(url, tls);
            driver
                .map(|driver| driver.answered_within(limit))
                .map(Self::Upstash)
        } else {
            redis::Driver::new(url, tls).map(Self::of_redis)
        }
    }

    fn of_redis(driver: redis::Driver) -> Self {
        Self::Redis(Box::new(driver))
    }

    /// Notes the environment variable that the URL is from, if it is one that other programs set too.
    pub(crate) fn shared_by(&mut self, variable: &'static str) {
        match self {
            Self::Redis(driver) => driver.shared_by(variable),
            Self::Upstash(_) => {}
        }
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Redis(_) => "redis",
            Self::Upstash(_) => "upstash",
        }
    }

    /// Where the server is, for messages: without credentials.
    pub(crate) fn address(&self) -> &str {
        match self {
            Self::Redis(driver) => driver.address(),
            Self::Upstash(driver) => driver.address(),
        }
    }

    /// Whether the server is on another machine, and no password is sent to it.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Redis(driver) => driver.is_open(),
            // It has a token.
            Self::Upstash(_) => false,
        }
    }

    /// Whether others may read what is sent to the server: it is not encrypted, and leaves this machine.
    pub(crate) fn is_exposed(&self) -> bool {
        match self {
            Self::Redis(driver) => driver.is_exposed(),
            Self::Upstash(driver) => driver.is_exposed(),
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

    /// The server's wall clock.
    pub(crate) fn clock(&self) -> ServerClock {
        match self {
            Self::Redis(connection) => connection.clock(),
            Self::Upstash(_) => ServerClock::UNTOLD,
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

    /// Whether it hears what is invalidated; `None` where no connection to this kind of server listens.
    pub(crate) fn hearing(&self) -> Option<&Hearing> {
        match self {
            Self::Redis(connection) => Some(connection.hearing()),
            Self::Upstash(_) => None,
        }
    }

    /// Asks the server which hash slots it has, as one number, to see whether it has others later. It has
    /// the number 0 if it is in no cluster. `None` while some are on their way.
    pub(crate) async fn hash_slots_told(&self, trial: &str) -> Result<Option<u64>, Failure> {
        match self {
            Self::Redis(connection) => connection.hash_slots_told(trial).await,
            Self::Upstash(_) => Ok(Some(0)),
        }
    }

    /// Whether the server is known to have closed it.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Redis(connection) => connection.is_closed(),
            Self::Upstash(_) => false,
        }
    }

    /// Whether the server is a node of a cluster.
    pub(crate) fn is_of_cluster(&self) -> bool {
        match self {
            Self::Redis(connection) => connection.is_of_cluster(),
            Self::Upstash(_) => false,
        }
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
    pub(crate) async fn read(&self, keys: &ReadKeys) -> Result<Answers, Failure> {
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

    /// As [`run`](Self::run), at the node of a cluster to which the keys are on their way.
    pub(crate) async fn run_asking(&self, operations: &[Operation]) -> Result<Vec<Reply>, Failure> {
        match self {
            Self::Redis(connection) => connection.run_asking(operations).await,
            Self::Upstash(_) => self.run(operations).await,
        }
    }
}

/// The servers that a URL names.
#[derive(Debug)]
pub(crate) enum Servers {
    One(Driver),
    Cluster(Cluster),
}

/// Opens connections to the nodes of one cluster.
#[derive(Debug)]
pub(crate) struct Cluster(Box<redis::Cluster>);

impl Servers {
    /// Reads a URL, whose callers wait up to `limit` for an answer. Touches no network.
    pub(crate) fn new(url: &str, tls: &Tls, limit: Duration) -> Result<Self, Error> {
        match redis::Cluster::named_by(url, tls) {
            Some(cluster) => Ok(Self::Cluster(Cluster(Box::new(cluster?)))),
            None => Driver::new(url, tls, limit).map(Self::One),
        }
    }

    /// Notes the environment variable that the URL is from, if it is one that other programs set too.
    pub(crate) fn shared_by(&mut self, variable: &'static str) {
        match self {
            Self::One(driver) => driver.shared_by(variable),
            Self::Cluster(Cluster(cluster)) => cluster.shared_by(variable),
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

impl Cluster {
    /// Where the cluster is, for messages: without credentials.
    pub(crate) fn address(&self) -> &str {
        self.0.address()
    }

    /// The nodes that the URL names.
    pub(crate) fn seeds(&self) -> &[NodeAddress] {
        self.0.seeds()
    }

    /// A driver for one node.
    pub(crate) fn node(&self, node: &NodeAddress) -> Result<Driver, Error> {
        self.0.node(node).map(Driver::of_redis)
    }

    /// Asks a node, primary or replica, which primary has which hash slots.
    pub(crate) async fn ask(
        &self,
        node: &NodeAddress,
        limit: Duration,
    ) -> Result<SlotRanges, Error> {
        self.0.ask(node, limit).await
    }
}
