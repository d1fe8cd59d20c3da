//! Which connection requests take, and what follows from how they end.
//!
//! Connections are made lazily, one attempt at a time, however many callers wait for it. A
//! connection that failed or was too slow is dropped, and the next request makes a new one. Where
//! that fails, or several requests in a row do, the [breaker](super::breaker) opens, and the
//! [keeper task](super::keeper) tries to connect.
//!
//! Each runtime has a connection of its own. A task of the runtime drives the connection, and that
//! task stands still while the runtime does not run: a current-thread runtime runs only inside of
//! `block_on`. Connections of runtimes that were shut down are dropped when another is made.
//!
//! A new connection is used only once the journal was replayed over it. Where the server answers and
//! refuses, requests go on: the keeper checks whether it still refuses, and what the journal holds
//! meanwhile is announced.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::{self, Handle};
use tokio::sync::watch;

use super::announcement::Message;
use super::batch::{Source, Values};
use super::breaker::{Advice, Breaker, Change, Failing, Limits};
use super::journal::{Journal, Sender, UnderWay};
use super::keeper::{Keepers, Mend};
use super::keyspace::{Keyspace, Pages, Scan};
use super::window::Window;
use crate::backlog::Buckets;
use crate::clock;
use crate::driver::{Connection, Driver, Failure, Operation, ReadKeys, Reply};
use crate::error::Error;
use crate::health::Status;
use crate::key::Key;
use crate::observe::{Event, Observer};
use crate::sabotage::{self, Rule};

/// The keeper's longest pause while the server is away.
const PAUSE_AWAY: Duration = Duration::from_millis(120);

/// The keeper's longest pause while the server refuses something: that seldom ends within a moment.
const PAUSE_REFUSED: Duration = Duration::from_secs(1);

/// The most names that are invalidated together.
const MOST_NAMES: usize = 500;

/// A request of at most so many operations is small: if it is not answered in time, the server is
/// at fault, and not the size of the request.
const SMALL: usize = 32;

pub(crate) struct Connector {
    driver: Driver,
    limits: Limits,
    /// How many names are invalidated together.
    names: Window,
    /// How many keys are listed together.
    keys: Window,
    pub(super) journal: Journal,
    keyspace: Keyspace,
    observer: Observer,
    link: Mutex<Link>,
    /// Whether the breaker counts failures that the next answer forgives.
    has_strikes: AtomicBool,
}

/// What one lock protects: a change of the breaker's state, and the keeper that it calls for.
struct Link {
    breaker: Breaker<runtime::Id, Arc<Connection>, Attempt>,
    /// The server that the connections lead to: they all lead to one.
    server: Option<Server>,
    keepers: Keepers,
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

/// Which server answered: the connection that the answer came over. What belongs to that answer
/// is sent to the same server.
#[derive(Debug, Clone)]
pub(crate) struct Witness(Arc<Connection>);

impl Witness {
    pub(super) fn of(connection: Arc<Connection>) -> Self {
        Self(connection)
    }

    /// The epoch of the server that answered.
    pub(super) fn epoch(&self) -> u64 {
        self.0.epoch()
    }
}

/// What can be sent over a connection.
trait Request: Sync {
    type Output: Send;

    /// How many operations it has.
    fn len(&self) -> usize;

    fn send(
        &self,
        connection: &Connection,
    ) -> impl Future<Output = Result<Self::Output, Failure>> + Send;
}

impl Request for ReadKeys {
    type Output = Vec<Option<Bytes>>;

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

