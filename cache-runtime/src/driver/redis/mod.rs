//! The driver for one Redis or Valkey server, over redis-rs.
//!
//! A connection is made here, and never remade behind the protocol's back. It knows which
//! server it reached: one that restarted from an old snapshot, or the replica that takes its
//! place, has another `run_id`, so no entry that was written through the old one is served
//! through the new one. A primary that was demoted and promoted again keeps its `run_id`, but
//! its replication history differs from then on. A replica is refused when the connection is
//! made.

mod address;
mod command;
mod eviction;
pub(super) mod explain;
mod identity;
pub(super) mod stream;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Pipeline, ProtocolVersion, PushInfo, PushKind, RedisError, Value,
};
use tokio::task::AbortHandle;

use self::address::Address;
use self::command::{bytes, command, mget, pong, reply};
use self::explain::{explain, explain_greeting, may_want_older_protocol, wants_older_protocol};
use self::identity::identity;
use self::stream::Stage;
use super::{Failure, Home, Operation, ReadKeys, Reply, Tls};
use crate::clock;
use crate::error::Error;

/// Opens connections to one server.
pub(crate) struct Driver {
    address: Address,
    /// The environment variable that the URL is from, if other programs set it too.
    shared_by: Option<&'static str>,
}

/// One connection, and the server that it reached.
pub(crate) struct Connection {
    redis: MultiplexedConnection,
    /// For messages: without credentials.
    address: Arc<str>,
    /// The server's identity, hashed; 0 where the server does not tell it.
    epoch: u64,
    /// Whether it hears what other processes publish.
    hears: bool,
    home: Home,
    _pump: Pump,
}

/// The task that reads and writes a connection. It would not end by itself while a server owes an
/// answer, so it is aborted.
struct Pump(AbortHandle);

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// So many requests fit into a connection's queue. A request that waits for room is handed the room
/// whether or not its caller is polled. So callers that are set aside while they wait could keep
/// all the room; here there is always room for more callers than a process has. Room that is not
/// used takes no memory.
const QUEUE: usize = 1 << 20;

impl Driver {
    /// A driver for the server that a URL names. Touches no network.
    pub(crate) fn new(url: &str, tls: &Tls) -> Result<Self, Error> {
        let address = Address::parse(url, tls)?;
        let shared_by = None;
        Ok(Self { address, shared_by })
    }

    pub(crate) fn shared_by(mut self, variable: Option<&'static str>) -> Self {
        self.shared_by = variable;
        self
    }

    /// Where the server is, for messages: without credentials.
    pub(crate) fn address(&self) -> &str {
        self.address.shown()
    }

    /// The number of the database on the server.
    pub(crate) fn database(&self) -> i64 {
        self.address.database()
    }

    /// Connects within `limit`, and asks which server this is. From then on `heard` gets each
    /// message of the channels that the connection [listens](Connection::listen) to. It is
    /// called by the task that reads the connection, before that task reads on.
    pub(crate) async fn connect(
        &self,
        limit: Duration,
        heard: impl Fn(&[u8]) + Send + Sync + 'static,
    ) -> Result<Connection, Error> {
        let stage = Stage::default();
        let opened = clock::within(limit, pin!(self.open(heard, &stage))).await;
        opened.unwrap_or_else(|| {
            if stage.is_handshake() {
                Err(Error::no_handshake(self.address(), limit))
            } else {
                Err(Error::timeout(self.address(), limit))
            }
        })
    }

