//! A real cluster: three primaries with a replica each, whose slots move and whose nodes fail.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::BuildHasher as _;
use std::ops::RangeInclusive;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::certificates::Certificate;
use crate::port::{self, TO_THE_BUS};
use crate::proxy::Proxy;
use crate::server::{self, RedisServer, RedisServerBuilder};
use crate::until::until_blocking;

const PRIMARIES: usize = 3;
const NODES: usize = 2 * PRIMARIES;
const SLOTS: u16 = 16_384;

/// A cluster on the loopback address: nodes 0, 1 and 2 begin as primaries, with a third of the slots each,
/// and nodes 3, 4 and 5 as their replicas, in this order. Its servers end when this is dropped.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
    /// True for a node that does not answer: it is killed or frozen.
    silent: Vec<AtomicBool>,
    ids: Vec<String>,
    /// One in front of each node, or none at all.
    proxies: Vec<Proxy>,
    settings: RedisClusterBuilder,
}

/// The settings that a [`RedisCluster`] is started with.
#[derive(Debug, Clone)]
pub struct RedisClusterBuilder {
    node: RedisServerBuilder,
    password: Option<String>,
    certificate: Option<Certificate>,
    node_timeout: Duration,
}

impl RedisClusterBuilder {
    /// The password of every node: letters and digits, since [`RedisCluster::url`] does not escape it.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.node = self
            .node
            .password(password)
            .args(&["--masterauth", password]);
        self.password = Some(password.to_owned());
        self
    }

    /// Speaks TLS with this certificate, between the nodes too.
    #[must_use]
    pub fn tls(mut self, certificate: Certificate) -> Self {
        self.node = self.node.tls(certificate.clone()).args(&[
            "--tls-cluster",
            "yes",
            "--tls-replication",
            "yes",
        ]);
        self.certificate = Some(certificate);
        self
    }

    /// More settings of every node, as on the command line.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.node = self.node.args(args);
        self
    }

    /// How long a primary is silent before its replica takes its place: one second, unless a test says
    /// otherwise.
    #[must_use]
    pub fn node_timeout(mut self, timeout: Duration) -> Self {
        self.node_timeout = timeout;
        self
    }

    /// Starts the nodes, and waits until each serves its slots and each replica has its primary's data.
    ///
    /// # Panics
    ///
    /// If there is no server program, or the cluster is not complete within some seconds.
    pub fn start(self) -> RedisCluster {
        let mut log = String::new();
        for _ in 0..5 {
            let ports: Vec<u16> = (0..NODES).map(|_| port::free_with_bus()).collect();
            match self.start_at(&ports, &ports, Vec::new()) {
                Ok(cluster) => return cluster,
                Err(of_a_node) => log = of_a_node,
            }
        }
        panic!("found no ports for the cluster:\n{log}");
    }

    /// The same with a [`Proxy`] in front of each node: clients, and the replicas for their primary's data,
    /// are told the address of the proxy, but the nodes speak to each other past it. So a node whose proxy
    /// is cut stays a member, and its replica does not take its place.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start), and with TLS: a proxy's URL is without.
    pub async fn start_behind_proxies(self) -> RedisCluster {
        assert!(self.certificate.is_none(), "a proxy's clients use no TLS");
        let mut log = String::new();
        for _ in 0..5 {
            let ports: Vec<u16> = (0..NODES).map(|_| port::free_with_bus()).collect();
            let mut proxies = Vec::new();
            for &port in &ports {
                proxies.push(Proxy::start(port).await);
            }
            let settings = self.clone();
            // The proxies run on this runtime, and the replicas need them.
            let started = tokio::task::spawn_blocking(move || {
                let announced: Vec<u16> = proxies.iter().map(Proxy::port).collect();
                settings.start_at(&ports, &announced, proxies)
            });
            match started.await.expect("the cluster starts") {
                Ok(cluster) => return cluster,
                Err(of_a_node) => log = of_a_node,
            }
        }
        panic!("found no ports for the cluster:\n{log}");
    }

    /// The log of a node that did not start, as where its port was taken.
    fn start_at(
        &self,
        ports: &[u16],
        announced: &[u16],
        proxies: Vec<Proxy>,
    ) -> Result<RedisCluster, String> {
        let ids: Vec<String> = (0..NODES).map(|_| new_id()).collect();
        let start = |node: usize| {
            let dir = directory();
            let members = members(&ids, ports, announced, node);
            std::fs::write(dir.path().join("nodes.conf"), members).expect("a file");
            let settings = self.node_at(ports[node], announced[node]);
            let started = settings.start_at(ports[node], dir);
            started.map_err(|dir| server::log(&dir))
        };
        let nodes: Result<Vec<RedisServer>, String> = std::thread::scope(|scope| {
            let starting: Vec<_> = (0..NODES)
                .map(|node| scope.spawn(move || start(node)))
                .collect();
            let started = starting.into_iter();
            started
                .map(|node| node.join().expect("the node starts"))
                .collect()
        });
        let cluster = RedisCluster {
            nodes: nodes?,
            silent: (0..NODES).map(|_| AtomicBool::new(false)).collect(),
            ids,
            proxies,
            settings: self.clone(),
        };
        cluster.wait_whole();
        Ok(cluster)
    }

    fn node_at(&self, port: u16, told: u16) -> RedisServerBuilder {
        let timeout = self.node_timeout.as_millis().to_string();
        let bus = (port + TO_THE_BUS).to_string();
        let told = told.to_string();
        let announces = match &self.certificate {
            None => "--cluster-announce-port",
            Some(_) => "--cluster-announce-tls-port",
        };
        self.node.clone().args(&[
            "--cluster-enabled",
            "yes",
            "--cluster-config-file",
            "nodes.conf",
            "--cluster-node-timeout",
            &timeout,
            "--cluster-require-full-coverage",
            "no",
            // However long a replica was without its primary, it may take its place.
            "--cluster-replica-validity-factor",
            "0",
            "--cluster-announce-ip",
            "127.0.0.1",
            announces,
            &told,
            "--cluster-announce-bus-port",
            &bus,
            // By default a primary waits for more replicas before it sends its data.
            "--repl-diskless-sync-delay",
            "0",
        ])
    }
}

