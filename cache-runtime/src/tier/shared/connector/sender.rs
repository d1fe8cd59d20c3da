//! How what the journal keeps is sent: over one connection, or to the nodes of a cluster.

use std::sync::Arc;
use std::time::Instant;

use super::Connector;
use super::remove::untold;
use crate::driver::{Connection, Operation};
use crate::error::Error;
use crate::join;
use crate::key::Key;
use crate::tier::shared::announcement::Message;
use crate::tier::shared::cluster::{Map, Nodes};
use crate::tier::shared::journal::Sender;
use crate::tier::shared::keyspace::Scans;
use crate::tier::shared::selection::Selection;

/// Sends what the journal keeps over one connection.
pub(super) struct ServerSender<'a> {
    connector: &'a Connector,
    connection: &'a Connection,
    /// Whether calls wait for the connection meanwhile.
    pub(super) is_waited_for: bool,
}

/// Sends what the journal keeps to the nodes of a cluster that can be reached.
pub(super) struct ClusterSender<'a> {
    pub(super) connector: &'a Arc<Connector>,
    pub(super) nodes: &'a Arc<Nodes<Connector>>,
}

impl Connector {
    pub(super) fn sender<'a>(&'a self, connection: &'a Connection) -> ServerSender<'a> {
        ServerSender {
            connector: self,
            connection,
            is_waited_for: false,
        }
    }
}

impl ServerSender<'_> {
    async fn run(&self, operations: &[Operation]) -> Result<(), Error> {
        let limit = self.connector.limits.operation;
        let sent = self.connection.run_within(operations, limit).await;
        sent.map(drop)
    }
}

impl Sender for ServerSender<'_> {
    fn window(&self) -> usize {
        self.connector.names_together()
    }

    async fn invalidate(&self, names: &[Key]) -> Result<Vec<usize>, Error> {
        let begun = Instant::now();
        let sent = self.run(&self.connector.keyspace.invalidate(names)).await;
        self.connector
            .measure(names.len(), begun, sent.as_ref().err());
        sent.map(|()| Vec::new())
    }

    async fn remove(
        &self,
        selection: &Selection,
        scans: &mut Scans,
        until: Instant,
    ) -> Result<(), Error> {
        let (keyspace, connection) = (&self.connector.keyspace, self.connection);
        // Where the server tells no epoch, a scan does not stop in time: the keeper does it.
        if self.is_waited_for && connection.epoch() == 0 {
            return Ok(());
        }
        let pages = self.connector.pages(&untold);
        let scan = scans.at(connection.epoch());
        let removed = keyspace.remove(connection, 0, &pages, selection, scan, Some(until));
        if removed.await? {
            scans.finish();
        }
        Ok(())
    }

    async fn publish(&self, message: &Message) -> Result<(), Error> {
        self.run(&[self.connector.keyspace.publish(message)]).await
    }
}

impl ClusterSender<'_> {
    fn map(&self) -> Result<Arc<Map<Connector>>, Error> {
        self.nodes.current().ok_or_else(|| {
            let failure = self.nodes.failure();
            failure.unwrap_or_else(|| self.connector.no_such_server())
        })
    }
}

impl Sender for ClusterSender<'_> {
    fn window(&self) -> usize {
        self.connector.names_together()
    }

    async fn invalidate(&self, names: &[Key]) -> Result<Vec<usize>, Error> {
        self.map()?;
        let failed = self.connector.invalidate_some(self.nodes, names).await;
        Ok(failed.into_iter().map(|(at, _)| at).collect())
    }

    async fn remove(
        &self,
        selection: &Selection,
        scans: &mut Scans,
        until: Instant,
    ) -> Result<(), Error> {
        let map = self.map()?;
        scans.of_cluster(map.ranges());
        let mut is_done = true;
        for primary in map.primaries() {
            let node = &primary.server.node;
            // Connects, if that is needed and the breaker allows it.
            let ping = [Operation::Ping];
            let asked = node.send(&ping[..], self.connector.deadline_from(None));
            let Ok((connection, _)) = asked.await else {
                is_done = false;
                continue;
            };
            let keyspace = &self.connector.keyspace;
            let pages = self.connector.pages(&untold);
            let begun = Instant::now();
            let (trial, scan) = (primary.trial, scans.at(connection.epoch()));
            let removed = keyspace.remove(&connection, trial, &pages, selection, scan, Some(until));
            let removed = removed.await;
            is_done &= node
                .judge(begun, Some(&connection), 1, removed)
                .unwrap_or(false);
        }
        if is_done && scans.end_round() && self.connector.is_still_so(self.nodes, &map).await? {
            scans.finish();
        }
        Ok(())
    }

    /// To each node that can be reached: only what comes from a node itself comes before the node's
    /// answers to later reads.
    async fn publish(&self, message: &Message) -> Result<(), Error> {
        let map = self.map()?;
        let limit = self.connector.limits.operation;
        let published = map.primaries().iter().map(async |primary| {
            let node = &primary.server.node;
            match node.current(node.runtime()?) {
                Some(connection) => {
                    let publish = [self.connector.keyspace.publish(message)];
                    connection.run_within(&publish, limit).await.map(drop)
                }
                None => Ok(()),
            }
        });
        join::all(published).await.into_iter().collect()
    }
}
