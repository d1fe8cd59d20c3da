//! A cluster: entries and the versions of their tags are on several nodes, slots move between the nodes,
//! and nodes fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use cache_runtime::{Cache, CacheBuilder, Options, Status, cache_invalidate, cached};
use cache_tests::{Authority, EventLog, RedisCluster, RedisServer, patient, slot_of, until};
use tokio::task::JoinSet;

use crate::gated::Gate;

/// Rows of one value. The number in braces decides on which node the entry of a row is, and on which node
/// the version of its group.
struct Rows {
    cache: Cache,
    value: AtomicU64,
    loads: AtomicU64,
    commits: Gate,
}

impl Rows {
    fn new(builder: CacheBuilder) -> Arc<Self> {
        Arc::new(Self {
            cache: builder.jitter(0.0).build().unwrap(),
            value: AtomicU64::new(1),
            loads: AtomicU64::new(0),
            commits: Gate::new(),
        })
    }

    #[cached(key = "row:{<at>}:<group>", ttl = 60, invalidate_on = "group:{<group>}", cache = self.cache)]
    async fn read(&self, at: u64, group: u64) -> u64 {
        self.loads.fetch_add(1, SeqCst);
        self.value.load(SeqCst)
    }

    #[cache_invalidate("row:{<at>}:<group>", cache = self.cache)]
    async fn write(&self, at: u64, group: u64, value: u64) {
        self.value.store(value, SeqCst);
    }

    #[cache_invalidate("group:{<group>}", cache = self.cache)]
    async fn write_by_group(&self, group: u64, value: u64) {
        self.value.store(value, SeqCst);
    }

    /// An update that commits when the test says so.
    #[cache_invalidate("row:{<at>}:<group>", fence = "60s", cache = self.cache)]
    async fn write_fenced(&self, at: u64, group: u64, value: u64) {
        self.commits.pass().await;
        self.value.store(value, SeqCst);
    }

    fn loads(&self) -> u64 {
        self.loads.load(SeqCst)
    }

    /// Reads a row, which must have this value, and returns how many loads that took.
    async fn loads_for(&self, (at, group): (u64, u64), value: u64) -> u64 {
        let before = self.loads();
        assert_eq!(self.read(at, group).await, value);
        self.loads() - before
    }

    /// Reads a row until it is in the cache.
    async fn warm(&self, (at, group): (u64, u64)) {
        let value = self.value.load(SeqCst);
        until(async || self.loads_for((at, group), value).await == 0).await;
    }
}

/// The namespace of a cache that has a cluster for itself.
const NAMESPACE: &str = "test";

fn patient_rows(cluster: &RedisCluster) -> Arc<Rows> {
    Rows::new(patient(&cluster.url()).namespace(NAMESPACE))
}

/// Rows with the usual limits.
fn rows(cluster: &RedisCluster) -> Arc<Rows> {
    Rows::new(Cache::builder().url(cluster.url()).namespace(NAMESPACE))
}

/// A row whose entry one node has, and the version of its group another.
fn across(cluster: &RedisCluster, entry: usize, version: usize) -> (u64, u64) {
    let mut groups = cluster.numbers_on(version);
    let at = cluster.numbers_on(entry).next().unwrap();
    let group = groups.find(|&group| group != at).unwrap();
    (at, group)
}

/// The slot of what is numbered so.
fn slot(number: u64) -> u16 {
    slot_of(&number.to_string())
}

#[tokio::test]
async fn entries_and_versions_may_be_on_any_nodes() {
    let shared = RedisCluster::shared();
    let builder = patient(&shared.url()).namespace(shared.namespace());
    let rows = Rows::new(builder);
    for entry in 0..3 {
        for version in 0..3 {
            let row = across(shared.cluster(), entry, version);
            let value = rows.value.load(SeqCst);
            assert_eq!(rows.loads_for(row, value).await, 1);
            assert_eq!(rows.loads_for(row, value).await, 0);
            rows.write(row.0, row.1, value + 1).await;
            assert_eq!(rows.loads_for(row, value + 1).await, 1);
            assert_eq!(rows.loads_for(row, value + 1).await, 0);
            rows.write_by_group(row.1, value + 2).await;
            assert_eq!(rows.loads_for(row, value + 2).await, 1);
            assert_eq!(rows.loads_for(row, value + 2).await, 0);
            let key = format!("{}:e:row:{{{}}}:{}", shared.namespace(), row.0, row.1);
            assert!(shared.cluster().node(entry).keys().contains(&key));
        }
    }
    assert_eq!(rows.cache.stats().errors, 0);
}

