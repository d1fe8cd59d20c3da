//! 512 callers that ask for one cold key at the same moment, in one process and in each of two.
//!
//! This process starts processes for each contestant.
//! `cache-benches --stampede <contestant> <url>` prints `ready` and waits for a line with
//! an id. Then it prints how often it loaded, and how many milliseconds passed until the
//! last caller had its answer.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cache_runtime::Cache;
use cache_tests::RedisServer;
use cached::AsyncRedisCache;
use hitbox::concurrency::BroadcastConcurrencyManager;
use hitbox::policy::{ConcurrencyLimit, PolicyConfig};
use multi_tier_cache::CacheStrategy;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::harness::{
    Effort,
    Role::{self, Floor, Ours, Peer, Shown},
    Row, Unit, runtime,
};
use crate::shared::{self, patient};
use crate::value::{Failed, User};

const CALLERS: usize = 512;
const LOAD: Duration = Duration::from_millis(20);
const TTL: Duration = Duration::from_hours(1);

static LOADS: AtomicU64 = AtomicU64::new(0);
static URL: OnceLock<String> = OnceLock::new();

async fn load(id: u64) -> User {
    LOADS.fetch_add(1, Relaxed);
    tokio::time::sleep(LOAD).await;
    User::load(id)
}

#[cache_runtime::cached(key = "user:<id>", ttl = "1h", cache = cache, skip(cache))]
async fn ours(cache: &Cache, id: u64) -> Result<User, Infallible> {
    Ok(load(id).await)
}

#[cached::macros::cached(ttl_secs = 3600, sync_writes = "by_key")]
async fn cached_by_key(id: u64) -> Result<User, Failed> {
    Ok(load(id).await)
}

#[cached::macros::concurrent_cached(
    map_error = |_| Failed,
    ty = "AsyncRedisCache<u64, User>",
    create = r#"{
        AsyncRedisCache::builder("cached")
            .ttl(TTL)
            .connection_string(URL.get().expect("set"))
            .build()
            .await
            .expect("a cache")
    }"#
)]
async fn cached_redis(id: u64) -> Result<User, Failed> {
    Ok(load(id).await)
}

#[hitbox_fn::cached]
async fn hitbox_user(id: u64) -> Result<User, Failed> {
    Ok(load(id).await)
}

/// Name, role, and whether two processes can share the cache.
const CONTESTANTS: &[(&str, Role, bool)] = &[
    ("ours, in memory", Shown, false),
    ("ours, redis", Ours, true),
    (
        "`#[cached]`, `sync_writes = \"by_key\"`, in memory",
        Peer,
        false,
    ),
    ("`#[concurrent_cached]`, redis: no such option", Peer, true),
    ("`moka`, `try_get_with`", Peer, false),
    ("`quick_cache`, `get_or_insert_async`", Peer, false),
    ("`hitbox`, redis, broadcast with limit 1", Peer, true),
    ("`multi-tier-cache`, redis", Peer, true),
];

pub(crate) fn compare(effort: Effort) -> Vec<Row> {
    let server = RedisServer::start();
    let times = (effort.rounds / 2).max(3);
    let mut rows = Vec::new();
    for count in [1, 2] {
        let group = format!("stampede, {CALLERS} callers × {count}, load of 20 ms");
        eprintln!("{group} …");
        let taking_part = CONTESTANTS
            .iter()
            .filter(|(.., shared)| count == 1 || *shared);
        let mut contests: Vec<_> = taking_part
            .map(|&(name, role, _)| {
                let processes: Vec<Process> = (0..count)
                    .map(|_| Process::start(name, &server.url()))
                    .collect();
                (name, role, processes, Vec::new(), 0)
            })
            .collect();
        for round in 0..times as u64 {
            for (_, _, processes, results, commands) in &mut contests {
                let before = server.commands_processed();
                for process in processes.iter_mut() {
                    process.go(1_000 * count + round);
                }
                let done: Vec<(u64, f64)> = processes.iter_mut().map(Process::result).collect();
                let loads: u64 = done.iter().map(|(loads, _)| loads).sum();
                let wall = done.iter().map(|(_, wall)| *wall).fold(0.0, f64::max);
                results.push((wall, loads));
                *commands += server.commands_processed() - before;
            }
        }
        let row = |name: &str, role, wall: f64, note: String| Row {
            group: group.clone(),
            name: name.to_owned(),
            role,
            value: wall * 1e6,
            unit: Unit::Nanoseconds,
            allocations: None,
            note,
        };
        for (name, role, _, mut results, commands) in contests {
            results.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (wall, _) = results[results.len() / 4];
            let most = results
                .iter()
                .map(|(_, loads)| *loads)
                .max()
                .unwrap_or_default();
            let loads = if most == 1 { "load" } else { "loads" };
            let commands = commands / times as u64;
            let note = format!("{most} {loads}, {commands} commands");
            rows.push(row(name, role, wall, note));
        }
        rows.push(row(
            "the load",
            Floor,
            LOAD.as_secs_f64() * 1e3,
            String::new(),
        ));
    }
    rows
}