/// A directory in memory, where the system has some: a node waits for its disk whenever it notes a change of
/// the cluster, and answers nothing meanwhile.
fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a directory for a node")
}

/// What a node has noted of the members when it starts. So they need not be made known to each other, which
/// takes many rounds of their gossip.
fn members(ids: &[String], ports: &[u16], announced: &[u16], myself: usize) -> String {
    let mut text = String::new();
    for (node, id) in ids.iter().enumerate() {
        let (port, bus) = (announced[node], ports[node] + TO_THE_BUS);
        let mark = if node == myself { "myself," } else { "" };
        let primary = node % PRIMARIES;
        let epoch = primary + 1;
        let (role, of, slots) = if node < PRIMARIES {
            let slots = share(node);
            let slots = format!(" {}-{}", slots.start(), slots.end());
            ("master", "-", slots)
        } else {
            ("slave", ids[primary].as_str(), String::new())
        };
        let _ = writeln!(
            text,
            "{id} 127.0.0.1:{port}@{bus} {mark}{role} {of} 0 0 {epoch} connected{slots}"
        );
    }
    let _ = writeln!(text, "vars currentEpoch {PRIMARIES} lastVoteEpoch 0");
    text
}

/// The slots with which a primary begins.
fn share(primary: usize) -> RangeInclusive<u16> {
    let bound = |primary: usize| {
        let slots = usize::from(SLOTS) * primary / PRIMARIES;
        u16::try_from(slots).expect("a slot")
    };
    bound(primary)..=bound(primary + 1) - 1
}

/// Forty hexadecimal digits that no other node has.
fn new_id() -> String {
    let digits = || format!("{:016x}", RandomState::new().hash_one(()));
    let mut id = [digits(), digits(), digits()].concat();
    id.truncate(40);
    id
}

/// A slot on its way from one node to another. Until [`RedisCluster::end_move`] or
/// [`RedisCluster::abort_move`], its owner answers with `ASK` for keys that it does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the move is to be ended"]
pub struct Move {
    /// What moves.
    pub slot: u16,
    /// The node that has owned it so far.
    pub from: usize,
    /// The node that is to own it.
    pub to: usize,
}

/// What a node says of itself and others: a line of `CLUSTER NODES`.
#[derive(Debug)]
struct Member {
    id: String,
    is_myself: bool,
    is_primary: bool,
    is_linked: bool,
    /// The number of its last claim to hash slots.
    config_epoch: u64,
    slots: Vec<RangeInclusive<u16>>,
}

