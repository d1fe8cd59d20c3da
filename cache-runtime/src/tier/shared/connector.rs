//! Where requests go, and how what could not be invalidated gets there later.
//!
//! A cache has one server, or the primaries of a cluster; each is a [node](super::node). Here is what
//! they have in common: the journal, its keeper task, and what is said to all of them.
//!
//! A new connection to the only server is used only once the journal was replayed over it. Where the
//! server answers and refuses, requests go on: the keeper checks whether it still refuses, and what
//! the journal holds meanwhile is announced. In a cluster a name may concern two nodes, so the
//! keeper alone replays the journal, and its names stay distrusted until then.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::announcement::{Announced, Message};
use super::batch::BatchedReads;
use super::breaker::Limits;
use super::cluster::{Map, Nodes, Server};
use super::hearing::{self, Hears};
use super::journal::{Journal, Sender, UnderWay};
use super::keeper::{Keepers, Mend};
use super::keyspace::{Keyspace, Pages, ROUNDS, Scan, Scans};
use super::node::{Node, Owner, Prepared, Sick};
use super::notice::Notice;
use super::selection::Selection;
use super::walk::Walk;
use super::window::Window;
use super::witness::{Looked, Witness};
use crate::clock;
use crate::driver::{Connection, Hearing, Operation, ReadKeys, Reply, Servers, Trusts, hash_slot};
use crate::error::Error;
use crate::health::Status;
use crate::inspection::{StoreKind, StoreState};
use crate::join;
use crate::key::Key;
use crate::observe::{Event, Observer};
use crate::removal::Removal;
use crate::sabotage::{self, Rule};

/// The keeper's longest pause while the server is away.
const PAUSE_AWAY: Duration = Duration::from_millis(120);

/// The keeper's longest pause while the server refuses something: that seldom ends within a moment.
const PAUSE_REFUSED: Duration = Duration::from_secs(1);

/// While a node of a cluster is away, names that could not be invalidated are tried again after so long.
const RETRY: Duration = Duration::from_secs(1);

/// The most names that are invalidated together.
const MOST_NAMES: usize = 500;

/// The most keys that a server looks at by one command of a scan: half a millisecond's work.
const MOST_KEYS: usize = 500;

/// How often a removal from all nodes of a cluster is begun anew because hash slots have moved meanwhile.
const TRIES: usize = 5;

pub(crate) struct Connector {
    place: Place,
    limits: Limits,
    /// How many names are invalidated together.
    names: Window,
    /// How many keys are listed together.
    keys: Window,
    pub(super) journal: Arc<Journal>,
    keyspace: Keyspace,
    observer: Observer,
    keepers: Mutex<Keepers>,
    /// Is called with what a server tells that was invalidated.
    told: Box<dyn Fn(Notice) + Send + Sync>,
    /// Whether it was told that nothing is heard over this kind of connection.
    is_deafness_told: AtomicBool,
}

/// What requests go to.
enum Place {
    Server(Server<Connector>),
    Cluster(Arc<Nodes<Connector>>),
}

impl Connector {
    pub(super) fn new(
        servers: Servers,
        limits: Limits,
        keyspace: Keyspace,
        backlog_room: usize,
        observer: Observer,
        told: Box<dyn Fn(Notice) + Send + Sync>,
    ) -> Arc<Self> {
        let journal = Arc::new(Journal::new(backlog_room, observer.clone()));
        Arc::new_cyclic(|owner| {
            let (owner, kept, observing) = (owner.clone(), journal.clone(), observer.clone());
            let place = match servers {
                Servers::One(driver) => {
                    let node = Node::new(driver, limits, owner, kept, observing);
                    Place::Server(Server::new(node))
                }
                Servers::Cluster(cluster) => {
                    let keyspace = keyspace.clone();
                    let nodes = Nodes::new(cluster, limits, keyspace, owner, kept, observing);
                    Place::Cluster(Arc::new(nodes))
                }
            };
            Self {
                place,
                limits,
                names: Window::new(32, 1, MOST_NAMES),
                keys: Window::new(MOST_KEYS, 10, MOST_KEYS),
                journal,
                keyspace,
                observer,
                keepers: Mutex::default(),
                told,
                is_deafness_told: AtomicBool::new(false),
            }
        })
    }

