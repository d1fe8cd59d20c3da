//! A server that is found through sentinels.
//!
//! Each connection asks where the primary is, and stays with the server that it reached. An answer is
//! not trusted to be new: [`answers`] says which one is believed, and a server that turns out to be a
//! replica is refused, as everywhere. So nothing depends on what sentinels say but how soon the primary
//! is found.

mod answers;
mod contact;
mod contacts;
mod url;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use self::answers::{Answers, Choice, Newest};
use self::contacts::Contacts;
pub(super) use self::url::is_scheme;
use super::address::Address;
use super::stream::Stage;
use super::{Connection, Heard, open};
use crate::clock;
use crate::driver::Tls;
use crate::error::Error;

/// The sentinels of a service, and how its primary is spoken to.
pub(super) struct Sentinels {
    /// The name by which the sentinels know the primary and its replicas.
    service: Arc<str>,
    hosts: Vec<Address>,
    /// The address of a primary, but for its host.
    server: Address,
    /// For messages: without credentials.
    shown: Arc<str>,
    newest: Arc<Mutex<Newest>>,
    /// The contacts of each runtime.
    contacts: Mutex<Vec<Arc<Contacts>>>,
}

impl Sentinels {
    /// Reads a URL, and the files that it or `tls` names. Touches no network.
    pub(super) fn parse(url: &str, tls: &Tls) -> Result<Self, Error> {
        let parsed = url::parse(url, tls)?;
        let hosts: Vec<&str> = parsed.sentinels.iter().map(|it| &**it.shown()).collect();
        let shown = format!("{}/{}", hosts.join(","), parsed.service);
        Ok(Self {
            service: parsed.service.into(),
            hosts: parsed.sentinels,
            server: parsed.server,
            shown: shown.into(),
            newest: Arc::default(),
            contacts: Mutex::default(),
        })
    }

    /// Notes the environment variable that the URL is from, if it is one that other programs set too.
    pub(super) fn shared_by(&mut self, variable: &'static str) {
        self.server.shared_by = Some(variable);
    }

    /// For messages: without credentials.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    // Where the primary is, only the sentinels know. It is taken to be where they are.

    /// Whether the primary is on another machine, and no password is sent to it.
    pub(super) fn is_open(&self) -> bool {
        !self.server.has_password() && self.hosts.iter().any(Address::is_elsewhere)
    }

    /// Whether others may read what is sent to the primary.
    pub(super) fn is_exposed(&self) -> bool {
        self.server.tls.is_none() && self.hosts.iter().any(Address::is_elsewhere)
    }

    /// The number of the database on the server.
    pub(super) fn database(&self) -> i64 {
        self.server.database()
    }

    /// Connects to the primary within `limit`. If the sentinels name another one meanwhile,
    /// that one is connected to: the first one may be a server that does not answer any more.
    pub(super) async fn connect(
        &self,
        limit: Duration,
        heard: &Heard,
    ) -> Result<Connection, Error> {
        let until = Instant::now() + limit.min(clock::FOREVER);
        let contacts = self.contacts(limit);
        let chosen = contacts.choose(until).await;
        let mut next = chosen.map_err(|answers| self.no_primary(answers, limit))?;
        loop {
            let choice = next;
            let server = self.address_of(&choice)?;
            let stage = Stage::default();
            let opened = {
                let opening = pin!(open(&server, heard, &stage));
                let replaced = pin!(contacts.replacement(&choice));
                clock::within_until(until, pin!(either(opening, replaced))).await
            };
            match opened {
                Some(Either::First(Ok(connection))) => {
                    contacts.end_when_replaced(choice, connection.pump.0.clone());
                    return Ok(connection);
                }
                Some(Either::First(Err(error))) if error.is_read_only() => {
                    let named = server.shown();
                    let reason = format!("the sentinels name {named}, which is a replica");
                    return Err(Error::unavailable(&self.shown, &reason));
                }
                Some(Either::First(Err(error))) => return Err(error),
                Some(Either::Second(other)) => next = other,
                None => return Err(stage.timeout(server.shown(), limit)),
            }
        }
    }

    /// The contacts that this task's runtime drives.
    fn contacts(&self, limit: Duration) -> Arc<Contacts> {
        let runtime = Handle::current().id();
        // Nothing panics under this lock.
        let mut all = self.contacts.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|contacts| !contacts.is_gone());
        if let Some(contacts) = all.iter().find(|it| it.runtime() == runtime) {
            return contacts.clone();
        }
        let newest = self.newest.clone();
        let contacts = Contacts::new(&self.hosts, &self.service, newest, limit);
        let contacts = Arc::new(contacts);
        all.push(contacts.clone());
        contacts
    }

    fn address_of(&self, choice: &Choice) -> Result<Address, Error> {
        let (host, port) = (&choice.named.host, choice.named.port);
        let server = self.server.at(host, port);
        // Without TLS, a host may be called anything.
        let server = server.map_err(|error| Error::unavailable(&self.shown, &error))?;
        let shown = format!("{} ({})", server.shown(), self.service);
        Ok(server.shown_as(shown))
    }

    /// Why no answer is believed.
    fn no_primary(&self, answers: Answers, limit: Duration) -> Error {
        let mut is_refused = false;
        let told = self.hosts.iter().zip(&answers).map(|(sentinel, told)| {
            let told = match told {
                None => format!("it did not answer within {limit:?}"),
                Some(Ok(named)) => format!(
                    "it names {}:{}, which has been replaced",
                    named.host, named.port
                ),
                Some(Err(error)) => {
                    is_refused |= error.is_refused();
                    error.reason()
                }
            };
            format!("sentinel {}: {told}", sentinel.shown())
        });
        let told: Vec<String> = told.collect();
        let reason = format!("no primary is known; {}", told.join("; "));
        let is_named = answers.iter().flatten().any(Result::is_ok);
        if is_refused && !is_named {
            Error::denied(&self.shown, &reason)
        } else {
            Error::unavailable(&self.shown, &reason)
        }
    }
}

/// What ended first.
enum Either<A, B> {
    First(A),
    Second(B),
}

async fn either<A, B>(
    mut first: Pin<&mut impl Future<Output = A>>,
    mut second: Pin<&mut impl Future<Output = B>>,
) -> Either<A, B> {
    poll_fn(|context| {
        if let Poll::Ready(output) = first.as_mut().poll(context) {
            return Poll::Ready(Either::First(output));
        }
        second.as_mut().poll(context).map(Either::Second)
    })
    .await
}
