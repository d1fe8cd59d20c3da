//! What the keeper mends, and what a new connection has to go through: the journal is replayed over it, and
//! what a server refuses is announced.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::sender::ClusterSender;
use super::{Connector, Place};
use crate::clock;
use crate::driver::Connection;
use crate::error::Error;
use crate::join;
use crate::observe::Event;
use crate::tier::shared::announcement::{Announced, Message};
use crate::tier::shared::cluster::{Nodes, Server};
use crate::tier::shared::hearing::Hears;
use crate::tier::shared::keeper::Mend;
use crate::tier::shared::node::{Owner, Prepared, Sick};
use crate::tier::shared::notice::Notice;

/// The keeper's longest pause while the server is away.
const PAUSE_AWAY: Duration = Duration::from_millis(120);

/// The keeper's longest pause while the server refuses something: that seldom ends within a moment.
const PAUSE_REFUSED: Duration = Duration::from_secs(1);

/// While a node of a cluster is away, names that could not be invalidated are tried again after so long.
const RETRY: Duration = Duration::from_secs(1);

impl Connector {
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

    /// Reads and writes, to see whether that is allowed.
    pub(super) async fn check(&self, connection: &Connection, trial: u32) -> Result<(), Error> {
        let limit = self.limits.operation;
        self.keyspace.try_to_write(connection, trial, limit).await
    }

    /// Tells other processes what a server refuses to invalidate.
    pub(in crate::tier::shared) async fn announce(self: &Arc<Self>) {
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

    /// How long a replay goes on before the keeper looks at the connection again.
    fn slice(&self) -> Duration {
        (self.limits.operation * 4).min(clock::FOREVER)
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