    pub(super) fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// What copies are tied to of what these connections answered. `None` if one of them does not hear what
    /// is invalidated: from now on it is made to.
    pub(super) fn trusts(self: &Arc<Self>, witness: &Witness) -> Option<Trusts> {
        let trust = |connection: &Arc<Connection>| {
            let trust = connection.hearing().and_then(Hearing::trust);
            if trust.is_none() {
                hearing::begin(self, connection);
            }
            trust
        };
        // All are asked, so that all begin to hear.
        let trusts: Vec<_> = witness.connections().map(trust).collect();
        trusts.into_iter().collect()
    }

    /// Tells, once, that no copies are kept because nothing is heard over this kind of connection.
    pub(super) fn tell_deafness(&self, deaf: &Connection) {
        if !self.is_deafness_told.swap(true, Ordering::Relaxed) {
            let reason = "it tells a process nothing of what others invalidate; use its `rediss://` URL, \
                          or `CacheBuilder::local_ttl_unheard`";
            let error = Error::denied(deaf.address(), &reason);
            self.observe(Event::CopiesUnheard { error: &error });
        }
    }

    /// The same, and waits until they hear, at most until then.
    pub(super) async fn trusts_in_time(
        self: &Arc<Self>,
        witness: &Witness,
        until: Instant,
    ) -> Option<Trusts> {
        const PAUSE: Duration = Duration::from_millis(1);
        loop {
            let trusts = self.trusts(witness);
            if trusts.is_some() || Instant::now() >= until || witness.never_hears() {
                if let Some(deaf) = witness.deaf() {
                    self.tell_deafness(deaf);
                }
                return trusts;
            }
            clock::pause(PAUSE).await;
        }
    }

    /// Reads a slot and versions, in one round trip, which other callers may share. At most until
    /// then; without a deadline, as long as a request may take.
    pub(super) async fn look(
        self: &Arc<Self>,
        keys: ReadKeys,
        until: Option<Instant>,
    ) -> Result<Looked, Error> {
        match &self.place {
            Place::Server(server) => {
                let found = server.reads.read_until(keys, until).await?;
                Ok(Looked::from(found))
            }
            // Boxed, since every call has room for what it awaits.
            Place::Cluster(nodes) => Box::pin(nodes.look(keys, until)).await,
        }
    }

    /// The same for several slots.
    pub(super) async fn look_each(
        self: &Arc<Self>,
        keys: Vec<ReadKeys>,
    ) -> Vec<Result<Looked, Error>> {
        match &self.place {
            Place::Server(server) => {
                let found = server.reads.read_each(keys).await.into_iter();
                found.map(|found| found.map(Looked::from)).collect()
            }
            Place::Cluster(nodes) => {
                join::all(keys.into_iter().map(|keys| nodes.look(keys, None))).await
            }
        }
    }

    /// Whether all keys are on the one server that has answered: then one script may be for several.
    pub(super) fn is_one_server(&self, witness: &Witness) -> bool {
        match (&self.place, witness) {
            (Place::Server(_), Witness::Server(connection)) => !connection.is_of_cluster(),
            _ => false,
        }
    }

    /// Reads versions, for the entry in this slot, from the servers of an earlier look. At most until
    /// then.
    pub(super) async fn look_further(
        self: &Arc<Self>,
        slot: &str,
        witness: Witness,
        keys: ReadKeys,
        until: Instant,
    ) -> Result<(Witness, Vec<Option<Bytes>>), Error> {
        let (further, values) = self.read_further(&witness, keys, until).await?;
        Ok((self.and(slot, &witness, &further), values))
    }

    /// Reads versions from the servers of an earlier look, and returns which servers those were.
    pub(super) async fn read_further(
        self: &Arc<Self>,
        witness: &Witness,
        keys: ReadKeys,
        until: Instant,
    ) -> Result<(Witness, Vec<Option<Bytes>>), Error> {
        match (&self.place, witness) {
            (Place::Server(server), Witness::Server(connection)) => {
                let answers = server.node.send_to(connection, &keys, until).await?;
                Ok((witness.clone(), answers.values))
            }
            (Place::Cluster(nodes), _) => nodes.read(&keys, until).await,
            (Place::Server(_), Witness::Nodes(_)) => Err(self.no_such_server()),
        }
    }

