//! The connections to one server, and which of them a request takes.
//!
//! Connections are made lazily, one attempt at a time, however many callers wait for it. A
//! connection that failed or was too slow is dropped, and the next request makes a new one. Where
//! that fails, or several requests in a row do, the [breaker](super::breaker) opens, and the
//! [keeper task](super::keeper) tries to connect.
//!
//! Each runtime has a connection of its own. A task of the runtime drives the connection, and that
//! task stands still while the runtime does not run: a current-thread runtime runs only inside of
//! `block_on`. Connections of runtimes that were shut down are dropped when another is made.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::{self, Handle};
use tokio::sync::watch;

use super::batch::{Source, Values};
use super::breaker::{Advice, Breaker, Change, Failing, Limits};
use super::journal::Journal;
use crate::clock;
use crate::driver::{Answers, Connection, Driver, Elsewhere, Failure, Operation, ReadKeys, Reply};
use crate::error::Error;
use crate::health::Status;
use crate::inspection::{BreakerState, ServerState};
use crate::observe::{Event, Observer};
use crate::sabotage::{self, Rule};

/// A request of at most so many operations is small: if it is not answered in time, the server is
/// at fault, and not the size of the request.
const SMALL: usize = 32;

/// One server: the only one of a cache, or a primary of a cluster.
pub(super) struct Node<O> {
    driver: Driver,
    limits: Limits,
    /// What it belongs to: it makes new connections ready, and mends what is wrong.
    owner: Weak<O>,
    /// What waits for an invalidation, in all of what this belongs to.
    journal: Arc<Journal>,
    observer: Observer,
    link: Mutex<Link>,
    /// Whether the breaker counts failures that the next answer forgives.
    has_strikes: AtomicBool,
}

/// What a server belongs to.
pub(super) trait Owner: Send + Sync + 'static {
    /// Takes in a message that was heard over a connection.
    fn hear(self: &Arc<Self>, message: &[u8]);

    /// Makes a new connection ready to be used, and finds out whether the server accepts requests, if it
    /// has refused some before.
    fn prepare(
        self: &Arc<Self>,
        connection: &Connection,
        is_refused: bool,
    ) -> impl Future<Output = Result<Prepared, Error>> + Send;

    /// A connection is in use from now on.
    fn connected(self: &Arc<Self>);

    /// Starts the task that mends, unless it runs.
    fn ensure_keeper(self: &Arc<Self>);
}

/// What a new connection has shown.
pub(super) enum Prepared {
    Accepted,
    Refused(Error),
    /// It could not be found out in time.
    Unknown,
}

/// What there is to do for a server.
pub(super) enum Sick {
    /// Nothing now: it is well, or an attempt to connect is under way.
    No,
    /// There is no connection that shows whether the server is there.
    Away,
    /// The server answers, and may refuse something.
    Up(Arc<Connection>),
}

/// What one lock protects.
struct Link {
    breaker: Breaker<runtime::Id, Arc<Connection>, Attempt>,
    /// The server that the connections lead to: they all lead to one.
    server: Option<Server>,
}

/// A server that was reached.
#[derive(Debug, Clone, Copy)]
struct Server {
    epoch: u64,
    /// When it was found to be the one that the address leads to.
    found: Instant,
}

/// An attempt to connect, whose result its task sends.
type Attempt = watch::Receiver<Option<Connected>>;

type Connected = Result<Arc<Connection>, Error>;

/// What can be sent over a connection.
pub(super) trait Request: Sync {
    type Output: Send;

    /// How many operations it has.
    fn len(&self) -> usize;

    /// Whether it may be sent once more, over another connection, if the first breaks meanwhile: the first
    /// may have carried it out.
    fn may_be_repeated(&self) -> bool {
        true
    }

    /// A failure of the server that an answer tells.
    fn failure(_output: &Self::Output) -> Option<&Error> {
        None
    }

    fn send(
        &self,
        connection: &Connection,
    ) -> impl Future<Output = Result<Self::Output, Failure>> + Send;
}

impl Request for ReadKeys {
    type Output = Answers;

    fn len(&self) -> usize {
        1
    }

    async fn send(&self, connection: &Connection) -> Result<Self::Output, Failure> {
        connection.read(self).await
    }
}

impl Request for [Operation] {
    type Output = Vec<Reply>;

    fn len(&self) -> usize {
        self.len()
    }

    fn may_be_repeated(&self) -> bool {
        self.iter().all(Operation::may_be_repeated)
    }

    fn failure(replies: &Self::Output) -> Option<&Error> {
        replies.iter().find_map(Reply::failure)
    }