impl Member {
    fn read(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let [
            id,
            _address,
            flags,
            _of,
            _ping,
            _pong,
            epoch,
            state,
            slots @ ..,
        ] = words.as_slice()
        else {
            panic!("not a line of CLUSTER NODES: {line}");
        };
        let has = |flag| flags.split(',').any(|it| it == flag);
        let slots = slots.iter().filter(|word| !word.starts_with('['));
        let number = |text: &str| text.parse::<u16>().expect("a slot");
        Self {
            id: (*id).to_owned(),
            is_myself: has("myself"),
            is_primary: has("master"),
            is_linked: *state == "connected" && !has("fail") && !has("fail?"),
            config_epoch: epoch.parse().expect("an epoch"),
            slots: slots
                .map(|range| match range.split_once('-') {
                    Some((first, last)) => number(first)..=number(last),
                    None => number(range)..=number(range),
                })
                .collect(),
        }
    }

    fn owns(&self, slot: u16) -> bool {
        self.is_primary && self.slots.iter().any(|range| range.contains(&slot))
    }
}

impl RedisCluster {
    /// Starts a cluster with the settings that most tests want.
    ///
    /// # Panics
    ///
    /// As [`RedisClusterBuilder::start`].
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A cluster with settings of its own.
    pub fn builder() -> RedisClusterBuilder {
        RedisClusterBuilder {
            node: RedisServer::builder(),
            password: None,
            certificate: None,
            node_timeout: Duration::from_secs(1),
        }
    }

