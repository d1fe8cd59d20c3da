//! A cluster: three primaries with a replica each. The keys of the rows and of their shelves are spread over
//! the primaries, or all in one hash slot.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cache_runtime::{Cache, Options};
use cache_tests::{RedisCluster, RedisClusterBuilder, RedisServer, slot_of, until};
use tempfile::TempDir;
use tokio::task::{JoinHandle, JoinSet, block_in_place};

use super::lost_data::mix;
use super::mixed::{self, stale_reads};
use super::outage::{self, CALL, LONGEST, LOST};
use super::races;
use super::restored::{ROWS, STALE, update_all};
use crate::figure::Figure;
use crate::rows::{A_SHELF, Mix, Rows, cache, patient};
use crate::suite::Size;

pub(crate) const ELSEWHERE: &str = "loads of cached rows of the other nodes";
pub(crate) const HITS_AGAIN: &str = "hits again after the promotion";
const SPREAD: &str = "time for hits in many hash slots, in percent of that on a single server";
const TOGETHER: &str = "time for hits in one hash slot, in percent of that on a single server";
pub(crate) const KEPT: &str = "invalidations that had to be repeated";
pub(crate) const SPLIT: &str = "rows read through a primary that was replaced";

/// Rows of which some are on each node. Nothing updates them.
const LEFT_ALONE: Range<u32> = 300..900;

/// How soon after its promotion hits come from a replica.
const A_SECOND: Duration = Duration::from_secs(1);

/// The node that has a row's entry at the beginning, and the one that has the version of its shelf.
fn nodes_of(row: u32) -> [usize; 2] {
    let shelf = row / A_SHELF;
    [
        format!("faults:e:row:{row}"),
        format!("faults:v:shelf:{shelf}"),
    ]
    .map(|key| {
        [0..5_461, 5_461..10_922]
            .iter()
            .position(|slots| slots.contains(&slot_of(&key)))
            .unwrap_or(2)
    })
}

pub(crate) async fn races(size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = RedisCluster::start();
    let cache = patient(&cluster.url());
    races::race(Rows::with(cache, folder.path(), races::LATENCY, 0), size).await
}

pub(crate) async fn steady(size: Size) -> Vec<Figure> {
    let cluster = RedisCluster::start();
    mixed::steady(&cluster.url(), 1, size).await
}

/// Two caches on one cluster, which know as little of each other as two processes do.
struct Setup {
    folder: TempDir,
    cluster: RedisCluster,
    ours: Arc<Rows>,
    others: Arc<Rows>,
    /// The cache of `ours`, for rows that are left alone: its loads are counted.
    alone: Arc<Rows>,
}

impl Setup {
    fn new(cluster: RedisCluster) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let build = || cache(&cluster.url()).build().expect("a cache");
        let ours = build();
        Self {
            ours: Rows::new(ours.clone(), folder.path()),
            others: Rows::new(build(), folder.path()),
            alone: Rows::new(ours, folder.path()),
            folder,
            cluster,
        }
    }

    async fn warm(cluster: RedisClusterBuilder) -> Self {
        let setup = Self::new(block_in_place(|| cluster.start()));
        setup.warm_up().await;
        setup
    }

    async fn warm_up(&self) {
        self.ours.warm(0..ROWS).await;
        self.alone.warm(LEFT_ALONE).await;
    }

    /// Those of the rows that are left alone of which this node has neither the entry nor the version.
    fn without(node: usize) -> Vec<u32> {
        let is_elsewhere = |&row: &u32| !nodes_of(row).contains(&node);
        LEFT_ALONE.filter(is_elsewhere).collect()
    }

    /// Reads these rows again and again, and returns how often they were loaded.
    fn keep_reading(&self, rows: Vec<u32>) -> Reading {
        let (alone, before) = (self.alone.clone(), self.alone.unrelated_loads());
        let task = tokio::spawn({
            let alone = alone.clone();
            async move {
                for row in rows.into_iter().cycle() {
                    alone.read(row).await;
                    alone.pause().await;
                }
            }
        });
        Reading {
            task,
            alone,
            before,
        }
    }

    /// How long it takes until something of a row of this node is served from the cache again.
    async fn hits_again(&self, node: usize) -> Duration {
        let began = Instant::now();
        let mut rows = LEFT_ALONE;
        let row = rows.find(|&row| nodes_of(row)[0] == node);
        let row = row.expect("each node has some");
        // Its loads are counted apart from those of the rows of other nodes.
        let rows = Rows::new(self.alone.cache.clone(), self.folder.path());
        until(async || {
            let before = rows.unrelated_loads();
            rows.read(row).await;
            rows.unrelated_loads() == before
        })
        .await;
        began.elapsed()
    }

    async fn figures(&self) -> Vec<Figure> {
        outage::figures(&self.ours, &self.others).await
    }
}

