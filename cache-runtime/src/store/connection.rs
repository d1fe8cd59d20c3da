//! The connection to the server: made lazily, by us, and never again behind our back.
//!
//! Each connection knows which server it reached: a server that restarted from
//! an old snapshot, or the replica that takes its place, has another `run_id`, and
//! no entry that was written through the old one is served through the new one.
//! (Not told apart: a server that was demoted, missed writes, and is promoted again
//! without a restart.)
//!
//! Every request has a deadline. A connection that failed or was too slow is
//! dropped, and the next request makes a new one; however many callers wait for
//! it, there is one attempt at a time. (A breaker that keeps callers off the
//! network altogether while the server is away belongs in [`Connector::connection`].)

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value,
};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::error::Error;
use crate::sabotage::{self, Rule};

/// The limits of a [`Connector`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) operation: Duration,
    pub(crate) connect: Duration,
}

/// One connection, and the server it reached.
pub(crate) struct Connection {
    redis: MultiplexedConnection,
    /// The server's `run_id`, hashed; 0 where it is not told.
    pub(crate) epoch: u64,
}

pub(crate) struct Connector {
    client: Client,
    /// For messages: no credentials in it.
    address: String,
    limits: Limits,
    state: Mutex<State>,
    /// Whether the last thing reported was that the server cannot be reached.
    unreachable: AtomicBool,
    /// Whether it was reported that the server refuses something, on this connection.
    refusing: AtomicBool,
}

enum State {
    Idle,
    Connecting {
        since: Instant,
        attempt: watch::Receiver<Option<Attempt>>,
    },
    Up(Arc<Connection>),
}

type Attempt = Result<Arc<Connection>, Error>;

impl Connector {
    pub(crate) fn new(client: Client, address: String, limits: Limits) -> Self {
        Self {
            client,
            address,
            limits,
            state: Mutex::new(State::Idle),
            unreachable: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
        }
    }

    /// Sends commands, over whichever connection there is, and tells which one it was.
    ///
    /// What it sends must bear to be sent twice: a connection that turns out to
    /// have been closed while it was idle is replaced once.
    pub(crate) async fn send(
        self: &Arc<Self>,
        commands: &Pipeline,
    ) -> Result<(Arc<Connection>, Vec<Value>), Error> {
        let mut used = None;
        let request = async {
            let connection = self.connection(&mut used).await?;
            match connection.request(commands).await {
                Err(error) if error.is_connection_dropped() => {
                    self.discard(&connection);
                    let connection = self.connection(&mut used).await?;
                    let values = connection.request(commands).await;
                    values.map(|values| (connection, values))
                }
                values => values.map(|values| (connection, values)),
            }
            .map_err(|error| self.explain(&error))
        };
        let result = self.within_limit(request).await;
        self.judge(used.as_ref(), result)
    }

    /// Sends commands over this connection only.
    pub(crate) async fn send_over(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        commands: &Pipeline,
    ) -> Result<Vec<Value>, Error> {
        let request = async {
            let values = connection.request(commands).await;
            values.map_err(|error| self.explain(&error))
        };
        let result = self.within_limit(request).await;
        self.judge(Some(connection), result)
    }

    async fn within_limit<T>(
        &self,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if Handle::try_current().is_err() {
            let reason = "this task does not run on a Tokio runtime";
            return Err(Error::unavailable(&self.address, &reason));
        }
        if !sabotage::keeps(Rule::Deadline) {
            return request.await;
        }
        match tokio::time::timeout(self.limits.operation, request).await {
            Ok(result) => result,
            Err(_) => Err(Error::timeout(&self.address, self.limits.operation)),
        }
    }

