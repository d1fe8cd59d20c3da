//! One connection: made by us, and never again behind our back.
//!
//! It knows which server it reached. A server that restarted from an old snapshot, or
//! the replica that takes its place, has another `run_id`, and no entry that was written
//! through the old one is served through the new one. A primary that was demoted and is
//! promoted again keeps its `run_id`, but has another past from then on. A server that is
//! a replica when the connection is made is not taken at all.

use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue as _, Pipeline,
    ProtocolVersion, PushInfo, PushKind, RedisError, Value,
};

use super::connector::Connector;
use crate::error::Error;
use crate::sabotage::{self, Rule};

/// One connection, and the server it reached.
pub(crate) struct Connection {
    redis: MultiplexedConnection,
    /// For messages: no credentials in it.
    address: Arc<str>,
    /// The server's identity, hashed; 0 where it is not told.
    pub(crate) epoch: u64,
    /// Whether it can hear what other processes announce.
    listens: bool,
}

/// The two ways to open one.
pub(crate) struct Clients {
    /// With the third version of the protocol, which can listen beside its requests.
    listening: Client,
    /// With the second, for servers and users without `HELLO`.
    plain: Client,
}

impl Clients {
    pub(crate) fn new(info: ConnectionInfo) -> Result<Self, RedisError> {
        let client = |protocol| {
            let settings = info.redis_settings().clone().set_protocol(protocol);
            Client::open(info.clone().set_redis_settings(settings))
        };
        Ok(Self {
            listening: client(ProtocolVersion::RESP3)?,
            plain: client(ProtocolVersion::RESP2)?,
        })
    }
}

/// Whether `HELLO` is what failed: unknown, or not allowed.
fn wants_older_protocol(error: &RedisError) -> bool {
    let is_unknown = |error: &RedisError| error.to_string().contains("unknown command");
    error.kind() == ErrorKind::RESP3NotSupported
        || matches!(error.code(), Some("NOPROTO" | "NOPERM"))
        || error.code() == Some("ERR") && is_unknown(error)
}

impl Connection {
    /// Connects, and asks who is there.
    pub(crate) async fn open(
        clients: &Clients,
        address: &Arc<str>,
        limit: Duration,
        connector: Weak<Connector>,
    ) -> Result<Self, Error> {
        // All has a deadline of its own, here.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let listening = config
            .clone()
            // Called by whoever reads the connection, before it reads on.
            .set_push_sender(move |push: PushInfo| {
                if let (PushKind::Message, Some(connector)) = (push.kind, connector.upgrade())
                    && let Some(message) = push.data.into_iter().nth(1).and_then(bytes)
                {
                    connector.hear(&message);
                }
                Ok::<(), ()>(())
            });
        let open = async {
            let mut listens = true;
            let mut opened = clients
                .listening
                .get_multiplexed_async_connection_with_config(&listening)
                .await;
            if opened.as_ref().is_err_and(wants_older_protocol) {
                listens = false;
                opened = clients
                    .plain
                    .get_multiplexed_async_connection_with_config(&config)
                    .await;
            }
            let mut redis = opened.map_err(|error| explain(address, &error))?;
            let epoch = identity(&mut redis, address).await?;
            Ok(Self {
                redis,
                listens,
                address: address.clone(),
                epoch,
            })
        };
        match tokio::time::timeout(limit, open).await {
            Ok(opened) => opened,
            Err(_) => Err(Error::timeout(address, limit)),
        }
    }

    /// Listens to a channel from now on, and sees that the server answers in time. What it
    /// answers to later requests comes after what was said before it got them.
    pub(crate) async fn listen(&self, channel: &str, limit: Duration) -> Result<(), Error> {
        if !self.listens {
            self.request(commands().cmd("PING"), limit).await?;
            let reason = "no `HELLO`, and so no third version of the protocol";
            return Err(Error::denied(&self.address, &reason));
        }
        let mut redis = self.redis.clone();
        match tokio::time::timeout(limit, redis.subscribe(channel)).await {
            Ok(result) => result.map_err(|error| explain(&self.address, &error)),
            Err(_) => Err(Error::timeout(&self.address, limit)),
        }
    }

    /// Of an answer that is not to what was asked.
    pub(crate) fn makes_no_sense(&self) -> Error {
        Error::unavailable(&self.address, &"its answer makes no sense")
    }

    /// Sends commands, and waits for all of their replies.
    pub(crate) async fn request(
        &self,
        commands: &Pipeline,
        limit: Duration,
    ) -> Result<Vec<Value>, Error> {
        match tokio::time::timeout(limit, self.try_request(commands)).await {
            Ok(result) => result.map_err(|error| explain(&self.address, &error)),
            Err(_) => Err(Error::timeout(&self.address, limit)),
        }
    }

