//! Which connection requests take, and whether they take any: the breaker.
//!
//! Connections are made lazily, one attempt at a time, however many callers wait for it.
//! One that failed or was too slow is dropped, and the next request makes a new one.
//! Where that fails, or several requests in a row do, the breaker opens: requests fail
//! at once, and touch no network. A task, the keeper, then tries to connect, with pauses
//! that grow, and closes the breaker when it has.
//!
//! The journal comes first: a connection is not used before what is kept was replayed
//! over it. Where the server answers and refuses, requests go on, and the keeper looks
//! whether it still does; what the journal holds meanwhile is announced.

use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::{Pipeline, Value};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::connection::{Clients, Commands, Connection, commands, explain, script};
use super::journal::{BATCH, Journal};
use super::keyspace::Keyspace;
use crate::clock;
use crate::error::Error;
use crate::health::Status;
use crate::key::Key;
use crate::sabotage::{self, Rule};

/// So many requests in a row may fail before the breaker opens.
const STRIKES: u32 = 3;

/// The keeper's pauses: the first, and the longest while the server is away or refuses.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const PAUSE_AWAY: Duration = Duration::from_millis(120);
const PAUSE_REFUSED: Duration = Duration::from_secs(1);

/// For so long the next refusal is not said in the log, only in the health and the stats.
const SILENCE: Duration = Duration::from_secs(30);

/// By so much a keeper may be late before it is taken for lost, with the runtime it was on.
const LATE: Duration = Duration::from_secs(1);

/// The limits of a [`Connector`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) operation: Duration,
    pub(crate) connect: Duration,
}

pub(crate) struct Connector {
    clients: Clients,
    /// For messages: no credentials in it.
    address: Arc<str>,
    limits: Limits,
    pub(crate) journal: Journal,
    keyspace: Keyspace,
    link: Mutex<Link>,
    /// Requests that failed since the last that did not.
    strikes: AtomicU32,
    outages: AtomicU64,
    refusals: AtomicU64,
}

struct Link {
    state: State,
    /// What the server refuses, although it answers.
    refusal: Option<Error>,
    /// When that was last said, and whether it still stands as said. What is refused only
    /// now and then, such as one command of many, is not said each time.
    refusal_said: Option<Instant>,
    stands_as_said: bool,
    /// Who looks after all that is not as it should be.
    keeper: Option<Keeper>,
    keepers: u64,
    struck: Instant,
    to_say: Vec<Saying>,
}

enum State {
    Idle,
    Connecting {
        since: Instant,
        attempt: watch::Receiver<Option<Attempt>>,
    },
    Up(Arc<Connection>),
    /// The breaker is open.
    Open(Error),
}

type Attempt = Result<Arc<Connection>, Error>;

struct Keeper {
    number: u64,
    /// Ended if its runtime is gone.
    task: AbortHandle,
    /// When it will have shown up again, unless nobody drives its runtime.
    due: Instant,
}

impl Connector {
    pub(crate) fn new(
        clients: Clients,
        address: String,
        limits: Limits,
        keyspace: Keyspace,
        journal_capacity: usize,
    ) -> Self {
        Self {
            clients,
            address: address.into(),
            limits,
            journal: Journal::new(keyspace.clone(), journal_capacity),
            keyspace,
            link: Mutex::new(Link {
                state: State::Idle,
                refusal: None,
                refusal_said: None,
                stands_as_said: false,
                keeper: None,
                keepers: 0,
                struck: Instant::now(),
                to_say: Vec::new(),
            }),
            strikes: AtomicU32::new(0),
            outages: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
        }
    }

    /// Sends commands, over whichever connection there is, and tells which one it was.
    ///
    /// What it sends must bear to be sent twice: a connection that turns out to
    /// have been closed while it was idle is replaced once.
    pub(crate) async fn send<C: Commands>(
        self: &Arc<Self>,
        commands: &C,
    ) -> Result<(Arc<Connection>, C::Replies), Error> {
        self.send_until(commands, self.deadline()).await
    }

    /// The same with a deadline that may be that of callers who have waited already.
    pub(crate) async fn send_until<C: Commands>(
        self: &Arc<Self>,
        commands: &C,
        until: Instant,
    ) -> Result<(Arc<Connection>, C::Replies), Error> {
        let begun = Instant::now();
        let mut used = None;
        let result = {
            // Pinned here: whoever takes a future by value has room for it twice.
            let request = pin!(self.try_send(commands, &mut used));
            self.within(until, request).await?
        };
        self.judge(begun, used.as_ref(), result)
    }