    async fn send(&self, connection: &Connection) -> Result<Self::Output, Failure> {
        connection.run(self).await
    }
}

/// Operations on keys that are on their way to the node.
pub(super) struct Asking<'a>(pub(super) &'a [Operation]);

impl Request for Asking<'_> {
    type Output = Vec<Reply>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn may_be_repeated(&self) -> bool {
        self.0.may_be_repeated()
    }

    fn failure(replies: &Self::Output) -> Option<&Error> {
        <[Operation]>::failure(replies)
    }

    async fn send(&self, connection: &Connection) -> Result<Self::Output, Failure> {
        connection.run_asking(self.0).await
    }
}

impl Link {
    /// Keeps the connections of all runtimes to one server. If one of them still led to the old
    /// server after a failover, a read there would not see what was invalidated on the new one. So
    /// connections to another server than this one are dropped. False if that server was found
    /// after the attempt of this connection had begun: then this connection is the old one.
    fn leads_to_the_server_of(&mut self, connection: &Connection, begun: Instant) -> bool {
        let epoch = connection.epoch();
        match self.server {
            Some(server) if server.epoch == epoch => {}
            Some(server) if begun < server.found => return false,
            _ => {
                self.breaker.discard(|other| other.epoch() != epoch);
                let found = Instant::now();
                self.server = Some(Server { epoch, found });
            }
        }
        true
    }
}

impl<O: Owner> Node<O> {
    pub(super) fn new(
        driver: Driver,
        limits: Limits,
        owner: Weak<O>,
        journal: Arc<Journal>,
        observer: Observer,
    ) -> Self {
        Self {
            driver,
            limits,
            owner,
            journal,
            observer,
            link: Mutex::new(Link {
                breaker: Breaker::new(limits),
                server: None,
            }),
            has_strikes: AtomicBool::new(false),
        }
    }

    /// Sends a request over this runtime's connection, at most until then, and returns which
    /// connection it was.
    ///
    /// It may be sent twice: a connection that turns out to have been closed while it was idle is
    /// replaced once.
    pub(super) async fn send<R: Request + ?Sized>(
        self: &Arc<Self>,
        request: &R,
        until: Instant,
    ) -> Result<(Arc<Connection>, R::Output), Error> {
        let runtime = self.runtime()?;
        let begun = Instant::now();
        let mut used = None;
        let result = {
            // Pinned here: a function that takes a future by value has room for it twice.
            let sending = pin!(self.try_send(runtime, request, &mut used));
            self.within(until, sending).await
        };
        self.judge_answer::<R, _>(begun, used.as_ref(), request, result, |(_, output)| output)
    }

    /// Sends over a runtime's current connection, and notes in `used` which one that was.
    async fn try_send<R: Request + ?Sized>(
        self: &Arc<Self>,
        runtime: runtime::Id,
        request: &R,
        used: &mut Option<Arc<Connection>>,
    ) -> Result<(Arc<Connection>, R::Output), Error> {
        let mut was_replaced = false;
        loop {
            let connection = used.insert(self.connection(runtime).await?);
            let is_repeated = request.may_be_repeated();
            if !is_repeated && connection.is_closed() && !was_replaced {
                self.discard(connection);
                was_replaced = true;
                continue;
            }
            match request.send(connection).await {
                Ok(answer) => return Ok((connection.clone(), answer)),
                Err(failure) if failure.was_disconnected && is_repeated && !was_replaced => {
                    self.discard(connection);
                    was_replaced = true;
                }
                Err(failure) => return Err(failure.error),
            }
        }
    }

    /// Sends a request to the server of an earlier answer.
    pub(super) async fn send_to<R: Request + ?Sized>(
        self: &Arc<Self>,
        answered: &Arc<Connection>,
        request: &R,
        until: Instant,
    ) -> Result<R::Output, Error> {
        let connection = &self.connection_to(answered)?;
        let begun = Instant::now();
        let sending = pin!(async {
            let answer = request.send(connection).await;
            answer.map_err(|failure| failure.error)
        });
        let result = self.within(until, sending).await;
        self.judge_answer::<R, _>(begun, Some(connection), request, result, |output| output)
    }

    /// As [`judge`](Self::judge); an answer that tells of a failure of the server counts as that.
    fn judge_answer<R: Request + ?Sized, T>(
        self: &Arc<Self>,
        begun: Instant,
        connection: Option<&Arc<Connection>>,
        request: &R,
        result: Result<T, Error>,
        output: impl FnOnce(&T) -> &R::Output,
    ) -> Result<T, Error> {
        let answered = result.as_ref().ok().map(output);
        match answered.and_then(R::failure).cloned() {
            Some(failure) => {
                let _ = self.judge::<()>(begun, connection, request.len(), Err(failure));
                result
            }
            None => self.judge(begun, connection, request.len(), result),
        }
    }

