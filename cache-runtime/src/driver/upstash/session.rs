//! One session of a process with a database, in which each read shows what was written before.
//!
//! A read may be answered by any replica. The answer to a write carries a token, which names the state
//! of the database after it. A read that carries that token shows that state or a later one. Tokens
//! cannot be compared: of two writes that were under way at once, no answer says which token is the
//! later one. So one request that writes is under way at a time. It carries the newest token, and its
//! answer's is the newest from then on. What is to be written meanwhile leaves together in the next.
//! A read carries the newest token, and its answer's is ignored, which may be that of an older state.
//!
//! For all of a process's runtimes to be one session, a thread of its own drives it. On a runtime of the
//! program, a write could stand still with that runtime, and all others behind it. The thread ends
//! with the driver and its connections.
//!
//! A write that is not answered in time is given up, so that those behind it go on. It may be carried
//! out later, as any request whose answer is lost: each script says what that costs.

use std::collections::VecDeque;
use std::mem;
use std::pin::pin;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::address::Address;
use super::command::{Answer, Commands, reply};
use super::explain::unexpected;
use super::http::{Failed, Response, Socket};
use super::pool::{Pool, not_in_time};
use crate::clock::{self, FOREVER};
use crate::driver::Operation;
use crate::driver::redis::stream::Stage;
use crate::error::Error;
use crate::sabotage::{self, Rule};

/// Writes that leave together have at most so many commands, and so many bytes. What is larger leaves
/// alone: if the server does not take it, no other write fails with it.
const MOST_COMMANDS: usize = 1000;
const MOST_BYTES: usize = 256 << 10;

/// The session of a driver.
pub(super) struct Session {
    address: Arc<Address>,
    /// How long a request may take.
    limit: Duration,
    newest: Arc<Newest>,
    running: Mutex<Option<Arc<Running>>>,
    has_said: AtomicBool,
}

/// The newest token, if an answer had one.
type Newest = Mutex<Option<HeaderValue>>;

/// The thread of a session, in this process.
pub(super) struct Running {
    process: u32,
    runtime: Handle,
    writes: mpsc::UnboundedSender<Write>,
    requests: Arc<Requests>,
}

/// Commands of one caller, some of which write.
struct Write {
    commands: Commands,
    answered: oneshot::Sender<Result<Vec<Answer>, Error>>,
}

/// What is sent, and received.
struct Requests {
    pool: Arc<Pool>,
    limit: Duration,
    newest: Arc<Newest>,
}

impl Session {
    pub(super) fn new(address: Address) -> Self {
        Self {
            address: Arc::new(address),
            limit: FOREVER,
            newest: Arc::default(),
            running: Mutex::default(),
            has_said: AtomicBool::new(false),
        }
    }