    /// What answered for a slot, with what answered for further versions.
    pub(super) fn and(&self, slot: &str, witness: &Witness, further: &Witness) -> Witness {
        match &self.place {
            Place::Server(_) => witness.clone(),
            Place::Cluster(_) => witness
                .clone()
                .and(hash_slot(slot.as_bytes()), further.clone()),
        }
    }

    /// A slot is written, with so many bytes: they are what a read will be answered.
    pub(super) fn expect(&self, slot: &str, bytes: usize) {
        let expect = |reads: &BatchedReads<_>| reads.expect(slot.as_bytes(), bytes);
        match &self.place {
            Place::Server(server) => expect(&server.reads),
            Place::Cluster(nodes) => {
                if let Some(server) = nodes.server_of(slot) {
                    expect(&server.reads);
                }
            }
        }
    }

    /// Runs operations, each at the server that has its key, and returns which one that was.
    ///
    /// An operation may be sent twice: a connection that turns out to have been closed while it was
    /// idle is replaced once.
    pub(super) async fn run(
        self: &Arc<Self>,
        operations: Vec<Operation>,
    ) -> Result<(Witness, Vec<Reply>), Error> {
        let until = self.deadline_from(None);
        match &self.place {
            Place::Server(server) => {
                let (connection, replies) = server.node.send(&*operations, until).await?;
                Ok((Witness::Server(connection), replies))
            }
            Place::Cluster(nodes) => Box::pin(nodes.run(operations, until)).await,
        }
    }

    /// The same, and returns what became of each operation: in a cluster, one node may fail.
    pub(super) async fn run_apart(
        self: &Arc<Self>,
        operations: Vec<Operation>,
    ) -> Result<Vec<Result<Reply, Error>>, Error> {
        let until = self.deadline_from(None);
        match &self.place {
            Place::Server(server) => {
                let (_, replies) = server.node.send(&*operations, until).await?;
                Ok(replies.into_iter().map(Ok).collect())
            }
            Place::Cluster(nodes) => {
                let told = Box::pin(nodes.run_apart(operations, until)).await;
                let told = told.into_iter();
                Ok(told.map(|told| told.map(|told| told.reply)).collect())
            }
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.place, Place::Cluster(_))
    }

    /// Begins a walk to the server that has this key, or through all servers.
    pub(super) async fn begin_walk(
        self: &Arc<Self>,
        key: Option<&[u8]>,
    ) -> Result<Walk<Self>, Error> {
        let nodes = match &self.place {
            Place::Server(server) => return Ok(Walk::to(&server.node)),
            Place::Cluster(nodes) => nodes,
        };
        let map = nodes.map(self.deadline_from(None)).await?;
        let Some(key) = key else {
            return Ok(Walk::through(map));
        };
        let server = map.server_of(hash_slot(key));
        server.map_or_else(
            || Err(nodes.unserved(hash_slot(key))),
            |server| Ok(Walk::to(&server.node)),
        )
    }

    /// Whether a walk has come by all keys that were there from its beginning to its end. A key that has
    /// moved from one node to another may have been on the other one each time.
    pub(super) async fn end_walk(self: &Arc<Self>, walk: &Walk<Self>) -> Result<(), Error> {
        if let (Place::Cluster(nodes), Some(before)) = (&self.place, walk.before())
            && !self.is_still_so(nodes, before).await?
        {
            let reason = "hash slots have moved while its nodes were scanned; begin the scan anew";
            return Err(Error::unavailable(self.address(), &reason));
        }
        Ok(())
    }

    /// As [`run`](Self::run), for operations by which something is stored. In a cluster, they are not carried out for
    /// a key that is on its way to another node: were its move given up, what was stored there
    /// could come back with the next one.
    pub(super) async fn run_to_store(
        self: &Arc<Self>,
        operations: Vec<Operation>,
    ) -> Result<(Witness, Vec<Reply>), Error> {
        match &self.place {
            Place::Server(_) => self.run(operations).await,
            Place::Cluster(nodes) => {
                let until = self.deadline_from(None);
                Box::pin(nodes.run_to_store(operations, until)).await
            }
        }
    }