#[tokio::test]
async fn any_node_that_answers_leads_to_the_others() {
    let shared = RedisCluster::shared();
    let nobody = "redis-cluster://127.0.0.1:1,";
    let replica = shared.cluster().url_of(&[4]);
    let (_, replica_alone) = replica.split_once("://").unwrap();
    for (i, url) in [replica.clone(), format!("{nobody}{replica_alone}")]
        .iter()
        .enumerate()
    {
        let namespace = format!("{}-{i}", shared.namespace());
        let rows = Rows::new(patient(url).namespace(&namespace));
        for entry in 0..3 {
            let row = across(shared.cluster(), entry, (entry + 1) % 3);
            assert_eq!(rows.loads_for(row, 1).await, 1);
            assert_eq!(rows.loads_for(row, 1).await, 0);
        }
        assert!(rows.cache.health().status.is_working());
    }
}

#[tokio::test]
async fn clear_removes_the_entries_of_all_nodes() {
    let shared = RedisCluster::shared();
    let builder = patient(&shared.url()).namespace(shared.namespace());
    let rows = Rows::new(builder);
    for at in 0..100 {
        assert_eq!(rows.loads_for((at, at), 1).await, 1);
    }
    rows.cache.clear().await.unwrap();
    let prefix = format!("{}:", shared.namespace());
    let keys = shared.cluster().keys();
    assert!(!keys.iter().any(|key| key.starts_with(&prefix)), "{keys:?}");
    assert_eq!(rows.loads_for((1, 1), 1).await, 1);
}

#[tokio::test]
async fn two_caches_make_one_load() {
    let shared = RedisCluster::shared();
    let build = || patient(&shared.url()).namespace(shared.namespace());
    let (at, group) = across(shared.cluster(), 2, 0);
    let caches = [build().build().unwrap(), build().build().unwrap()];
    let loads = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for caller in 0..64 {
        let (cache, loads) = (caches[caller % 2].clone(), loads.clone());
        callers.spawn(async move {
            let load = async {
                loads.fetch_add(1, SeqCst);
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok::<_, ()>(7)
            };
            let options = Options::new().tag(format!("group:{{{group}}}"));
            let key = format!("row:{{{at}}}");
            assert_eq!(cache.get_or_load(key, options, load).await, Ok(7));
        });
    }
    callers.join_all().await;
    assert_eq!(loads.load(SeqCst), 1);
}

#[tokio::test]
async fn a_cluster_with_a_password_is_used_over_tls() {
    let cluster = RedisCluster::builder()
        .password("sesame")
        .tls(Authority::new().sign_local())
        .start();
    let rows = patient_rows(&cluster);
    rows.cache.ping().await.unwrap();
    for entry in 0..3 {
        let row = across(&cluster, entry, (entry + 1) % 3);
        assert_eq!(rows.loads_for(row, 1).await, 1);
        assert_eq!(rows.loads_for(row, 1).await, 0);
    }
    let row = across(&cluster, 0, 1);
    cluster.move_slot(slot(row.0), 2);
    rows.warm(row).await;
    rows.cache.clear().await.unwrap();
    assert!(cluster.keys().is_empty());
    let stranger = cluster.url().replace("sesame", "open");
    let cache = patient(&stranger).build().unwrap();
    let refusal = cache.ping().await.unwrap_err();
    assert!(refusal.is_refused(), "{refusal}");
    assert!(!refusal.to_string().contains("open"), "{refusal}");
}

#[tokio::test]
async fn a_plain_address_of_a_node_is_refused_with_advice() {
    let shared = RedisCluster::shared();
    let url = shared.cluster().plain_url(1);
    let cache = patient(&url).build().unwrap();
    let refusal = cache.ping().await.unwrap_err();
    assert!(refusal.is_refused(), "{refusal}");
    let text = refusal.to_string();
    assert!(text.contains("redis-cluster://"), "{text}");
    for n in 0..20 {
        let load = async { Ok::<_, ()>(n) };
        let options = Options::new().tag("all");
        let loaded = cache.get_or_load(format!("n:{n}"), options, load).await;
        assert_eq!(loaded, Ok(n));
        let Status::Denied(error) = cache.health().status else {
            panic!("{:?}", cache.health());
        };
        assert_eq!(error.to_string(), text);
    }
}

#[tokio::test]
async fn a_server_that_is_in_no_cluster_is_refused_with_advice() {
    let server = RedisServer::start();
    let url = format!("redis-cluster://127.0.0.1:{}", server.port());
    let cache = patient(&url).build().unwrap();
    let refusal = cache.ping().await.unwrap_err().to_string();
    assert!(refusal.contains("`redis://`"), "{refusal}");
}

