//! The driver for one Redis or Valkey server, over redis-rs: one that a URL names, or the primary that
//! sentinels name.
//!
//! A connection is made here, and never remade behind the protocol's back. It knows which
//! server it reached: one that restarted from an old snapshot, or the replica that takes its
//! place, has another `run_id`, so no entry that was written through the old one is served
//! through the new one. A primary that was demoted and promoted again keeps its `run_id`, but
//! its replication history differs from then on. A replica is refused when the connection is
//! made.

mod address;
mod cluster;
mod command;
mod eviction;
pub(super) mod explain;
mod hosts;
mod identity;
mod sentinel;
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
pub(crate) use self::cluster::Cluster;
use self::cluster::elsewhere;
use self::command::{answer, bytes, command, get, mget, pong, reply, values};
use self::explain::{
    explain, explain_command, explain_greeting, may_want_older_protocol, wants_older_protocol,
};
use self::identity::{Identity, identity};
use self::sentinel::Sentinels;
use self::stream::Stage;
use super::cluster::hash_slot;
use super::words::{Refused, Words};
use super::{Answers, Failure, Hearing, Home, Operation, ReadKeys, Reply, ServerClock, Tls};
use crate::clock;
use crate::error::Error;

/// Opens connections to one server.
pub(crate) struct Driver {
    target: Target,
}

/// The server to connect to.
enum Target {
    /// The one at this address.
    Server(Address),
    /// The primary that these sentinels name.
    Primary(Sentinels),
}

/// One connection, and the server that it reached.
pub(crate) struct Connection {
    redis: MultiplexedConnection,
    /// For messages: without credentials.
    address: Arc<str>,
    /// The server's identity, hashed; 0 where the server does not tell it.
    epoch: u64,
    clock: ServerClock,
    /// Whether it hears what other processes publish.
    hears: bool,
    /// The host of a node of a cluster.
    node_host: Option<Arc<str>>,
    home: Home,
    hearing: Hearing,
    pump: Pump,
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
        let scheme = url.split(':').next().unwrap_or_default();
        let target = if sentinel::is_scheme(scheme) {
            Target::Primary(Sentinels::parse(url, tls)?)
        } else {
            Target::Server(Address::parse(url, tls)?)
        };
        Ok(Self { target })
    }

    /// Notes the environment variable that the URL is from, if it is one that other programs set too.
    pub(crate) fn shared_by(&mut self, variable: &'static str) {
        match &mut self.target {
            Target::Server(address) => address.shared_by = Some(variable),
            Target::Primary(sentinels) => sentinels.shared_by(variable),
        }
    }

    /// A driver for a node of a cluster.
    fn of_node(address: Address) -> Self {
        let target = Target::Server(address);
        Self { target }
    }

    /// Where the server is, or where the sentinels are that know it, for messages: without credentials.
    pub(crate) fn address(&self) -> &str {
        match &self.target {
            Target::Server(address) => address.shown(),
            Target::Primary(sentinels) => sentinels.shown(),
        }
    }

    /// Whether the server is on another machine, and no password is sent to it.
    pub(crate) fn is_open(&self) -> bool {
        match &self.target {
            Target::Server(address) => address.is_open(),
            Target::Primary(sentinels) => sentinels.is_open(),
        }
    }

    /// Whether others may read what is sent to the server: it is not encrypted, and leaves this machine.
    pub(crate) fn is_exposed(&self) -> bool {
        match &self.target {
            Target::Server(address) => address.is_exposed(),
            Target::Primary(sentinels) => sentinels.is_exposed(),
        }
    }

    /// The number of the database on the server.
    pub(crate) fn database(&self) -> i64 {
        match &self.target {
            Target::Server(address) => address.database(),
            Target::Primary(sentinels) => sentinels.database(),
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
        let heard: Heard = Arc::new(heard);
        match &self.target {
            Target::Server(address) => {
                let stage = Stage::default();
                let opened = clock::within(limit, pin!(open(address, &heard, &stage))).await;
                opened.unwrap_or_else(|| Err(stage.timeout(address.shown(), limit)))
            }
            Target::Primary(sentinels) => sentinels.connect(limit, &heard).await,
        }
    }
}

/// What is called with each message that a connection hears.
type Heard = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// Connects, in the newest version of the protocol that the server speaks, and asks which server it is.
async fn open(address: &Address, heard: &Heard, stage: &Stage) -> Result<Connection, Error> {
    // Each request has a deadline of its own. redis-rs sets none, so it needs none of Tokio's
    // timers, which its runtime may not have enabled.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(QUEUE);
    let heard = heard.clone();
    let listening = config.clone().set_push_sender(move |push: PushInfo| {
        if let PushKind::Message = push.kind
            && let Some(message) = push.data.into_iter().nth(1).and_then(bytes)
        {
            heard(&message);
        }
        Ok::<(), ()>(())
    });
    let listen = || greet(address, ProtocolVersion::RESP3, listening.clone(), stage);
    let error = match listen().await? {
        Ok(greeted) => return reached(address, greeted, true).await,
        Err(error) => error,
    };
    if !wants_older_protocol(&error) && !may_want_older_protocol(&error) {
        return Err(explain_greeting(address, &error));
    }
    let plain = greet(address, ProtocolVersion::RESP2, config, stage).await?;
    let plain = plain.map_err(|error| explain_greeting(address, &error))?;
    let plain = reached(address, plain, false).await?;
    if wants_older_protocol(&error) {
        return Ok(plain);
    }
    // It may have been a server that failed, rather than one that hangs up at `HELLO`. Now that it
    // answers, `HELLO` is sent once more.
    match listen().await? {
        Ok(greeted) => reached(address, greeted, true).await,
        Err(_) => Ok(plain),
    }
}