    async fn open(
        &self,
        heard: impl Fn(&[u8]) + Send + Sync + 'static,
        stage: &Stage,
    ) -> Result<Connection, Error> {
        // Each request has a deadline of its own. redis-rs sets none, so it needs none of Tokio's
        // timers, which its runtime may not have enabled.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        let listening = config.clone().set_push_sender(move |push: PushInfo| {
            if let PushKind::Message = push.kind
                && let Some(message) = push.data.into_iter().nth(1).and_then(bytes)
            {
                heard(&message);
            }
            Ok::<(), ()>(())
        });
        let listen = || self.greet(ProtocolVersion::RESP3, listening.clone(), stage);
        let error = match listen().await? {
            Ok(greeted) => return self.reached(greeted, true).await,
            Err(error) => error,
        };
        if !wants_older_protocol(&error) && !may_want_older_protocol(&error) {
            return Err(explain_greeting(&self.address, &error));
        }
        let plain = self.greet(ProtocolVersion::RESP2, config, stage).await?;
        let plain = plain.map_err(|error| explain_greeting(&self.address, &error))?;
        let plain = self.reached(plain, false).await?;
        if wants_older_protocol(&error) {
            return Ok(plain);
        }
        // It may have been a server that failed, rather than one that hangs up at `HELLO`. Now that it
        // answers, `HELLO` is sent once more.
        match listen().await? {
            Ok(greeted) => self.reached(greeted, true).await,
            Err(_) => Ok(plain),
        }
    }

    /// The connection, once the server has said which one it is.
    async fn reached(
        &self,
        (mut redis, pump): (MultiplexedConnection, Pump),
        hears: bool,
    ) -> Result<Connection, Error> {
        let epoch = identity(&mut redis, self.address()).await?;
        if let Some(variable) = self.shared_by {
            eviction::check(&mut redis, self.address(), variable).await;
        }
        Ok(Connection {
            redis,
            address: self.address.shown().clone(),
            epoch,
            hears,
            home: Home::here(),
            _pump: pump,
        })
    }

    /// Opens a connection, and says what each connection begins with: the version of the protocol, the
    /// credentials, the database. The inner error is of what is said.
    async fn greet(
        &self,
        protocol: ProtocolVersion,
        config: AsyncConnectionConfig,
        stage: &Stage,
    ) -> Result<Result<(MultiplexedConnection, Pump), RedisError>, Error> {
        let stream = stream::open(&self.address, stage).await?;
        let settings = self.address.settings(protocol);
        let made = MultiplexedConnection::new_with_config(&settings, stream, config).await;
        Ok(made.map(|(redis, pump)| (redis, Pump(tokio::spawn(pump).abort_handle()))))
    }
}

impl Connection {
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The server's identity, hashed; 0 where the server does not tell it.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The runtime that it was made on, and that drives it.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// Listens to a channel from now on, and checks that the server answers in time. The
    /// answer to a request that is sent later comes after all messages that the server got
    /// before that request.
    pub(crate) async fn listen(&self, channel: &str, limit: Duration) -> Result<(), Error> {
        if !self.hears {
            match clock::within(limit, pin!(self.run(&[Operation::Ping]))).await {
                Some(pong) => drop(pong.map_err(|failure| failure.error)?),
                None => return Err(Error::timeout(&self.address, limit)),
            }
            let reason = "no `HELLO`, and so no third version of the protocol";
            return Err(Error::denied(&self.address, &reason));
        }
        let mut redis = self.redis.clone();
        match clock::within(limit, pin!(redis.subscribe(channel))).await {
            Some(result) => result.map_err(|error| explain(&self.address, &error)),
            None => Err(Error::timeout(&self.address, limit)),
        }
    }

    /// Reads keys by one `MGET`; an absent key, or one that holds no string, is `None`. On the
    /// path of every hit: the command is neither boxed nor in a pipeline of one.
    pub(crate) async fn read(&self, keys: &ReadKeys) -> Result<Vec<Option<Bytes>>, Failure> {
        let mget = mget(keys);
        // A clone is a handle to the same connection.
        let mut redis = self.redis.clone();
        match redis.send_packed_command(&mget).await {
            Ok(Value::Array(values)) => {
                let values = values.into_iter();
                Ok(values.map(|value| bytes(value).map(Bytes::from)).collect())
            }
            Ok(Value::ServerError(error)) => Err(self.failure(&error.into())),
            Ok(_) => Ok(Vec::new()),
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// Runs operations in order, in one round trip. Each is carried out whether or not one
    /// before it failed; the first error is returned.
    pub(crate) async fn run(&self, operations: &[Operation]) -> Result<Vec<Reply>, Failure> {
        let mut pipeline = Pipeline::with_capacity(operations.len());
        pipeline.ignore_errors();
        for operation in operations {
            pipeline.add_command(command(operation));
        }
        let mut redis = self.redis.clone();
        let values: Result<Vec<Value>, _> = pipeline.query_async(&mut redis).await;
        let replies = values.and_then(|values| {
            let answered = operations.iter().zip(values);
            answered
                .map(|(operation, value)| match operation {
                    Operation::Ping => pong(value),
                    _ => reply(value),
                })
                .collect()
        });
        replies.map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &RedisError) -> Failure {
        Failure {
            error: explain(&self.address, error),
            was_disconnected: error.is_connection_dropped(),
        }
    }
}

/// Without the credentials.
impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