    /// Drops a connection that failed, and reports each change for the worse or the better, once.
    fn judge<T>(
        &self,
        connection: Option<&Arc<Connection>>,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        match &result {
            Ok(_) => {
                if self.unreachable.swap(false, Ordering::Relaxed) {
                    tracing::info!(address = %self.address, "the cache server answers again");
                }
            }
            Err(error) if error.is_unavailable() => {
                if let Some(connection) = connection {
                    self.discard(connection);
                }
                if !self.unreachable.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "the cache degrades to misses");
                }
            }
            Err(error) => {
                if !self.refusing.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "the cache degrades to misses until this is mended");
                }
            }
        }
        result
    }

    /// The connection there is, or the one that is being made, or a new one.
    async fn connection(
        self: &Arc<Self>,
        used: &mut Option<Arc<Connection>>,
    ) -> Result<Arc<Connection>, Error> {
        let mut attempt = {
            let mut state = self.lock();
            match &*state {
                State::Up(connection) => {
                    *used = Some(connection.clone());
                    return Ok(connection.clone());
                }
                // One that is older than it may be belongs to a runtime that nobody drives.
                State::Connecting { since, attempt } if since.elapsed() <= self.limits.connect => {
                    attempt.clone()
                }
                State::Connecting { .. } | State::Idle => {
                    let (done, attempt) = watch::channel(None);
                    *state = State::Connecting {
                        since: Instant::now(),
                        attempt: attempt.clone(),
                    };
                    // A task of its own: a caller that gives up does not end the attempt of the others.
                    tokio::spawn(self.clone().connect(done));
                    attempt
                }
            }
        };
        let result = match attempt.wait_for(Option::is_some).await {
            Ok(done) => (*done).clone(),
            Err(_) => None,
        };
        let Some(result) = result else {
            // The runtime that ran the attempt was shut down.
            self.end_attempt(&attempt, State::Idle);
            return Err(Error::unavailable(
                &self.address,
                &"the attempt to connect was cut short",
            ));
        };
        if let Ok(connection) = &result {
            *used = Some(connection.clone());
        }
        result
    }

    async fn connect(self: Arc<Self>, done: watch::Sender<Option<Attempt>>) {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.limits.connect))
            // Requests have a deadline of their own.
            .set_response_timeout(None);
        let attempt = async {
            let mut redis = self
                .client
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            let epoch = epoch(&mut redis).await?;
            Ok(Arc::new(Connection { redis, epoch }))
        };
        let attempt = match tokio::time::timeout(self.limits.connect, attempt).await {
            Ok(attempt) => attempt.map_err(|error| self.explain(&error)),
            Err(_) => Err(Error::timeout(&self.address, self.limits.connect)),
        };
        let state = match &attempt {
            Ok(connection) => {
                self.refusing.store(false, Ordering::Relaxed);
                State::Up(connection.clone())
            }
            Err(_) => State::Idle,
        };
        self.end_attempt(&done.subscribe(), state);
        let _ = done.send(Some(attempt));
    }

    /// Leaves another attempt, that has taken this one's place, alone.
    fn end_attempt(&self, ended: &watch::Receiver<Option<Attempt>>, next: State) {
        let mut state = self.lock();
        if matches!(&*state, State::Connecting { attempt, .. } if attempt.same_channel(ended)) {
            *state = next;
        }
    }

    fn discard(&self, connection: &Arc<Connection>) {
        if !sabotage::keeps(Rule::Reconnect) {
            return;
        }
        let mut state = self.lock();
        if matches!(&*state, State::Up(current) if Arc::ptr_eq(current, connection)) {
            *state = State::Idle;
        }
    }

    fn explain(&self, error: &RedisError) -> Error {
        match error.kind() {
            // These pass by themselves.
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ClusterDown,
            ) => Error::unavailable(&self.address, error),
            ErrorKind::AuthenticationFailed | ErrorKind::Server(_) | ErrorKind::Extension => {
                Error::refused(&self.address, error)
            }
            _ => Error::unavailable(&self.address, error),
        }
    }

    /// Nothing panics under this lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    async fn request(&self, commands: &Pipeline) -> Result<Vec<Value>, RedisError> {
        // A clone is a handle to the same connection.
        let values: Vec<Value> = commands.query_async(&mut self.redis.clone()).await?;
        values.into_iter().map(Value::extract_error).collect()
    }
}

/// Commands to be sent together, each error in the place of its reply.
pub(crate) fn commands() -> Pipeline {
    let mut commands = Pipeline::new();
    commands.ignore_errors();
    commands
}

/// Which server this is. Where it may not be asked (`INFO` denied), a restart
/// from an old snapshot cannot be noticed, and only the ttl bounds what it brings back.
async fn epoch(redis: &mut MultiplexedConnection) -> Result<u64, RedisError> {
    if !sabotage::keeps(Rule::Epoch) {
        return Ok(0);
    }
    let info: Result<String, _> = redis::cmd("INFO").arg("server").query_async(redis).await;
    match info {
        Ok(info) => Ok(run_id(&info).map_or(0, fnv1a)),
        Err(error) if matches!(error.code(), Some("NOPERM" | "ERR")) => {
            tracing::warn!(%error, "the cache server does not tell its `run_id`");
            Ok(0)
        }
        // It may be told later.
        Err(error) => Err(error),
    }
}

fn run_id(info: &str) -> Option<&str> {
    info.lines()
        .find_map(|line| line.trim_end().strip_prefix("run_id:"))
}

/// A hash that is the same in every process: FNV-1a. A `run_id` is random already.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// Without the credentials.
impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector")
            .field("address", &self.address)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