#[tokio::test]
async fn what_has_moved_is_loaded_once_and_then_served() {
    let cluster = RedisCluster::start();
    let rows = patient_rows(&cluster);
    let (at, group) = across(&cluster, 0, 1);
    rows.warm((at, group)).await;
    // The entry, the version, and both back again.
    for (number, to) in [(at, 1), (group, 2), (at, 0), (group, 1)] {
        cluster.move_slot(slot(number), to);
        assert!(rows.loads_for((at, group), 1).await <= 1);
        assert_eq!(rows.loads_for((at, group), 1).await, 0);
    }
    assert_eq!(cluster.owner(slot(at)), 0);
    rows.write(at, group, 2).await;
    assert_eq!(rows.loads_for((at, group), 2).await, 1);
    rows.write_by_group(group, 3).await;
    assert_eq!(rows.loads_for((at, group), 3).await, 1);
}

#[tokio::test]
async fn an_invalidation_follows_what_has_moved() {
    let cluster = RedisCluster::start();
    let (here, there) = (patient_rows(&cluster), patient_rows(&cluster));
    let (at, group) = across(&cluster, 0, 1);
    for (number, to) in [(at, 2), (group, 2), (at, 1), (group, 0)] {
        here.warm((at, group)).await;
        let before = here.value.load(SeqCst);
        cluster.move_slot(slot(number), to);
        // The one that invalidates has not heard of the move.
        let value = before + 1;
        here.value.store(value, SeqCst);
        there.write(at, group, value).await;
        there.write_by_group(group, value).await;
        assert_eq!(there.cache.stats().errors, 0);
        assert_eq!(here.loads_for((at, group), value).await, 1);
    }
}

#[tokio::test]
async fn a_key_that_has_left_its_node_is_loaded_and_not_stored_until_the_move_ends() {
    let cluster = RedisCluster::start();
    let rows = patient_rows(&cluster);
    let (at, group) = across(&cluster, 0, 1);
    rows.warm((at, group)).await;
    let moving = cluster.begin_move(slot(at), 2);
    assert_eq!(rows.loads_for((at, group), 1).await, 0, "it is still there");
    while cluster.move_keys(moving, 100) > 0 {}
    let entry = format!("{NAMESPACE}:e:row:{{{at}}}:{group}");
    assert_eq!(cluster.node(2).keys(), [entry]);
    for _ in 0..3 {
        assert_eq!(rows.loads_for((at, group), 1).await, 1);
    }
    rows.write(at, group, 2).await;
    assert!(cluster.node(2).keys().is_empty());
    assert_eq!(rows.loads_for((at, group), 2).await, 1);
    assert!(cluster.node(2).keys().is_empty());
    cluster.end_move(moving);
    rows.warm((at, group)).await;
}

#[tokio::test]
async fn a_version_that_has_left_its_node_is_not_read_until_the_move_ends() {
    let cluster = RedisCluster::start();
    let rows = patient_rows(&cluster);
    let (at, group) = across(&cluster, 0, 1);
    rows.warm((at, group)).await;
    let moving = cluster.begin_move(slot(group), 2);
    while cluster.move_keys(moving, 100) > 0 {}
    assert_eq!(rows.loads_for((at, group), 1).await, 1);
    rows.write_by_group(group, 2).await;
    assert_eq!(rows.loads_for((at, group), 2).await, 1);
    cluster.end_move(moving);
    rows.warm((at, group)).await;
    cluster.move_slot(slot(group), 1);
    assert!(rows.loads_for((at, group), 2).await <= 1);
}

/// The entry has left its node, and the version of its tag, in the same slot, has not: a command for both
/// is answered with `TRYAGAIN`.
#[tokio::test]
async fn keys_of_one_slot_on_two_nodes_are_loaded_and_not_stored() {
    let cluster = RedisCluster::start();
    let rows = patient_rows(&cluster);
    let at = cluster.numbers_on(0).next().unwrap();
    rows.warm((at, at)).await;
    let moving = cluster.begin_move(slot(at), 1);
    assert_eq!(cluster.move_keys(moving, 1), 1);
    let keys = || [0, 1].map(|node| cluster.node(node).keys().len());
    let [left, moved] = keys();
    assert_eq!((left > 0, moved), (true, 1));
    assert_eq!(rows.loads_for((at, at), 1).await, 1);
    assert_eq!(keys(), [left, moved]);
    rows.write_by_group(at, 2).await;
    rows.write(at, at, 3).await;
    assert_eq!(rows.loads_for((at, at), 3).await, 1);
    cluster.end_move(moving);
    rows.warm((at, at)).await;
}

