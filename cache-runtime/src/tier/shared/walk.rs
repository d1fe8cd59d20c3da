//! A walk from server to server, for scans of a program.

use std::sync::Arc;
use std::time::Instant;

use super::cluster::Map;
use super::node::{Node, Owner};
use crate::driver::words::{self, Refused, Words};
use crate::driver::{Connection, Operation, Reply};
use crate::error::Error;

/// Where a walk has got to.
pub(crate) struct Walk<O: Owner> {
    /// The servers that are left. The last one is the current one.
    left: Vec<Arc<Node<O>>>,
    /// In a cluster, which node had which hash slots when a walk through all nodes began.
    before: Option<Arc<Map<O>>>,
    /// The connection to the current server, once it has answered.
    asked: Option<Arc<Connection>>,
}

impl<O: Owner> Walk<O> {
    /// To one server.
    pub(super) fn to(node: &Arc<Node<O>>) -> Self {
        Self {
            left: vec![node.clone()],
            before: None,
            asked: None,
        }
    }

    /// Through all nodes of a cluster.
    pub(super) fn through(map: Arc<Map<O>>) -> Self {
        let primaries = map.primaries().iter().rev();
        Self {
            left: primaries
                .map(|primary| primary.server.node.clone())
                .collect(),
            before: Some(map),
            asked: None,
        }
    }

    pub(super) fn before(&self) -> Option<&Arc<Map<O>>> {
        self.before.as_ref()
    }

    /// Goes on to the next server. False if there is none.
    pub(super) fn go_on(&mut self) -> bool {
        self.left.pop();
        self.asked = None;
        !self.left.is_empty()
    }

    /// Runs a command at the current server. A cursor is worth nothing to another server than the one that
    /// gave it, so it fails if that has been replaced.
    pub(super) async fn run(
        &mut self,
        words: Words,
        until: Instant,
    ) -> Result<Option<words::Reply>, Error> {
        let Some(node) = self.left.last() else {
            return Ok(None);
        };
        let (connection, replies) = node.send(&[Operation::Words(words)][..], until).await?;
        // A server that tells no epoch may be another one behind each new connection.
        let is_same = |was: &Arc<Connection>| match was.epoch() {
            0 => Arc::ptr_eq(was, &connection),
            epoch => epoch == connection.epoch(),
        };
        let is_other = self.asked.as_ref().is_some_and(|was| !is_same(was));
        self.asked = Some(connection);
        if is_other {
            let reason = "it was restarted or replaced while it was scanned; begin the scan anew";
            return Err(Error::unavailable(node.address(), &reason));
        }
        match replies.into_iter().next() {
            Some(Reply::Words(Ok(reply))) => Ok(Some(reply)),
            Some(Reply::Words(Err(Refused(error)))) => Err(error),
            Some(Reply::Elsewhere(elsewhere)) => Err(elsewhere.error(node.address())),
            _ => Ok(None),
        }
    }
}