    /// The same without a deadline, and with the error as it is.
    pub(crate) async fn try_request<C: Commands>(
        &self,
        commands: &C,
    ) -> Result<C::Replies, RedisError> {
        // A clone is a handle to the same connection.
        commands.send(self.redis.clone()).await
    }
}

/// One command or several, to be sent together.
pub(crate) trait Commands: Sync {
    type Replies: Send;

    fn send(
        &self,
        redis: MultiplexedConnection,
    ) -> impl Future<Output = Result<Self::Replies, RedisError>> + Send;
}

impl Commands for Pipeline {
    type Replies = Vec<Value>;

    async fn send(&self, mut redis: MultiplexedConnection) -> Result<Vec<Value>, RedisError> {
        let values: Vec<Value> = self.query_async(&mut redis).await?;
        values.into_iter().map(Value::extract_error).collect()
    }
}

/// On the way of every hit: neither boxed nor in a pipeline of one.
impl Commands for Cmd {
    type Replies = Value;

    async fn send(&self, mut redis: MultiplexedConnection) -> Result<Value, RedisError> {
        match redis.send_packed_command(self).await? {
            Value::ServerError(error) => Err(error.into()),
            value => Ok(value),
        }
    }
}

/// Which server this is. Where it may not be asked (`INFO` denied), a restart
/// from an old snapshot cannot be noticed, and only the ttl bounds what it brings back.
async fn identity(redis: &mut MultiplexedConnection, address: &str) -> Result<u64, Error> {
    let mut ask = commands();
    // A server that still loads its data says so to the first, and to the second no more than `INFO`.
    ask.cmd("PING").cmd("INFO").arg("server");
    ask.cmd("INFO").arg("replication");
    let replies: Vec<Value> = ask
        .query_async(redis)
        .await
        .map_err(|error| explain(address, &error))?;
    let mut info = String::new();
    for reply in replies {
        match reply.extract_error() {
            Ok(reply) => info += &String::from_redis_value(reply).unwrap_or_default(),
            Err(error) if matches!(error.code(), Some("NOPERM" | "ERR")) => {
                tracing::warn!(%error, "the cache server does not tell its `run_id`");
                return Ok(0);
            }
            // It may be told later.
            Err(error) => return Err(explain(address, &error)),
        }
        info.push('\n');
    }
    if told(&info, "role:") == Some("slave") {
        return Err(Error::is_replica(
            address,
            &"it is a replica, and takes no writes",
        ));
    }
    if !sabotage::keeps(Rule::Epoch) {
        return Ok(0);
    }
    // Whose data it had when it was promoted. Its own replication id changes when its first
    // replica comes, too, and then processes would not agree on who it is.
    let past = ["master_replid2:", "second_repl_offset:"].map(|field| told(&info, field));
    let past = past.into_iter().flatten().map(fnv1a);
    Ok(told(&info, "run_id:").map_or(0, |run_id| {
        past.fold(fnv1a(run_id), |hash, past| hash.rotate_left(7) ^ past)
    }))
}

fn told<'a>(info: &'a str, field: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.trim_end().strip_prefix(field))
}

/// A hash that is the same in every process: FNV-1a. What is hashed is random already.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// What an error of the server, or of the way to it, means for a cache.
pub(crate) fn explain(address: &str, error: &RedisError) -> Error {
    match error.code() {
        // These pass by themselves.
        Some("LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "BUSY" | "TRYAGAIN") => {
            Error::unavailable(address, error)
        }
        Some("READONLY") => Error::is_replica(address, error),
        Some("NOREPLICAS" | "OOM" | "MISCONF") => Error::refuses_writes(address, error),
        Some("WRONGTYPE") => Error::foreign(address),
        Some(_) => Error::denied(address, error),
        None if error.kind() == ErrorKind::AuthenticationFailed => Error::denied(address, error),
        None => Error::unavailable(address, error),
    }
}

/// Commands to be sent together, each error in the place of its reply.
pub(crate) fn commands() -> Pipeline {
    let mut commands = Pipeline::new();
    commands.ignore_errors();
    commands
}

pub(crate) fn script<'a>(commands: &'a mut Pipeline, script: &str, key: &str) -> &'a mut Pipeline {
    // With its text each time: no state on the server that a restart or a failover could lose.
    commands.cmd("EVAL").arg(script).arg(1).arg(key)
}

pub(crate) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