    /// A cluster that all tests of this process share, and a namespace in it for one of them. It is started
    /// once, and ends with the process. Its nodes do not fail.
    ///
    /// # Panics
    ///
    /// As [`RedisClusterBuilder::start`].
    pub fn shared() -> SharedCluster {
        static CLUSTER: OnceLock<RedisCluster> = OnceLock::new();
        static NAMESPACES: AtomicU32 = AtomicU32::new(0);
        // On a busy machine no node must be taken for one that has failed.
        let start = || {
            Self::builder()
                .node_timeout(Duration::from_secs(60))
                .start()
        };
        SharedCluster {
            cluster: CLUSTER.get_or_init(start),
            namespace: format!("test-{}", NAMESPACES.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// The URL with every node.
    pub fn url(&self) -> String {
        self.url_of(&[0, 1, 2, 3, 4, 5])
    }

    /// The URL with these nodes, from which a client learns of the others.
    pub fn url_of(&self, nodes: &[usize]) -> String {
        let RedisClusterBuilder {
            password,
            certificate,
            ..
        } = &self.settings;
        let (scheme, authority) = match certificate {
            None => ("redis-cluster", String::new()),
            Some(certificate) => {
                let file = certificate.authority_file();
                ("rediss-cluster", format!("?ca={}", file.display()))
            }
        };
        let credentials = match password {
            Some(password) => format!(":{password}@"),
            None => String::new(),
        };
        let addresses: Vec<String> = nodes
            .iter()
            .map(|&node| format!("127.0.0.1:{}", self.announced_port(node)))
            .collect();
        format!("{scheme}://{credentials}{}{authority}", addresses.join(","))
    }

    /// The URL of one node, as of a server that is in no cluster.
    pub fn plain_url(&self, node: usize) -> String {
        match self.proxies.get(node) {
            Some(proxy) => proxy.url(),
            None => self.nodes[node].url(),
        }
    }

    /// The port that clients are told.
    fn announced_port(&self, node: usize) -> u16 {
        match self.proxies.get(node) {
            Some(proxy) => proxy.port(),
            None => self.nodes[node].port(),
        }
    }

    /// A node as a server, past its proxy.
    pub fn node(&self, node: usize) -> &RedisServer {
        &self.nodes[node]
    }

    /// The network in front of a node.
    ///
    /// # Panics
    ///
    /// If the cluster was not [started behind proxies](RedisClusterBuilder::start_behind_proxies).
    pub fn proxy(&mut self, node: usize) -> &mut Proxy {
        &mut self.proxies[node]
    }

    /// The nodes that answer and take themselves for primaries with slots.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::query`].
    pub fn primaries(&self) -> Vec<usize> {
        let has_slots = |&node: &usize| {
            let myself = self.myself(node);
            myself.is_primary && !myself.slots.is_empty()
        };
        self.answering().filter(has_slots).collect()
    }

    /// The primary that owns a slot.
    ///
    /// # Panics
    ///
    /// If there is none that answers.
    pub fn owner(&self, slot: u16) -> usize {
        let owns = |&node: &usize| self.myself(node).owns(slot);
        let owner = self.answering().find(owns);
        owner.unwrap_or_else(|| panic!("no node that answers owns slot {slot}"))
    }

    /// The primary that has this key of the server.
    ///
    /// # Panics
    ///
    /// As [`owner`](Self::owner).
    pub fn primary_of(&self, key: &str) -> usize {
        self.owner(slot_of(key))
    }

    /// Numbers whose text is in a slot of this node: `{7}` in a name puts its entry and its versions there,
    /// whatever else is in the name.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::query`].
    pub fn numbers_on(&self, node: usize) -> impl Iterator<Item = u64> + use<> {
        let slots = self.myself(node).slots;
        let is_there = move |number: &u64| {
            let slot = slot_of(&number.to_string());
            slots.iter().any(|range| range.contains(&slot))
        };
        (0..).filter(is_there)
    }

    /// A name whose entry and versions this node has.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::query`].
    pub fn name_on(&self, node: usize, stem: &str) -> String {
        let number = self.numbers_on(node).next().expect("there are many");
        format!("{stem}:{{{number}}}")
    }

    /// The keys that the primaries hold, sorted.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::query`].
    pub fn keys(&self) -> Vec<String> {
        let primaries = self.primaries().into_iter();
        let mut keys: Vec<String> = primaries.flat_map(|node| self.nodes[node].keys()).collect();
        keys.sort();
        keys
    }

    /// How often `command` has run on all nodes that answer, in scripts too.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::query`].
    pub fn calls(&self, command: &str) -> u64 {
        let nodes = self.answering();
        nodes.map(|node| self.nodes[node].calls(command)).sum()
    }

    /// Kills a node. If it is a primary, its replica takes its place after
    /// [some time](RedisClusterBuilder::node_timeout).
    ///
    /// # Panics
    ///
    /// If the system does not allow it.
    pub fn kill(&mut self, node: usize) {
        self.silent[node].store(true, Ordering::SeqCst);
        self.nodes[node].kill();
    }

    /// Stops the process of a node. If it is a primary, its replica takes its place after
    /// [some time](RedisClusterBuilder::node_timeout).
    ///
    /// # Panics
    ///
    /// If the node does not run.
    pub fn freeze(&self, node: usize) {
        self.silent[node].store(true, Ordering::SeqCst);
        self.nodes[node].freeze();
    }

    /// Lets a frozen node go on. It first answers the commands that came meanwhile.
    ///
    /// # Panics
    ///
    /// If the node does not run.
    pub fn thaw(&self, node: usize) {
        self.nodes[node].thaw();
        self.silent[node].store(false, Ordering::SeqCst);
    }

    /// Kills a node if it runs, and starts it without its keys. A primary takes no commands for two seconds
    /// then.
    ///
    /// # Panics
    ///
    /// If it does not answer within ten seconds.
    pub fn restart(&mut self, node: usize) {
        self.silent[node].store(true, Ordering::SeqCst);
        self.nodes[node].restart();
        self.silent[node].store(false, Ordering::SeqCst);
    }

    /// Kills a node if it runs, and starts it with the data of its last [`save`](RedisServer::save).
    ///
    /// # Panics
    ///
    /// If it does not answer within ten seconds.
    pub fn restart_from_snapshot(&mut self, node: usize) {
        self.silent[node].store(true, Ordering::SeqCst);
        self.nodes[node].restart_from_snapshot();
        self.silent[node].store(false, Ordering::SeqCst);
    }

    /// Kills a primary of the beginning, and starts it with the data of its last [`save`](RedisServer::save)
    /// where no other node reaches it: it still takes itself for the primary of the slots that it began
    /// with, whichever node has them now.
    ///
    /// # Panics
    ///
    /// If it does not serve its slots within some seconds.
    pub fn isolate(&mut self, node: usize) {
        self.kill(node);
        let mut ids: Vec<String> = (0..NODES).map(|_| new_id()).collect();
        ids[node].clone_from(&self.ids[node]);
        // Nothing listens there, and what comes from nodes that it does not know it ignores.
        let mut ports = [55_000; NODES];
        ports[node] = self.announced_port(node);
        let path = self.nodes[node].dir().join("nodes.conf");
        std::fs::write(path, members(&ids, &ports, &ports, node)).expect("a file");
        self.nodes[node].restart_from_snapshot();
        // Else it would find soon that it is alone.
        self.nodes[node].configure("cluster-node-timeout", "600000");
        until_blocking(|| {
            let state: String = self.nodes[node].query(&["CLUSTER", "INFO"]);
            state.contains("cluster_state:ok")
        });
    }

    /// Deletes all keys of a primary.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::query`].
    pub fn flush(&self, node: usize) {
        self.nodes[node].flush_all();
    }

    /// Lets no replica take its primary's place, whatever happens to the primary.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::query`].
    pub fn forbid_promotion(&self) {
        for node in self.answering() {
            // The name that Redis 6.2 knows too.
            self.nodes[node].configure("cluster-slave-no-failover", "yes");
        }
    }

    /// Has a replica take the place of its primary, which hands over to it and loses no write.
    ///
    /// # Panics
    ///
    /// If that does not happen.
    pub fn fail_over(&self, replica: usize) {
        let () = self.nodes[replica].query(&["CLUSTER", "FAILOVER"]);
        self.wait_promoted(replica);
    }

    /// Waits until a replica has taken its primary's place, and all nodes that answer know of it.
    ///
    /// # Panics
    ///
    /// If that does not happen.
    pub fn wait_promoted(&self, replica: usize) {
        until_blocking(|| {
            let slots = self.myself(replica).slots;
            let first = slots.first().map(|range| *range.start());
            first.is_some_and(|slot| self.answering().all(|node| self.takes(node, replica, slot)))
        });
    }

    /// Moves a slot with its keys to another node.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::query`].
    pub fn move_slot(&self, slot: u16, to: usize) {
        let moving = self.begin_move(slot, to);
        self.end_move(moving);
    }

    /// Marks a slot as one that moves to another node. Its keys stay.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::query`].
    pub fn begin_move(&self, slot: u16, to: usize) -> Move {
        let from = self.owner(slot);
        assert_ne!(from, to, "the slot {slot} is there");
        self.set_slot(to, slot, &["IMPORTING", &self.ids[from]]);
        self.set_slot(from, slot, &["MIGRATING", &self.ids[to]]);
        Move { slot, from, to }
    }

    /// Moves up to so many keys of a slot that moves. How many there were.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::query`].
    pub fn move_keys(&self, moving: Move, count: usize) -> usize {
        let Move { slot, from, to } = moving;
        let (slot, count) = (slot.to_string(), count.to_string());
        let list = ["CLUSTER", "GETKEYSINSLOT", &slot, &count];
        let keys: Vec<Vec<u8>> = self.nodes[from].query(&list);
        if keys.is_empty() {
            return 0;
        }
        let mut command = redis::cmd("MIGRATE");
        command.arg("127.0.0.1").arg(self.nodes[to].port());
        command.arg("").arg(0).arg(5_000);
        if let Some(password) = &self.settings.password {
            command.arg("AUTH").arg(password);
        }
        command.arg("KEYS").arg(&keys);
        let moved: redis::RedisResult<String> = command.query(&mut self.nodes[from].connection());
        moved.unwrap_or_else(|error| panic!("cannot move keys: {error}"));
        keys.len()
    }

    /// Moves the keys that are left, and makes the slot the other node's.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::query`].
    pub fn end_move(&self, moving: Move) {
        let Move { slot, from, to } = moving;
        while self.move_keys(moving, 100) > 0 {}
        let assign = ["NODE", &self.ids[to]];
        // First the new owner: else the old one would send clients to a node that sends them back.
        self.set_slot(to, slot, &assign);
        self.set_slot(from, slot, &assign);
        let primaries = self.primaries();
        for &node in &primaries {
            self.set_slot(node, slot, &assign);
        }
        // The next number of a move must be higher than that of this one, on whichever node it begins.
        until_blocking(|| self.agree(&primaries, slot, to));
    }

    /// Leaves the slot where it is. The keys that were moved stay where they are.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::query`].
    pub fn abort_move(&self, moving: Move) {
        let Move { slot, from, to } = moving;
        for node in [from, to] {
            self.set_slot(node, slot, &["STABLE"]);
        }
    }

    fn set_slot(&self, node: usize, slot: u16, what: &[&str]) {
        let slot = slot.to_string();
        let command = [&["CLUSTER", "SETSLOT", &slot], what].concat();
        let () = self.nodes[node].query(&command);
    }

    /// Waits until each node serves, knows all others, and has its primary's data.
    ///
    /// # Panics
    ///
    /// If that does not happen.
    pub fn wait_whole(&self) {
        until_blocking(|| self.answering().all(|node| self.is_settled(node)));
    }

    fn is_settled(&self, node: usize) -> bool {
        let server = &self.nodes[node];
        let state: String = server.query(&["CLUSTER", "INFO"]);
        let replication: String = server.query(&["INFO", "replication"]);
        let is_silent = |member: &Member| {
            let at = self.ids.iter().position(|id| *id == member.id);
            at.is_some_and(|at| self.silent[at].load(Ordering::SeqCst))
        };
        let has_data = !replication.contains("role:slave")
            || replication.contains("master_link_status:up")
                && replication.contains("master_sync_in_progress:0");
        state.contains("cluster_state:ok")
            && has_data
            && self
                .members(node)
                .iter()
                .all(|member| member.is_linked || is_silent(member))
    }

    /// Whether a node takes `owner` for the owner of a slot.
    fn takes(&self, node: usize, owner: usize, slot: u16) -> bool {
        let members = self.members(node);
        let mut members = members.iter();
        members.any(|member| member.id == self.ids[owner] && member.owns(slot))
    }

    /// Whether each of these nodes takes `owner` for the owner of a slot, and knows how often each of them
    /// has claimed slots. Else a later claim could be given a number that is too low, and be lost.
    fn agree(&self, nodes: &[usize], slot: u16, owner: usize) -> bool {
        let views: Vec<Vec<Member>> = nodes.iter().map(|&node| self.members(node)).collect();
        let find = |view: &[Member], node: usize| {
            let mut members = view.iter();
            let member = members.find(|member| member.id == self.ids[node]);
            member.map(|member| (member.config_epoch, member.owns(slot)))
        };
        nodes.iter().all(|&node| {
            let mut seen = views.iter().map(|view| find(view, node));
            let first = seen.next().flatten();
            first.is_some_and(|(_, owns)| owns == (node == owner)) && seen.all(|it| it == first)
        })
    }

    fn answering(&self) -> impl Iterator<Item = usize> {
        (0..NODES).filter(|&node| !self.silent[node].load(Ordering::SeqCst))
    }

    fn members(&self, node: usize) -> Vec<Member> {
        let text: String = self.nodes[node].query(&["CLUSTER", "NODES"]);
        text.lines().map(Member::read).collect()
    }

    fn myself(&self, node: usize) -> Member {
        let mut members = self.members(node).into_iter();
        let myself = members.find(|member| member.is_myself);
        myself.expect("a node knows itself")
    }
}

/// A namespace of a cluster that other tests use too: see [`RedisCluster::shared`].
#[derive(Debug)]
pub struct SharedCluster {
    cluster: &'static RedisCluster,
    namespace: String,
}

impl SharedCluster {
    /// As [`RedisCluster::url`].
    pub fn url(&self) -> String {
        self.cluster.url()
    }

    /// The namespace, which no other test has.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The cluster, for what does not disturb other tests.
    pub fn cluster(&self) -> &RedisCluster {
        self.cluster
    }
}

/// The slot of a key of the server: of what is in its first braces, if something is.
pub fn slot_of(key: &str) -> u16 {
    let hashed = key.split_once('{').and_then(|(_, rest)| {
        let (tag, _) = rest.split_once('}')?;
        (!tag.is_empty()).then_some(tag)
    });
    crc16(hashed.unwrap_or(key).as_bytes()) % SLOTS
}

/// CRC-16/XMODEM, as the cluster's specification asks for.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 {
                shifted
            } else {
                shifted ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the specification, and from `CLUSTER KEYSLOT`.
    #[test]
    fn a_key_is_in_the_slot_that_the_specification_says() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of("foo"), 12_182);
        for key in ["{foo}", "a{foo}b", "{foo}{bar}", "a{foo}}"] {
            assert_eq!(slot_of(key), slot_of("foo"), "{key}");
        }
        assert_ne!(slot_of("{}foo"), slot_of("foo"));
        assert_ne!(slot_of("{foo"), slot_of("foo"));
    }

    #[test]
    fn the_shares_of_the_primaries_are_all_slots() {
        let shares: Vec<u16> = (0..PRIMARIES).flat_map(share).collect();
        assert!(shares.into_iter().eq(0..SLOTS));
    }
}