    /// The connection of an earlier answer. If that is another runtime's, which may not run now, it
    /// is this runtime's connection to the same server, if there is one.
    fn connection_to(&self, answered: &Arc<Connection>) -> Result<Arc<Connection>, Error> {
        let runtime = self.runtime()?;
        // An epoch of 0 says nothing: see `Connection::epoch`.
        if answered.home().runtime() == runtime || answered.epoch() == 0 {
            return Ok(answered.clone());
        }
        let own = self.lock().breaker.connection(runtime);
        let own = own.filter(|own| own.epoch() == answered.epoch());
        Ok(own.unwrap_or_else(|| answered.clone()))
    }

    /// Awaits an answer, at most until `until`. To be called in a runtime.
    async fn within<T>(
        &self,
        until: Instant,
        sending: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if !sabotage::keeps(Rule::Deadline) {
            return sending.await;
        }
        let in_time = clock::within_until(until, sending).await;
        in_time.unwrap_or_else(|| Err(Error::timeout(self.address(), self.limits.operation)))
    }

    /// The runtime that this task runs on.
    pub(super) fn runtime(&self) -> Result<runtime::Id, Error> {
        match Handle::try_current() {
            Ok(runtime) => Ok(runtime.id()),
            Err(_) => Err(Error::unavailable(self.address(), &Error::NO_RUNTIME)),
        }
    }

    /// Changes the breaker's state according to how a request of so many operations ended.
    pub(super) fn judge<T>(
        self: &Arc<Self>,
        begun: Instant,
        connection: Option<&Arc<Connection>>,
        operations: usize,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        match &result {
            Ok(_) => {
                if let Some(connection) = connection {
                    connection.note_answer(begun);
                }
                if self.has_strikes.load(Ordering::Relaxed) {
                    self.forgive();
                }
            }
            // A deadline that was near when the request was sent says nothing about the server.
            Err(error) if error.is_timeout() && begun.elapsed() < self.limits.operation / 2 => {}
            // A smaller request may do, and shows whether the server answers.
            Err(error) if error.is_timeout() && operations > SMALL => {}
            // The node is well: it leaves a key to another one, or refuses one command of a program.
            Err(error) if error.is_elsewhere() || error.is_of_command() => {}
            Err(error) if error.is_unavailable() => {
                if let Some(connection) = connection {
                    self.discard(connection);
                    self.strike(connection.home().runtime(), begun, error);
                }
            }
            Err(error) if error.is_refused() => self.note_refusal(connection, error),
            Err(_) => {}
        }
        result
    }

    fn strike(self: &Arc<Self>, runtime: runtime::Id, begun: Instant, error: &Error) {
        let has_opened = self.change(|link| {
            // Under the lock, as in `forgive`: else an answer at the same time could leave a
            // strike behind that no later answer forgives.
            self.has_strikes.store(true, Ordering::Relaxed);
            link.breaker.strike(runtime, begun, Instant::now(), error)
        });
        if has_opened {
            self.ensure_keeper();
        }
    }

    fn forgive(&self) {
        self.change(|link| {
            link.breaker.answered();
            self.has_strikes.store(false, Ordering::Relaxed);
        });
    }

    fn note_refusal(self: &Arc<Self>, connection: Option<&Arc<Connection>>, error: &Error) {
        self.refused(error);
        // The server has become a replica: the primary may now be where the address leads.
        if error.is_read_only()
            && let Some(connection) = connection
        {
            self.discard(connection);
        }
    }

    fn refused(self: &Arc<Self>, error: &Error) {
        self.change(|link| link.breaker.refused(error, Instant::now()));
        self.ensure_keeper();
    }

    /// The server carries out what it is asked.
    pub(super) fn accepted(&self) {
        self.change(|link| link.breaker.accepted());
    }

    /// The keeper takes no lock of a node while it holds this one's.
    fn ensure_keeper(&self) {
        if let Some(owner) = self.owner.upgrade() {
            owner.ensure_keeper();
        }
    }

