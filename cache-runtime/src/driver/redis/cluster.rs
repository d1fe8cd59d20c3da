//! The nodes of a cluster, and what they say of it.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use redis::{AsyncConnectionConfig, Pipeline, ProtocolVersion, RedisError, Value};

use super::address::{Address, Form};
use super::command::bytes;
use super::explain::{explain, explain_greeting};
use super::hosts::{UrlParts, without_brackets};
use super::identity::fnv1a;
use super::stream::Stage;
use super::{Driver, Tls, greet};
use crate::clock;
use crate::driver::cluster::{Elsewhere, NodeAddress, SlotRanges, known_host};
use crate::driver::field;
use crate::error::Error;

/// Opens connections to the nodes of one cluster.
pub(crate) struct Cluster {
    /// How each node is spoken to: that of the first node.
    pattern: Address,
    seeds: Vec<NodeAddress>,
    /// For messages: without credentials.
    shown: String,
}

const FORM: Form = Form {
    encrypted: "rediss-cluster://",
    parameters: &[],
    is_of_cluster: true,
};

/// The schemes of a cluster, each with that of one of its nodes.
const SCHEMES: [(&str, &str); 4] = [
    ("redis-cluster://", "redis://"),
    ("rediss-cluster://", "rediss://"),
    ("valkey-cluster://", "valkey://"),
    ("valkeys-cluster://", "valkeys://"),
];

impl Cluster {
    /// The cluster that a URL names, if it names one. Touches no network.
    pub(crate) fn named_by(url: &str, tls: &Tls) -> Option<Result<Self, Error>> {
        SCHEMES.iter().find_map(|(scheme, of_node)| {
            let rest = url.strip_prefix(scheme)?;
            Some(Self::parse(of_node, rest, tls))
        })
    }

    fn parse(scheme: &str, rest: &str, tls: &Tls) -> Result<Self, Error> {
        const DEFAULT_PORT: u16 = 6379;
        let UrlParts {
            credentials,
            hosts,
            path,
            query,
        } = UrlParts::read(rest, DEFAULT_PORT).map_err(|why| {
            Error::config(format!(
                "{why}; write `redis-cluster://host:port,host:port`"
            ))
        })?;
        let node = |(host, port): &(&str, u16)| NodeAddress::new(without_brackets(host), *port);
        let seeds: Vec<NodeAddress> = hosts.iter().map(node).collect();
        let url = format!("{scheme}{credentials}{}{path}{query}", seeds[0]);
        let pattern = Address::parse_as(&url, &FORM, tls)?;
        if pattern.database() != 0 {
            return Err(Error::config(
                "a cluster has no databases but `0`; leave the number out, and give the cache a \
                 namespace of its own",
            ));
        }
        let shown: Vec<String> = seeds.iter().map(ToString::to_string).collect();
        Ok(Self {
            pattern,
            seeds,
            shown: shown.join(","),
        })
    }

    /// Where the cluster is, for messages: without credentials.
    pub(crate) fn address(&self) -> &str {
        &self.shown
    }

    /// The nodes that the URL names.
    pub(crate) fn seeds(&self) -> &[NodeAddress] {
        &self.seeds
    }

    /// Notes the environment variable that the URL is from, if it is one that other programs set too.
    pub(crate) fn shared_by(&mut self, variable: &'static str) {
        self.pattern.shared_by = Some(variable);
    }

    /// A driver for one node.
    pub(crate) fn node(&self, node: &NodeAddress) -> Result<Driver, Error> {
        let address = self.pattern.at(&node.host, node.port)?;
        Ok(Driver::of_node(address))
    }

    /// Asks a node, primary or replica, which primary has which hash slots.
    pub(crate) async fn ask(
        &self,
        node: &NodeAddress,
        limit: Duration,
    ) -> Result<SlotRanges, Error> {
        let address = self.pattern.at(&node.host, node.port)?;
        let stage = Stage::default();
        let asked = pin!(ask(&address, node, &stage));
        let answered = clock::within(limit, asked).await;
        answered.unwrap_or_else(|| Err(stage.timeout(address.shown(), limit)))
    }
}