    /// Tells by `used` which connection it took, too.
    async fn try_send<C: Commands>(
        self: &Arc<Self>,
        commands: &C,
        used: &mut Option<Arc<Connection>>,
    ) -> Result<(Arc<Connection>, C::Replies), Error> {
        let mut replaced = false;
        loop {
            let connection = used.insert(self.connection().await?);
            match connection.try_request(commands).await {
                Err(error) if error.is_connection_dropped() && !replaced => {
                    self.discard(connection);
                    replaced = true;
                }
                Ok(replies) => return Ok((connection.clone(), replies)),
                Err(error) => return Err(explain(&self.address, &error)),
            }
        }
    }

    /// Sends commands over this connection only.
    pub(crate) async fn send_over(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        commands: &Pipeline,
    ) -> Result<Vec<Value>, Error> {
        let begun = Instant::now();
        let request = pin!(async {
            let values = connection.try_request(commands).await;
            values.map_err(|error| explain(&self.address, &error))
        });
        let result = self.within(self.deadline(), request).await?;
        self.judge(begun, Some(connection), result)
    }

    /// The deadline of what begins now.
    pub(crate) fn deadline(&self) -> Instant {
        // One that is too far off for the clock is as good as any.
        Instant::now() + self.limits.operation.min(clock::FOREVER)
    }