    /// The connection that this runtime has, or the one that it is making, or a new one.
    async fn connection(self: &Arc<Self>, runtime: runtime::Id) -> Connected {
        // The keeper may have ended with the runtime that it was spawned on.
        if !self.journal.is_empty() {
            self.ensure_keeper();
        }
        let attempt = {
            let mut link = self.lock();
            match link.breaker.advise(runtime, Instant::now()) {
                Advice::Use(connection) => return Ok(connection),
                Advice::Wait(attempt) => attempt,
                Advice::Connect => self.begin_attempt(runtime, &mut link),
                Advice::Fail(Failing::Open(error)) => {
                    drop(link);
                    self.ensure_keeper();
                    return Err(error);
                }
                Advice::Fail(Failing::TooLate) => {
                    return Err(Error::timeout(self.address(), self.limits.operation));
                }
            }
        };
        // Boxed, since it is rare, and every call has room for what it awaits.
        Box::pin(self.arrival(attempt)).await
    }

    fn begin_attempt(self: &Arc<Self>, runtime: runtime::Id, link: &mut Link) -> Attempt {
        // A program may have made thousands of runtimes, one after the other.
        link.breaker
            .discard(|connection| connection.home().is_gone());
        link.breaker.forget_attempt(|attempt| !is_alive(attempt));
        let (done, attempt) = watch::channel(None);
        let now = Instant::now();
        link.breaker.begin_attempt(runtime, attempt.clone(), now);
        // A task of its own: a caller that is dropped does not end the attempt of the others.
        let node = self.clone();
        tokio::spawn(async move {
            let result = node.connect_with(runtime, Some(&done.subscribe())).await;
            let _ = done.send(Some(result));
        });
        attempt
    }

    async fn arrival(&self, mut attempt: Attempt) -> Connected {
        let result = match attempt.wait_for(Option::is_some).await {
            Ok(done) => (*done).clone(),
            Err(_) => None,
        };
        result.unwrap_or_else(|| {
            // The runtime that ran the attempt was shut down.
            self.change(|link| {
                let is_it = |current: &Attempt| current.same_channel(&attempt);
                link.breaker.forget_attempt(is_it);
            });
            Err(self.shut_down())
        })
    }

    fn shut_down(&self) -> Error {
        let reason = "the runtime on which it was asked was shut down";
        Error::unavailable(self.address(), &reason)
    }

    /// One attempt to connect, which no request waits for.
    pub(super) async fn connect(self: &Arc<Self>) -> Connected {
        let runtime = self.runtime()?;
        self.connect_with(runtime, None).await
    }

    async fn connect_with(
        self: &Arc<Self>,
        runtime: runtime::Id,
        attempt: Option<&Attempt>,
    ) -> Connected {
        let begun = Instant::now();
        let result = self.make_connection().await;
        self.take_result(runtime, begun, result, attempt)
    }

    /// Makes a connection that may be used: its owner has made it ready.
    async fn make_connection(self: &Arc<Self>) -> Connected {
        let dropped = || Error::unavailable(self.address(), &"the cache was dropped");
        let heard = {
            let owner = self.owner.clone();
            move |message: &[u8]| {
                if let Some(owner) = owner.upgrade() {
                    owner.hear(message);
                }
            }
        };
        let connection = self.driver.connect(self.limits.connect, heard).await?;
        let owner = self.owner.upgrade().ok_or_else(dropped)?;
        let is_refused = self.lock().breaker.is_refused();
        match owner.prepare(&connection, is_refused).await? {
            Prepared::Accepted => self.accepted(),
            Prepared::Refused(error) => self.refused(&error),
            Prepared::Unknown => {}
        }
        Ok(Arc::new(connection))
    }

    /// Takes the result of an attempt to connect, and returns what its callers get. The failure of
    /// an attempt that was replaced is ignored. Requests do not wait for the attempt of a keeper or
    /// a ping: there `attempt` is `None`.
    fn take_result(
        self: &Arc<Self>,
        runtime: runtime::Id,
        begun: Instant,
        result: Connected,
        attempt: Option<&Attempt>,
    ) -> Connected {
        let is_it = |current: &Attempt| attempt.is_some_and(|it| current.same_channel(it));
        let connection = match result {
            Ok(connection) => connection,
            Err(error) => {
                let has_opened = self.change(|link| {
                    let is_current = attempt.is_none() || link.breaker.is_attempting(is_it);
                    is_current && link.breaker.open(runtime, error.clone())
                });
                if has_opened {
                    self.ensure_keeper();
                }
                return Err(error);
            }
        };
        let is_used = self.change(|link| {
            let is_used = link.leads_to_the_server_of(&connection, begun);
            if is_used {
                link.breaker.connected(runtime, connection.clone());
            } else {
                link.breaker.forget_attempt(is_it);
            }
            is_used
        });
        if !is_used {
            let reason = "while it was connected to, its address led to another server";
            return Err(Error::unavailable(self.address(), &reason));
        }
        if let Some(owner) = self.owner.upgrade() {
            owner.connected();
        }
        Ok(connection)
    }

