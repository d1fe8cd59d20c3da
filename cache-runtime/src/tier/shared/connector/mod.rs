//! Where requests go, and how what could not be invalidated gets there later.
//!
//! A cache has one server, or the primaries of a cluster; each is a [node](super::node). Here is what
//! they have in common: the journal, its keeper task, and what is said to all of them.
//!
//! A new connection to the only server is used only once the journal was replayed over it. Where the
//! server answers and refuses, requests go on: the keeper checks whether it still refuses, and what
//! the journal holds meanwhile is announced. In a cluster a name may concern two nodes, so the
//! keeper alone replays the journal, and its names stay distrusted until then.
//!
//! Here are the requests. [`mend`] has what the keeper does, and what a new connection goes through;
//! [`remove`], what is done at every server; [`sender`], how the journal is sent.

mod mend;
mod remove;
mod sender;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::batch::BatchedReads;
use super::breaker::Limits;
use super::cluster::{Nodes, Server};
use super::hearing::{self, Hears as _};
use super::journal::{Journal, UnderWay};
use super::keeper::Keepers;
use super::keyspace::Keyspace;
use super::node::Node;
use super::notice::Notice;
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
use crate::sabotage::{self, Rule};

/// The most names that are invalidated together.
const MOST_NAMES: usize = 500;

/// The most keys that a server looks at by one command of a scan: half a millisecond's work.
const MOST_KEYS: usize = 500;

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

    /// As [`trusts`](Self::trusts), and waits until the connections hear, at most until then.
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

    /// As [`look`](Self::look), for several slots.
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
        witness: &Witness,
        keys: ReadKeys,
        until: Instant,
    ) -> Result<(Witness, Vec<Option<Bytes>>), Error> {
        let (further, values) = self.read_further(witness, keys, until).await?;
        Ok((self.with_further(slot, witness, &further), values))
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
    pub(super) fn with_further(&self, slot: &str, witness: &Witness, further: &Witness) -> Witness {
        match &self.place {
            Place::Server(_) => witness.clone(),
            Place::Cluster(_) => witness
                .clone()
                .with_further(hash_slot(slot.as_bytes()), further.clone()),
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

    /// As [`run`](Self::run), and returns what became of each operation: in a cluster, one node may fail.
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

    /// All servers, each with the number of a trial key that it has.
    pub(super) async fn nodes(self: &Arc<Self>) -> Result<Vec<(Arc<Node<Self>>, u32)>, Error> {
        match &self.place {
            Place::Server(server) => Ok(vec![(server.node.clone(), 0)]),
            Place::Cluster(nodes) => {
                let map = nodes.map(self.deadline_from(None)).await?;
                let primaries = map.primaries().iter();
                Ok(primaries
                    .map(|primary| (primary.server.node.clone(), primary.trial))
                    .collect())
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

    /// As [`run`](Self::run), for operations by which something is stored. In a cluster, they are not carried
    /// out for a key that is on its way to another node: were its move given up, what was stored there could
    /// come back with the next one.
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

    /// As [`run_over`](Self::run_over), at most until then.
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

    /// Nothing panics under this lock.
    fn keepers(&self) -> MutexGuard<'_, Keepers> {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
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
