//! Many callers of one row: the one that loads it is cancelled, panics or hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cache_runtime::{Cache, CacheBuilder, cached};
use cache_tests::{EventLog, RedisServer};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::outage::CALL;
use crate::figure::Figure;
use crate::rows::cache;
use crate::suite::Size;

pub(crate) const IN_PROCESS: &str = "longest wait of the others, in process";
pub(crate) const ON_THE_SERVER: &str = "longest wait of the others, on the server";
const ELSEWHERE: &str = "longest wait in another process";
const NO_ANSWER: &str = "callers without an answer";

/// How long a caller waits for a load that never ends.
const LOAD_LIMIT: Duration = Duration::from_millis(300);
/// The same where no load hangs: far longer than the promise.
const FAR: Duration = Duration::from_secs(2);
/// A caller that waits longer has no answer.
const GIVE_UP: Duration = Duration::from_secs(3);
const WAITERS: usize = 16;

/// How the first load ends. The others end at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Cancelled,
    Panics,
    Hangs,
}

struct Fated {
    cache: Cache,
    events: EventLog,
    fate: Fate,
    came_first: AtomicBool,
    started: Semaphore,
    strike: Semaphore,
}

impl Fated {
    fn new(builder: CacheBuilder, fate: Fate) -> Arc<Self> {
        let events = EventLog::default();
        Arc::new(Self {
            cache: events.record(builder).build().expect("a cache"),
            events,
            fate,
            came_first: AtomicBool::new(false),
            started: Semaphore::new(0),
            strike: Semaphore::new(0),
        })
    }

    #[cached(key = "fated", ttl = 60, cache = self.cache)]
    async fn load(&self) -> u64 {
        if !self.came_first.swap(true, SeqCst) {
            self.started.add_permits(1);
            let _strike = self.strike.acquire().await;
            if self.fate == Fate::Panics {
                // A panic without its message, since it is on purpose.
                std::panic::resume_unwind(Box::new("a load that fails"));
            }
            std::future::pending::<()>().await;
        }
        7
    }
}

pub(crate) async fn cancelled(_size: Size) -> Vec<Figure> {
    meets(Fate::Cancelled, FAR, CALL).await
}

pub(crate) async fn panics(_size: Size) -> Vec<Figure> {
    meets(Fate::Panics, FAR, CALL).await
}

pub(crate) async fn hangs(_size: Size) -> Vec<Figure> {
    meets(Fate::Hangs, LOAD_LIMIT, LOAD_LIMIT + CALL).await
}

async fn meets(fate: Fate, load_limit: Duration, promise: Duration) -> Vec<Figure> {
    const LEASE_WAIT: Duration = Duration::from_millis(500);
    let build = |url: &str| {
        let builder = cache(url).load_limit(load_limit);
        builder.lease_wait(LEASE_WAIT)
    };
    let server = RedisServer::start();
    let in_process = Fated::new(build("memory:"), fate);
    let here = Waits::of(&in_process, &in_process).await;
    let on_the_server = Fated::new(build(&server.url()), fate);
    let there = Waits::of(&on_the_server, &on_the_server).await;
    // Another process finds the lease of the first load on the server.
    let () = server.query(&["FLUSHALL"]);
    let leader = Fated::new(build(&server.url()), fate);
    let others = Fated::new(build(&server.url()), fate);
    others.came_first.store(true, SeqCst);
    let elsewhere = Waits::of(&leader, &others).await;
    vec![
        Figure::within(IN_PROCESS, here.longest, promise),
        Figure::within(ON_THE_SERVER, there.longest, promise),
        Figure::within(ELSEWHERE, elsewhere.longest, LEASE_WAIT + CALL),
        Figure::none(NO_ANSWER, here.none + there.none + elsewhere.none),
    ]
}

/// How long callers waited that came while the first load was under way.
struct Waits {
    /// From the moment at which the first load was struck.
    longest: Duration,
    /// How many callers got no answer.
    none: u64,
}

impl Waits {
    async fn of(leader: &Arc<Fated>, others: &Arc<Fated>) -> Self {
        let first = leader.clone();
        let first = tokio::spawn(async move { first.load().await });
        leader.started.acquire().await.expect("open").forget();
        let mut calls = JoinSet::new();
        for _ in 0..WAITERS {
            let others = others.clone();
            calls.spawn(async move {
                let answer = tokio::time::timeout(GIVE_UP, others.load()).await;
                assert!(answer.is_ok_and(|answer| answer == 7), "no answer");
            });
        }
        // One that came later would wait less. In another process, one of them watches.
        let waits = |line: &&String| line.starts_with("wait ") || line.starts_with("watch ");
        let all_wait = |lines: &[String]| lines.iter().filter(waits).count() >= WAITERS;
        others.events.until_lines(all_wait).await;
        let struck = Instant::now();
        match leader.fate {
            Fate::Cancelled => first.abort(),
            Fate::Panics => leader.strike.add_permits(1),
            Fate::Hangs => {}
        }
        let mut none = 0;
        while let Some(ended) = calls.join_next().await {
            none += u64::from(ended.is_err());
        }
        let longest = struck.elapsed();
        first.abort();
        Self { longest, none }
    }
}
