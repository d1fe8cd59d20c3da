//! A walk from server to server, for scans of a program.

use std::sync::Arc;
use std::time::Instant;

use super::cluster::Map;
use super::node::{Node, Owner};
use crate::driver::words::{self, Refused, Words};
use crate::driver::{Operation, Reply};
use crate::error::Error;

/// Where a walk has got to.
pub(crate) struct Walk<O: Owner> {
    /// The servers that are left. The last one is the current one.
    left: Vec<Arc<Node<O>>>,
    /// In a cluster, which node had which hash slots when a walk through all nodes began.
    before: Option<Arc<Map<O>>>,
    /// The current server, once it has answered.
    epoch: Option<u64>,
}

impl<O: Owner> Walk<O> {
    /// To one server.
    pub(super) fn to(node: &Arc<Node<O>>) -> Self {
        Self {
            left: vec![node.clone()],
            before: None,
            epoch: None,
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
            epoch: None,
        }
    }

    pub(super) fn before(&self) -> Option<&Arc<Map<O>>> {
        self.before.as_ref()
    }

    /// Goes on to the next server. False if there is none.
    pub(super) fn go_on(&mut self) -> bool {
        self.left.pop();
        self.epoch = None;
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
        let epoch = connection.epoch();
        if self.epoch.replace(epoch).is_some_and(|was| was != epoch) {
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
