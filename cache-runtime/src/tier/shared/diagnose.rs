//! What the servers of a cache tell of themselves, each for itself.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use super::connector::Connector;
use super::node::Node;
use crate::clock;
use crate::diagnosis::{Info, PATIENCE, RIGHTS, Told};
use crate::driver::words::{Refused, Reply as Answer, Words};
use crate::driver::{Connection, Operation, Reply};
use crate::error::Error;
use crate::join;

/// How often a server is asked for nothing, to see how long it takes: for a second, so that what stalls
/// it now and then is seen. Fewer times, if it takes long.
const ROUND_TRIPS: usize = 50;
const PAUSE: Duration = Duration::from_millis(20);
const ROUND_TRIPS_END: Duration = Duration::from_secs(2);

/// The letters of the keys of a namespace, behind its name: see the page `operation`.
const LETTERS: [&str; 9] = ["e", "v", "r", "s", "q", "w", "l", "b", "x"];

impl Shared {
    /// Asks each server, over a connection of its own: what fails here changes nothing for calls. An error is
    /// that of the cluster as a whole, or of the server with this address.
    pub(crate) async fn ask_servers(&self) -> Result<Vec<(String, Result<Told, Error>)>, Error> {
        let nodes = self.connector.nodes().await?;
        let asked = nodes.iter().map(async |(node, trial)| {
            let told = self.ask_server(node, *trial).await;
            (node.address().to_owned(), told)
        });
        Ok(join::all(asked).await)
    }

    pub(crate) fn namespace(&self) -> &str {
        self.keyspace.namespace()
    }

    async fn ask_server(&self, node: &Arc<Node<Connector>>, trial: u32) -> Result<Told, Error> {
        let connection = &node.connect_apart(PATIENCE).await?;
        let trial_key = self.keyspace.trial_key(trial);
        // In the hash slot of the trial key, and not that key, which each cache uses.
        let key = |letter: &str| self.keyspace.plain(&format!("{letter}:{{{trial_key}}}"));
        let unheard = format!("{}:trial", self.keyspace.channel());
        let commands = RIGHTS
            .iter()
            .map(|right| right.command(&key("t"), &unheard));
        let exist = LETTERS.map(|letter| words(&["EXISTS", &key(letter)]));
        let beginnings = LETTERS.map(|letter| self.keyspace.plain(&format!("{letter}:")));
        let keys = try_all(connection, exist.into_iter()).await?;
        Ok(Told {
            address: connection.address().to_owned(),
            is_exposed: node.is_exposed(),
            is_open: node.is_open(),
            is_known: connection.epoch() != 0,
            trial: self
                .keyspace
                .try_to_write(connection, trial, PATIENCE)
                .await,
            hears: self.hears(connection).await,
            round_trips: round_trips(connection).await,
            info: info(connection, &["INFO"]).await,
            cluster: if connection.is_of_cluster() {
                Some(info(connection, &["CLUSTER", "INFO"]).await)
            } else {
                None
            },
            commands: try_all(connection, commands).await?,
            keys: beginnings.into_iter().zip(keys).collect(),
        })
    }

    /// Whether a connection hears what could not be invalidated, and what was.
    async fn hears(&self, connection: &Connection) -> Result<(), Error> {
        for channel in [self.keyspace.channel(), self.keyspace.notices()] {
            connection.listen(&channel, PATIENCE).await?;
        }
        Ok(())
    }
}

/// How long a server takes to answer, several times.
async fn round_trips(connection: &Connection) -> Vec<Duration> {
    // As a program sends it: then a refusal is an answer, too.
    let ping = [Operation::Words(words(&["PING"]))];
    let began = Instant::now();
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    while times.len() < ROUND_TRIPS && began.elapsed() < ROUND_TRIPS_END {
        let sent = Instant::now();
        let answered = clock::within(PATIENCE, pin!(connection.run(&ping))).await;
        match answered {
            Some(Err(_)) => break,
            Some(Ok(_)) => times.push(sent.elapsed()),
            None => times.push(PATIENCE),
        }
        clock::pause(PAUSE).await;
    }
    times
}

async fn info(connection: &Connection, command: &[&str]) -> Result<Info, Error> {
    let ask = [Operation::Words(words(command))];
    let replies = connection.run_within(&ask, PATIENCE).await?;
    match replies.into_iter().next() {
        Some(Reply::Words(Ok(Answer::Bytes(text)))) => {
            Ok(Info::new(String::from_utf8_lossy(&text).into_owned()))
        }
        Some(Reply::Words(Err(Refused(error)))) => Err(error),
        _ => {
            let reason = format!("its answer to `{}` makes no sense", command.join(" "));
            Err(Error::unavailable(connection.address(), &reason))
        }
    }
}

/// Whether each command was carried out.
async fn try_all(
    connection: &Connection,
    commands: impl Iterator<Item = Words>,
) -> Result<Vec<Result<(), Error>>, Error> {
    let operations: Vec<_> = commands.map(Operation::Words).collect();
    let replies = connection.run_within(&operations, PATIENCE).await?;
    let results = replies.into_iter().map(|reply| match reply {
        Reply::Words(Err(Refused(error))) => Err(error),
        _ => Ok(()),
    });
    Ok(results.collect())
}

/// A command without a key that says where it is sent.
fn words(command: &[&str]) -> Words {
    Words {
        name: command.join(" "),
        all: command
            .iter()
            .map(|word| word.as_bytes().to_vec())
            .collect(),
        key: None,
    }
}
