//! Callers who come at the same time share round trips: fewer commands, the same promises.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cache_runtime::{Cache, cache_invalidate, cached};
use cache_tests::{Proxy, RedisServer, Way};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet, yield_now};
use tokio::time::timeout;

use crate::gated::LIMIT;

/// What can be asked for, and how often it was loaded.
struct Rows {
    cache: Cache,
    loads: AtomicU64,
}

impl Rows {
    fn new(cache: Cache) -> Arc<Self> {
        Arc::new(Self {
            cache,
            loads: AtomicU64::new(0),
        })
    }

    /// A busy machine is not to look like an outage.
    fn patient(url: &str) -> Arc<Self> {
        Self::new(Cache::builder().url(url).op_timeout(LIMIT).build().unwrap())
    }

    #[cached(key = "row:<n>", ttl = 60, invalidate_on = "rows", cache = self.cache)]
    async fn row(&self, n: u64) -> Result<u64, Infallible> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        Ok(n * n)
    }

    #[cached(key = "wide:<n>", ttl = 60, invalidate_on = "rows", cache = self.cache)]
    async fn wide(&self, n: u64) -> Result<String, Infallible> {
        Ok("x".repeat(usize::try_from(n).unwrap()))
    }

    async fn get(&self, n: u64) {
        let Ok(row) = self.row(n).await;
        assert_eq!(row, n * n);
    }

    async fn warm(&self, rows: u64) {
        for n in 0..rows {
            self.get(n).await;
        }
    }

    fn loads(&self) -> u64 {
        self.loads.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_lone_call_is_one_command_and_a_miss_three_round_trips() {
    let server = RedisServer::start();
    let rows = Rows::patient(&server.url());
    rows.warm(1).await;
    let before = server.commands_processed();
    rows.get(7).await;
    let (mgets, evals) = (server.calls("mget"), server.calls("eval"));
    assert_eq!(
        (mgets, evals),
        (2, 6),
        "twice: a look; the lease with the tag's version; the fill"
    );
    let missed = server.commands_processed();
    assert!(missed > before);
    for _ in 0..10 {
        rows.get(7).await;
    }
    assert_eq!(server.commands_processed(), missed + 10);
    assert_eq!(server.calls("mget"), mgets + 10);
}

/// So many leave at once, each on its own, before anybody has to wait.
const AT_ONCE: u64 = 8;

/// Waits until the server has done so many.
async fn mgets(server: &RedisServer, count: u64) {
    let start = Instant::now();
    while server.calls("mget") < count {
        assert!(start.elapsed() < LIMIT, "{}", server.calls("mget"));
        yield_now().await;
    }
}

#[tokio::test]
async fn callers_who_come_meanwhile_share_one_command() {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let rows = Rows::patient(&proxy.url());
    rows.warm(8).await;
    let before = server.calls("mget");
    proxy.hold(Way::ToClient);
    let mut callers = JoinSet::new();
    for caller in 0..100 {
        let rows = rows.clone();
        callers.spawn(async move { rows.get(caller % 8).await });
    }
    mgets(&server, before + AT_ONCE).await;
    proxy.heal().await;
    callers.join_all().await;
    assert_eq!(server.calls("mget"), before + AT_ONCE + 1);
    assert_eq!((rows.loads(), rows.cache.stats().errors), (8, 0));
}

/// How often one was decoded, in this process.
static DECODED: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone, PartialEq, serde::Serialize)]
struct Counted(u64);

impl<'de> serde::Deserialize<'de> for Counted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, Ordering::SeqCst);
        u64::deserialize(deserializer).map(Self)
    }
}

impl Rows {
    #[cached(key = "counted:<n>", ttl = 60, cache = self.cache)]
    async fn counted(&self, n: u64) -> Result<Counted, Infallible> {
        Ok(Counted(n))
    }
}

#[tokio::test]
async fn callers_of_one_key_who_share_a_command_decode_its_value_once() {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let rows = Rows::patient(&proxy.url());
    let keys = 4;
    for n in 0..keys {
        assert_eq!(rows.counted(n).await, Ok(Counted(n)));
    }
    assert_eq!(DECODED.load(Ordering::SeqCst), 0);
    let before = server.calls("mget");
    proxy.hold(Way::ToClient);
    let mut callers = JoinSet::new();
    for caller in 0..100 {
        let (rows, n) = (rows.clone(), caller % keys);
        callers.spawn(async move { assert_eq!(rows.counted(n).await, Ok(Counted(n))) });
    }
    mgets(&server, before + AT_ONCE).await;
    proxy.heal().await;
    callers.join_all().await;
    assert_eq!(server.calls("mget"), before + AT_ONCE + 1);
    // Those who left on their own, and one for each key of those who did not.
    assert_eq!(DECODED.load(Ordering::SeqCst), AT_ONCE + keys);
}

