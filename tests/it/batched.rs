//! Reads that share a command: callers that come at the same time send fewer commands, and the
//! promises are the same.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cache_runtime::{Cache, cache_invalidate, cached};
use cache_tests::{LIMIT, Proxy, Random, RedisServer, Way, patient, poll_once, until};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet, yield_now};
use tokio::time::timeout;

/// Rows that can be read, and how often they were loaded.
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

    fn patient(url: &str) -> Arc<Self> {
        Self::new(patient(url).build().unwrap())
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
async fn a_hit_of_a_lone_caller_is_one_command_and_its_miss_three_round_trips() {
    let server = RedisServer::start();
    let rows = Rows::patient(&server.url());
    rows.warm(1).await;
    let before = server.commands_processed();
    rows.get(7).await;
    let (mgets, evals) = (server.calls("mget"), server.calls("eval"));
    assert_eq!(
        (mgets, evals),
        (2, 6),
        "two misses, each with a look, the lease with the tag's version, and the fill"
    );
    let missed = server.commands_processed();
    assert!(missed > before);
    for _ in 0..10 {
        rows.get(7).await;
    }
    assert_eq!(server.commands_processed(), missed + 10);
    assert_eq!(server.calls("mget"), mgets + 10);
}

/// How many reads are sent one by one; those that come while they are under way share a command.
const SINGLE_READS: u64 = 8;

/// Waits until the server has carried out so many `MGET`s.
async fn mgets(server: &RedisServer, count: u64) {
    until(async || server.calls("mget") >= count).await;
}

/// Makes 100 calls, all of which come before the server answers one, and checks that those that
/// are not single reads share one command.
async fn call_at_once<C>(server: &RedisServer, proxy: &mut Proxy, call: impl Fn(u64) -> C)
where
    C: Future<Output = ()> + Send + 'static,
{
    let before = server.calls("mget");
    proxy.hold(Way::ToClient);
    let mut callers = JoinSet::new();
    for caller in 0..100 {
        callers.spawn(call(caller));
    }
    mgets(server, before + SINGLE_READS).await;
    proxy.heal().await;
    callers.join_all().await;
    assert_eq!(server.calls("mget"), before + SINGLE_READS + 1);
}

#[tokio::test]
async fn callers_that_come_while_reads_are_under_way_share_one_command() {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let rows = Rows::patient(&proxy.url());
    rows.warm(8).await;
    call_at_once(&server, &mut proxy, |caller| {
        let rows = rows.clone();
        async move { rows.get(caller % 8).await }
    })
    .await;
    assert_eq!((rows.loads(), rows.cache.stats().errors), (8, 0));
}

/// How often a [`Counted`] was decoded in this process.
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
async fn callers_of_one_key_that_share_a_command_decode_its_value_once() {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let rows = Rows::patient(&proxy.url());
    let keys = 4;
    for n in 0..keys {
        assert_eq!(rows.counted(n).await, Ok(Counted(n)));
    }
    // In a debug build, what is stored is decoded once, to see that it comes back.
    DECODED.store(0, Ordering::SeqCst);
    call_at_once(&server, &mut proxy, |caller| {
        let (rows, n) = (rows.clone(), caller % keys);
        async move { assert_eq!(rows.counted(n).await, Ok(Counted(n))) }
    })
    .await;
    // Once for each single read, and once for each key of the shared command.
    assert_eq!(DECODED.load(Ordering::SeqCst), SINGLE_READS + keys);
}

#[tokio::test]
async fn callers_that_are_dropped_harm_no_other_caller() {
    let server = RedisServer::start();
    let rows = Rows::patient(&server.url());
    rows.warm(16).await;
    let mut random = Random::new(7);
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
            if random.below(8) == 0
                && let Some(caller) = callers.pop()
            {
                // Now and then answers come in between.
                timeout(LIMIT, caller).await.expect("an answer").unwrap();
            }
        }
        for caller in callers {
            timeout(LIMIT, caller).await.expect("an answer").unwrap();
        }
    }
    assert_eq!(rows.loads(), 16, "each row was loaded once");
    assert_eq!(rows.cache.stats().errors, 0);
}

const OP_TIMEOUT: Duration = Duration::from_millis(200);

/// Checks how long the slowest of many callers takes; most of them wait in line when `outage`
/// happens.
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
    mgets(&server, before + SINGLE_READS).await;
    outage(&mut server, &proxy);
    let longest = callers.join_all().await.into_iter().max().unwrap();
    println!("the longest call took {longest:.1?}");
    assert!(rows.loads() > 8, "the callers that got no answer load");
    // A busy machine makes waits longer. More than four times as long is not noise any more.
    assert!(longest < OP_TIMEOUT * 2 * 4, "{longest:?}");
}

