//! The driver for Upstash's HTTP interface, which its documentation calls the REST API.
//!
//! A request is a list of commands, as JSON, and so is its answer. JSON is text, so what is binary in
//! an entry is written as [text].
//!
//! A read may be answered by any replica, so it may be older than a write that another process was
//! told of. For the writes of this process, the [session] prevents that.
//!
//! The service tells no epoch, and a connection to it hears no messages.

mod address;
mod command;
mod explain;
mod http;
mod pool;
mod session;
mod text;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::address::Address;
use self::command::{Commands, NotText, reply, value};
use self::session::{Running, Session};
use super::{Answers, Failure, Home, Operation, ReadKeys, Reply, Tls, is_elsewhere};
use crate::error::Error;

/// Opens connections to one database.
pub(crate) struct Driver {
    session: Session,
}

/// What a runtime has of the session. There is no socket in it: the session has those.
pub(crate) struct Connection {
    running: Arc<Running>,
    home: Home,
}

impl Driver {
    /// A driver for the database that a URL names. Touches no network.
    pub(crate) fn new(url: &str, tls: &Tls) -> Result<Self, Error> {
        let session = Session::new(Address::parse(url, tls)?);
        Ok(Self { session })
    }

    /// Gives requests up after this time, when no caller waits for them any more.
    pub(crate) fn answered_within(mut self, limit: Duration) -> Self {
        self.session.set_limit(limit);
        self
    }

    /// Where the server is, for messages: without the token.
    pub(crate) fn address(&self) -> &str {
        self.session.address().shown()
    }

    /// Whether others may read what is sent to the server: it is not encrypted, and leaves this machine.
    pub(crate) fn is_exposed(&self) -> bool {
        let address = self.session.address();
        address.tls.is_none() && is_elsewhere(&address.host)
    }

    /// Such a database has one number.
    #[expect(clippy::unused_self, reason = "as that of the other driver")]
    pub(crate) fn database(&self) -> i64 {
        0
    }

    /// Connects anew within `limit`, and checks the token. Nothing is ever heard.
    pub(crate) async fn connect(
        &self,
        limit: Duration,
        _heard: impl Fn(&[u8]) + Send + Sync + 'static,
    ) -> Result<Connection, Error> {
        let running = self.session.running(limit)?;
        running.greet(limit).await?;
        self.session.say_what_holds();
        let home = Home::here();
        Ok(Connection { running, home })
    }
}

impl Connection {
    pub(crate) fn address(&self) -> &str {
        self.running.address().shown()
    }

    /// The server does not tell which one it is.
    #[expect(clippy::unused_self, reason = "as that of the other driver")]
    pub(crate) fn epoch(&self) -> u64 {
        0
    }

    /// The runtime that uses it. It is driven by the thread of the session.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    #[expect(clippy::unused_async, reason = "as that of the other driver")]
    pub(crate) async fn listen(&self, _channel: &str, _limit: Duration) -> Result<(), Error> {
        let reason = "nothing is heard over Upstash's HTTP interface";
        Err(Error::denied(self.address(), &reason))
    }

    /// Reads keys by one `MGET`; an absent key, or one that holds no string, is `None`.
    pub(crate) async fn read(&self, keys: &ReadKeys) -> Result<Answers, Failure> {
        let commands = Commands::mget(keys).map_err(|error| self.failure(error))?;
        let answers = self.running.run(commands).await.map_err(failed)?;
        let values = answers
            .into_iter()
            .next()
            .map(|answer| answer.list(self.address()));
        let values = values.transpose().map_err(failed)?.unwrap_or_default();
        Ok(values.into_iter().map(value).collect())
    }

    /// Runs operations in order, in one round trip. Each is carried out whether or not one
    /// before it failed; the first error is returned.
    pub(crate) async fn run(&self, operations: &[Operation]) -> Result<Vec<Reply>, Failure> {
        let commands = Commands::of(operations).map_err(|error| self.failure(error))?;
        let answers = self.running.run(commands).await.map_err(failed)?;
        let answered = operations.iter().zip(answers);
        let replies = answered.map(|(operation, answer)| reply(self.address(), operation, answer));
        replies.collect::<Result<_, _>>().map_err(failed)
    }

    fn failure(&self, NotText { command }: NotText) -> Failure {
        failed(match command {
            Some(name) => Error::no_text(self.address(), &name),
            None => Error::foreign(self.address()),
        })
    }
}

/// A connection is never closed for its callers: where a socket was, the session opens another.
fn failed(error: Error) -> Failure {
    let was_disconnected = false;
    Failure {
        error,
        was_disconnected,
    }
}

/// Without the token.
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
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}
