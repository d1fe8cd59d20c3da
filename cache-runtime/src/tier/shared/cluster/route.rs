//! How a request finds its nodes, and where it goes on when one leaves a key to another.
//!
//! A hash slot that has moved as a whole is asked for once more, at its new node. One that is on its way
//! from one node to another is a matter of each of its keys: the old node has it (and answers), or says
//! that the new one might. What invalidates, fences and gives back follows to the new node; nothing
//! is read or stored there yet. Were the move given up, what was stored there would be left behind,
//! and an old entry could come back with the next move.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::{Map, Nodes, Server};
use crate::driver::{Connection, Elsewhere, NodeAddress, Operation, ReadKeys, Reply, hash_slot};
use crate::error::Error;
use crate::join;
use crate::sabotage::{self, Rule};
use crate::tier::shared::entry::{SharedDecode, Version};
use crate::tier::shared::node::{Asking, Owner};
use crate::tier::shared::witness::{Looked, Witness};

/// The answer of a node to one operation.
#[derive(Debug)]
pub(in crate::tier::shared) struct Told {
    hash_slot: u16,
    connection: Arc<Connection>,
    pub(in crate::tier::shared) reply: Reply,
}

/// Where an operation is to go on.
#[derive(Clone, Copy, PartialEq)]
enum Follow {
    /// To where its hash slot has moved, and to where its key may be on its way to.
    All,
    /// To where its hash slot has moved.
    Moved,
    /// Nowhere.
    None,
}

/// The keys of one look that one node has.
struct Part<'a, O: Owner> {
    server: &'a Arc<Server<O>>,
    /// Which keys of the look these are.
    indices: Vec<usize>,
    keys: ReadKeys,
}

/// A slot, the place of its decoded value, versions, and the connection of each key.
type Parts = (
    Option<Bytes>,
    Option<SharedDecode>,
    Arc<[Version]>,
    Vec<Arc<Connection>>,
);

/// Operations of one request for one node.
struct Group<O: Owner> {
    server: Arc<Server<O>>,
    /// The connection of an earlier answer, if it is to be that.
    over: Option<Arc<Connection>>,
    /// Whether the keys are on their way to the node.
    is_asking: bool,
    /// Which operations of the request these are.
    indices: Vec<usize>,
    operations: Vec<Operation>,
}

impl<O: Owner> Group<O> {
    async fn send(&self, until: Instant) -> Result<(Arc<Connection>, Vec<Reply>), Error> {
        let node = &self.server.node;
        match &self.over {
            Some(connection) => {
                let replies = node.send_to(connection, &*self.operations, until).await?;
                Ok((connection.clone(), replies))
            }
            None if self.is_asking => node.send(&Asking(&self.operations), until).await,
            None => node.send(&*self.operations, until).await,
        }
    }
}

/// Adds an operation to the group of its node.
fn add<O: Owner>(
    groups: &mut Vec<Group<O>>,
    server: &Arc<Server<O>>,
    over: Option<&Arc<Connection>>,
    is_asking: bool,
    (index, operation): (usize, Operation),
) {
    let is_it = |group: &&mut Group<O>| {
        Arc::ptr_eq(&group.server, server)
            && group.is_asking == is_asking
            && group.over.as_ref().map(Arc::as_ptr) == over.map(Arc::as_ptr)
    };
    if let Some(group) = groups.iter_mut().find(is_it) {
        group.indices.push(index);
        group.operations.push(operation);
    } else {
        groups.push(Group {
            server: server.clone(),
            over: over.cloned(),
            is_asking,
            indices: vec![index],
            operations: vec![operation],
        });
    }
}

impl<O: Owner> Nodes<O> {
    /// Reads a slot and versions, each at its node. If one of them has moved, reads all of them once more.
    pub(in crate::tier::shared) async fn look(
        self: &Arc<Self>,
        keys: ReadKeys,
        until: Option<Instant>,
    ) -> Result<Looked, Error> {
        let deadline = until.unwrap_or_else(|| self.deadline());
        let map = self.map(deadline).await?;
        let error = match self.look_by(&map, &keys, until).await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        self.note(&error);
        let Some((host, port)) = error.moved_to().filter(|_| sabotage::keeps(Rule::Moved)) else {
            return Err(error);
        };
        let moved_to = NodeAddress::new(host, port);
        self.ask_again(Some(moved_to), deadline).await;
        let map = self.map(deadline).await?;
        self.look_by(&map, &keys, Some(deadline)).await
    }

