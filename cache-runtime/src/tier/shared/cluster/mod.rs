//! The nodes of a cluster, and which of them has which keys.
//!
//! Each primary is a [`Node`], with connections, a breaker and batched reads of its own: what one of
//! them fails to do concerns its keys only. Which primary has which hash slot is asked of several
//! nodes at once when the first call comes, when a node leaves a key to another one, and, by the keeper
//! task, for as long as a node is away. Of their answers, the one with the latest epoch of the cluster is
//! taken. A node that was cut off or frozen meanwhile still says that it has its hash slots. So
//! an answer from an earlier epoch than the one that is known is not taken, unless all nodes
//! that were asked agree on it.

mod route;

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::batch::BatchedReads;
use super::breaker::Limits;
use super::journal::Journal;
use super::keyspace::Keyspace;
use super::node::{Node, Owner};
use crate::clock;
use crate::driver::{Cluster, HASH_SLOTS, NodeAddress, SlotRanges, hash_slot};
use crate::error::Error;
use crate::health::Status;
use crate::inspection::ServerState;
use crate::join;
use crate::observe::Observer;
use crate::sabotage::{self, Rule};

/// The most nodes that are asked at once.
const MOST_ASKED: usize = 4;

/// How long the other nodes' answers are waited for, after the first.
const GRACE: Duration = Duration::from_millis(20);

/// The shortest time between two times that the nodes are asked.
const LEAST_PAUSE: Duration = Duration::from_millis(10);

/// No node has this hash slot.
const NONE: u16 = u16::MAX;

pub(super) struct Nodes<O: Owner> {
    cluster: Cluster,
    limits: Limits,
    keyspace: Keyspace,
    owner: Weak<O>,
    journal: Arc<Journal>,
    observer: Observer,
    known: Mutex<Known<O>>,
    /// How often nodes were asked: other ones each time.
    turns: AtomicUsize,
}

/// A server, and how it is read from.
pub(super) struct Server<O: Owner> {
    pub(super) node: Arc<Node<O>>,
    pub(super) reads: BatchedReads<Node<O>>,
}

/// Which primary has which hash slot.
pub(super) struct Map<O: Owner> {
    told: SlotRanges,
    primaries: Vec<Primary<O>>,
    /// The index of the primary of each hash slot.
    of_slots: Box<[u16]>,
}

/// A primary of the cluster.
pub(super) struct Primary<O: Owner> {
    pub(super) server: Arc<Server<O>>,
    /// The number of a key for trials that is in one of its hash slots.
    pub(super) trial: u32,
}

struct Known<O: Owner> {
    map: Option<Arc<Map<O>>>,
    /// Primaries, and nodes that a key was left to.
    servers: ByAddress<O>,
    /// The attempt to get a map that runs, and since when.
    asking: Option<(Asking, Instant)>,
    asked: Option<Instant>,
    /// Why the last attempt failed.
    failure: Option<Error>,
}

type ByAddress<O> = HashMap<NodeAddress, Arc<Server<O>>>;

/// A map, and the servers in it.
type Chart<O> = (Map<O>, ByAddress<O>);

/// An attempt to get a map: its task sends true when it has ended.
type Asking = watch::Receiver<bool>;

impl<O: Owner> Server<O> {
    pub(super) fn new(node: Node<O>) -> Self {
        let node = Arc::new(node);
        Self {
            reads: BatchedReads::new(node.clone()),
            node,
        }
    }
}

impl<O: Owner> Map<O> {
    /// The server of a key; `None` if no node has its hash slot.
    pub(super) fn server_of(&self, hash_slot: u16) -> Option<&Arc<Server<O>>> {
        let index = *self.of_slots.get(usize::from(hash_slot))?;
        let primary = self.primaries.get(usize::from(index))?;
        Some(&primary.server)
    }

    pub(super) fn primaries(&self) -> &[Primary<O>] {
        &self.primaries
    }

    /// The first and the last hash slot of each range, and their primary.
    pub(super) fn ranges(&self) -> &Vec<(u16, u16, NodeAddress)> {
        &self.told.ranges
    }

    /// Whether it says the same as another one.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        self.told.ranges == other.told.ranges
    }
}

