//! What is done at every server: everything that is selected is removed, or the server is asked whether it
//! is there.

use std::sync::Arc;
use std::time::Instant;

use super::{Connector, Place};
use crate::driver::Operation;
use crate::error::Error;
use crate::join;
use crate::removal::Removal;
use crate::tier::shared::cluster::{Map, Nodes, Server};
use crate::tier::shared::keyspace::{Pages, ROUNDS, Scan};
use crate::tier::shared::selection::Selection;

/// How often a removal from all nodes of a cluster is begun anew because hash slots have moved meanwhile.
const TRIES: usize = 5;

/// What is removed.
#[derive(Clone, Copy)]
enum Removed<'a, 'r> {
    Everything,
    Selected(&'a Selection, &'a Removal<'r>),
}

impl Connector {
    /// Removes everything in the namespace.
    pub(in crate::tier::shared) async fn clear(self: &Arc<Self>) -> Result<(), Error> {
        self.remove_everywhere(Removed::Everything).await
    }

    /// Removes what is selected from all servers.
    pub(in crate::tier::shared) async fn remove(
        self: &Arc<Self>,
        selection: &Selection,
        removal: &Removal<'_>,
    ) -> Result<(), Error> {
        self.remove_everywhere(Removed::Selected(selection, removal))
            .await
    }

    async fn remove_everywhere(self: &Arc<Self>, what: Removed<'_, '_>) -> Result<(), Error> {
        let nodes = match &self.place {
            Place::Server(server) => return self.remove_from(server, 0, what).await,
            Place::Cluster(nodes) => nodes,
        };
        for _ in 0..TRIES {
            let before = nodes.map(self.deadline_from(None)).await?;
            let mut has_moved = false;
            for _ in 0..ROUNDS {
                let primaries = before.primaries().iter();
                let removed =
                    primaries.map(|primary| self.remove_from(&primary.server, primary.trial, what));
                for removed in join::all(removed).await {
                    match removed {
                        Err(error) if error.is_elsewhere() => has_moved = true,
                        removed => removed?,
                    }
                }
            }
            if self.is_still_so(nodes, &before).await? && !has_moved {
                return Ok(());
            }
        }
        let reason = "hash slots are being moved";
        Err(Error::unavailable(self.address(), &reason))
    }

    /// Over one connection.
    async fn remove_from(
        &self,
        server: &Server<Self>,
        trial: u32,
        what: Removed<'_, '_>,
    ) -> Result<(), Error> {
        let begun = Instant::now();
        let until = self.deadline_from(None);
        let ping = [Operation::Ping];
        let (connection, _) = server.node.send(&ping[..], until).await?;
        let (keyspace, connected) = (&self.keyspace, &connection);
        let removed = match what {
            Removed::Everything => {
                let pages = self.pages(&untold);
                keyspace.clear(connected, trial, &pages).await
            }
            Removed::Selected(selection, removal) => {
                let tell = |looked_at, entries| removal.add(looked_at, entries);
                let (pages, mut scan) = (self.pages(&tell), Scan::default());
                let removed = keyspace.remove(connected, trial, &pages, selection, &mut scan, None);
                removed.await.map(drop)
            }
        };
        server.node.judge(begun, Some(&connection), 1, removed)
    }

    /// Whether nodes have the hash slots that they had. What has moved to a node after its keys were
    /// listed is still there.
    pub(super) async fn is_still_so(
        self: &Arc<Self>,
        nodes: &Arc<Nodes<Self>>,
        before: &Map<Self>,
    ) -> Result<bool, Error> {
        nodes.ask_again(None, self.deadline_from(None)).await;
        let after = nodes.map(self.deadline_from(None)).await?;
        Ok(after.agrees_with(before))
    }

    /// Asks each server now, even if its breaker is open.
    pub(in crate::tier::shared) async fn ping(self: &Arc<Self>) -> Result<(), Error> {
        match &self.place {
            Place::Server(server) => self.ping_one(server, 0).await,
            Place::Cluster(nodes) => {
                nodes.ask_again(None, self.deadline_from(None)).await;
                let map = nodes.map(self.deadline_from(None)).await?;
                let primaries = map.primaries().iter();
                let pings = primaries.map(|primary| self.ping_one(&primary.server, primary.trial));
                join::all(pings).await.into_iter().collect()
            }
        }
    }

    async fn ping_one(&self, server: &Server<Self>, trial: u32) -> Result<(), Error> {
        let node = &server.node;
        if let Some(connection) = node.current(node.runtime()?) {
            let begun = Instant::now();
            let checked = self.check(&connection, trial).await;
            match node.judge(begun, Some(&connection), 1, checked) {
                Err(error) if error.is_unavailable() => {}
                result => return result,
            }
        }
        let connection = node.connect().await?;
        self.check(&connection, trial).await
    }

    pub(super) fn pages<'a>(&'a self, tell: &'a (dyn Fn(u64, u64) + Sync)) -> Pages<'a> {
        Pages {
            window: &self.keys,
            limit: self.limits.operation,
            tell,
        }
    }
}

/// No caller asks how far a removal has got.
pub(super) fn untold(_looked_at: u64, _entries: u64) {}