    pub(super) fn set_limit(&mut self, limit: Duration) {
        self.limit = limit.min(FOREVER);
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// The thread of this session, where a connection may take `connect_limit` to be made.
    pub(super) fn running(&self, connect_limit: Duration) -> Result<Arc<Running>, Error> {
        let mut current = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = current.take_if(|running| running.process != process::id()) {
            // This process was forked, and has none of its parent's threads. What it closed would be
            // closed in its parent too.
            mem::forget(running);
        }
        if let Some(running) = &*current
            && !running.writes.is_closed()
        {
            return Ok(running.clone());
        }
        let requests = Requests {
            pool: Arc::new(Pool::new(self.address.clone(), connect_limit)),
            limit: self.limit,
            newest: self.newest.clone(),
        };
        let running = Running::start(requests).map_err(|error| {
            let reason = format!("its session has no thread: {error}");
            Error::unavailable(self.address.shown(), &reason)
        })?;
        Ok(current.insert(running.into()).clone())
    }

    /// Says once what is not promised.
    pub(super) fn say_what_holds(&self) {
        if !self.has_said.swap(true, Ordering::Relaxed) {
            let server: &str = self.address.shown();
            tracing::warn!(
                server,
                "the cache server is reached over HTTP, and any of its replicas answers: what other \
                 processes invalidate may be served here for a moment longer, at most until its ttl ends"
            );
        }
    }
}

/// A runtime that may be dropped anywhere.
struct Owned(Option<Runtime>);

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Running {
    fn start(requests: Requests) -> std::io::Result<Self> {
        // Without Tokio's timers: limits are kept by our own.
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let handle = runtime.handle().clone();
        let owned = Owned(Some(runtime));
        let requests = Arc::new(requests);
        let (writes, queue) = mpsc::unbounded_channel();
        let writing = write_in_order(requests.clone(), queue);
        let named = thread::Builder::new().name("cache-upstash".to_owned());
        named.spawn(move || {
            if let Some(runtime) = &owned.0 {
                runtime.block_on(writing);
            }
        })?;
        Ok(Self {
            process: process::id(),
            runtime: handle,
            writes,
            requests,
        })
    }

    pub(super) fn address(&self) -> &Address {
        self.requests.pool.address()
    }

    /// Opens a new connection, and checks the token. Idle connections are closed: they may lead nowhere.
    pub(super) async fn greet(&self, limit: Duration) -> Result<(), Error> {
        let requests = self.requests.clone();
        self.spawn(async move { requests.greet(limit).await }).await
    }

    /// Runs commands in order. The answers are as many as the commands.
    pub(super) async fn run(&self, commands: Commands) -> Result<Vec<Answer>, Error> {
        if !commands.writes {
            let requests = self.requests.clone();
            return self
                .spawn(async move { requests.send(&[&commands], false).await })
                .await;
        }
        let (answered, answer) = oneshot::channel();
        let write = Write { commands, answered };
        if self.writes.send(write).is_err() {
            return Err(self.ended());
        }
        answer.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// Runs a future on the thread, for as long as the caller waits.
    async fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let mut task = AbortOnDrop(self.runtime.spawn(future));
        (&mut task.0).await.unwrap_or_else(|_| Err(self.ended()))
    }

    fn ended(&self) -> Error {
        let reason = "the thread of its session has ended";
        Error::unavailable(self.address().shown(), &reason)
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends what is to be written, one request after the other. It ends when all that could ask for more
/// have been dropped.
async fn write_in_order(requests: Arc<Requests>, mut queue: mpsc::UnboundedReceiver<Write>) {
    let mut waiting = VecDeque::new();
    loop {
        if waiting.is_empty() {
            match queue.recv().await {
                Some(write) => waiting.push_back(write),
                None => return,
            }
        }
        while let Ok(write) = queue.try_recv() {
            waiting.push_back(write);
        }
        let batch = next_batch(&mut waiting);
        if batch.is_empty() {
            continue;
        }
        let commands: Vec<&Commands> = batch.iter().map(|write| &write.commands).collect();
        match requests.send(&commands, true).await {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                for Write { commands, answered } in batch {
                    let own = answers.by_ref().take(commands.count).collect();
                    let _ = answered.send(Ok(own));
                }
            }
            Err(error) => {
                for write in batch {
                    let _ = write.answered.send(Err(error.clone()));
                }
            }
        }
    }
}

/// The writes that leave together. Those whose caller has gone do not leave any more.
fn next_batch(waiting: &mut VecDeque<Write>) -> Vec<Write> {
    let mut batch = Vec::new();
    let (mut count, mut bytes) = (0, 0);
    while let Some(write) = waiting.pop_front() {
        if write.answered.is_closed() {
            continue;
        }
        count += write.commands.count;
        bytes += write.commands.json.len();
        if !batch.is_empty() && (count > MOST_COMMANDS || bytes > MOST_BYTES) {
            waiting.push_front(write);
            break;
        }
        batch.push(write);
    }
    batch
}

impl Requests {
    async fn greet(&self, limit: Duration) -> Result<(), Error> {
        self.pool.clear();
        let (address, stage) = (self.pool.address(), Stage::default());
        let greeting = async {
            let mut socket = Socket::open(address, &stage).await?;
            let ping = Commands::ping();
            let body = Commands::body([&ping].into_iter());
            let response = socket.post(address, body, None).await;
            let response = response.map_err(Failed::error)?;
            for answer in answers(address, &response, ping.count)? {
                reply(address.shown(), &Operation::Ping, answer)?;
            }
            self.pool.put(socket);
            Ok(())
        };
        let greeted = clock::within(limit, pin!(greeting)).await;
        greeted.unwrap_or_else(|| Err(not_in_time(address, &stage, limit)))
    }

    /// Sends commands as one request, and takes over the token of its answer if one of them writes.
    async fn send(&self, commands: &[&Commands], writes: bool) -> Result<Vec<Answer>, Error> {
        let body = Commands::body(commands.iter().copied());
        let count = commands.iter().map(|commands| commands.count).sum();
        let address = self.pool.address();
        let carries = sabotage::keeps(Rule::SyncToken);
        let newest = self.newest().clone().filter(|_| carries);
        let may_repeat = commands.iter().all(|commands| commands.may_repeat);
        let posted = pin!(self.post(body, newest, may_repeat));
        let response = clock::within(self.limit, posted).await;
        let response = response.unwrap_or_else(|| Err(Error::timeout(address.shown(), self.limit)));
        let mut response = response?;
        // Also that of a refusal: some of the commands may have been carried out.
        if writes && let Some(newer) = response.sync_token.take() {
            *self.newest() = Some(newer);
        }
        answers(address, &response, count)
    }

    /// Sends a request. If it may repeat, it may be sent twice: a server closes connections that were idle for
    /// long.
    async fn post(
        &self,
        body: Bytes,
        sync_token: Option<HeaderValue>,
        may_repeat: bool,
    ) -> Result<Response, Error> {
        let address = self.pool.address();
        loop {
            let mut socket = self.pool.take().await?;
            let was_used = socket.was_used();
            match socket.post(address, body.clone(), sync_token.clone()).await {
                Ok(response) => {
                    self.pool.put(socket);
                    return Ok(response);
                }
                Err(Failed::Closed(_)) if was_used && may_repeat => self.pool.clear(),
                Err(failed) => return Err(failed.error()),
            }
        }
    }

    fn newest(&self) -> std::sync::MutexGuard<'_, Option<HeaderValue>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answers(address: &Address, response: &Response, count: usize) -> Result<Vec<Answer>, Error> {
    if response.status == StatusCode::OK
        && let Ok(answers) = serde_json::from_slice::<Vec<Answer>>(&response.body)
        && answers.len() == count
    {
        return Ok(answers);
    }
    Err(unexpected(address, response))
}