    /// Awaits an answer, at most until then. Fails itself only where nothing can be asked at all.
    pub(crate) async fn within<T>(
        &self,
        until: Instant,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<Result<T, Error>, Error> {
        if Handle::try_current().is_err() {
            let reason = "this task does not run on a Tokio runtime";
            return Err(Error::unavailable(&self.address, &reason));
        }
        if !sabotage::keeps(Rule::Deadline) {
            return Ok(request.await);
        }
        match tokio::time::timeout_at(until.into(), request).await {
            Ok(result) => Ok(result),
            Err(_) => Ok(Err(Error::timeout(&self.address, self.limits.operation))),
        }
    }

    /// Draws the conclusions from how a request ended.
    fn judge<T>(
        self: &Arc<Self>,
        begun: Instant,
        connection: Option<&Arc<Connection>>,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        match &result {
            Ok(_) => {
                if self.strikes.load(Ordering::Relaxed) != 0 {
                    self.strikes.store(0, Ordering::Relaxed);
                }
            }
            // Cut short by a deadline that was near when it was sent, it says nothing.
            Err(error) if error.is_timeout() && begun.elapsed() < self.limits.operation / 2 => {}
            Err(error) if error.is_unavailable() => {
                if let Some(connection) = connection {
                    self.discard(connection);
                    self.strike(begun, error);
                }
            }
            Err(error) if error.is_refused() => self.note_refusal(connection, error),
            Err(_) => {}
        }
        result
    }

    /// Requests that failed at the same time count once.
    fn strike(self: &Arc<Self>, begun: Instant, error: &Error) {
        let mut link = self.lock();
        if begun < link.struck {
            return;
        }
        link.struck = Instant::now();
        let strikes = self.strikes.fetch_add(1, Ordering::Relaxed) + 1;
        if strikes >= STRIKES && !matches!(link.state, State::Up(_)) {
            self.open(&mut link, error.clone());
        }
    }

    fn note_refusal(self: &Arc<Self>, connection: Option<&Arc<Connection>>, error: &Error) {
        let mut link = self.lock();
        self.refuse(&mut link, error);
        drop(link);
        // What has become a replica: the primary may now be where the address leads.
        if error.is_read_only()
            && let Some(connection) = connection
        {
            self.discard(connection);
        }
    }

    fn refuse(self: &Arc<Self>, link: &mut Link, error: &Error) {
        if link.refusal.is_none() {
            self.refusals.fetch_add(1, Ordering::Relaxed);
            if link
                .refusal_said
                .is_none_or(|said| said.elapsed() > SILENCE)
            {
                link.to_say.push(Saying::Refused(error.clone()));
                link.refusal_said = Some(Instant::now());
                link.stands_as_said = true;
            }
        }
        link.refusal = Some(error.clone());
        self.ensure_keeper(link);
    }

    /// The connection there is, or the one that is being made, or a new one.
    async fn connection(self: &Arc<Self>) -> Attempt {
        let attempt = {
            let mut link = self.lock();
            match &link.state {
                State::Up(connection) => return Ok(connection.clone()),
                State::Open(error) if sabotage::keeps(Rule::Breaker) => {
                    let error = error.clone();
                    self.ensure_keeper(&mut link);
                    return Err(error);
                }
                // One that is older than it may be belongs to a runtime that nobody drives.
                State::Connecting { since, attempt } if since.elapsed() <= self.limits.connect => {
                    // Others have waited for it already, for as long as a request may take.
                    if since.elapsed() > self.limits.operation && sabotage::keeps(Rule::Breaker) {
                        return Err(Error::timeout(&self.address, self.limits.operation));
                    }
                    attempt.clone()
                }
                _ => self.begin_attempt(&mut link),
            }
        };
        // Boxed, since it is rare, and every call has room for what it awaits.
        Box::pin(self.arrival(attempt)).await
    }

    async fn arrival(&self, mut attempt: watch::Receiver<Option<Attempt>>) -> Attempt {
        let result = match attempt.wait_for(Option::is_some).await {
            Ok(done) => (*done).clone(),
            Err(_) => None,
        };
        result.unwrap_or_else(|| {
            // The runtime that ran the attempt was shut down.
            let mut link = self.lock();
            if link.is_attempting(&attempt) {
                link.state = State::Idle;
            }
            Err(self.cut_short())
        })
    }

    /// What was waited for has ended with the runtime that it ran on.
    pub(crate) fn cut_short(&self) -> Error {
        let reason = "the runtime on which it was asked was shut down";
        Error::unavailable(&self.address, &reason)
    }

    fn begin_attempt(self: &Arc<Self>, link: &mut Link) -> watch::Receiver<Option<Attempt>> {
        let (done, attempt) = watch::channel(None);
        link.state = State::Connecting {
            since: Instant::now(),
            attempt: attempt.clone(),
        };
        // A task of its own: a caller that gives up does not end the attempt of the others.
        let connector = self.clone();
        tokio::spawn(async move {
            let result = connector.connect().await;
            connector.arrive(&result, Some(&done.subscribe()));
            let _ = done.send(Some(result));
        });
        attempt
    }

    /// Makes a connection that may be used: listening, and with the journal replayed.
    async fn connect(self: &Arc<Self>) -> Attempt {
        let connector = Arc::downgrade(self);
        let connection =
            Connection::open(&self.clients, &self.address, self.limits.connect, connector).await?;
        // Before the replay: what is announced from here on is heard.
        match connection
            .listen(&self.keyspace.channel(), self.limits.operation)
            .await
        {
            Err(error) if !error.is_refused() => return Err(error),
            Err(error) => tracing::warn!(%error, "what other processes announce is not heard"),
            Ok(()) => {}
        }
        let refused = self.lock().refusal.is_some();
        let mut accepted = if refused {
            self.check(&connection).await
        } else {
            Ok(())
        };
        if accepted.is_ok() {
            let limit = self.limits.operation;
            accepted = self.journal.replay(&connection, limit).await;
        }
        match accepted {
            Ok(()) => self.accepted(),
            Err(error) if error.is_refused() => {
                let _ = self
                    .journal
                    .announce(&connection, self.limits.operation)
                    .await;
                self.refuse(&mut self.lock(), &error);
            }
            Err(error) => return Err(error),
        }
        Ok(Arc::new(connection))
    }

    /// Takes the result of an attempt, unless another has taken its place.
    fn arrive(
        self: &Arc<Self>,
        result: &Attempt,
        attempt: Option<&watch::Receiver<Option<Attempt>>>,
    ) {
        let mut link = self.lock();
        let is_current = attempt.is_none_or(|attempt| link.is_attempting(attempt));
        match result {
            Ok(connection) => {
                if let State::Open(_) = link.state {
                    link.to_say.push(Saying::Back);
                }
                if !matches!(link.state, State::Up(_)) {
                    link.state = State::Up(connection.clone());
                }
                if !self.journal.is_empty() {
                    self.ensure_keeper(&mut link);
                }
            }
            Err(error) if is_current => self.open(&mut link, error.clone()),
            Err(_) => {}
        }
    }

    fn open(self: &Arc<Self>, link: &mut Link, error: Error) {
        if let State::Up(_) = link.state {
            return;
        }
        if !matches!(link.state, State::Open(_)) {
            self.outages.fetch_add(1, Ordering::Relaxed);
            link.to_say.push(if error.is_refused() {
                Saying::Refused(error.clone())
            } else {
                Saying::Away(error.clone())
            });
        }
        link.state = State::Open(error);
        self.ensure_keeper(link);
    }

    fn discard(&self, connection: &Arc<Connection>) {
        if !sabotage::keeps(Rule::Reconnect) {
            return;
        }
        let mut link = self.lock();
        if matches!(&link.state, State::Up(current) if Arc::ptr_eq(current, connection)) {
            link.state = State::Idle;
        }
    }

    /// What another process could not invalidate.
    pub(crate) fn hear(self: &Arc<Self>, message: &[u8]) {
        self.journal.hear(message);
        self.look_after_the_journal();
    }

    /// To be called when the journal has got something to keep.
    pub(crate) fn look_after_the_journal(self: &Arc<Self>) {
        self.ensure_keeper(&mut self.lock());
    }

    fn ensure_keeper(self: &Arc<Self>, link: &mut Link) {
        let is_there =
            |keeper: &Keeper| !keeper.task.is_finished() && Instant::now() < keeper.due + LATE;
        if link.keeper.as_ref().is_some_and(is_there) {
            return;
        }
        // Without a runtime, the next who has one calls this again.
        if let Ok(runtime) = Handle::try_current() {
            link.keepers += 1;
            let number = link.keepers;
            link.keeper = Some(Keeper {
                number,
                task: runtime.spawn(self.clone().keep(number)).abort_handle(),
                due: Instant::now(),
            });
        }
    }

    /// Tries again until all is well, or another keeper has taken over.
    async fn keep(self: Arc<Self>, number: u64) {
        let mut pause = FIRST_PAUSE;
        loop {
            let longest = match &*self.lock() {
                Link {
                    state: State::Open(error),
                    ..
                } if error.is_unavailable() => PAUSE_AWAY,
                Link { refusal: None, .. } => PAUSE_AWAY,
                _ => PAUSE_REFUSED,
            };
            // What is refused is seldom mended within a moment.
            pause = pause.max(longest / 6).min(longest);
            let Some(()) = self.announce_keeper(number, pause) else {
                return;
            };
            clock::pause(clock::around(pause)).await;
            pause *= 2;
            self.mend().await;
            let mut link = self.lock();
            let well = matches!(link.state, State::Up(_) | State::Idle) && link.refusal.is_none();
            let unused = Arc::strong_count(&self) == 1;
            if self.journal.is_empty() && (well || unused) && link.is_kept_by(number) {
                link.keeper = None;
                return;
            }
        }
    }

    /// Whether this is still the keeper.
    fn announce_keeper(&self, number: u64, pause: Duration) -> Option<()> {
        let mut link = self.lock();
        let limits = self.limits.connect + self.limits.operation * 4;
        let keeper = link
            .keeper
            .as_mut()
            .filter(|keeper| keeper.number == number)?;
        keeper.due = Instant::now() + pause * 2 + limits;
        Some(())
    }

    /// One try to get to a connection with nothing refused and an empty journal.
    async fn mend(self: &Arc<Self>) {
        let connection = match &self.lock().state {
            State::Up(connection) => Some(connection.clone()),
            State::Connecting { since, attempt }
                if since.elapsed() <= self.limits.connect && attempt.has_changed().is_ok() =>
            {
                return;
            }
            State::Idle if self.journal.is_empty() => return,
            // An attempt that is older belongs to a runtime that is gone, or that nobody drives.
            State::Idle | State::Connecting { .. } | State::Open(_) => None,
        };
        let Some(connection) = connection else {
            let result = self.connect().await;
            return self.arrive(&result, None);
        };
        let begun = Instant::now();
        let checked = match self.check(&connection).await {
            Ok(()) => {
                self.journal
                    .replay(&connection, self.limits.operation)
                    .await
            }
            refused => refused,
        };
        match self.judge(begun, Some(&connection), checked) {
            Ok(()) => self.accepted(),
            Err(error) if error.is_refused() => {
                let _ = self
                    .journal
                    .announce(&connection, self.limits.operation)
                    .await;
            }
            Err(_) => {}
        }
    }

    fn accepted(&self) {
        let mut link = self.lock();
        if link.refusal.take().is_some() && std::mem::take(&mut link.stands_as_said) {
            link.to_say.push(Saying::RefusedNoMore);
        }
    }

    /// Reads and writes, to see whether that is allowed.
    async fn check(&self, connection: &Connection) -> Result<(), Error> {
        let trial = self.keyspace.trial();
        let mut check = commands();
        check.cmd("MGET").arg(&trial);
        script(
            &mut check,
            "return redis.call('SET', KEYS[1], '', 'PX', 1)",
            &trial,
        );
        connection.request(&check, self.limits.operation).await?;
        Ok(())
    }

    /// Removes everything in the namespace, over one connection.
    pub(crate) async fn clear(self: &Arc<Self>) -> Result<(), Error> {
        let begun = Instant::now();
        let (connection, _) = self.send(commands().cmd("PING")).await?;
        let cleared = self
            .keyspace
            .clear(&connection, self.limits.operation)
            .await;
        self.judge(begun, Some(&connection), cleared)
    }

    /// Asks the server now, breaker or not.
    pub(crate) async fn ping(self: &Arc<Self>) -> Result<(), Error> {
        if Handle::try_current().is_err() {
            let reason = "this task does not run on a Tokio runtime";
            return Err(Error::unavailable(&self.address, &reason));
        }
        let up = match &self.lock().state {
            State::Up(connection) => Some(connection.clone()),
            _ => None,
        };
        if let Some(connection) = up {
            let begun = Instant::now();
            match self.judge(begun, Some(&connection), self.check(&connection).await) {
                Err(error) if error.is_unavailable() => {}
                result => return result,
            }
        }
        let result = self.connect().await;
        self.arrive(&result, None);
        self.check(&*result?).await
    }

    /// Tells other processes what the server refuses to invalidate.
    pub(crate) async fn announce(self: &Arc<Self>, names: &[Key]) {
        let connection = match &self.lock().state {
            State::Up(connection) => connection.clone(),
            _ => return,
        };
        let limit = self.limits.operation;
        let announced = if names.len() > BATCH {
            self.journal.announce(&connection, limit).await
        } else {
            self.journal.announce_names(names, &connection, limit).await
        };
        if let Err(error) = announced {
            tracing::debug!(%error, "not announced");
        }
    }

    pub(crate) fn status(&self) -> Status {
        let link = self.lock();
        match (&link.state, &link.refusal) {
            (State::Open(error), _) | (_, Some(error)) => Status::of(error),
            (State::Up(_), None) => Status::Working,
            (State::Idle | State::Connecting { .. }, None) => Status::Unknown,
        }
    }

    /// How often the breaker opened, and how often the server began to refuse.
    pub(crate) fn incidents(&self) -> (u64, u64) {
        (
            self.outages.load(Ordering::Relaxed),
            self.refusals.load(Ordering::Relaxed),
        )
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Nothing panics under this lock.
    fn lock(&self) -> Locked<'_> {
        Locked {
            link: Some(self.link.lock().unwrap_or_else(PoisonError::into_inner)),
            address: &self.address,
        }
    }
}

/// What is said once the lock is left: who listens may come back here.
enum Saying {
    Away(Error),
    Back,
    Refused(Error),
    RefusedNoMore,
}

impl Saying {
    fn say(self, address: &str) {
        match self {
            Self::Away(error) => tracing::warn!(%error, "the cache degrades to misses"),
            Self::Back => tracing::info!(address, "the cache server is back"),
            Self::Refused(error) => {
                tracing::error!(%error, "the cache degrades to misses until this is mended");
            }
            Self::RefusedNoMore => {
                tracing::info!(address, "the cache server refuses nothing any more");
            }
        }
    }
}

/// The lock, and what there is to say after it.
struct Locked<'a> {
    /// There until it is dropped.
    link: Option<MutexGuard<'a, Link>>,
    address: &'a str,
}

impl Deref for Locked<'_> {
    type Target = Link;

    fn deref(&self) -> &Link {
        self.link.as_ref().expect("it is not dropped yet")
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Link {
        self.link.as_mut().expect("it is not dropped yet")
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let to_say = std::mem::take(&mut self.to_say);
        drop(self.link.take());
        for saying in to_say {
            saying.say(self.address);
        }
    }
}

impl Link {
    fn is_attempting(&self, attempt: &watch::Receiver<Option<Attempt>>) -> bool {
        matches!(&self.state, State::Connecting { attempt: current, .. } if current.same_channel(attempt))
    }

    fn is_kept_by(&self, number: u64) -> bool {
        self.keeper
            .as_ref()
            .is_some_and(|keeper| keeper.number == number)
    }
}

/// The cache is gone, or the runtime is, and with it the keeper.
impl Drop for Connector {
    fn drop(&mut self) {
        if !self.journal.is_empty() {
            let (names, everything) = self.journal.len();
            tracing::error!(
                address = %self.address, names, everything,
                "not invalidated, and not kept any longer: old data may be served until its ttl ends"
            );
        }
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