/// Nothing was stored where the keys were on their way to. So what was left behind there is of another
/// node, and not served when the slot moves after all.
#[tokio::test]
async fn a_move_that_is_given_up_brings_nothing_old_back() {
    let cluster = RedisCluster::start();
    let rows = patient_rows(&cluster);
    let (at, group) = across(&cluster, 0, 1);
    rows.warm((at, group)).await;
    let moving = cluster.begin_move(slot(at), 2);
    while cluster.move_keys(moving, 100) > 0 {}
    // Stored on the way, if anything were.
    assert_eq!(rows.loads_for((at, group), 1).await, 1);
    cluster.abort_move(moving);
    assert_eq!(cluster.node(2).keys().len(), 1);
    rows.write(at, group, 2).await;
    cluster.move_slot(slot(at), 2);
    assert_eq!(rows.loads_for((at, group), 2).await, 1);
}

#[tokio::test]
async fn nothing_is_stored_behind_a_fence_that_was_placed_on_the_way() {
    let cluster = RedisCluster::start();
    let rows = patient_rows(&cluster);
    let (at, group) = across(&cluster, 0, 1);
    rows.warm((at, group)).await;
    let moving = cluster.begin_move(slot(at), 2);
    while cluster.move_keys(moving, 100) > 0 {}
    let writing = {
        let rows = rows.clone();
        tokio::spawn(async move { rows.write_fenced(at, group, 2).await })
    };
    let entry = format!("{NAMESPACE}:e:row:{{{at}}}:{group}");
    let stored = || {
        let mut asking = cluster.node(2).connection();
        let _: () = redis::cmd("ASKING").query(&mut asking).unwrap();
        let read: Vec<u8> = redis::cmd("GET").arg(&entry).query(&mut asking).unwrap();
        read
    };
    let before = stored();
    until(async || stored() != before).await;
    cluster.end_move(moving);
    for _ in 0..3 {
        assert_eq!(rows.loads_for((at, group), 1).await, 1);
    }
    rows.commits.open();
    writing.await.unwrap();
    assert_eq!(rows.loads_for((at, group), 2).await, 1);
    rows.warm((at, group)).await;
}

#[tokio::test]
async fn a_replica_that_takes_over_serves_no_entry_of_its_primary() {
    let cluster = RedisCluster::start();
    let (here, there) = (patient_rows(&cluster), patient_rows(&cluster));
    let (at, group) = across(&cluster, 0, 1);
    for replica in [3, 4] {
        here.warm((at, group)).await;
        let value = here.value.load(SeqCst) + 1;
        cluster.fail_over(replica);
        here.value.store(value, SeqCst);
        there.write_by_group(group, value).await;
        assert_eq!(here.loads_for((at, group), value).await, 1);
        here.warm((at, group)).await;
    }
    assert_eq!(cluster.primaries(), [2, 3, 4]);
}

/// The entry is on another node than the version of its tag. Only the node of the version goes back to an
/// earlier state, in which the entry was valid.
#[tokio::test]
async fn a_snapshot_of_the_node_of_a_version_brings_no_entry_back() {
    let mut cluster = RedisCluster::start();
    cluster.forbid_promotion();
    let (at, group) = across(&cluster, 0, 1);
    let writer = patient_rows(&cluster);
    writer.warm((at, group)).await;
    cluster.node(1).save();
    writer.write_by_group(group, 2).await;
    cluster.restart_from_snapshot(1);
    cluster.wait_whole();
    let reader = patient_rows(&cluster);
    assert_eq!(cluster.keys().len(), 2, "entry and version are there");
    assert_eq!(reader.loads_for((at, group), 1).await, 1);
}

