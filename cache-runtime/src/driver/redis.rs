//! The driver for one Redis or Valkey server, over redis-rs.
//!
//! A connection is made here, and never remade behind the protocol's back. It knows which
//! server it reached: one that restarted from an old snapshot, or the replica that takes its
//! place, has another `run_id`, so no entry that was written through the old one is served
//! through the new one. A primary that was demoted and promoted again keeps its `run_id`, but
//! its replication history differs from then on. A replica is refused when the connection is
//! made.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    FromRedisValue as _, IntoConnectionInfo as _, Pipeline, ProtocolVersion, PushInfo, PushKind,
    RedisError, Value,
};

use super::operation::Argument;
use super::{Failure, Home, Operation, ReadKeys, Reply};
use crate::clock;
use crate::error::Error;
use crate::sabotage::{self, Rule};

/// Opens connections to one server.
pub(crate) struct Driver {
    /// With version 3 of the protocol, in which a connection can listen beside its requests.
    listening: Client,
    /// With version 2, for servers and users without `HELLO`.
    plain: Client,
    database: i64,
    /// For messages: without credentials.
    address: Arc<str>,
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
}

/// So many requests fit into a connection's queue. A request that waits for room is handed the room
/// whether or not its caller is polled. So callers that are set aside while they wait could keep
/// all the room; here there is always room for more callers than a process has. Room that is not
/// used takes no memory.
const QUEUE: usize = 1 << 20;

impl Driver {
    /// A driver for the server that a URL names. Touches no network.
    pub(crate) fn new(url: &str) -> Result<Self, Error> {
        let explained = |error: RedisError| {
            Error::config(format!(
                "{error}; write `redis://host:port/database`, with `user:password@` before the \
                 host if need be, or `redis+unix:///path`"
            ))
        };
        let info = url.into_connection_info().map_err(explained)?;
        let address = match info.addr() {
            ConnectionAddr::Tcp(host, port) => format!("{host}:{port}"),
            other => other.to_string(),
        };
        let client = |protocol| client(&info, protocol).map_err(explained);
        Ok(Self {
            listening: client(ProtocolVersion::RESP3)?,
            plain: client(ProtocolVersion::RESP2)?,
            database: info.redis_settings().db(),
            address: address.into(),
        })
    }

    /// Where the server is, for messages: without credentials.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The number of the database on the server.
    pub(crate) fn database(&self) -> i64 {
        self.database
    }

    /// Connects within `limit`, and asks which server this is. From then on `heard` gets each
    /// message of the channels that the connection [listens](Connection::listen) to. It is
    /// called by the task that reads the connection, before that task reads on.
    pub(crate) async fn connect(
        &self,
        limit: Duration,
        heard: impl Fn(&[u8]) + Send + Sync + 'static,
    ) -> Result<Connection, Error> {
        let opened = clock::within(limit, pin!(self.open(heard))).await;
        opened.unwrap_or_else(|| Err(Error::timeout(&self.address, limit)))
    }

    async fn open(
        &self,
        heard: impl Fn(&[u8]) + Send + Sync + 'static,
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
        let listen = || {
            self.listening
                .get_multiplexed_async_connection_with_config(&listening)
        };
        let error = match listen().await {
            Ok(redis) => return self.reached(redis, true).await,
            Err(error) => error,
        };
        if wants_older_protocol(&error) {
            return self.open_plain(&config).await;
        }
        if !may_want_older_protocol(&error) {
            return Err(explain(&self.address, &error));
        }
        let plain = self.open_plain(&config).await?;
        // It may have been a server that failed, rather than one that hangs up at `HELLO`. Now that it
        // answers, `HELLO` is sent once more.
        match listen().await {
            Ok(redis) => self.reached(redis, true).await,
            Err(_) => Ok(plain),
        }
    }

    /// Opens a connection that cannot listen.
    async fn open_plain(&self, config: &AsyncConnectionConfig) -> Result<Connection, Error> {
        let opened = self
            .plain
            .get_multiplexed_async_connection_with_config(config)
            .await;
        let redis = opened.map_err(|error| explain(&self.address, &error))?;
        self.reached(redis, false).await
    }

    /// The connection, once the server has said which one it is.
    async fn reached(
        &self,
        mut redis: MultiplexedConnection,
        hears: bool,
    ) -> Result<Connection, Error> {
        let epoch = identity(&mut redis, &self.address).await?;
        Ok(Connection {
            redis,
            address: self.address.clone(),
            epoch,
            hears,
            home: Home::here(),
        })
    }
}

