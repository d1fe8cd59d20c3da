//! What a look has found, and which servers answered.

use std::sync::Arc;

use bytes::Bytes;

use super::batch::SlotRead;
use super::entry::{SharedDecode, Version};
use crate::driver::{Connection, Hearing, ServerClock};
use crate::sabotage::{self, Rule};

/// The connections that an answer came over. What belongs to that answer is sent to the same servers.
#[derive(Debug, Clone)]
pub(crate) enum Witness {
    /// One server, or one node of a cluster, answered all of it.
    Server(Arc<Connection>),
    /// Nodes of a cluster: for each key, in the order in which they were asked for, its hash slot and
    /// the connection. The first key is that of a slot, the others are those of versions.
    Nodes(Arc<[(u16, Arc<Connection>)]>),
}

/// What a look at a slot and versions has found.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) slot: Option<Bytes>,
    /// Set where other callers of the batch got the same slot.
    pub(super) shared_decode: Option<SharedDecode>,
    /// In the order in which they were asked for.
    pub(super) versions: Arc<[Version]>,
    pub(super) witness: Witness,
}

impl From<SlotRead<Connection>> for Looked {
    fn from(found: SlotRead<Connection>) -> Self {
        Self {
            slot: found.slot,
            shared_decode: found.shared_decode,
            versions: found.versions,
            witness: Witness::Server(found.connection),
        }
    }
}

impl Witness {
    /// The epoch of the server of the slot. Leases say it.
    pub(super) fn slot_epoch(&self) -> u64 {
        match self {
            Self::Server(connection) => connection.epoch(),
            Self::Nodes(nodes) => nodes.first().map_or(0, |(_, node)| node.epoch()),
        }
    }

    /// The epoch of all servers that answered. Entries say it. If any of these servers is another
    /// one than when the entry was written, the entry is not served: that other server may have
    /// brought an old entry back, or an old version. Where all are one server, it is that server's.
    pub(super) fn epoch(&self) -> u64 {
        let slot = self.slot_epoch();
        match self {
            Self::Nodes(nodes) if sabotage::keeps(Rule::ClusterEpochs) => {
                together(slot, nodes.iter().skip(1).map(|(_, node)| node.epoch()))
            }
            Self::Server(_) | Self::Nodes(_) => slot,
        }
    }

    /// The epoch of the servers of the slot and of some of the versions, in this order.
    pub(super) fn epoch_with(&self, versions: impl Iterator<Item = usize> + Clone) -> u64 {
        let slot = self.slot_epoch();
        match self {
            Self::Nodes(nodes) if sabotage::keeps(Rule::ClusterEpochs) => together(
                slot,
                versions.filter_map(|at| Some(nodes.get(at + 1)?.1.epoch())),
            ),
            Self::Server(_) | Self::Nodes(_) => slot,
        }
    }

    /// What time the server of the slot has, in milliseconds since 1970. Entries say when they were
    /// created by it.
    pub(super) fn now(&self) -> u64 {
        let clock = match self {
            Self::Server(connection) => connection.clock(),
            Self::Nodes(nodes) => nodes
                .first()
                .map_or(ServerClock::UNTOLD, |(_, node)| node.clock()),
        };
        clock.now()
    }

    /// The connection that is of a kind that hears nothing, if there is one.
    pub(super) fn deaf(&self) -> Option<&Arc<Connection>> {
        self.connections().find(|connection| connection.is_deaf())
    }

    /// Whether one of the connections hears nothing, and never will.
    pub(super) fn never_hears(&self) -> bool {
        let is_deaf = |it: &Arc<Connection>| it.hearing().is_none_or(Hearing::is_refused);
        self.connections().any(is_deaf)
    }

    /// The connections that answered. In a cluster, one may be named several times.
    pub(super) fn connections(&self) -> impl Iterator<Item = &Arc<Connection>> {
        let (one, nodes) = match self {
            Self::Server(connection) => (Some(connection), None),
            Self::Nodes(nodes) => (None, Some(nodes.iter().map(|(_, node)| node))),
        };
        one.into_iter().chain(nodes.into_iter().flatten())
    }

    /// The part that answered for the slot.
    pub(super) fn of_slot(&self) -> Self {
        match self {
            Self::Server(connection) => Self::Server(connection.clone()),
            Self::Nodes(nodes) => Self::Nodes(nodes.iter().take(1).cloned().collect()),
        }
    }

    /// The connection over which a hash slot was answered.
    pub(super) fn node(&self, hash_slot: u16) -> Option<&Arc<Connection>> {
        match self {
            Self::Server(connection) => Some(connection),
            Self::Nodes(nodes) => {
                let mut nodes = nodes.iter();
                nodes.find_map(|(of, node)| (*of == hash_slot).then_some(node))
            }
        }
    }

    /// Adds something to the group that is asked for over the same connections, or begins a group.
    pub(super) fn group<T>(groups: &mut Vec<(Self, Vec<T>)>, witness: &Self, member: T) {
        for (of_all, members) in groups.iter_mut() {
            if let Some(joined) = of_all.joined(witness) {
                *of_all = joined;
                members.push(member);
                return;
            }
        }
        groups.push((witness.clone(), vec![member]));
    }

    /// What answered for both; `None` if one request cannot go to both. No hash slot has two
    /// connections.
    fn joined(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Server(one), Self::Server(other)) => {
                Arc::ptr_eq(one, other).then(|| self.clone())
            }
            (Self::Nodes(one), Self::Nodes(others)) => {
                let mut all = one.to_vec();
                for (hash_slot, node) in others.iter() {
                    match self.node(*hash_slot) {
                        Some(known) if Arc::ptr_eq(known, node) => {}
                        Some(_) => return None,
                        None => all.push((*hash_slot, node.clone())),
                    }
                }
                Some(Self::Nodes(all.into()))
            }
            (Self::Server(_), Self::Nodes(_)) | (Self::Nodes(_), Self::Server(_)) => None,
        }
    }

    /// This witness, of a slot in this hash slot, with what answered for further keys.
    pub(super) fn with_further(self, slot: u16, further: Self) -> Self {
        let one = |witness: Self, hash_slot| match witness {
            Self::Server(connection) => Arc::from([(hash_slot, connection)]),
            Self::Nodes(nodes) => nodes,
        };
        let all = [one(self, slot), one(further, slot)];
        Self::Nodes(all.iter().flat_map(|nodes| nodes.iter().cloned()).collect())
    }
}

/// One number for the epochs of a slot's server and of its versions' servers, in their order.
fn together(slot: u64, mut versions: impl Iterator<Item = u64> + Clone) -> u64 {
    /// Odd, so that no two numbers have the same product: the golden ratio.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    if versions.clone().all(|epoch| epoch == slot) {
        return slot;
    }
    versions.by_ref().fold(slot, |hash, epoch| {
        (hash.rotate_left(5) ^ epoch).wrapping_mul(SPREAD)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epochs_of_several_servers_tell_each_of_them_apart() {
        let of = |epochs: [u64; 3]| together(epochs[0], epochs[1..].iter().copied());
        assert_eq!(of([7, 7, 7]), 7);
        let others = [
            [7, 8, 9],
            [7, 9, 8],
            [8, 7, 9],
            [9, 9, 7],
            [7, 9, 7],
            [7, 7, 9],
        ];
        for one in others {
            assert_ne!(of(one), 7);
            for other in others {
                assert_eq!(of(one) == of(other), one == other, "{one:?} {other:?}");
            }
        }
    }
}