    fn discard(&self, connection: &Arc<Connection>) {
        if sabotage::keeps(Rule::Reconnect) {
            let is_it = |current: &Arc<Connection>| Arc::ptr_eq(current, connection);
            self.change(|link| link.breaker.discard(is_it));
        }
    }

    /// The connection that this runtime has, if it has one.
    pub(super) fn current(&self, runtime: runtime::Id) -> Option<Arc<Connection>> {
        self.lock().breaker.connection(runtime)
    }

    /// What there is to do here, now, for the task that mends.
    pub(super) fn sick(&self, runtime: runtime::Id, is_needed: bool) -> Sick {
        let link = self.lock();
        let attempt = link.breaker.attempt(runtime, Instant::now());
        if attempt.is_some_and(is_alive) || link.breaker.is_idle() && !is_needed {
            return Sick::No;
        }
        // While the breaker is open, only a new connection shows that the server is back.
        let connection = link.breaker.connection(runtime);
        match connection.filter(|_| !link.breaker.is_open()) {
            Some(connection) => Sick::Up(connection),
            None => Sick::Away,
        }
    }

    /// Whether nothing is left to mend.
    pub(super) fn is_well(&self) -> bool {
        self.lock().breaker.is_well()
    }

    /// Whether it refuses something, and can be reached.
    pub(super) fn only_refuses(&self) -> bool {
        let link = self.lock();
        !link.breaker.is_away() && link.breaker.is_refused()
    }

    pub(super) fn status(&self) -> Status {
        self.lock().breaker.status()
    }

    /// What the last requests found it to be.
    pub(super) fn state(&self) -> ServerState {
        let (breaker, status) = {
            let link = self.lock();
            let breaker = if link.breaker.is_open() {
                BreakerState::Open
            } else if link.breaker.is_idle() {
                BreakerState::Idle
            } else {
                BreakerState::Closed
            };
            (breaker, link.breaker.status())
        };
        ServerState {
            address: self.address().to_owned(),
            driver: self.driver.name(),
            breaker,
            status,
        }
    }

    /// Connects, for other things than the requests of calls: nothing of the node changes.
    pub(super) async fn connect_apart(&self, limit: Duration) -> Result<Connection, Error> {
        self.driver.connect(limit, |_: &[u8]| {}).await
    }

    /// Whether it asks for no password, though it is on another machine.
    pub(super) fn is_open(&self) -> bool {
        self.driver.is_open()
    }

    /// Whether others may read what is sent to it.
    pub(super) fn is_exposed(&self) -> bool {
        self.driver.is_exposed()
    }

    pub(super) fn address(&self) -> &str {
        self.driver.address()
    }

    /// Changes the link, and reports what has changed once the lock is released: a listener may
    /// call the cache.
    fn change<T>(&self, change: impl FnOnce(&mut Link) -> T) -> T {
        let mut link = self.lock();
        let result = change(&mut link);
        let changes = link.breaker.take_changes();
        drop(link);
        let address = self.address();
        for change in &changes {
            let event = match change {
                Change::Opened(error) => Event::ServerAway { error },
                Change::Closed => Event::ServerBack { address },
                Change::Refused { error, log: true } => Event::ServerRefuses { error },
                Change::Refused { error, log: false } => {
                    let event = Event::ServerRefuses { error };
                    self.observer.observe_unlogged(None, event);
                    continue;
                }
                Change::Accepted => Event::ServerAccepts { address },
            };
            self.observer.observe(None, event);
        }
        result
    }

    /// Nothing panics under this lock.
    fn lock(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O: Owner> Source for Node<O> {
    type Connection = Connection;

    async fn read(self: &Arc<Self>, keys: &ReadKeys, until: Instant) -> Values<Connection> {
        self.send(keys, until).await
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.limits.operation.min(clock::FOREVER)
    }

    fn limit(&self) -> Duration {
        self.limits.operation
    }

    async fn within<T: Send>(
        &self,
        until: Instant,
        future: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        self.within(until, future).await
    }

    fn elsewhere(&self, elsewhere: &Elsewhere) -> Error {
        elsewhere.error(self.address())
    }

    fn runtime_shut_down(&self) -> Error {
        self.shut_down()
    }
}

/// Whether the task of an attempt runs: not one whose runtime was shut down.
fn is_alive(attempt: &Attempt) -> bool {
    attempt.has_changed().is_ok()
}

impl<O> fmt::Debug for Node<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("driver", &self.driver)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