/// The connection, once the server has said which one it is.
async fn reached(
    address: &Address,
    (mut redis, pump): (MultiplexedConnection, Pump),
    hears: bool,
) -> Result<Connection, Error> {
    let Identity { epoch, clock } =
        identity(&mut redis, address.shown(), address.is_node()).await?;
    if let Some(variable) = address.shared_by {
        eviction::check(&mut redis, address.shown(), variable).await;
    }
    Ok(Connection {
        redis,
        address: address.shown().clone(),
        epoch,
        clock,
        hears,
        node_host: address.host().filter(|_| address.is_node()).map(Arc::from),
        home: Home::here(),
        hearing: Hearing::default(),
        pump,
    })
}

/// Opens a connection, and says what each connection begins with: the version of the protocol, the
/// credentials, the database. The inner error is of what is said.
async fn greet(
    address: &Address,
    protocol: ProtocolVersion,
    config: AsyncConnectionConfig,
    stage: &Stage,
) -> Result<Result<(MultiplexedConnection, Pump), RedisError>, Error> {
    let stream = stream::open(address, stage).await?;
    let settings = address.settings(protocol);
    let made = MultiplexedConnection::new_with_config(&settings, stream, config).await;
    Ok(made.map(|(redis, pump)| (redis, Pump(tokio::spawn(pump).abort_handle()))))
}

impl Connection {
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The server's identity, hashed; 0 where the server does not tell it.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The server's wall clock.
    pub(crate) fn clock(&self) -> ServerClock {
        self.clock
    }