impl<O: Owner> Nodes<O> {
    pub(super) fn new(
        cluster: Cluster,
        limits: Limits,
        keyspace: Keyspace,
        owner: Weak<O>,
        journal: Arc<Journal>,
        observer: Observer,
    ) -> Self {
        Self {
            cluster,
            limits,
            keyspace,
            owner,
            journal,
            observer,
            known: Mutex::new(Known {
                map: None,
                servers: HashMap::new(),
                asking: None,
                asked: None,
                failure: None,
            }),
            turns: AtomicUsize::new(0),
        }
    }

    pub(super) fn address(&self) -> &str {
        self.cluster.address()
    }

    /// The map, if there is one.
    pub(super) fn current(&self) -> Option<Arc<Map<O>>> {
        self.lock().map.clone()
    }

    /// Why there is no map, if an attempt to get one has failed.
    pub(super) fn failure(&self) -> Option<Error> {
        let known = self.lock();
        known.failure.clone().filter(|_| known.map.is_none())
    }

    /// The map; if there is none, waits for one, at most until then. Where the last attempt to get one
    /// failed, this fails at once: the keeper tries again.
    pub(super) async fn map(self: &Arc<Self>, until: Instant) -> Result<Arc<Map<O>>, Error> {
        if let Some(map) = self.current() {
            return Ok(map);
        }
        if let Some(failure) = self.failure() {
            if let Some(owner) = self.owner.upgrade() {
                owner.ensure_keeper();
            }
            return Err(failure);
        }
        if Handle::try_current().is_err() {
            return Err(Error::unavailable(self.address(), &Error::NO_RUNTIME));
        }
        self.ask_again(None, until).await;
        let known = self.lock();
        known.map.clone().ok_or_else(|| {
            let failure = known.failure.clone();
            failure.unwrap_or_else(|| Error::timeout(self.address(), self.limits.operation))
        })
    }

    /// Asks the nodes again, `first` of all this one, and waits until they have answered, at most until
    /// then. They are not asked again within a moment.
    pub(super) async fn ask_again(self: &Arc<Self>, first: Option<NodeAddress>, until: Instant) {
        if let Some(mut asking) = self.begin_to_ask(first) {
            let _ = clock::within_until(until, asking.wait_for(|has_ended| *has_ended)).await;
        }
    }

    /// As [`ask_again`](Self::ask_again), without waiting. Outside of a runtime, it does nothing.
    pub(super) fn begin_to_ask(self: &Arc<Self>, first: Option<NodeAddress>) -> Option<Asking> {
        let runtime = Handle::try_current().ok()?;
        let mut known = self.lock();
        let now = Instant::now();
        if let Some((asking, since)) = &known.asking
            // Not one that stands still with its runtime, or ended with it.
            && asking.has_changed().is_ok()
            && now.duration_since(*since) < self.limits.connect * 2
        {
            return Some(asking.clone());
        }
        if known
            .asked
            .is_some_and(|asked| now.duration_since(asked) < LEAST_PAUSE)
        {
            return None;
        }
        let (done, asking) = watch::channel(false);
        known.asking = Some((asking.clone(), now));
        drop(known);
        let nodes = self.clone();
        runtime.spawn(async move {
            nodes.ask(first).await;
            let mut known = nodes.lock();
            known.asked = Some(Instant::now());
            known.asking = None;
            drop(known);
            let _ = done.send(true);
        });
        Some(asking)
    }