/// A process that runs one contestant.
struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(contestant: &str, url: &str) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .args(["--stampede", contestant, url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut process = Self { child, output };
        assert_eq!(process.line(), "ready");
        process
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim().to_owned()
    }

    fn go(&mut self, id: u64) {
        let input = self.child.stdin.as_mut().expect("piped");
        writeln!(input, "{id}").expect("the process reads");
    }

    fn result(&mut self) -> (u64, f64) {
        let line = self.line();
        let (loads, wall) = line.split_once(' ').expect("two numbers");
        (
            loads.parse().expect("a number"),
            wall.parse().expect("a number"),
        )
    }
}

/// The process ends when its input ends.
impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Runs one contestant, in a process that `Process::start` started.
pub(crate) fn run(contestant: &str, url: &str) {
    URL.set(url.to_owned()).expect("once");
    runtime(2).block_on(async {
        // Each caller has a future that owns its part of the cache.
        macro_rules! serve {
            ($cache:expr, |$shared:ident, $id:ident| $find:expr) => {{
                let cache = Arc::new($cache);
                let find = move |$id: u64| {
                    let $shared = cache.clone();
                    async move { assert!($find.is_ok()) }
                };
                serve(find).await;
            }};
        }
        match contestant {
            "ours, in memory" => serve!(patient("memory:"), |cache, id| ours(&cache, id).await),
            "ours, redis" => serve!(patient(url), |cache, id| ours(&cache, id).await),
            name if name.starts_with("`#[cached]`") => {
                serve!((), |_cache, id| cached_by_key(id).await);
            }
            name if name.starts_with("`#[concurrent_cached]`") => {
                serve!((), |_cache, id| cached_redis(id).await);
            }
            name if name.starts_with("`moka`") => {
                let moka = moka::future::Cache::<u64, User>::builder()
                    .time_to_live(TTL)
                    .build();
                serve!(moka, |moka, id| moka
                    .try_get_with(id, async { Ok::<_, Infallible>(load(id).await) })
                    .await);
            }
            name if name.starts_with("`quick_cache`") => {
                let quick = quick_cache::sync::Cache::<u64, User>::new(1000);
                serve!(quick, |quick, id| quick
                    .get_or_insert_async(&id, async { Ok::<_, Infallible>(load(id).await) })
                    .await);
            }
            name if name.starts_with("`hitbox`") => {
                let policy = PolicyConfig::builder()
                    .ttl(TTL)
                    .concurrency(ConcurrencyLimit::MIN)
                    .build();
                let manager = BroadcastConcurrencyManager::<Result<User, Failed>>::new();
                let cache = hitbox_fn::Cache::builder()
                    .backend(shared::hitbox_backend(url))
                    .policy(policy)
                    .concurrency_manager(manager)
                    .build();
                serve!(cache, |cache, id| hitbox_user(id).cache(&*cache).await);
            }
            name if name.starts_with("`multi-tier-cache`") => {
                serve!(shared::multi_tier(url).await, |cache, id| {
                    let key = format!("tiers:{id}");
                    let strategy = CacheStrategy::Custom(TTL);
                    let load = || async move { Ok(load(id).await) };
                    let manager = cache.cache_manager();
                    manager.get_or_compute_typed(&key, strategy, load).await
                });
            }
            other => panic!("no such contestant: {other}"),
        }
    });
}

async fn serve<F: Future<Output = ()> + Send + 'static>(find: impl Fn(u64) -> F) {
    // This call connects.
    find(0).await;
    println!("ready");
    for id in std::io::stdin().lock().lines() {
        let id: u64 = id.expect("a line").parse().expect("an id");
        LOADS.store(0, Relaxed);
        let start_line = Arc::new(Barrier::new(CALLERS + 1));
        let mut calls = JoinSet::new();
        for _ in 0..CALLERS {
            let (start_line, find) = (start_line.clone(), find(id));
            calls.spawn(async move {
                start_line.wait().await;
                find.await;
            });
        }
        start_line.wait().await;
        let start = Instant::now();
        calls.join_all().await;
        let wall = start.elapsed().as_secs_f64() * 1e3;
        println!("{} {wall}", LOADS.load(Relaxed));
        std::io::stdout().flush().expect("the parent reads");
    }
}