/// Over a connection of its own: the node may be a replica, to which no other connection leads.
async fn ask(address: &Address, node: &NodeAddress, stage: &Stage) -> Result<SlotRanges, Error> {
    let shown = address.shown();
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let greeted = greet(address, ProtocolVersion::RESP2, config, stage).await?;
    let (mut redis, _pump) = greeted.map_err(|error| explain_greeting(address, &error))?;
    let mut ask = Pipeline::new();
    ask.ignore_errors();
    ask.cmd("CLUSTER").arg("SLOTS");
    ask.cmd("CLUSTER").arg("INFO");
    let answers: Result<Vec<Value>, _> = ask.query_async(&mut redis).await;
    let mut answers = answers.map_err(|error| explain(shown, &error))?.into_iter();
    let slots = answers.next().unwrap_or(Value::Nil);
    let slots = slots
        .extract_error()
        .map_err(|error| not_told(shown, &error))?;
    let info = answers.next().and_then(bytes).unwrap_or_default();
    let Some((ranges, replicas)) = ranges(slots, &node.host) else {
        let reason = "its answer to CLUSTER SLOTS makes no sense";
        return Err(Error::unavailable(shown, &reason));
    };
    if ranges.is_empty() {
        let reason = "it knows of no node that has hash slots: it is in no cluster yet";
        return Err(Error::unavailable(shown, &reason));
    }
    let info = String::from_utf8_lossy(&info);
    Ok(SlotRanges {
        epoch: current_epoch(&info),
        is_down: field(&info, "cluster_state") == Some("fail"),
        ranges,
        replicas,
    })
}

fn not_told(address: &str, error: &RedisError) -> Error {
    match error.code() {
        Some("ERR") => Error::denied(
            address,
            &format!("it is no node of a cluster ({error}); write `redis://` for a single server"),
        ),
        _ => explain(address, error),
    }
}

/// Ranges of hash slots with their primaries, and all replicas.
type Ranges = (Vec<(u16, u16, NodeAddress)>, Vec<NodeAddress>);

/// The answer to `CLUSTER SLOTS`: for each range its ends, then its primary, then its replicas.
fn ranges(answer: Value, answering: &str) -> Option<Ranges> {
    let Value::Array(answers) = answer else {
        return None;
    };
    let (mut ranges, mut replicas) = (Vec::new(), Vec::new());
    for range in answers {
        let Value::Array(range) = range else {
            return None;
        };
        let mut range = range.into_iter();
        let first = number(range.next()?)?;
        let last = number(range.next()?)?;
        let mut nodes = range.map(|node| address(node, answering));
        ranges.push((first, last, nodes.next()??));
        for replica in nodes.flatten() {
            if !replicas.contains(&replica) {
                replicas.push(replica);
            }
        }
    }
    // Each node lists them in an order of its own, and so two that agree.
    ranges.sort_unstable();
    replicas.sort_unstable();
    Some((ranges, replicas))
}

/// A node in that answer. It has no host where the node that answers does not know its own.
fn address(node: Value, answering: &str) -> Option<NodeAddress> {
    let Value::Array(node) = node else {
        return None;
    };
    let mut node = node.into_iter();
    let host = bytes(node.next()?).unwrap_or_default();
    let host = String::from_utf8(host).ok()?;
    let port = number(node.next()?)?;
    Some(NodeAddress::new(known_host(&host, answering), port))
}

fn number(value: Value) -> Option<u16> {
    match value {
        Value::Int(number) => u16::try_from(number).ok(),
        _ => None,
    }
}

fn current_epoch(info: &str) -> u64 {
    let epoch = field(info, "cluster_current_epoch");
    epoch.and_then(|epoch| epoch.parse().ok()).unwrap_or(0)
}

/// The hash slots that a node says it has itself, in its answer to `CLUSTER NODES`, as one number that is
/// not 0. `None` while some are on their way, or if the node is no primary.
pub(super) fn own_hash_slots(nodes: &str) -> Option<u64> {
    /// After the node's id, its address, its flags, its primary, two times, its epoch and its state.
    const FIRST: usize = 8;
    let own = nodes.lines().find_map(|line| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let is_own = fields.get(2)?.split(',').any(|flag| flag == "myself");
        is_own.then_some(fields)
    })?;
    let is_primary = own[2].split(',').any(|flag| flag == "master");
    let hash_slots = own.get(FIRST..)?;
    if !is_primary || hash_slots.iter().any(|some| some.starts_with('[')) {
        return None;
    }
    Some(fnv1a(&hash_slots.join(" ")) | 1)
}