#[tokio::test]
async fn callers_in_line_load_within_their_deadlines_when_nothing_is_answered() {
    in_an_outage(|_, proxy| proxy.black_hole()).await;
}

#[tokio::test]
async fn callers_in_line_load_when_the_server_is_killed() {
    in_an_outage(|server, _| server.kill()).await;
}

/// Polls calls once, sets them aside, and checks that a call that comes later is a hit. Then the
/// others get their answers too.
async fn set_aside(calls: u64) {
    let server = RedisServer::start();
    // A call that waits for a turn until its deadline is a miss, after two seconds.
    let builder = Cache::builder().url(server.url());
    let rows = Rows::new(builder.op_timeout(Duration::from_secs(2)).build().unwrap());
    rows.warm(calls + 1).await;
    let mut aside: Vec<_> = (0..calls).map(|n| Box::pin(rows.get(n))).collect();
    for call in &mut aside {
        assert!(poll_once(call.as_mut()).is_pending());
    }
    for _ in 0..3 {
        rows.get(calls).await;
    }
    assert_eq!(rows.loads(), calls + 1);
    for call in aside {
        timeout(LIMIT, call).await.expect("an answer");
    }
    let stats = rows.cache.stats();
    assert_eq!((rows.loads(), stats.errors), (calls + 1, 0));
    assert_eq!(stats.hits, calls + 3);
}

#[tokio::test]
async fn eight_reads_that_are_set_aside_delay_no_other() {
    set_aside(8).await;
}

#[tokio::test]
async fn eighty_reads_that_are_set_aside_delay_no_other() {
    set_aside(80).await;
}

#[tokio::test]
async fn misses_that_are_set_aside_while_they_ask_for_leases_delay_no_other() {
    const MISSES: u64 = 200;
    let server = RedisServer::start();
    let builder = Cache::builder().url(server.url());
    let rows = Rows::new(builder.op_timeout(Duration::from_secs(2)).build().unwrap());
    rows.get(MISSES).await;
    let mut aside: Vec<_> = (0..MISSES).map(|n| Box::pin(rows.get(n))).collect();
    let before = server.calls("mget");
    for call in &mut aside {
        assert!(poll_once(call.as_mut()).is_pending());
    }
    // All looks are answered: the next poll of each call sends the request for a lease.
    mgets(&server, before + SINGLE_READS + 1).await;
    rows.get(MISSES).await;
    for call in &mut aside {
        assert!(poll_once(call.as_mut()).is_pending());
    }
    for _ in 0..3 {
        rows.get(MISSES).await;
    }
    let stats = rows.cache.stats();
    assert_eq!((rows.loads(), stats.errors), (1, 0));
}

/// The server's log has each command.
const LOG_OF_COMMANDS: [&str; 4] = [
    "--slowlog-log-slower-than",
    "0",
    "--slowlog-max-len",
    "1000000",
];

/// The keys that each `MGET` has asked for.
fn asked(server: &RedisServer) -> Vec<Vec<String>> {
    type Line = (u64, u64, u64, Vec<Vec<u8>>, String, String);
    let log: Vec<Line> = server.query(&["SLOWLOG", "GET", "-1"]);
    let text = |word: &Vec<u8>| String::from_utf8_lossy(word).into_owned();
    log.iter()
        .filter(|(_, _, _, words, ..)| words[0].eq_ignore_ascii_case(b"mget"))
        .map(|(_, _, _, words, ..)| words[1..].iter().map(text).collect())
        .collect()
}

#[tokio::test]
async fn a_large_value_is_read_apart_from_the_small_ones() {
    const WIDE: u64 = 3 << 20;
    let server = RedisServer::builder().args(&LOG_OF_COMMANDS).start();
    let rows = Rows::patient(&server.url());
    rows.warm(8).await;
    // The first call loads the value, the second reads it: then its size is known.
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
    // The four callers are on one thread: all of them ask before the first is answered.
    assert!(wide.len() < 16, "its callers share reads: {wide:?}");
    assert!(small.iter().any(|names| names.len() > 2), "{small:?}");
}