struct Reading {
    task: JoinHandle<()>,
    alone: Arc<Rows>,
    before: u64,
}

impl Reading {
    fn end(self) -> Figure {
        self.task.abort();
        let loads = self.alone.unrelated_loads() - self.before;
        // On a busy machine, an answer of a healthy node may come too late.
        Figure::at_most(ELSEWHERE, loads, 0).of(self.alone.tally().reads)
    }
}

/// A primary is killed, and its replica takes its place.
pub(crate) async fn killed(_size: Size) -> Vec<Figure> {
    let mut setup = Setup::warm(RedisCluster::builder()).await;
    let reading = setup.keep_reading(Setup::without(0));
    block_in_place(|| setup.cluster.kill(0));
    // As long as the others may take to find that out and to promote the replica.
    outage::update_for(&setup.ours, Duration::from_secs(3)).await;
    block_in_place(|| setup.cluster.wait_promoted(3));
    let again = setup.hits_again(0).await;
    let elsewhere = reading.end();
    let mut figures = setup.figures().await;
    figures.push(elsewhere);
    figures.push(Figure::within(HITS_AGAIN, again, A_SECOND));
    figures
}

/// A primary is frozen until its replica has taken its place, and then it goes on.
pub(crate) async fn replaced_while_frozen(_size: Size) -> Vec<Figure> {
    let setup = Setup::warm(RedisCluster::builder()).await;
    let reading = setup.keep_reading(Setup::without(0));
    setup.cluster.freeze(0);
    outage::update_for(&setup.ours, Duration::from_secs(3)).await;
    block_in_place(|| setup.cluster.wait_promoted(3));
    let again = setup.hits_again(0).await;
    setup.cluster.thaw(0);
    let elsewhere = reading.end();
    let mut figures = setup.figures().await;
    figures.push(elsewhere);
    figures.push(Figure::within(HITS_AGAIN, again, A_SECOND));
    figures
}

/// A primary is frozen, and not replaced.
pub(crate) async fn frozen(size: Size) -> Vec<Figure> {
    let setup = Setup::warm(RedisCluster::builder()).await;
    setup.cluster.forbid_promotion();
    let reading = setup.keep_reading(Setup::without(0));
    setup.cluster.freeze(0);
    outage::update_for(&setup.ours, outage::three_seconds(size)).await;
    setup.cluster.thaw(0);
    let elsewhere = reading.end();
    let mut figures = setup.figures().await;
    figures.push(elsewhere);
    figures
}

/// No byte of clients reaches one of the nodes, which speak to each other.
pub(crate) async fn cut_off(size: Size) -> Vec<Figure> {
    let cluster = RedisCluster::builder().start_behind_proxies().await;
    let mut setup = Setup::new(cluster);
    setup.warm_up().await;
    let reading = setup.keep_reading(Setup::without(0));
    setup.cluster.proxy(0).black_hole();
    outage::update_for(&setup.ours, outage::three_seconds(size)).await;
    let elsewhere = reading.end();
    setup.cluster.proxy(0).heal().await;
    let mut figures = setup.figures().await;
    figures.push(elsewhere);
    figures
}

