//! What the servers of a cache tell of themselves, each for itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use super::connector::Connector;
use super::hearing::Hears as _;
use super::node::Node;
use crate::diagnosis::{Info, RIGHTS, Told};
use crate::driver::words::{Refused, Reply as Answer, Words};
use crate::driver::{Operation, Reply};
use crate::error::Error;
use crate::join;

/// How often a server is asked for nothing, to see how long it takes; fewer times if that takes longer than
/// [`ROUND_TRIPS_END`].
const ROUND_TRIPS: usize = 50;
const ROUND_TRIPS_END: Duration = Duration::from_secs(1);

impl Shared {
    /// Asks each server. An error is that of the cluster as a whole, or of the server with this address.
    pub(crate) async fn ask_servers(&self) -> Result<Vec<(String, Result<Told, Error>)>, Error> {
        let servers = self.connector.nodes().await?;
        let asked = servers.iter().map(async |(node, trial)| {
            let told = self.ask_server(node, *trial).await;
            (node.address().to_owned(), told)
        });
        Ok(join::all(asked).await)
    }

    pub(crate) fn namespace(&self) -> &str {
        self.keyspace.namespace()
    }

    async fn ask_server(&self, node: &Arc<Node<Connector>>, trial: u32) -> Result<Told, Error> {
        // As a program sends it: then a refusal is an answer, too.
        let ping = [Operation::Words(words(&["PING"]))];
        let limit = || self.connector.deadline_from(None);
        let (connection, _) = node.send(&ping[..], limit()).await?;
        let began = Instant::now();
        let mut round_trips = Vec::with_capacity(ROUND_TRIPS);
        while round_trips.len() < ROUND_TRIPS && began.elapsed() < ROUND_TRIPS_END {
            let sent = Instant::now();
            node.send(&ping[..], limit()).await?;
            round_trips.push(sent.elapsed());
        }
        let channel = self.keyspace.channel();
        let hears = connection.listen(&channel, self.connector.limit()).await;
        let cluster = if connection.is_of_cluster() {
            Some(self.info(node, &["CLUSTER", "INFO"]).await)
        } else {
            None
        };
        let (key, unheard) = (self.keyspace.trial_key(trial), format!("{channel}:trial"));
        let commands = RIGHTS.iter().map(|right| right.command(&key, &unheard));
        Ok(Told {
            address: connection.address().to_owned(),
            is_exposed: node.is_exposed(),
            is_known: connection.epoch() != 0,
            hears,
            round_trips,
            info: self.info(node, &["INFO"]).await,
            cluster,
            commands: self.try_commands(node, commands).await?,
        })
    }

    async fn info(&self, node: &Arc<Node<Connector>>, command: &[&str]) -> Result<Info, Error> {
        let operations = [Operation::Words(words(command))];
        let until = self.connector.deadline_from(None);
        let (_, replies) = node.send(&operations[..], until).await?;
        match replies.into_iter().next() {
            Some(Reply::Words(Ok(Answer::Bytes(text)))) => {
                Ok(Info::new(String::from_utf8_lossy(&text).into_owned()))
            }
            Some(Reply::Words(Err(Refused(error)))) => Err(error),
            _ => Err(self.no_answer()),
        }
    }

    /// Whether each command was carried out.
    async fn try_commands(
        &self,
        node: &Arc<Node<Connector>>,
        commands: impl Iterator<Item = Words>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let operations: Vec<_> = commands.map(Operation::Words).collect();
        let until = self.connector.deadline_from(None);
        let (_, replies) = node.send(&operations[..], until).await?;
        let results = replies.into_iter().map(|reply| match reply {
            Reply::Words(Err(Refused(error))) => Err(error),
            Reply::Elsewhere(elsewhere) => Err(elsewhere.error(node.address())),
            _ => Ok(()),
        });
        Ok(results.collect())
    }
}

/// A command that names no key.
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