    async fn look_by(
        &self,
        map: &Map<O>,
        keys: &ReadKeys,
        until: Option<Instant>,
    ) -> Result<Looked, Error> {
        let server_of = |key: &[u8]| {
            let hash_slot = hash_slot(key);
            let server = map.server_of(hash_slot);
            let server = server.ok_or_else(|| self.unserved(hash_slot))?;
            Ok::<_, Error>((hash_slot, server))
        };
        let (_, first) = server_of(keys.first())?;
        let is_on_first = |key| server_of(key).is_ok_and(|(_, it)| Arc::ptr_eq(it, first));
        if keys.iter().skip(1).all(is_on_first) {
            let found = first.reads.read_until(keys.clone(), until).await?;
            return Ok(Looked::from(found));
        }
        let mut parts: Vec<Part<'_, O>> = Vec::new();
        let mut hash_slots = Vec::with_capacity(keys.len());
        for (index, key) in keys.iter().enumerate() {
            let (hash_slot, server) = server_of(key)?;
            hash_slots.push(hash_slot);
            let mut known = parts.iter_mut();
            if let Some(part) = known.find(|part| Arc::ptr_eq(part.server, server)) {
                part.indices.push(index);
                part.keys.push(key);
            } else {
                let mut part = Part {
                    server,
                    indices: vec![index],
                    keys: ReadKeys::with_capacity(keys.packed_len()),
                };
                part.keys.push(key);
                parts.push(part);
            }
        }
        let (slot, shared_decode, versions, nodes) = read_parts(parts, keys.len(), until).await?;
        let nodes = hash_slots.into_iter().zip(nodes);
        Ok(Looked {
            slot,
            shared_decode,
            versions,
            witness: Witness::Nodes(nodes.collect()),
        })
    }

    /// Reads keys, each at its node.
    pub(in crate::tier::shared) async fn read(
        self: &Arc<Self>,
        keys: &ReadKeys,
        until: Instant,
    ) -> Result<(Witness, Vec<Option<Bytes>>), Error> {
        let reads = keys.iter().map(|key| {
            let key = String::from_utf8_lossy(key).into_owned();
            Operation::Read { key }
        });
        let told = self.run_each(reads.collect(), until, Follow::Moved).await;
        let (witness, replies) = together(told)?;
        let values = replies.into_iter().map(|reply| match reply {
            Reply::List(values) => values.into_iter().next().and_then(Reply::bytes),
            _ => None,
        });
        Ok((
            witness,
            values.map(|value| value.map(Bytes::from)).collect(),
        ))
    }

    /// Runs operations, each at the node that has its key or is about to get it, and returns the first
    /// error.
    pub(in crate::tier::shared) async fn run(
        self: &Arc<Self>,
        operations: Vec<Operation>,
        until: Instant,
    ) -> Result<(Witness, Vec<Reply>), Error> {
        together(self.run_each(operations, until, Follow::All).await)
    }

    /// Runs operations by which something is stored, each at the node that has its key.
    pub(in crate::tier::shared) async fn run_to_store(
        self: &Arc<Self>,
        operations: Vec<Operation>,
        until: Instant,
    ) -> Result<(Witness, Vec<Reply>), Error> {
        together(self.run_each(operations, until, Follow::Moved).await)
    }

    /// Runs operations, each at the node that has its key or is about to get it, and returns what became of
    /// each.
    pub(in crate::tier::shared) async fn run_apart(
        self: &Arc<Self>,
        operations: Vec<Operation>,
        until: Instant,
    ) -> Vec<Result<Told, Error>> {
        self.run_each(operations, until, Follow::All).await
    }

    /// Runs operations over the connections of an earlier answer.
    pub(in crate::tier::shared) async fn run_over(
        self: &Arc<Self>,
        witness: &Witness,
        operations: Vec<Operation>,
        until: Instant,
    ) -> Result<Vec<Reply>, Error> {
        let count = operations.len();
        let mut groups = Vec::new();
        for (index, operation) in operations.into_iter().enumerate() {
            let hash_slot = slot_of(&operation);
            let connection = witness.node(hash_slot);
            let server = connection.and_then(|it| Some((it, self.server_named(it.address())?)));
            let Some((connection, server)) = server else {
                let reason = "the node that has answered for this key is none of the cluster's now";
                return Err(Error::unavailable(self.address(), &reason));
            };
            add(
                &mut groups,
                &server,
                Some(connection),
                false,
                (index, operation),
            );
        }
        let told = self.run_groups(groups, count, until, Follow::None).await;
        let (_, replies) = together(told)?;
        Ok(replies)
    }

    async fn run_each(
        self: &Arc<Self>,
        operations: Vec<Operation>,
        until: Instant,
        follow: Follow,
    ) -> Vec<Result<Told, Error>> {
        let count = operations.len();
        let map = match self.map(until).await {
            Ok(map) => map,
            Err(error) => return (0..count).map(|_| Err(error.clone())).collect(),
        };
        let mut groups = Vec::new();
        let mut unserved = Vec::new();
        for (index, operation) in operations.into_iter().enumerate() {
            let hash_slot = slot_of(&operation);
            match map.server_of(hash_slot) {
                Some(server) => add(&mut groups, server, None, false, (index, operation)),
                None => unserved.push((index, self.unserved(hash_slot))),
            }
        }
        let mut told = self.run_groups(groups, count, until, follow).await;
        for (index, error) in unserved {
            self.note(&error);
            told[index] = Err(error);
        }
        told
    }