    /// Runs operations on the servers of an earlier answer.
    pub(super) async fn run_over(
        self: &Arc<Self>,
        witness: &Witness,
        operations: Vec<Operation>,
    ) -> Result<Vec<Reply>, Error> {
        let until = self.deadline_from(None);
        self.run_over_until(witness, operations, until).await
    }

    /// The same, at most until then.
    pub(super) async fn run_over_until(
        self: &Arc<Self>,
        witness: &Witness,
        operations: Vec<Operation>,
        until: Instant,
    ) -> Result<Vec<Reply>, Error> {
        match (&self.place, witness) {
            (Place::Server(server), Witness::Server(connection)) => {
                server.node.send_to(connection, &*operations, until).await
            }
            (Place::Cluster(nodes), _) => {
                Box::pin(nodes.run_over(witness, operations, until)).await
            }
            (Place::Server(_), Witness::Nodes(_)) => Err(self.no_such_server()),
        }
    }

    /// The deadline of a request by a call that has waited for others since then.
    pub(super) fn deadline_from(&self, since: Option<Instant>) -> Instant {
        let since = since.filter(|_| sabotage::keeps(Rule::WaitsAddUp));
        since.unwrap_or_else(Instant::now) + self.limits.operation.min(clock::FOREVER)
    }

    /// The deadline of a look by a call that has waited for others since then. It always has time for
    /// an answer: the call may have waited for another caller's load, and not for the server.
    pub(super) fn look_deadline(&self, since: Instant) -> Instant {
        let least = self.limits.operation.min(clock::FOREVER) / 4;
        self.deadline_from(Some(since)).max(Instant::now() + least)
    }

    /// Starts a keeper, unless one runs. To be called when something was added to the journal.
    pub(super) fn ensure_keeper(self: &Arc<Self>) {
        self.keepers().ensure(self);
    }

    /// Invalidates names, and notes which were carried out: as many at a time as the link has
    /// carried before in time.
    pub(super) async fn invalidate(
        self: &Arc<Self>,
        under_way: &mut UnderWay<'_>,
    ) -> Result<(), Error> {
        match &self.place {
            Place::Server(_) => self.invalidate_at_server(under_way).await,
            Place::Cluster(nodes) => Box::pin(self.invalidate_at_nodes(nodes, under_way)).await,
        }
    }