/// A primary is replaced, and goes on in a part of the network where it does not hear of that. A process
/// that knows its successor can reach only the old one.
pub(crate) async fn split(_size: Size) -> Vec<Figure> {
    let cluster = RedisCluster::builder().start_behind_proxies().await;
    let mut setup = Setup::new(cluster);
    setup.warm_up().await;
    block_in_place(|| {
        setup.cluster.node(0).save();
        setup.cluster.kill(0);
        setup.cluster.wait_promoted(3);
    });
    // Both know of the promotion.
    setup.hits_again(0).await;
    setup.others.warm(0..ROWS).await;
    block_in_place(|| setup.cluster.isolate(0));
    let of_the_old: Vec<u32> = (0..ROWS).filter(|&row| nodes_of(row) == [0, 0]).collect();
    assert!(of_the_old.len() > 5, "each node has some");
    for node in 1..6 {
        setup.cluster.proxy(node).cut().await;
    }
    // Long enough to be led to the old primary, and to store what is read there.
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        for &row in &of_the_old {
            setup.others.read(row).await;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let before = setup.others.tally();
    for &row in &of_the_old {
        setup.others.read(row).await;
    }
    let hits = setup.others.tally().hits - before.hits;
    for node in 1..6 {
        setup.cluster.proxy(node).heal().await;
    }
    let longest = setup.others.tally().longest;
    // Until both reach the nodes again.
    until_hits(&setup.others).await;
    until_hits(&setup.ours).await;
    update_all(&setup.ours).await;
    let stuck = setup.others.stuck(0..ROWS).await;
    let tally = setup.others.tally();
    vec![
        Figure::none(SPLIT, hits).of(of_the_old.len() as u64),
        Figure::none(STALE, tally.stale + stuck).of(tally.reads + u64::from(ROWS)),
        Figure::broken(tally.broken() + setup.ours.tally().hung),
        Figure::within(LONGEST, longest, CALL),
    ]
}

async fn until_hits(rows: &Rows) {
    until(async || {
        let before = rows.cache.stats().hits;
        rows.warm(0..ROWS).await;
        rows.cache.stats().hits - before > u64::from(ROWS) - 5
    })
    .await;
}

/// One node comes back with its data from before the last updates.
pub(crate) async fn from_a_snapshot(_size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut cluster = block_in_place(RedisCluster::start);
    cluster.forbid_promotion();
    let rows = Rows::new(patient(&cluster.url()), folder.path());
    rows.warm(0..ROWS).await;
    block_in_place(|| cluster.node(0).save());
    update_all(&rows).await;
    block_in_place(|| {
        cluster.restart_from_snapshot(0);
        cluster.wait_whole();
    });
    vec![
        Figure::none(STALE, rows.stuck(0..ROWS).await).of(ROWS.into()),
        Figure::broken(rows.tally().broken()),
    ]
}

pub(crate) async fn flushed(size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = block_in_place(RedisCluster::start);
    let rows = Rows::new(patient(&cluster.url()), folder.path());
    let lasts = size.pick(Duration::from_secs(6), Duration::from_secs(2));
    let flushing = tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        for node in (0..3).cycle() {
            if began.elapsed() >= lasts {
                break;
            }
            cluster.flush(node);
            std::thread::sleep(Duration::from_millis(7));
        }
        cluster
    });
    rows.mix(mix(4, lasts)).await;
    let _cluster = flushing.await.expect("no panic");
    stale_reads(rows.tally())
}

/// The hash slots of entries and versions move back and forth between all primaries.
pub(crate) async fn moving(size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = block_in_place(RedisCluster::start);
    let [writer, reader] = [(); 2].map(|()| Rows::new(patient(&cluster.url()), folder.path()));
    let rows = (0..40).map(|row| format!("faults:e:row:{row}"));
    let shelves = (0..4).map(|shelf| format!("faults:v:shelf:{shelf}"));
    let mut slots: Vec<u16> = shelves.chain(rows).map(|key| slot_of(&key)).collect();
    slots.dedup();
    while_they_move(cluster, [writer, reader], slots, 4, size).await
}

/// The same, with all keys in one hash slot.
pub(crate) async fn moving_together(size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = block_in_place(RedisCluster::start);
    let [writer, reader] = [(); 2].map(|()| Rows::together(patient(&cluster.url()), folder.path()));
    let slot = slot_of("{library}");
    // Each move concerns all invalidations, so more of them meet the next one.
    while_they_move(cluster, [writer, reader], vec![slot], 2, size).await
}