    /// Whether it was closed: then the task that reads it has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.pump.0.is_finished()
    }

    /// Whether the server is a node of a cluster.
    pub(crate) fn is_of_cluster(&self) -> bool {
        self.node_host.is_some()
    }

    /// The runtime that it was made on, and that drives it.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// Whether it hears what is invalidated.
    pub(crate) fn hearing(&self) -> &Hearing {
        &self.hearing
    }

    /// Asks a node of a cluster which hash slots it has, as one number. `None` while some are on their way
    /// to it or from it, or if it has none for now. Of another server it is 0.
    pub(crate) async fn hash_slots_told(&self, trial: &str) -> Result<Option<u64>, Failure> {
        let mut ask = Pipeline::new();
        ask.ignore_errors();
        ask.cmd("GET").arg(trial);
        if self.node_host.is_some() {
            ask.cmd("CLUSTER").arg("NODES");
        }
        let mut redis = self.redis.clone();
        let answers: Result<Vec<Value>, _> = ask.query_async(&mut redis).await;
        let told = answers.and_then(|answers| {
            let mut told = Some(0);
            for answer in answers {
                let answer = match (answer.extract_error(), &self.node_host) {
                    (Err(error), Some(host)) if elsewhere(&error, host).is_some() => {
                        return Ok(None);
                    }
                    (answer, _) => answer?,
                };
                if let Some(nodes) = bytes(answer).filter(|_| self.node_host.is_some()) {
                    told = cluster::own_hash_slots(&String::from_utf8_lossy(&nodes));
                }
            }
            Ok(told)
        });
        told.map_err(|error| self.failure(&error))
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

    /// Reads keys; an absent key, or one that holds no string, is `None`. By one `MGET`; from a node of a
    /// cluster, by one for each hash slot (by `GET`, where that is one key), in one round trip. On the
    /// path of every hit: the command is neither boxed nor in a pipeline of one.
    pub(crate) async fn read(&self, keys: &ReadKeys) -> Result<Answers, Failure> {
        if let Some(host) = &self.node_host
            && let Some(groups) = by_hash_slot(keys)
        {
            return Box::pin(self.read_slot_by_slot(keys, &groups, host)).await;
        }
        let mget = mget(keys.iter(), keys.len(), keys.packed_len());
        // A clone is a handle to the same connection.
        let mut redis = self.redis.clone();
        match redis.send_packed_command(&mget).await {
            Ok(Value::Array(values)) => {
                let values = values.into_iter();
                Ok(values.map(|value| bytes(value).map(Bytes::from)).collect())
            }
            Ok(Value::ServerError(error)) => self.refused(keys.len(), &error.into()),
            Ok(_) => Ok(Answers::default()),
            Err(error) => self.refused(keys.len(), &error),
        }
    }

    /// All of the keys are elsewhere, or the whole request has failed.
    fn refused(&self, keys: usize, error: &RedisError) -> Result<Answers, Failure> {
        let host = self.node_host.as_ref();
        match host.and_then(|host| elsewhere(error, host)) {
            Some(elsewhere) => Ok(Answers::elsewhere(keys, &elsewhere)),
            None => Err(self.failure(error)),
        }
    }

    async fn read_slot_by_slot(
        &self,
        keys: &ReadKeys,
        groups: &[(u16, usize)],
        host: &str,
    ) -> Result<Answers, Failure> {
        let all: Vec<&[u8]> = keys.iter().collect();
        let mut pipeline = Pipeline::new();
        pipeline.ignore_errors();
        for group in groups.chunk_by(|one, other| one.0 == other.0) {
            pipeline.add_command(match group {
                &[(_, index)] => get(all[index]),
                group => {
                    let keys = group.iter().map(|&(_, index)| all[index]);
                    let bytes = keys.clone().map(<[u8]>::len).sum();
                    mget(keys, group.len(), bytes)
                }
            });
        }
        let mut redis = self.redis.clone();
        let answers: Result<Vec<Value>, _> = pipeline.query_async(&mut redis).await;
        let answers = answers.map_err(|error| self.failure(&error))?;
        let mut found = Answers::of(all.len());
        let groups = groups.chunk_by(|one, other| one.0 == other.0);
        for (group, answer) in groups.zip(answers) {
            match values(answer) {
                Ok(values) => {
                    for (&(_, index), value) in group.iter().zip(values) {
                        found.values[index] = value;
                    }
                }
                Err(error) => {
                    let Some(elsewhere) = elsewhere(&error, host) else {
                        return Err(self.failure(&error));
                    };
                    let indices = group.iter().map(|&(_, index)| index);
                    found.are_elsewhere(indices, &elsewhere);
                }
            }
        }
        Ok(found)
    }

    /// Runs operations in order, in one round trip. Each is carried out whether or not one
    /// before it failed; the first error is returned. An operation that a node of a cluster leaves to
    /// another one has [`Reply::Elsewhere`] for its answer.
    pub(crate) async fn run(&self, operations: &[Operation]) -> Result<Vec<Reply>, Failure> {
        self.run_each(operations, false).await
    }

    /// As [`run`](Self::run), at the node of a cluster to which the keys are on their way.
    pub(crate) async fn run_asking(&self, operations: &[Operation]) -> Result<Vec<Reply>, Failure> {
        self.run_each(operations, true).await
    }

    async fn run_each(
        &self,
        operations: &[Operation],
        asking: bool,
    ) -> Result<Vec<Reply>, Failure> {
        let mut pipeline = Pipeline::with_capacity(operations.len());
        pipeline.ignore_errors();
        for operation in operations {
            // What is listed may have been on its way since.
            if asking || self.node_host.is_some() && operation.is_on_listed() {
                pipeline.cmd("ASKING").ignore();
            }
            pipeline.add_command(command(operation));
        }
        let mut redis = self.redis.clone();
        let values: Result<Vec<Value>, _> = pipeline.query_async(&mut redis).await;
        let replies = values.and_then(|values| {
            let answered = operations.iter().zip(values);
            answered
                .map(|(operation, value)| match operation {
                    Operation::Ping => pong(value),
                    Operation::Words(words) => Ok(self.answer(words, value)),
                    _ => self.reply(value),
                })
                .collect()
        });
        replies.map_err(|error| self.failure(&error))
    }

    fn reply(&self, value: Value) -> Result<Reply, RedisError> {
        match (reply(value), &self.node_host) {
            (Err(error), Some(host)) => elsewhere(&error, host).map(Reply::Elsewhere).ok_or(error),
            (answer, _) => answer,
        }
    }

    /// What a command of a program was answered. An error is its answer, and no failure of the request.
    fn answer(&self, words: &Words, value: Value) -> Reply {
        let error = match answer(value) {
            Ok(reply) => return Reply::Words(Ok(reply)),
            Err(error) => error,
        };
        let host = self.node_host.as_ref();
        if let Some(elsewhere) = host.and_then(|host| elsewhere(&error, host)) {
            return Reply::Elsewhere(elsewhere);
        }
        let error = explain_command(&self.address, &words.name, &error);
        Reply::Words(Err(Refused(error)))
    }

    fn failure(&self, error: &RedisError) -> Failure {
        Failure {
            error: explain(&self.address, error),
            was_disconnected: error.is_connection_dropped(),
        }
    }
}

/// The keys' indices with their hash slots, those of one hash slot side by side; `None` if all are in
/// one.
fn by_hash_slot(keys: &ReadKeys) -> Option<Vec<(u16, usize)>> {
    let first = hash_slot(keys.first());
    if keys.iter().skip(1).all(|key| hash_slot(key) == first) {
        return None;
    }
    let mut groups: Vec<_> = keys.iter().map(hash_slot).zip(0..).collect();
    groups.sort_unstable();
    Some(groups)
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