    /// Some names that take too long are sent once more, fewer at a time, if the
    /// ones before them were carried out. So where the server does not answer any more, this ends
    /// two deadlines after its last answer, and where it does not answer at all, after one.
    async fn invalidate_at_server(
        self: &Arc<Self>,
        under_way: &mut UnderWay<'_>,
    ) -> Result<(), Error> {
        let mut has_answered = false;
        while !under_way.names().is_empty() {
            let count = self.names_together().min(under_way.names().len());
            let invalidate = self.keyspace.invalidate(&under_way.names()[..count]);
            let begun = Instant::now();
            let sent = self.run(invalidate).await.map(drop);
            self.measure(count, begun, sent.as_ref().err());
            match sent {
                Ok(()) => {
                    under_way.carried_out(count);
                    has_answered = true;
                }
                Err(error) if error.is_timeout() && has_answered => has_answered = false,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A node that is away keeps the names of others from being invalidated only if it does not answer:
    /// then all names that are left are kept, and the keeper invalidates those of the other nodes.
    async fn invalidate_at_nodes(
        self: &Arc<Self>,
        nodes: &Arc<Nodes<Self>>,
        under_way: &mut UnderWay<'_>,
    ) -> Result<(), Error> {
        let mut failure = None;
        while !under_way.names().is_empty() {
            let count = self.names_together().min(under_way.names().len());
            let names = &under_way.names()[..count];
            let failed = self.invalidate_some(nodes, names).await;
            let failed_names: Vec<Key> = failed.iter().map(|(at, _)| names[*at].clone()).collect();
            if sabotage::keeps(Rule::Journal) {
                under_way.keep(&failed_names);
            }
            under_way.carried_out(count);
            let is_slow = failed.iter().any(|(_, error)| error.is_timeout());
            failure = failure.or_else(|| failed.into_iter().next().map(|(_, error)| error));
            if is_slow {
                break;
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Invalidates names at the nodes of a cluster, and returns which were not carried out.
    async fn invalidate_some(
        &self,
        nodes: &Arc<Nodes<Self>>,
        names: &[Key],
    ) -> Vec<(usize, Error)> {
        let begun = Instant::now();
        let until = self.deadline_from(None);
        let invalidate = self.keyspace.invalidate(names);
        let told = nodes.run_apart(invalidate, until).await;
        // Two operations for each name.
        let failed: Vec<(usize, Error)> = told
            .chunks(2)
            .enumerate()
            .filter_map(|(at, both)| {
                let error = both.iter().find_map(|told| told.as_ref().err())?;
                Some((at, error.clone()))
            })
            .collect();
        let error = failed.iter().map(|(_, error)| error);
        let slow = error.clone().find(|error| error.is_timeout());
        self.measure(names.len(), begun, slow.or(error.clone().next()));
        failed
    }

    /// How many names to invalidate together.
    fn names_together(&self) -> usize {
        if sabotage::keeps(Rule::FitsDeadline) {
            self.names.size()
        } else {
            MOST_NAMES
        }
    }

    /// Fits the window for names to how long some of them took.
    fn measure(&self, count: usize, begun: Instant, failure: Option<&Error>) {
        match failure {
            None => self
                .names
                .answered(count, begun.elapsed(), self.limits.operation),
            Some(error) if error.is_timeout() => self.names.timed_out(count),
            Some(_) => {}
        }
    }

    /// Removes everything in the namespace.
    pub(super) async fn clear(self: &Arc<Self>) -> Result<(), Error> {
        match &self.place {
            Place::Server(server) => self.clear_one(server).await,
            Place::Cluster(nodes) => {
                for _ in 0..TRIES {
                    let before = nodes.map(self.deadline_from(None)).await?;
                    let primaries = before.primaries().iter();
                    let cleared = primaries.map(|primary| self.clear_one(&primary.server));
                    for cleared in join::all(cleared).await {
                        cleared?;
                    }
                    if self.is_still_so(nodes, &before).await? {
                        return Ok(());
                    }
                }
                let reason = "hash slots are being moved; clear it again once that has ended";
                Err(Error::unavailable(self.address(), &reason))
            }
        }
    }

    /// Whether nodes have the hash slots that they had. What has moved to a node after its keys were
    /// listed is still there.
    async fn is_still_so(
        self: &Arc<Self>,
        nodes: &Arc<Nodes<Self>>,
        before: &Map<Self>,
    ) -> Result<bool, Error> {
        nodes.ask_again(None, self.deadline_from(None)).await;
        let after = nodes.map(self.deadline_from(None)).await?;
        Ok(after.agrees_with(before))
    }

    /// Removes what is selected from all servers.
    pub(super) async fn remove(
        self: &Arc<Self>,
        selection: &Selection,
        removal: &Removal<'_>,
    ) -> Result<(), Error> {
        let nodes = match &self.place {
            Place::Server(server) => {
                return self.remove_from(server, 0, selection, removal).await;
            }
            Place::Cluster(nodes) => nodes,
        };
        for _ in 0..TRIES {
            let before = nodes.map(self.deadline_from(None)).await?;
            let mut has_moved = false;
            for _ in 0..ROUNDS {
                let primaries = before.primaries().iter();
                let removed = primaries.map(|primary| {
                    self.remove_from(&primary.server, primary.trial, selection, removal)
                });
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
        selection: &Selection,
        removal: &Removal<'_>,
    ) -> Result<(), Error> {
        let begun = Instant::now();
        let until = self.deadline_from(None);
        let ping = [Operation::Ping];
        let (connection, _) = server.node.send(&ping[..], until).await?;
        let tell = |looked_at, entries| removal.add(looked_at, entries);
        let (pages, mut scan) = (self.pages(&tell), Scan::default());
        let (keyspace, connected) = (&self.keyspace, &connection);
        let removed = keyspace.remove(connected, trial, &pages, selection, &mut scan, None);
        let removed = removed.await.map(drop);
        server.node.judge(begun, Some(&connection), 1, removed)
    }

    /// Over one connection.
    async fn clear_one(&self, server: &Server<Self>) -> Result<(), Error> {
        let begun = Instant::now();
        let until = self.deadline_from(None);
        let ping = [Operation::Ping];
        let (connection, _) = server.node.send(&ping[..], until).await?;
        let cleared = self.keyspace.clear(&connection, &self.pages(&untold)).await;
        server.node.judge(begun, Some(&connection), 1, cleared)
    }

    /// Asks each server now, even if its breaker is open.
    pub(super) async fn ping(self: &Arc<Self>) -> Result<(), Error> {
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

    /// Reads and writes, to see whether that is allowed.
    async fn check(&self, connection: &Connection, trial: u32) -> Result<(), Error> {
        let limit = self.limits.operation;
        self.keyspace.try_to_write(connection, trial, limit).await
    }

    /// Tells other processes what a server refuses to invalidate.
    pub(super) async fn announce(self: &Arc<Self>) {
        let announced = match &self.place {
            Place::Server(server) => {
                let node = &server.node;
                let current = node
                    .runtime()
                    .ok()
                    .and_then(|runtime| node.current(runtime));
                let Some(connection) = current else {
                    return;
                };
                self.journal.announce(&self.sender(&connection)).await
            }
            Place::Cluster(nodes) => {
                let sender = ClusterSender {
                    connector: self,
                    nodes,
                };
                self.journal.announce(&sender).await
            }
        };
        if let Err(error) = &announced {
            self.observer.observe(None, Event::NotAnnounced { error });
        }
    }

    fn sender<'a>(&'a self, connection: &'a Connection) -> ServerSender<'a> {
        ServerSender {
            connector: self,
            connection,
            is_waited_for: false,
        }
    }

    fn pages<'a>(&'a self, tell: &'a (dyn Fn(u64, u64) + Sync)) -> Pages<'a> {
        Pages {
            window: &self.keys,
            limit: self.limits.operation,
            tell,
        }
    }

    /// How long a replay goes on before the keeper looks at the connection again.
    fn slice(&self) -> Duration {
        (self.limits.operation * 4).min(clock::FOREVER)
    }

    pub(super) fn status(&self) -> Status {
        match &self.place {
            Place::Server(server) => server.node.status(),
            Place::Cluster(nodes) => nodes.status(),
        }
    }

    /// What its servers were found to be.
    pub(super) fn servers(&self) -> StoreState {
        let waiting = self.journal.waiting();
        let (store, nodes) = match &self.place {
            Place::Server(server) => (StoreKind::Server, vec![server.node.state()]),
            Place::Cluster(nodes) => (StoreKind::Cluster, nodes.states()),
        };
        StoreState {
            store,
            status: self.status(),
            nodes,
            journal: waiting.names,
            unsettled: 0,
            overflowed: waiting.has_overflowed,
            fences: None,
            refreshes: 0,
        }
    }

    pub(super) fn address(&self) -> &str {
        match &self.place {
            Place::Server(server) => server.node.address(),
            Place::Cluster(nodes) => nodes.address(),
        }
    }

    fn no_such_server(&self) -> Error {
        Error::unavailable(self.address(), &"it has not answered before")
    }

    /// Whether nothing is left to mend at any server.
    fn is_well(&self) -> bool {
        match &self.place {
            Place::Server(server) => server.node.is_well(),
            Place::Cluster(nodes) => nodes.is_well(),
        }
    }

    fn only_refuses(&self) -> bool {
        match &self.place {
            Place::Server(server) => server.node.only_refuses(),
            Place::Cluster(nodes) => nodes.only_refuses(),
        }
    }

    /// One attempt to get to a connection with nothing refused and an empty journal.
    async fn mend_server(self: &Arc<Self>, server: &Server<Self>) {
        let node = &server.node;
        let Ok(runtime) = node.runtime() else {
            return;
        };
        let begun = Instant::now();
        let connection = match node.sick(runtime, !self.journal.is_empty()) {
            Sick::No => return,
            Sick::Away => {
                let _ = node.connect().await;
                return;
            }
            Sick::Up(connection) => connection,
        };
        let until = begun + self.slice();
        let checked = match self.check(&connection, 0).await {
            Ok(()) => self.journal.replay(&self.sender(&connection), until).await,
            Err(error) => {
                // The trial is small, and shows as much as a replay of any size would have shown.
                if error.is_timeout() {
                    self.names.timed_out(self.names.size());
                }
                Err(error)
            }
        };
        match node.judge(begun, Some(&connection), self.names.size() * 2, checked) {
            Ok(()) => node.accepted(),
            Err(error) if error.is_refused() => {
                let _ = self.journal.announce(&self.sender(&connection)).await;
            }
            Err(_) => {}
        }
    }

    /// Learns which nodes there are, mends each, and replays the journal.
    async fn mend_nodes(self: &Arc<Self>, nodes: &Arc<Nodes<Self>>) {
        let begun = Instant::now();
        if !nodes.is_well() || nodes.current().is_none() {
            let limit = begun + self.limits.connect.min(clock::FOREVER);
            nodes.ask_again(None, limit).await;
        }
        let Some(map) = nodes.current() else {
            return;
        };
        let primaries = map.primaries().iter();
        let sick = primaries.filter(|primary| !primary.server.node.is_well());
        join::all(sick.map(|primary| self.mend_node(&primary.server, primary.trial))).await;
        let sender = ClusterSender {
            connector: self,
            nodes,
        };
        // What was parked may not wait for the node that is away: it may have been late once, or have moved.
        let retry = if nodes.is_well() {
            Duration::ZERO
        } else {
            RETRY
        };
        self.journal.unpark_after(retry);
        let until = Instant::now() + self.slice();
        // It fails where no node can be named, which the next attempt finds out anew.
        let _ = self.journal.replay(&sender, until).await;
        if nodes.refuses() {
            let _ = self.journal.announce(&sender).await;
        }
    }

    async fn mend_node(self: &Arc<Self>, server: &Server<Self>, trial: u32) {
        let node = &server.node;
        let Ok(runtime) = node.runtime() else {
            return;
        };
        let begun = Instant::now();
        match node.sick(runtime, true) {
            Sick::No => {}
            Sick::Away => drop(node.connect().await),
            Sick::Up(connection) => {
                let checked = self.check(&connection, trial).await;
                if node.judge(begun, Some(&connection), 2, checked).is_ok() {
                    node.accepted();
                }
            }
        }
    }

    /// What a server refuses to invalidate is not served from copies either.
    fn tell_announced(&self, announced: &Announced) {
        let Announced {
            names,
            buckets,
            patterns,
        } = announced;
        for name in names {
            (self.told)(Notice::Entry(name.clone()));
            (self.told)(Notice::Tag(name.clone()));
        }
        for pattern in patterns {
            (self.told)(Notice::Matching(pattern.clone()));
        }
        if !buckets.is_empty() {
            (self.told)(Notice::Everything);
        }
    }

    /// Nothing panics under this lock.
    fn keepers(&self) -> MutexGuard<'_, Keepers> {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owner for Connector {
    fn hear(self: &Arc<Self>, message: &[u8]) {
        if let Some(notice) = Notice::from_bytes(message) {
            (self.told)(notice);
            return;
        }
        let message = Message::from_bytes(message);
        if let Some(Message::Kept { announced, .. }) = &message {
            self.tell_announced(announced);
        }
        self.journal.hear(message);
        if !self.journal.is_empty() {
            self.ensure_keeper();
        }
    }

    async fn prepare(
        self: &Arc<Self>,
        connection: &Connection,
        is_refused: bool,
    ) -> Result<Prepared, Error> {
        // Before the replay: what is announced from here on is heard.
        let channel = self.keyspace.channel();
        let listening = connection.listen(&channel, self.limits.operation);
        match listening.await {
            Err(error) if !error.is_refused() => return Err(error),
            // Its driver has logged what that means, once.
            Err(_) if connection.is_deaf() => {}
            Err(error) => {
                let event = Event::AnnouncementsUnheard { error: &error };
                self.observer.observe(None, event);
            }
            // Where this is refused, what was announced before is not heard.
            Ok(()) => drop(self.journal.ask(&self.sender(connection)).await),
        }
        // What takes longer is left to the keeper: its names stay distrusted.
        let until = Instant::now() + self.limits.operation;
        let trial = match &self.place {
            Place::Server(_) => 0,
            Place::Cluster(nodes) => nodes.trial_of(connection.address()),
        };
        let accepted = async {
            if is_refused {
                self.check(connection, trial).await?;
            }
            match &self.place {
                Place::Server(_) => {
                    let mut sender = self.sender(connection);
                    sender.is_waited_for = true;
                    self.journal.replay(&sender, until).await
                }
                Place::Cluster(_) => Ok(()),
            }
        };
        match accepted.await {
            Ok(()) => Ok(Prepared::Accepted),
            Err(error) if error.is_refused() => {
                // In a cluster, the keeper announces it to all nodes.
                if let Place::Server(_) = &self.place {
                    let _ = self.journal.announce(&self.sender(connection)).await;
                }
                Ok(Prepared::Refused(error))
            }
            // The window is smaller now, and the keeper goes on.
            Err(error) if error.is_timeout() && !is_refused => Ok(Prepared::Unknown),
            Err(error) => Err(error),
        }
    }

    fn connected(self: &Arc<Self>) {
        self.journal.unpark_after(Duration::ZERO);
        if !self.journal.is_empty() {
            self.ensure_keeper();
        }
    }

    fn ensure_keeper(self: &Arc<Self>) {
        self.keepers().ensure(self);
    }
}

impl Hears for Connector {
    fn channel(&self) -> String {
        self.keyspace.notices()
    }

    fn limit(&self) -> Duration {
        self.limits.operation
    }

    fn trial_key(&self, connection: &Connection) -> String {
        let number = match &self.place {
            Place::Server(_) => 0,
            Place::Cluster(nodes) => nodes.trial_of(connection.address()),
        };
        self.keyspace.trial_key(number)
    }

    fn observe(&self, event: Event<'_>) {
        self.observer.observe(None, event);
    }
}

impl Mend for Connector {
    fn longest_pause(&self) -> Duration {
        if self.only_refuses() {
            PAUSE_REFUSED
        } else {
            PAUSE_AWAY
        }
    }

    fn stays(&self, keeper: u64, pause: Duration) -> bool {
        let attempt = self.limits.connect * 2 + self.limits.operation * 4;
        let due = Instant::now() + pause * 2 + attempt + self.slice();
        self.keepers().stays(keeper, due)
    }

    async fn mend(self: &Arc<Self>) {
        match &self.place {
            Place::Server(server) => self.mend_server(server).await,
            Place::Cluster(nodes) => self.mend_nodes(nodes).await,
        }
    }

    fn retires(self: &Arc<Self>, keeper: u64) -> bool {
        let mut keepers = self.keepers();
        // The keeper holds the only handle: the cache was dropped.
        let is_unused = Arc::strong_count(self) == 1;
        // Under the lock: what falls ill from here on starts another keeper.
        self.journal.is_empty() && (self.is_well() || is_unused) && keepers.end(keeper)
    }
}

/// No caller asks how far a removal has got.
fn untold(_looked_at: u64, _entries: u64) {}

/// Sends what the journal keeps over one connection.
struct ServerSender<'a> {
    connector: &'a Connector,
    connection: &'a Connection,
    /// Whether calls wait for the connection meanwhile.
    is_waited_for: bool,
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

/// Sends what the journal keeps to the nodes of a cluster that can be reached.
struct ClusterSender<'a> {
    connector: &'a Arc<Connector>,
    nodes: &'a Arc<Nodes<Connector>>,
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

/// The cache was dropped, or the runtime, and with it the keeper.
impl Drop for Connector {
    fn drop(&mut self) {
        if self.journal.is_empty() {
            return;
        }
        let waiting = self.journal.waiting();
        let event = Event::JournalLost {
            address: self.address(),
            count: waiting.names,
            overflowed: waiting.has_overflowed,
        };
        self.observer.observe(None, event);
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Connector");
        match &self.place {
            Place::Server(server) => shown.field("server", &server.node),
            Place::Cluster(nodes) => shown.field("nodes", nodes),
        };
        shown.field("limits", &self.limits).finish_non_exhaustive()
    }
}
