//! Commands that programs write themselves.

use super::Shared;
use super::connector::Connector;
use super::walk::Walk;
use crate::driver::words::{self, Refused, Words};
use crate::driver::{Operation, Reply, hash_slot};
use crate::error::Error;
use crate::key::Pattern;

/// Where a scan has got to.
pub(crate) struct ScannedServers(Walk<Connector>);

impl Shared {
    /// The key of this namespace for what a program keeps by its own commands.
    pub(crate) fn own_key(&self, name: &str) -> String {
        self.keyspace.plain(&format!("x:{name}"))
    }

    /// What the slots of names that match a pattern match, for a scan.
    pub(crate) fn slots_glob(&self, pattern: &Pattern) -> String {
        self.keyspace.slots_glob(pattern)
    }

    /// Whether a key of the server is the slot of a name that matches a pattern.
    pub(crate) fn is_slot_of(&self, key: &[u8], pattern: &Pattern) -> bool {
        let name = self.keyspace.name_in_slot(key);
        // A cache tries a node by a slot without a name.
        name.is_some_and(|name| !name.is_empty() && pattern.matches_bytes(name))
    }

    /// Where the server is, without credentials.
    pub(crate) fn address(&self) -> &str {
        self.connector.address()
    }

    /// Whether all keys are where one command can have them.
    pub(crate) fn may_be_together<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> bool {
        let mut hash_slots = keys.map(hash_slot);
        let first = hash_slots.next();
        !self.connector.is_cluster() || hash_slots.all(|other| Some(other) == first)
    }

    /// Runs commands in one round trip, each at the server that has its key, and returns what each was
    /// answered. Each is sent once.
    pub(crate) async fn run_words(
        &self,
        commands: Vec<Words>,
    ) -> Result<Vec<Result<words::Reply, Error>>, Error> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let operations = commands.into_iter().map(Operation::Words).collect();
        let replies = self.connector.run_apart(operations).await?;
        let replies = replies.into_iter().map(|reply| match reply? {
            Reply::Words(Ok(reply)) => Ok(reply),
            Reply::Words(Err(Refused(error))) => Err(error),
            Reply::Elsewhere(elsewhere) => Err(elsewhere.error(self.connector.address())),
            _ => Err(self.no_answer()),
        });
        Ok(replies.collect())
    }

    /// Begins a scan of what is under one key, or of the keys of all servers.
    pub(crate) async fn begin_scan(&self, key: Option<&[u8]>) -> Result<ScannedServers, Error> {
        self.connector.begin_walk(key).await.map(ScannedServers)
    }

    /// Runs one command of a scan at the server that it has come to.
    pub(crate) async fn scan_on(
        &self,
        scanned: &mut ScannedServers,
        words: Words,
    ) -> Result<words::Reply, Error> {
        let until = self.connector.deadline_from(None);
        let reply = scanned.0.run(words, until).await?;
        reply.ok_or_else(|| self.no_answer())
    }

    /// Goes on to the next server. False if all were scanned.
    pub(crate) async fn scan_next(&self, scanned: &mut ScannedServers) -> Result<bool, Error> {
        if scanned.0.go_on() {
            return Ok(true);
        }
        self.connector.end_walk(&scanned.0).await.map(|()| false)
    }

    pub(super) fn no_answer(&self) -> Error {
        let reason = "its answer to a command makes no sense";
        Error::unavailable(self.connector.address(), &reason)
    }
}