    async fn send(&self, connection: &Connection) -> Result<Self::Output, Failure> {
        connection.run(self).await
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

impl Connector {
    pub(super) fn new(
        driver: Driver,
        limits: Limits,
        keyspace: Keyspace,
        backlog_room: usize,
        observer: Observer,
    ) -> Self {
        Self {
            driver,
            limits,
            names: Window::new(32, 1, MOST_NAMES),
            keys: Window::new(1000, 10, 1000),
            journal: Journal::new(backlog_room, observer.clone()),
            keyspace,
            observer,
            link: Mutex::new(Link {
                breaker: Breaker::new(limits),
                server: None,
                keepers: Keepers::default(),
            }),
            has_strikes: AtomicBool::new(false),
        }
    }

    /// Runs operations over this runtime's connection, and returns which one it was.
    ///
    /// The operations may be sent twice: a connection that turns out to have been closed while it
    /// was idle is replaced once.
    pub(super) async fn run(
        self: &Arc<Self>,
        operations: &[Operation],
    ) -> Result<(Witness, Vec<Reply>), Error> {
        let (connection, replies) = self.send(operations, self.deadline()).await?;
        Ok((Witness(connection), replies))
    }

    /// Runs operations on the server of an earlier answer.
    pub(super) async fn run_over(
        self: &Arc<Self>,
        witness: &Witness,
        operations: &[Operation],
    ) -> Result<Vec<Reply>, Error> {
        self.run_over_until(witness, operations, self.deadline())
            .await
    }

    /// The same, at most until then.
    pub(super) async fn run_over_until(
        self: &Arc<Self>,
        witness: &Witness,
        operations: &[Operation],
        until: Instant,
    ) -> Result<Vec<Reply>, Error> {
        self.send_to(witness, operations, until).await
    }

    /// The deadline of a request by a call that has waited for others since then.
    pub(super) fn deadline_from(&self, since: Option<Instant>) -> Instant {
        let since = since.filter(|_| sabotage::keeps(Rule::WaitsAddUp));
        since.unwrap_or_else(Instant::now) + self.limits.operation.min(clock::FOREVER)
    }

    /// The deadline of a look by a call that has waited for others since then. It always has time for
    /// an answer: the call may have waited for another caller's load, and not for the server.
    pub(super) fn look_deadline(&self, since: Instant) -> Instant {
        let least = self.limits.operation.min(clock::FOREVER) / 4;
        self.deadline_from(Some(since)).max(Instant::now() + least)
    }

    /// Reads keys from the server of an earlier answer.
    pub(super) async fn read_over(
        self: &Arc<Self>,
        witness: &Witness,
        keys: &ReadKeys,
    ) -> Result<Vec<Option<Bytes>>, Error> {
        self.send_to(witness, keys, self.deadline()).await
    }

    async fn send<R: Request + ?Sized>(
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
        self.judge(begun, used.as_ref(), request.len(), result)
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
            match request.send(connection).await {
                Ok(answer) => return Ok((connection.clone(), answer)),
                Err(failure) if failure.was_disconnected && !was_replaced => {
                    self.discard(connection);
                    was_replaced = true;
                }
                Err(failure) => return Err(failure.error),
            }
        }
    }

    async fn send_to<R: Request + ?Sized>(
        self: &Arc<Self>,
        witness: &Witness,
        request: &R,
        until: Instant,
    ) -> Result<R::Output, Error> {
        let connection = &self.connection_to(witness)?;
        let begun = Instant::now();
        let sending = pin!(async {
            let answer = request.send(connection).await;
            answer.map_err(|failure| failure.error)
        });
        let result = self.within(until, sending).await;
        self.judge(begun, Some(connection), request.len(), result)
    }

    /// The connection of an earlier answer. If that is another runtime's, which may not run now, it
    /// is this runtime's connection to the same server, if there is one.
    fn connection_to(&self, witness: &Witness) -> Result<Arc<Connection>, Error> {
        let runtime = self.runtime()?;
        let answered = &witness.0;
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
    fn runtime(&self) -> Result<runtime::Id, Error> {
        match Handle::try_current() {
            Ok(runtime) => Ok(runtime.id()),
            Err(_) => Err(Error::unavailable(self.address(), &Error::NO_RUNTIME)),
        }
    }

    /// Changes the breaker's state according to how a request of so many operations ended.
    fn judge<T>(
        self: &Arc<Self>,
        begun: Instant,
        connection: Option<&Arc<Connection>>,
        operations: usize,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        match &result {
            Ok(_) => {
                if self.has_strikes.load(Ordering::Relaxed) {
                    self.forgive();
                }
            }
            // A deadline that was near when the request was sent says nothing about the server.
            Err(error) if error.is_timeout() && begun.elapsed() < self.limits.operation / 2 => {}
            // A smaller request may do, and shows whether the server answers.
            Err(error) if error.is_timeout() && operations > SMALL => {}
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
        self.change(|link| {
            let now = Instant::now();
            if link.breaker.strike(runtime, begun, now, error) {
                link.keepers.ensure(self);
            }
            // Under the lock, as in `forgive`: else an answer at the same time could leave a
            // strike behind that no later answer forgives.
            self.has_strikes.store(true, Ordering::Relaxed);
        });
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
        self.change(|link| {
            link.breaker.refused(error, Instant::now());
            link.keepers.ensure(self);
        });
    }

    /// The connection that this runtime has, or the one that it is making, or a new one.
    async fn connection(self: &Arc<Self>, runtime: runtime::Id) -> Connected {
        let attempt = {
            let mut link = self.lock();
            if let Some(connection) = link.breaker.connection(runtime) {
                // The keeper may have ended with the runtime that it was spawned on.
                if !self.journal.is_empty() {
                    link.keepers.ensure(self);
                }
                return Ok(connection);
            }
            match link.breaker.advise(runtime, Instant::now()) {
                Advice::Use(connection) => return Ok(connection),
                Advice::Wait(attempt) => attempt,
                Advice::Connect => self.begin_attempt(runtime, &mut link),
                Advice::Fail(Failing::Open(error)) => {
                    link.keepers.ensure(self);
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
        let connector = self.clone();
        tokio::spawn(async move {
            let begun = Instant::now();
            let result = connector.connect().await;
            let result = connector.connected(runtime, begun, result, Some(&done.subscribe()));
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

    /// Makes a connection that may be used: it listens, and the journal was replayed over it.
    async fn connect(self: &Arc<Self>) -> Connected {
        let connector = Arc::downgrade(self);
        let heard = move |message: &[u8]| {
            if let Some(connector) = connector.upgrade() {
                connector.journal.hear(Message::from_bytes(message));
                if !connector.journal.is_empty() {
                    connector.ensure_keeper();
                }
            }
        };
        let connection = self.driver.connect(self.limits.connect, heard).await?;
        // Before the replay: what is announced from here on is heard.
        let channel = self.keyspace.channel();
        let listening = connection.listen(&channel, self.limits.operation);
        match listening.await {
            Err(error) if !error.is_refused() => return Err(error),
            // Its driver has logged what that means, once.
            Err(_) if connection.is_deaf() => {}
            Err(error) => {
                let event = Event::AnnouncementsUnheard { error: &error };
                self.observer.observe(None, event);
            }
            // Where this is refused, what was announced before is not heard.
            Ok(()) => drop(self.journal.ask(&self.sender(&connection)).await),
        }
        let is_refused = self.lock().breaker.is_refused();
        // What takes longer is left to the keeper: its names stay distrusted.
        let until = Instant::now() + self.limits.operation;
        let accepted = self.check_and_replay(&connection, is_refused, until).await;
        match accepted {
            Ok(()) => self.accepted(),
            Err(error) if error.is_refused() => {
                let _ = self.journal.announce(&self.sender(&connection)).await;
                self.refused(&error);
            }
            // The window is smaller now, and the keeper goes on.
            Err(error) if error.is_timeout() && !is_refused => {}
            Err(error) => return Err(error),
        }
        Ok(Arc::new(connection))
    }

    /// Replays the journal over a connection, at most until then, after a check whether the server
    /// accepts requests.
    async fn check_and_replay(
        &self,
        connection: &Connection,
        check: bool,
        until: Instant,
    ) -> Result<(), Error> {
        if check {
            self.check(connection).await?;
        }
        self.journal.replay(&self.sender(connection), until).await
    }

    /// Reads and writes, to see whether that is allowed.
    async fn check(&self, connection: &Connection) -> Result<(), Error> {
        let trial = self.keyspace.trial();
        let trial = connection.run_within(&trial, self.limits.operation);
        trial.await.map(drop)
    }

    fn sender<'a>(&'a self, connection: &'a Connection) -> JournalSender<'a> {
        JournalSender {
            connector: self,
            connection,
        }
    }

    fn pages(&self) -> Pages<'_> {
        Pages {
            window: &self.keys,
            limit: self.limits.operation,
        }
    }

    /// Takes the result of an attempt to connect, and returns what its callers get. The failure of
    /// an attempt that was replaced is ignored. Requests do not wait for the attempt of a keeper or
    /// a ping: there `attempt` is `None`.
    fn connected(
        self: &Arc<Self>,
        runtime: runtime::Id,
        begun: Instant,
        result: Connected,
        attempt: Option<&Attempt>,
    ) -> Connected {
        let is_it = |current: &Attempt| attempt.is_some_and(|it| current.same_channel(it));
        self.change(|link| {
            let connection = match result {
                Ok(connection) => connection,
                Err(error) => {
                    let is_current = attempt.is_none() || link.breaker.is_attempting(is_it);
                    if is_current && link.breaker.open(runtime, error.clone()) {
                        link.keepers.ensure(self);
                    }
                    return Err(error);
                }
            };
            if !link.leads_to_the_server_of(&connection, begun) {
                link.breaker.forget_attempt(is_it);
                let reason = "while it was connected to, its address led to another server";
                return Err(Error::unavailable(self.address(), &reason));
            }
            link.breaker.connected(runtime, connection.clone());
            if !self.journal.is_empty() {
                link.keepers.ensure(self);
            }
            Ok(connection)
        })
    }

    fn discard(&self, connection: &Arc<Connection>) {
        if sabotage::keeps(Rule::Reconnect) {
            let is_it = |current: &Arc<Connection>| Arc::ptr_eq(current, connection);
            self.change(|link| link.breaker.discard(is_it));
        }
    }

    fn accepted(&self) {
        self.change(|link| link.breaker.accepted());
    }

    /// Starts a keeper, unless one runs. To be called when something was added to the journal.
    pub(super) fn ensure_keeper(self: &Arc<Self>) {
        self.change(|link| link.keepers.ensure(self));
    }

    /// Invalidates names, and notes which were carried out: as many at a time as the link has
    /// carried before in time. Some that take too long are sent once more, fewer at a time, if the
    /// ones before them were carried out. So where the server does not answer any more, this ends
    /// two deadlines after its last answer, and where it does not answer at all, after one.
    pub(super) async fn invalidate(
        self: &Arc<Self>,
        under_way: &mut UnderWay<'_>,
    ) -> Result<(), Error> {
        let mut has_answered = false;
        while !under_way.names().is_empty() {
            let count = self.names_together().min(under_way.names().len());
            let invalidate = self.keyspace.invalidate(&under_way.names()[..count]);
            let begun = Instant::now();
            let sent = self.run(&invalidate).await.map(drop);
            self.measure(count, begun, &sent);
            match sent {
                Ok(()) => {
                    under_way.carried_out(count);
                    has_answered = true;
                }
                Err(error) if error.is_timeout() && has_answered => has_answered = false,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How many names to invalidate together.
    fn names_together(&self) -> usize {
        if sabotage::keeps(Rule::FitsDeadline) {
            self.names.size()
        } else {
            MOST_NAMES
        }
    }

    /// Fits the window for names to how long some of them took.
    fn measure(&self, count: usize, begun: Instant, sent: &Result<(), Error>) {
        match sent {
            Ok(()) => self
                .names
                .answered(count, begun.elapsed(), self.limits.operation),
            Err(error) if error.is_timeout() => self.names.timed_out(count),
            Err(_) => {}
        }
    }

    /// Removes everything in the namespace, over one connection.
    pub(super) async fn clear(self: &Arc<Self>) -> Result<(), Error> {
        let begun = Instant::now();
        let (Witness(connection), _) = self.run(&[Operation::Ping]).await?;
        let cleared = self.keyspace.clear(&connection, &self.pages()).await;
        self.judge(begun, Some(&connection), 1, cleared)
    }

    /// Asks the server now, even if the breaker is open.
    pub(super) async fn ping(self: &Arc<Self>) -> Result<(), Error> {
        let runtime = self.runtime()?;
        let connection = self.lock().breaker.connection(runtime);
        if let Some(connection) = connection {
            let begun = Instant::now();
            let checked = self.check(&connection).await;
            match self.judge(begun, Some(&connection), 1, checked) {
                Err(error) if error.is_unavailable() => {}
                result => return result,
            }
        }
        let begun = Instant::now();
        let result = self.connect().await;
        let connection = self.connected(runtime, begun, result, None)?;
        self.check(&connection).await
    }

    /// Tells other processes what the server refuses to invalidate.
    pub(super) async fn announce(&self) {
        let Ok(runtime) = self.runtime() else {
            return;
        };
        let Some(connection) = self.lock().breaker.connection(runtime) else {
            return;
        };
        if let Err(error) = &self.journal.announce(&self.sender(&connection)).await {
            self.observer.observe(None, Event::NotAnnounced { error });
        }
    }

    /// How long a replay goes on before the keeper looks at the connection again.
    fn slice(&self) -> Duration {
        (self.limits.operation * 4).min(clock::FOREVER)
    }

    pub(super) fn status(&self) -> Status {
        self.lock().breaker.status()
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
    fn lock(&self) -> std::sync::MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Connector {
    type Connection = Connection;

    async fn read(self: &Arc<Self>, keys: &ReadKeys, until: Instant) -> Values<Connection> {
        self.send(keys, until).await
    }

    fn deadline(&self) -> Instant {
        self.deadline_from(None)
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

    fn runtime_shut_down(&self) -> Error {
        self.shut_down()
    }
}

impl Mend for Connector {
    fn longest_pause(&self) -> Duration {
        let link = self.lock();
        if link.breaker.is_away() || !link.breaker.is_refused() {
            PAUSE_AWAY
        } else {
            PAUSE_REFUSED
        }
    }

    fn stays(&self, keeper: u64, pause: Duration) -> bool {
        let attempt = self.limits.connect + self.limits.operation * 4;
        let due = Instant::now() + pause * 2 + attempt + self.slice();
        self.lock().keepers.stays(keeper, due)
    }

    /// One attempt to get to a connection with nothing refused and an empty journal.
    async fn mend(self: &Arc<Self>) {
        let Ok(runtime) = self.runtime() else {
            return;
        };
        let connection = {
            let link = self.lock();
            let attempt = link.breaker.attempt(runtime, Instant::now());
            if attempt.is_some_and(is_alive) {
                return;
            }
            if link.breaker.is_idle() && self.journal.is_empty() {
                return;
            }
            // While the breaker is open, only a new connection shows that the server is back.
            let connection = link.breaker.connection(runtime);
            connection.filter(|_| !link.breaker.is_open())
        };
        let begun = Instant::now();
        let Some(connection) = connection else {
            let result = self.connect().await;
            let _ = self.connected(runtime, begun, result, None);
            return;
        };
        let until = begun + self.slice();
        let checked = match self.check(&connection).await {
            Ok(()) => self.journal.replay(&self.sender(&connection), until).await,
            Err(error) => {
                // The trial is small, and shows as much as a replay of any size would have shown.
                if error.is_timeout() {
                    self.names.timed_out(self.names.size());
                }
                Err(error)
            }
        };
        match self.judge(begun, Some(&connection), self.names.size() * 2, checked) {
            Ok(()) => self.accepted(),
            Err(error) if error.is_refused() => {
                let _ = self.journal.announce(&self.sender(&connection)).await;
            }
            Err(_) => {}
        }
    }

    fn retires(self: &Arc<Self>, keeper: u64) -> bool {
        let mut link = self.lock();
        // The keeper holds the only handle: the cache was dropped.
        let is_unused = Arc::strong_count(self) == 1;
        self.journal.is_empty() && (link.breaker.is_well() || is_unused) && link.keepers.end(keeper)
    }
}

/// Whether the task of an attempt runs: not one whose runtime was shut down.
fn is_alive(attempt: &Attempt) -> bool {
    attempt.has_changed().is_ok()
}

/// Sends what the journal keeps over one connection.
struct JournalSender<'a> {
    connector: &'a Connector,
    connection: &'a Connection,
}

impl JournalSender<'_> {
    async fn run(&self, operations: &[Operation]) -> Result<(), Error> {
        let limit = self.connector.limits.operation;
        let sent = self.connection.run_within(operations, limit).await;
        sent.map(drop)
    }
}

impl Sender for JournalSender<'_> {
    fn window(&self) -> usize {
        self.connector.names_together()
    }

    async fn invalidate(&self, names: &[Key]) -> Result<(), Error> {
        let begun = Instant::now();
        let sent = self.run(&self.connector.keyspace.invalidate(names)).await;
        self.connector.measure(names.len(), begun, &sent);
        sent
    }

    async fn remove(
        &self,
        buckets: &Buckets,
        scan: &mut Scan,
        until: Instant,
    ) -> Result<(), Error> {
        let (keyspace, pages) = (&self.connector.keyspace, self.connector.pages());
        keyspace
            .remove(self.connection, &pages, buckets, scan, until)
            .await
    }

    async fn publish(&self, message: &Message) -> Result<(), Error> {
        self.run(&[self.connector.keyspace.publish(message)]).await
    }
}

/// The cache was dropped, or the runtime, and with it the keeper.
impl Drop for Connector {
    fn drop(&mut self) {
        if self.journal.is_empty() {
            return;
        }
        let waiting = self.journal.waiting();
        let event = Event::JournalLost {
            address: self.address(),
            count: waiting.names,
            overflowed: waiting.has_overflowed,
        };
        self.observer.observe(None, event);
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("driver", &self.driver)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