#[tokio::test]
async fn a_node_that_is_frozen_slows_only_its_own_keys() {
    let cluster = RedisCluster::start();
    cluster.forbid_promotion();
    let rows = rows(&cluster);
    let events = EventLog::default();
    let recorded = events.record(Cache::builder().url(cluster.url()).namespace(NAMESPACE));
    let recorded = Rows::new(recorded);
    let (frozen, others) = (across(&cluster, 0, 1), across(&cluster, 1, 2));
    for row in [frozen, others] {
        rows.warm(row).await;
        recorded.warm(row).await;
    }
    cluster.freeze(0);
    for _ in 0..30 {
        for rows in [&rows, &recorded] {
            assert_eq!(rows.read(frozen.0, frozen.1).await, 1);
            assert_eq!(rows.loads_for(others, 1).await, 0);
        }
    }
    // Once an attempt to connect to it has failed.
    let told = || rows.cache.health().status.error().map(ToString::to_string);
    until(async || told().is_some()).await;
    until(async || recorded.cache.health().status.error().is_some()).await;
    let (told, port) = (told().unwrap(), cluster.node(0).port().to_string());
    assert!(told.contains(&port), "{told}");
    events.take();
    cluster.thaw(0);
    rows.warm(frozen).await;
    until(async || rows.cache.health().status.is_working()).await;
    recorded.warm(frozen).await;
    let back = async || {
        events
            .lines()
            .iter()
            .any(|line| line.starts_with("server back"))
    };
    until(back).await;
}

/// What is invalidated while a node is away waits in the journal, and reaches the replica that takes the
/// node's place.
#[tokio::test]
async fn the_journal_is_replayed_to_the_replica_that_takes_over() {
    let mut cluster = RedisCluster::start();
    let (here, there) = (rows(&cluster), rows(&cluster));
    let (at, group) = across(&cluster, 0, 1);
    let (other_at, other_group) = across(&cluster, 2, 1);
    for rows in [&here, &there] {
        rows.warm((at, group)).await;
        rows.warm((other_at, other_group)).await;
    }
    cluster.kill(0);
    here.write(at, group, 2).await;
    there.value.store(2, SeqCst);
    assert_eq!(here.loads_for((at, group), 2).await, 1);
    here.write_by_group(other_group, 3).await;
    there.value.store(3, SeqCst);
    assert_eq!(there.loads_for((other_at, other_group), 3).await, 1);
    cluster.wait_promoted(3);
    until(async || here.cache.health().waiting == 0).await;
    assert_eq!(there.read(at, group).await, 3);
    for rows in [&here, &there] {
        rows.warm((at, group)).await;
    }
}

/// How many scripts the first node has refused to run.
fn refused(cluster: &RedisCluster) -> u64 {
    let info: String = cluster.node(0).query(&["INFO", "commandstats"]);
    let line = info.lines().find(|line| line.starts_with("cmdstat_eval:"));
    let refused = line.and_then(|line| line.split("rejected_calls=").nth(1));
    let refused = refused.and_then(|rest| rest.split(',').next());
    refused.map_or(0, |refused| refused.trim().parse().unwrap())
}

/// The connection to a node that refuses stays: that the node accepts again shows in no new one.
#[tokio::test]
async fn what_a_node_has_refused_is_invalidated_once_it_accepts() {
    let cluster = RedisCluster::start();
    let (here, there) = (rows(&cluster), rows(&cluster));
    let (row, other) = (across(&cluster, 0, 1), across(&cluster, 1, 2));
    for rows in [&here, &there] {
        rows.warm(row).await;
        rows.warm(other).await;
    }
    cluster.node(0).set_user("default", &["-eval"]);
    here.write(row.0, row.1, 2).await;
    there.value.store(2, SeqCst);
    assert_eq!(here.cache.health().waiting, 1);
    assert_eq!(here.loads_for(row, 2).await, 1);
    assert_eq!(there.read(row.0, row.1).await, 2);
    here.write_by_group(other.1, 3).await;
    assert_eq!(here.cache.health().waiting, 1, "the other nodes accept");
    // Both try again, in vain: each time a trial, the entry and the version.
    let (refused, tries) = (refused(&cluster), 2 * 2 * 3);
    until(async || self::refused(&cluster) >= refused + tries).await;
    there.value.store(3, SeqCst);
    cluster.node(0).set_user("default", &["+eval"]);
    until(async || here.cache.health().waiting == 0).await;
    until(async || there.cache.health().waiting == 0).await;
    for rows in [&here, &there] {
        rows.warm(row).await;
        rows.warm(other).await;
    }
}

/// Without a node, those that are left find that its keys are served by none.
#[tokio::test]
async fn keys_that_no_node_has_are_loaded() {
    let mut cluster = RedisCluster::start();
    cluster.forbid_promotion();
    let rows = rows(&cluster);
    let (lost, others) = (across(&cluster, 2, 2), across(&cluster, 0, 1));
    rows.warm(lost).await;
    rows.warm(others).await;
    cluster.kill(2);
    for _ in 0..30 {
        assert_eq!(rows.loads_for(lost, 1).await, 1);
        assert_eq!(rows.loads_for(others, 1).await, 0);
    }
    cluster.restart(2);
    rows.warm(lost).await;
}