    async fn ask(&self, first: Option<NodeAddress>) {
        let asked = self.to_ask(first);
        let answers = Mutex::new(Vec::new());
        let lock = || answers.lock().unwrap_or_else(PoisonError::into_inner);
        let all = asked.len();
        let asking = asked.iter().enumerate().map(|(index, node)| async move {
            let answer = self.cluster.ask(node, self.limits.connect).await;
            let is_answer = answer.is_ok();
            let is_last = {
                let mut answers = lock();
                answers.push((index, answer));
                answers.len() == all
            };
            if is_answer && !is_last {
                clock::pause(GRACE).await;
            }
            is_answer || is_last
        });
        join::until(asking, |_, is_enough, _| is_enough).await;
        let mut answers = mem::take(&mut *lock());
        answers.sort_unstable_by_key(|(index, _)| *index);
        let all_agree = answers.len() == all;
        let mut failure = None;
        let mut latest: Option<SlotRanges> = None;
        for (_, answer) in answers {
            match answer {
                // Of equal ones, that of `first`: a node knows first that it has got a hash slot.
                Ok(told)
                    if latest
                        .as_ref()
                        .is_none_or(|latest| latest.epoch < told.epoch) =>
                {
                    latest = Some(told);
                }
                Ok(_) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match latest {
            Some(told) => self.learn(told, all_agree && failure.is_none()),
            None => self.lock().failure = failure,
        }
    }

    /// The nodes to ask: `first`, and of the primaries and the replicas that are known and of the nodes
    /// of the URL some each, others each time. All primaries may be away at once.
    fn to_ask(&self, first: Option<NodeAddress>) -> Vec<NodeAddress> {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let known = self.lock();
        let primaries: Vec<NodeAddress> = known.servers.keys().cloned().collect();
        let replicas = known.map.as_ref().map(|map| map.told.replicas.clone());
        drop(known);
        let replicas = replicas.unwrap_or_default();
        let kinds = [&primaries, self.cluster.seeds(), &replicas];
        let mut nodes: Vec<NodeAddress> = first.into_iter().collect();
        for round in 0..MOST_ASKED {
            for kind in kinds {
                let node = kind.get((turn + round) % kind.len().max(1));
                if let Some(node) = node
                    && nodes.len() < MOST_ASKED
                    && !nodes.contains(node)
                {
                    nodes.push(node.clone());
                }
            }
        }
        nodes
    }

    /// Takes in what nodes have told, unless more is known already.
    fn learn(&self, told: SlotRanges, all_agree: bool) {
        let mut known = self.lock();
        known.failure = None;
        if let Some(map) = &known.map {
            let is_earlier = told.epoch < map.told.epoch && !all_agree;
            if told == map.told || is_earlier && sabotage::keeps(Rule::MapEpoch) {
                return;
            }
        }
        let mut replaced = None;
        match self.chart(&known, told) {
            Ok((map, servers)) => {
                let map = known.map.replace(Arc::new(map));
                replaced = Some((map, mem::replace(&mut known.servers, servers)));
            }
            Err(error) => known.failure = Some(error),
        }
        drop(known);
        // After the lock: dropping connections wakes tasks, and a waker may run any code.
        drop(replaced);
        if let Some(owner) = self.owner.upgrade() {
            owner.connected();
        }
    }

    /// Makes a map, with the servers that are there already and others for new nodes.
    fn chart(&self, known: &Known<O>, told: SlotRanges) -> Result<Chart<O>, Error> {
        let mut servers: HashMap<NodeAddress, (u16, Arc<Server<O>>)> = HashMap::new();
        let mut of_slots = vec![NONE; HASH_SLOTS].into_boxed_slice();
        for (first, last, address) in &told.ranges {
            let index = if let Some((index, _)) = servers.get(address) {
                *index
            } else {
                let server = match known.servers.get(address) {
                    Some(server) => server.clone(),
                    None => Arc::new(self.server(address)?),
                };
                let index = u16::try_from(servers.len()).unwrap_or(NONE);
                servers.insert(address.clone(), (index, server));
                index
            };
            let range = usize::from(*first)..=usize::from(*last);
            if let Some(slots) = of_slots.get_mut(range) {
                slots.fill(index);
            }
        }
        let mut trials: Vec<Option<u32>> = vec![None; servers.len()];
        let mut number = 0;
        // Each of some thousand keys is in a hash slot at random.
        while trials.contains(&None) && number < 200_000 {
            let key = hash_slot(self.keyspace.trial_key(number).as_bytes());
            let owner = of_slots[usize::from(key)];
            if let Some(trial) = trials.get_mut(usize::from(owner)) {
                trial.get_or_insert(number);
            }
            number += 1;
        }
        let mut primaries: Vec<(u16, Primary<O>)> = servers
            .values()
            .map(|(index, server)| {
                let trial = trials[usize::from(*index)].unwrap_or_default();
                let server = server.clone();
                (*index, Primary { server, trial })
            })
            .collect();
        primaries.sort_unstable_by_key(|(index, _)| *index);
        let map = Map {
            told,
            primaries: primaries.into_iter().map(|(_, primary)| primary).collect(),
            of_slots,
        };
        let servers = servers.into_iter();
        let servers = servers.map(|(address, (_, server))| (address, server));
        Ok((map, servers.collect()))
    }

    fn server(&self, address: &NodeAddress) -> Result<Server<O>, Error> {
        Ok(Server::new(Node::new(
            self.cluster.node(address)?,
            self.limits,
            self.owner.clone(),
            self.journal.clone(),
            self.observer.clone(),
        )))
    }

    /// The server at this address, which a key was left to.
    pub(super) fn server_at(&self, address: &NodeAddress) -> Result<Arc<Server<O>>, Error> {
        let mut known = self.lock();
        if let Some(server) = known.servers.get(address) {
            return Ok(server.clone());
        }
        let server = Arc::new(self.server(address)?);
        known.servers.insert(address.clone(), server.clone());
        Ok(server)
    }

    /// The server whose connections lead to this address.
    pub(super) fn server_named(&self, shown: &str) -> Option<Arc<Server<O>>> {
        let known = self.lock();
        let mut servers = known.servers.values();
        servers
            .find(|server| server.node.address() == shown)
            .cloned()
    }

    /// The server of a key, as far as it is known.
    pub(super) fn server_of(&self, key: &str) -> Option<Arc<Server<O>>> {
        let map = self.current()?;
        map.server_of(hash_slot(key.as_bytes())).cloned()
    }

    /// The number of a key for trials at the node whose connections lead to this address.
    pub(super) fn trial_of(&self, shown: &str) -> u32 {
        let map = self.current();
        let primaries = map.iter().flat_map(|map| map.primaries());
        let mut trials = primaries.filter(|primary| primary.server.node.address() == shown);
        trials.next().map_or(0, |primary| primary.trial)
    }

    /// The worst of what the nodes were found to be.
    pub(super) fn status(&self) -> Status {
        let Some(map) = self.current() else {
            let failure = self.failure();
            return failure.map_or(Status::Unknown, |failure| Status::of(&failure));
        };
        if map.told.is_down {
            let reason = "its nodes find that the cluster is down (`CLUSTER INFO` says `cluster_state:fail`)";
            return Status::Unreachable(Error::unavailable(self.address(), &reason));
        }
        let mut worst = Status::Unknown;
        for primary in map.primaries() {
            worst = match (primary.server.node.status(), worst) {
                (status @ Status::Unreachable(_), _) => return status,
                (status, Status::Unknown) => status,
                (status, Status::Working) if status.error().is_some() => status,
                (_, worst) => worst,
            };
        }
        worst
    }

    /// What each primary was found to be, as far as they are known.
    pub(super) fn states(&self) -> Vec<ServerState> {
        let map = self.current();
        let primaries = map.iter().flat_map(|map| map.primaries());
        primaries.map(|it| it.server.node.state()).collect()
    }

    /// Whether all nodes are known, if any were asked for, and nothing is left to mend at any.
    pub(super) fn is_well(&self) -> bool {
        let is_down = self.current().is_some_and(|map| map.told.is_down);
        self.failure().is_none() && !is_down && self.all(Node::is_well)
    }

    /// Whether all nodes can be reached, and some refuse something.
    pub(super) fn only_refuses(&self) -> bool {
        self.failure().is_none()
            && !self.is_well()
            && self.all(|node| node.is_well() || node.only_refuses())
    }

    /// Whether some nodes refuse something.
    pub(super) fn refuses(&self) -> bool {
        !self.all(|node| !node.only_refuses())
    }

    fn all(&self, holds: impl Fn(&Node<O>) -> bool) -> bool {
        let map = self.current();
        let mut primaries = map.iter().flat_map(|map| map.primaries());
        primaries.all(|primary| holds(&primary.server.node))
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.limits.operation.min(clock::FOREVER)
    }

    /// Nothing panics under this lock, and no other one is taken under it.
    fn lock(&self) -> MutexGuard<'_, Known<O>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O: Owner> fmt::Debug for Nodes<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Nodes").field(&self.cluster).finish()
    }
}