    /// Sends the groups at once, and once more what is to be followed. Returns the answers in the order
    /// of the operations.
    async fn run_groups(
        self: &Arc<Self>,
        mut groups: Vec<Group<O>>,
        count: usize,
        until: Instant,
        follow: Follow,
    ) -> Vec<Result<Told, Error>> {
        let mut all: Vec<Option<Result<Told, Error>>> = (0..count).map(|_| None).collect();
        let mut may_follow = follow != Follow::None && sabotage::keeps(Rule::Moved);
        while !groups.is_empty() {
            let answers = join::all(groups.iter().map(|group| group.send(until))).await;
            let mut next = Vec::new();
            for (group, answer) in groups.into_iter().zip(answers) {
                let (connection, replies) = match answer {
                    Ok(answer) => answer,
                    Err(error) => {
                        self.note(&error);
                        for index in group.indices {
                            all[index] = Some(Err(error.clone()));
                        }
                        continue;
                    }
                };
                let operations = group.indices.into_iter().zip(group.operations);
                for ((index, operation), reply) in operations.zip(replies) {
                    let Reply::Elsewhere(elsewhere) = reply else {
                        all[index] = Some(Ok(Told {
                            hash_slot: slot_of(&operation),
                            connection: connection.clone(),
                            reply,
                        }));
                        continue;
                    };
                    let error = elsewhere.error(connection.address());
                    self.note(&error);
                    let (node, is_asking) = match elsewhere {
                        Elsewhere::Moved(node) if may_follow => (node, false),
                        Elsewhere::Ask(node) if may_follow && follow == Follow::All => (node, true),
                        _ => {
                            all[index] = Some(Err(error));
                            continue;
                        }
                    };
                    match self.server_at(&node) {
                        Ok(server) => {
                            add(&mut next, &server, None, is_asking, (index, operation));
                        }
                        Err(error) => all[index] = Some(Err(error)),
                    }
                }
            }
            groups = next;
            may_follow = false;
        }
        let unanswered = || Error::unavailable(self.address(), &"a node left out an answer");
        let all = all.into_iter();
        all.map(|told| told.unwrap_or_else(|| Err(unanswered())))
            .collect()
    }

    /// An error may mean that hash slots have moved, or that a node has failed and others take its place.
    fn note(self: &Arc<Self>, error: &Error) {
        if error.is_unavailable() || error.is_read_only() {
            let moved_to = error.moved_to();
            self.begin_to_ask(moved_to.map(|(host, port)| NodeAddress::new(host, port)));
        }
    }

    pub(in crate::tier::shared) fn unserved(&self, hash_slot: u16) -> Error {
        let reason = format!("no node has the hash slot {hash_slot}");
        Error::unavailable(self.address(), &reason)
    }
}

/// Reads the parts of one look at the same time: its slot and versions, and the connection of each key.
async fn read_parts<O: Owner>(
    parts: Vec<Part<'_, O>>,
    keys: usize,
    until: Option<Instant>,
) -> Result<Parts, Error> {
    let (indices, reads): (Vec<_>, Vec<_>) = parts
        .into_iter()
        .map(|part| (part.indices, part.server.reads.read_until(part.keys, until)))
        .unzip();
    let mut slot = None;
    let mut shared_decode = None;
    let mut versions = vec![Version::Absent; keys - 1];
    let mut nodes: Vec<Option<Arc<Connection>>> = vec![None; keys];
    for (indices, found) in indices.into_iter().zip(join::all(reads).await) {
        let found = found?;
        for &index in &indices {
            nodes[index] = Some(found.connection.clone());
        }
        // A read has its first key apart from the others, whether that is a slot or a version.
        match indices[0] {
            0 => (slot, shared_decode) = (found.slot, found.shared_decode),
            version => versions[version - 1] = Version::read(found.slot.as_deref()),
        }
        for (&index, version) in indices[1..].iter().zip(&*found.versions) {
            versions[index - 1] = *version;
        }
    }
    let nodes = nodes.into_iter().flatten().collect();
    Ok((slot, shared_decode, versions.into(), nodes))
}

/// What all operations were answered, or the first error.
fn together(told: Vec<Result<Told, Error>>) -> Result<(Witness, Vec<Reply>), Error> {
    let told: Vec<Told> = told.into_iter().collect::<Result<_, _>>()?;
    let nodes = told
        .iter()
        .map(|told| (told.hash_slot, told.connection.clone()));
    let witness = Witness::Nodes(nodes.collect());
    Ok((witness, told.into_iter().map(|told| told.reply).collect()))
}

fn slot_of(operation: &Operation) -> u16 {
    operation.key().map_or(0, hash_slot)
}