/// What the error of one command says of the key's place, if that is what it is about.
pub(super) fn elsewhere(error: &RedisError, answering: &str) -> Option<Elsewhere> {
    let node = || {
        let (node, _) = error.redirect_node()?;
        NodeAddress::read(node, answering)
    };
    match error.code()? {
        "MOVED" => node().map(Elsewhere::Moved),
        "ASK" => node().map(Elsewhere::Ask),
        "TRYAGAIN" | "CLUSTERDOWN" => Some(Elsewhere::Nowhere(error.to_string())),
        _ => None,
    }
}

/// Without the credentials.
impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster").field(&self.shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::parse_redis_value;

    fn parse(url: &str) -> Result<Cluster, Error> {
        Cluster::named_by(url, &Tls::default()).expect("a cluster's URL")
    }

    #[test]
    fn a_url_names_the_nodes_to_ask() {
        let cluster = parse("redis-cluster://ann:a%2Cb@one:7000,two,[::1]:7002?protocol=resp3");
        let cluster = cluster.unwrap();
        assert_eq!(cluster.address(), "one:7000,two:6379,[::1]:7002");
        let node = cluster.node(&cluster.seeds()[2]).unwrap();
        assert_eq!(node.address(), "[::1]:7002");
        assert!(Cluster::named_by("redis://one", &Tls::default()).is_none());
    }

    #[test]
    fn a_mistake_in_a_url_says_what_to_write() {
        let refusal = |url| parse(url).expect_err("a mistake").to_string();
        for url in [
            "redis-cluster://",
            "redis-cluster://one,",
            "redis-cluster://one:x",
            "redis-cluster://::1:7000",
        ] {
            assert!(refusal(url).contains("redis-cluster://host:port"), "{url}");
        }
        assert!(refusal("redis-cluster://one/3").contains("no databases"));
        assert!(refusal("redis-cluster://one?time=1").contains("`time`"));
    }

    #[test]
    fn the_answer_names_the_primary_of_each_range() {
        let answer = b"*2\r\n*3\r\n:0\r\n:99\r\n*3\r\n$0\r\n\r\n:7000\r\n$1\r\nx\r\n\
            *4\r\n:100\r\n:16383\r\n*3\r\n$2\r\nh2\r\n:7001\r\n$1\r\ny\r\n*3\r\n$2\r\nh3\r\n:7002\r\n$1\r\nz\r\n";
        let answer = parse_redis_value(answer).unwrap();
        let expected = vec![
            (0, 99, NodeAddress::new("here", 7000)),
            (100, 16_383, NodeAddress::new("h2", 7001)),
        ];
        let replicas = vec![NodeAddress::new("h3", 7002)];
        assert_eq!(ranges(answer, "here"), Some((expected, replicas)));
        assert_eq!(ranges(Value::Okay, "here"), None);
        assert_eq!(
            current_epoch("cluster_state:ok\r\ncluster_current_epoch:6\r\n"),
            6
        );
    }

    #[test]
    fn a_node_tells_its_own_hash_slots_while_none_is_on_its_way() {
        let nodes = |flags: &str, own: &str| {
            format!(
                "a1 h:1@2 master - 0 9 2 connected 0-99\nb2 h:3@4 {flags} - 0 9 3 connected {own}\n"
            )
        };
        let told = own_hash_slots(&nodes("myself,master", "100-199 300"));
        assert!(told.is_some());
        assert_eq!(told, own_hash_slots(&nodes("myself,master", "100-199 300")));
        assert_ne!(told, own_hash_slots(&nodes("myself,master", "100-199")));
        assert_eq!(own_hash_slots(&nodes("myself,slave", "")), None);
        let moving = "100-199 [100->-a1]";
        assert_eq!(own_hash_slots(&nodes("myself,master", moving)), None);
        assert_eq!(own_hash_slots(&nodes("master", "100-199")), None);
    }

    #[test]
    fn an_error_says_where_the_key_is() {
        let error = |text: &[u8]| {
            let value = parse_redis_value(text).unwrap();
            elsewhere(&value.extract_error().unwrap_err(), "here")
        };
        let node = NodeAddress::new("h", 7001);
        assert_eq!(
            error(b"-MOVED 3 h:7001\r\n"),
            Some(Elsewhere::Moved(node.clone()))
        );
        assert_eq!(error(b"-ASK 3 h:7001\r\n"), Some(Elsewhere::Ask(node)));
        assert!(matches!(
            error(b"-CLUSTERDOWN The cluster is down\r\n"),
            Some(Elsewhere::Nowhere(_))
        ));
        assert_eq!(error(b"-OOM no memory\r\n"), None);
    }
}