impl Rows {
    #[cached(key = "blob:<n>:<bytes>", ttl = 60, cache = self.cache)]
    async fn blob(&self, n: u64, bytes: u64) -> String {
        let _ = n;
        "x".repeat(usize::try_from(bytes).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_of_large_values_get_hits_and_keep_their_connection() {
    const VALUES: u64 = 1_500;
    const BYTES: u64 = 100 << 10;
    let server = RedisServer::start();
    // What the proxy has not taken yet waits in the server, which closes the connection if it is much.
    let mut proxy = Proxy::start(server.port()).await;
    let writer = Rows::patient(&server.url());
    for n in 0..VALUES {
        assert_eq!(writer.blob(n, BYTES).await.len() as u64, BYTES);
    }
    let rows = Rows::patient(&proxy.url());
    rows.cache.ping().await.unwrap();
    let next = Arc::new(AtomicU64::new(0));
    let mut readers = JoinSet::new();
    for _ in 0..400 {
        let (rows, next) = (rows.clone(), next.clone());
        readers.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= VALUES {
                    break;
                }
                assert_eq!(rows.blob(n, BYTES).await.len() as u64, BYTES);
            }
        });
    }
    readers.join_all().await;
    let stats = rows.cache.stats();
    assert_eq!((stats.hits, stats.errors), (VALUES, 0), "{stats:?}");
    proxy.cut().await;
}

/// The server is so far away that no answer has come yet when four values are asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_values_are_read_side_by_side_at_a_distance() {
    const VALUES: u64 = 200;
    const BYTES: u64 = 40 << 10;
    let server = RedisServer::builder().args(&LOG_OF_COMMANDS).start();
    let mut proxy = Proxy::start(server.port()).await;
    let writer = Rows::patient(&server.url());
    for n in 0..VALUES {
        writer.blob(n, BYTES).await;
    }
    let rows = Rows::patient(&proxy.url());
    // From now on the size of a value is known.
    rows.blob(0, BYTES).await;
    let asked_before = asked(&server).len();
    proxy.hold(Way::ToClient);
    let mut readers = JoinSet::new();
    for n in 0..VALUES {
        let rows = rows.clone();
        readers.spawn(async move { rows.blob(n, BYTES).await.len() as u64 });
    }
    let under_way = || -> usize {
        // The newest come first.
        let asked = asked(&server);
        asked[..asked.len() - asked_before]
            .iter()
            .map(Vec::len)
            .sum()
    };
    until(async || under_way() >= 4).await;
    proxy.release(Way::ToClient);
    let lengths = readers.join_all().await;
    assert!(lengths.iter().all(|&length| length == BYTES));
    let stats = rows.cache.stats();
    assert_eq!((stats.hits, stats.errors), (VALUES + 1, 0), "{stats:?}");
    proxy.cut().await;
}

/// Rows that change.
struct Changing {
    cache: Cache,
    value: AtomicU64,
    /// The value of the last change whose invalidation has returned: no read that begins now may
    /// yield an older one.
    floor: AtomicU64,
    reads: AtomicU64,
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

async fn check_no_reader_gets_an_older_value() {
    const CHANGES: u64 = 300;
    let server = RedisServer::start();
    let rows = Arc::new(Changing {
        cache: patient(&server.url()).build().unwrap(),
        value: AtomicU64::new(0),
        floor: AtomicU64::new(0),
        reads: AtomicU64::new(0),
    });
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for reader in 0..48 {
        let (rows, done) = (rows.clone(), done.clone());
        readers.spawn(async move {
            while !done.load(Ordering::SeqCst) {
                let floor = rows.floor.load(Ordering::SeqCst);
                let got = rows.row(reader % 6).await;
                assert!(got >= floor, "{got} is older than {floor}");
                rows.reads.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let mut random = Random::new(7);
    for _ in 0..CHANGES {
        let value = rows.change().await;
        rows.floor.store(value, Ordering::SeqCst);
        // Sometimes at once, sometimes when all readers have read the new value.
        let reads = rows.reads.load(Ordering::SeqCst) + random.below(200);
        until(async || rows.reads.load(Ordering::SeqCst) >= reads).await;
    }
    done.store(true, Ordering::SeqCst);
    readers.join_all().await;
    let reads = rows.reads.load(Ordering::SeqCst);
    let stats = rows.cache.stats();
    println!(
        "{reads} reads, {} commands: {stats:?}",
        server.calls("mget")
    );
    assert!(stats.hits > 0 && stats.errors == 0, "{stats:?}");
    assert!(server.calls("mget") < reads, "readers share commands");
}

#[tokio::test]
async fn on_one_thread_no_reader_gets_a_value_from_before_it_came() {
    check_no_reader_gets_an_older_value().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_two_threads_no_reader_gets_a_value_from_before_it_came() {
    check_no_reader_gets_an_older_value().await;
}

#[test]
fn a_runtime_that_ends_strands_no_caller_of_another() {
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
        // When this runtime is not driven any more, some of its callers wait for an answer and
        // some wait in line.
        let stuck = ending.block_on(async {
            let stuck = callers(&rows);
            yield_now().await;
            stuck
        });
        staying.block_on(async {
            let all = callers(&rows).join_all();
            timeout(LIMIT, all).await.expect("all are answered");
        });
        // Some of them have their answers by now; the others will never ask for one.
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