/// One cache updates, so it learns of a move when it invalidates, and another one reads. Of so many
/// moves, one may have an invalidation repeated.
async fn while_they_move(
    cluster: RedisCluster,
    [ours, others]: [Arc<Rows>; 2],
    slots: Vec<u16>,
    moves_to_a_repeat: u64,
    size: Size,
) -> Vec<Figure> {
    let lasts = size.pick(Duration::from_secs(10), Duration::from_secs(3));
    // They are connected before anything moves.
    ours.warm(0..40).await;
    others.warm(0..40).await;
    let moving = tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        let mut moved = 0_u64;
        while began.elapsed() < lasts {
            for &slot in &slots {
                let to = (cluster.owner(slot) + 1 + usize::from(moved % 2 == 1)) % 3;
                let moving = cluster.begin_move(slot, to);
                while cluster.move_keys(moving, 1) > 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                std::thread::sleep(Duration::from_millis(5));
                cluster.end_move(moving);
                moved += 1;
            }
        }
        (cluster, moved)
    });
    let writing = Mix {
        readers: 0,
        ..mix(40, lasts)
    };
    let reading = Mix {
        writers: 0..0,
        ..mix(40, lasts)
    };
    tokio::join!(ours.mix(writing), others.mix(reading));
    let (_cluster, moved) = moving.await.expect("no panic");
    assert!(moved > 5, "slots were moved: {moved}");
    let tally = ours.tally().and(others.tally());
    let mut figures = stale_reads(tally);
    let stuck = ours.stuck(0..40).await + others.stuck(0..40).await;
    figures.push(Figure::none(LOST, stuck).of(80));
    let (repeated, limit) = (ours.cache.stats().errors, moved / moves_to_a_repeat);
    figures.push(Figure::at_most(KEPT, repeated, limit));
    figures.push(Figure::within(LONGEST, tally.longest, CALL));
    figures
}

/// Hits of many callers, whose keys one node has, beside those of a single server.
pub(crate) async fn throughput(size: Size) -> Vec<Figure> {
    const KEYS: usize = 2_000;
    /// A build without optimizations says little of this.
    const MOST: [u64; 2] = if cfg!(debug_assertions) {
        [400, 300]
    } else {
        [200, 115]
    };
    let server = RedisServer::start();
    let cluster = block_in_place(RedisCluster::start);
    let caches = [server.url(), cluster.url()].map(|url| patient(&url));
    let mut numbers = cluster.numbers_on(0);
    let spread: Arc<[String]> = numbers
        .by_ref()
        .take(KEYS)
        .map(|n| format!("row:{{{n}}}"))
        .collect();
    let number = numbers.next().expect("there are many");
    let together = (0..KEYS)
        .map(|row| format!("row:{{{number}}}:{row}"))
        .collect();
    let spread = beside(&caches, &spread, size).await;
    let together = beside(&caches, &together, size).await;
    vec![
        // A command reads keys of one hash slot, so each of these keys has a command of its own.
        Figure::at_most(SPREAD, spread, MOST[0]),
        Figure::at_most(TOGETHER, together, MOST[1]),
    ]
}

/// The time that hits take on the second of two servers, in percent of that on the first one.
async fn beside(caches: &[Cache; 2], keys: &Arc<[String]>, size: Size) -> u64 {
    const ROUNDS: usize = 7;
    let each = size.pick(400, 40);
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..=ROUNDS {
        for (cache, took) in caches.iter().zip(&mut took) {
            took.push(hits(cache, keys, each).await);
        }
    }
    // The first round loads.
    let [one, other] = took.map(|took| took[1..].iter().min().map_or(0, Duration::as_micros));
    u64::try_from(other * 100 / one.max(1)).unwrap_or(u64::MAX)
}

async fn hits(cache: &Cache, keys: &Arc<[String]>, each: usize) -> Duration {
    const CALLERS: usize = 512;
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (cache, keys) = (cache.clone(), keys.clone());
        callers.spawn(async move {
            for call in 0..each {
                let key = keys[(caller + call) % keys.len()].as_str();
                let load = async { Ok::<_, Infallible>(7_u64) };
                let Ok(7) = cache.get_or_load(key, Options::new(), load).await else {
                    panic!("another value");
                };
            }
        });
    }
    callers.join_all().await;
    began.elapsed()
}