#[tokio::test]
async fn callers_who_are_dropped_harm_nobody() {
    let server = RedisServer::start();
    let rows = Rows::patient(&server.url());
    rows.warm(16).await;
    let mut random = Random(7);
    for _ in 0..60 {
        let mut callers: Vec<JoinHandle<()>> = Vec::new();
        for _ in 0..40 {
            let (rows, n) = (rows.clone(), random.below(16));
            callers.push(tokio::spawn(async move {
                for n in n..n + 4 {
                    rows.get(n % 16).await;
                }
            }));
            if random.below(4) == 0 {
                yield_now().await;
            }
            if random.below(3) == 0 {
                let at = usize::try_from(random.below(callers.len() as u64)).unwrap();
                callers.swap_remove(at).abort();
            }
            if random.below(8) == 0 {
                // Long enough for answers to come, now and then.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        for caller in callers {
            timeout(LIMIT, caller).await.expect("an answer").unwrap();
        }
    }
    assert_eq!(rows.loads(), 16, "all of them hits");
    assert_eq!(rows.cache.stats().errors, 0);
}

const OP_TIMEOUT: Duration = Duration::from_millis(200);

/// How long the slowest of many callers takes, of whom most wait in line when `outage` happens.
async fn in_an_outage(outage: impl FnOnce(&mut RedisServer, &Proxy)) {
    let mut server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    let builder = Cache::builder().url(proxy.url());
    let rows = Rows::new(builder.op_timeout(OP_TIMEOUT).build().unwrap());
    rows.warm(8).await;
    let before = server.calls("mget");
    proxy.hold(Way::ToClient);
    let mut callers = JoinSet::new();
    for caller in 0..64 {
        let rows = rows.clone();
        callers.spawn(async move {
            let start = Instant::now();
            rows.get(caller % 8).await;
            start.elapsed()
        });
    }
    mgets(&server, before + AT_ONCE).await;
    outage(&mut server, &proxy);
    let longest = callers.join_all().await.into_iter().max().unwrap();
    println!("the longest call took {longest:.1?}");
    assert!(rows.loads() > 8, "somebody had to load");
    // A busy machine may stretch any of the waits; four times is no noise any more.
    assert!(longest < OP_TIMEOUT * 2 * 4, "{longest:?}");
}

#[tokio::test]
async fn when_nothing_is_answered_all_load_within_their_deadlines() {
    in_an_outage(|_, proxy| proxy.black_hole()).await;
}

#[tokio::test]
async fn when_the_server_is_killed_under_a_batch_all_load() {
    in_an_outage(|server, _| server.kill()).await;
}

/// Of each `MGET` that the server got, what it asked for.
fn asked(server: &RedisServer) -> Vec<Vec<String>> {
    type Line = (u64, u64, u64, Vec<String>, String, String);
    let log: Vec<Line> = server.query(&["SLOWLOG", "GET", "-1"]);
    log.into_iter()
        .map(|(_, _, _, words, ..)| words)
        .filter(|words| words[0].eq_ignore_ascii_case("mget"))
        .map(|words| words[1..].to_vec())
        .collect()
}

#[tokio::test]
async fn a_large_value_is_read_beside_the_small_ones() {
    const WIDE: u64 = 3 << 20;
    let log = [
        "--slowlog-log-slower-than",
        "0",
        "--slowlog-max-len",
        "1000000",
    ];
    let server = RedisServer::builder().args(&log).start();
    let rows = Rows::patient(&server.url());
    rows.warm(8).await;
    // Loaded, and then read once: from then on its size is known.
    for _ in 0..2 {
        assert_eq!(rows.wide(WIDE).await.unwrap().len(), 3 << 20);
    }
    let _: () = server.query(&["SLOWLOG", "RESET"]);
    let mut callers = JoinSet::new();
    for _ in 0..4 {
        let rows = rows.clone();
        callers.spawn(async move {
            for _ in 0..4 {
                assert_eq!(rows.wide(WIDE).await.unwrap().len(), 3 << 20);
            }
        });
    }
    for caller in 0..64 {
        let rows = rows.clone();
        callers.spawn(async move {
            for n in caller..caller + 20 {
                rows.get(n % 8).await;
            }
        });
    }
    callers.join_all().await;
    let asked = asked(&server);
    let is_wide = |name: &String| name.contains(":e:wide:");
    let (wide, small): (Vec<_>, Vec<_>) = asked.iter().partition(|names| names.iter().any(is_wide));
    assert!(wide.iter().all(|names| names.len() == 2), "{wide:?}");
    assert!(
        wide.len() < 16,
        "who wants the same one shares it: {}",
        wide.len()
    );
    assert!(small.iter().any(|names| names.len() > 2), "{small:?}");
}

/// Rows that change, and what the last invalidation that returned was about.
struct Changing {
    cache: Cache,
    value: AtomicU64,
    floor: AtomicU64,
}

impl Changing {
    #[cached(key = "row:<n>", ttl = 60, invalidate_on = "rows", cache = self.cache)]
    async fn row(&self, n: u64) -> u64 {
        let value = self.value.load(Ordering::SeqCst);
        yield_now().await;
        let _ = n;
        value
    }

    #[cache_invalidate("rows", cache = self.cache)]
    async fn change(&self) -> u64 {
        self.value.fetch_add(1, Ordering::SeqCst) + 1
    }
}

async fn readers_get_nothing_from_before_they_came() {
    const CHANGES: u64 = 300;
    let server = RedisServer::start();
    let builder = Cache::builder().url(server.url()).op_timeout(LIMIT);
    let rows = Arc::new(Changing {
        cache: builder.build().unwrap(),
        value: AtomicU64::new(0),
        floor: AtomicU64::new(0),
    });
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for reader in 0..48 {
        let (rows, done) = (rows.clone(), done.clone());
        readers.spawn(async move {
            let mut reads = 0;
            while !done.load(Ordering::SeqCst) {
                let floor = rows.floor.load(Ordering::SeqCst);
                let got = rows.row(reader % 6).await;
                assert!(got >= floor, "{got} is from before {floor}");
                reads += 1;
            }
            reads
        });
    }
    for _ in 0..CHANGES {
        let value = rows.change().await;
        rows.floor.store(value, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    done.store(true, Ordering::SeqCst);
    let reads: u64 = readers.join_all().await.into_iter().sum();
    let stats = rows.cache.stats();
    println!(
        "{reads} reads, {} commands: {stats:?}",
        server.calls("mget")
    );
    assert!(stats.hits > 0 && stats.errors == 0, "{stats:?}");
    assert!(server.calls("mget") < reads, "they kept company");
}

#[tokio::test]
async fn on_one_thread_nobody_gets_what_was_read_before_it_came() {
    readers_get_nothing_from_before_they_came().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_two_threads_nobody_gets_what_was_read_before_it_came() {
    readers_get_nothing_from_before_they_came().await;
}

#[test]
fn a_runtime_that_ends_strands_nobody_of_another() {
    let server = RedisServer::start();
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    let rows = Rows::patient(&server.url());
    let (staying, ending) = (runtime(), runtime());
    staying.block_on(rows.warm(8));
    let callers = |rows: &Arc<Rows>| {
        let mut callers = JoinSet::new();
        for n in 0..40 {
            let rows = rows.clone();
            callers.spawn(async move { rows.get(n % 8).await });
        }
        callers
    };
    for _ in 0..20 {
        // Its callers are under way and in line when it is left alone, and then dropped.
        let stuck = ending.block_on(async {
            let stuck = callers(&rows);
            yield_now().await;
            stuck
        });
        staying.block_on(async {
            let all = callers(&rows).join_all();
            timeout(LIMIT, all).await.expect("all are answered");
        });
        // Some have their answers by now, and others will never ask for one.
        drop(stuck);
    }
    let (begun, has_begun) = oneshot::channel();
    let rows_there = rows.clone();
    let ends = std::thread::spawn(move || {
        ending.block_on(async {
            let _stuck = callers(&rows_there);
            yield_now().await;
            let _ = begun.send(());
        });
        drop(ending);
    });
    staying.block_on(async {
        has_begun.await.unwrap();
        let all = callers(&rows).join_all();
        timeout(LIMIT, all).await.expect("all are answered");
    });
    ends.join().unwrap();
    assert_eq!(rows.loads(), 8);
}

/// `SplitMix64`: the same sequence on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