fn client(info: &ConnectionInfo, protocol: ProtocolVersion) -> Result<Client, RedisError> {
    let settings = info.redis_settings().clone().set_protocol(protocol);
    Client::open(info.clone().set_redis_settings(settings))
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
            self.run_within(&[Operation::Ping], limit).await?;
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

fn mget(keys: &ReadKeys) -> Cmd {
    let mut mget = Cmd::with_capacity(1 + keys.len(), "MGET".len() + keys.packed_len());
    mget.arg("MGET");
    for key in keys.iter() {
        mget.arg(key);
    }
    mget
}

fn command(operation: &Operation) -> Cmd {
    let mut command = Cmd::new();
    match operation {
        // With its text each time: a restart or a failover can lose no script.
        Operation::Script {
            text,
            key,
            arguments,
        } => {
            command.arg("EVAL").arg(text).arg(1).arg(key);
            for argument in arguments {
                match argument {
                    Argument::Bytes(bytes) => command.arg(bytes),
                    Argument::Number(number) => command.arg(number),
                };
            }
        }
        Operation::ScriptOnListed { text, keys } => {
            command.arg("EVAL").arg(text).arg(keys.len()).arg(keys);
        }
        Operation::Read { key } => {
            command.arg("MGET").arg(key);
        }
        Operation::Remaining { key } => {
            command.arg("PTTL").arg(key);
        }
        Operation::Scan {
            pattern,
            cursor,
            count,
        } => {
            command.arg("SCAN").arg(cursor).arg("MATCH").arg(pattern);
            command.arg("COUNT").arg(count);
        }
        Operation::Publish { channel, message } => {
            command.arg("PUBLISH").arg(channel).arg(message);
        }
        Operation::Ping => {
            command.arg("PING");
        }
    }
    command
}

fn reply(value: Value) -> Result<Reply, RedisError> {
    Ok(match value {
        Value::ServerError(error) => return Err(error.into()),
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Number(number),
        Value::Okay => Reply::Bytes(b"OK".to_vec()),
        Value::Array(values) => {
            let replies: Result<_, _> = values.into_iter().map(reply).collect();
            Reply::List(replies?)
        }
        other => bytes(other).map_or(Reply::Unexpected, Reply::Bytes),
    })
}

/// A user that may not send `PING` has its answer all the same.
fn pong(value: Value) -> Result<Reply, RedisError> {
    match reply(value) {
        Err(error) if error.code() == Some("NOPERM") => Ok(Reply::Nil),
        answer => answer,
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

/// Whether `HELLO` failed, because it is unknown or not allowed.
fn wants_older_protocol(error: &RedisError) -> bool {
    let is_unknown = |error: &RedisError| error.to_string().contains("unknown command");
    error.kind() == ErrorKind::RESP3NotSupported
        || matches!(error.code(), Some("NOPROTO" | "NOPERM"))
        || error.code() == Some("ERR") && is_unknown(error)
}

/// Whether `HELLO` may be what failed: proxies refuse it in many words, and some by hanging up.
fn may_want_older_protocol(error: &RedisError) -> bool {
    match error.code() {
        // Each of these says what is wrong, and it is not `HELLO`.
        Some("WRONGPASS" | "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "BUSY") => false,
        Some(_) => true,
        None => error.is_connection_dropped() && !error.is_connection_refusal(),
    }
}

/// The code of a server's error. Redis before 7 puts an error inside of a script into another one:
/// `ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -READONLY You can't …`.
fn code(error: &RedisError) -> Option<&str> {
    let code = error.code()?;
    let detail = error.detail().unwrap_or_default();
    let is_of_script = code == "ERR" && detail.starts_with("Error running script");
    let inner = is_of_script.then(|| detail.rsplit_once(": ")?.1.split(' ').next());
    let inner = inner.flatten().map(|word| word.trim_start_matches('-'));
    let is_code =
        |word: &&str| word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    Some(inner.filter(is_code).unwrap_or(code))
}

/// What an error of the server, or of the connection to it, means for a cache.
fn explain(address: &str, error: &RedisError) -> Error {
    match code(error) {
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

/// Which server this is. Where `INFO` is denied, or does not say, a restart from an old snapshot goes
/// unnoticed, and only the ttl bounds what such a snapshot brings back.
async fn identity(redis: &mut MultiplexedConnection, address: &str) -> Result<u64, Error> {
    let mut ask = Pipeline::new();
    ask.ignore_errors();
    // A server that still loads its data answers `PING` with an error, and `INFO` without one. So
    // does one that takes no writes for a while; that one can be read.
    ask.cmd("PING").cmd("INFO").arg("server");
    ask.cmd("INFO").arg("replication");
    let replies: Vec<Value> = ask
        .query_async(redis)
        .await
        .map_err(|error| explain(address, &error))?;
    let mut info = String::new();
    for (nth, reply) in replies.into_iter().enumerate() {
        match reply.extract_error() {
            Ok(reply) => info += &String::from_redis_value(reply).unwrap_or_default(),
            // The `PING`.
            Err(error) if nth == 0 && error.code() == Some("NOPERM") => continue,
            Err(error)
                if explain(address, &error).is_write_refused()
                    && sabotage::keeps(Rule::ReadsWhileRefused) =>
            {
                continue;
            }
            Err(error) if matches!(error.code(), Some("NOPERM" | "ERR")) => {
                warn_of_no_epoch(address, &error);
                return Ok(0);
            }
            // It may be told later.
            Err(error) => return Err(explain(address, &error)),
        }
        info.push('\n');
    }
    if field(&info, "role:") == Some("slave") {
        return Err(Error::is_replica(
            address,
            &"it is a replica, and takes no writes",
        ));
    }
    if !sabotage::keeps(Rule::Epoch) {
        return Ok(0);
    }
    let epoch = epoch(&info);
    if epoch == 0 {
        warn_of_no_epoch(address, &"its `INFO` has no `run_id`");
    }
    Ok(epoch)
}

fn warn_of_no_epoch(address: &str, why: &dyn fmt::Display) {
    tracing::warn!(
        server = address,
        %why,
        "the cache server does not say which server it is: if it restarts from an old snapshot, old \
         entries may be served until their ttl ends"
    );
}

/// The epoch of a server: its `run_id`, and the replication history that it had when it was
/// promoted. Its current replication id is left out: that changes when its first replica
/// comes, and then processes would not agree on the epoch.
fn epoch(info: &str) -> u64 {
    let history = ["master_replid2:", "second_repl_offset:"].map(|name| field(info, name));
    let history = history.into_iter().flatten().map(fnv1a);
    field(info, "run_id:").map_or(0, |run_id| {
        history.fold(fnv1a(run_id), |hash, part| hash.rotate_left(7) ^ part)
    })
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.trim_end().strip_prefix(name))
}

/// A hash that is the same in every process: FNV-1a. Its input is random already.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Without the credentials.
impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("address", &self.address)
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

#[cfg(test)]
mod tests;
