//! Calls that would wait for a caller that is not polled, for a load that does not end, or for
//! themselves.

use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::Poll;
use std::time::{Duration, Instant};

use cache_runtime::{Cache, CacheBuilder, Options, after_commit, cached};
use cache_tests::{EventLog, RedisServer};
use tokio::sync::{Barrier, Mutex, Semaphore};
use tokio::task::JoinSet;

use super::outage::CALL;
use crate::figure::Figure;
use crate::rows::cache;
use crate::suite::Size;

pub(crate) const IN_PROCESS: &str = "longest wait, in process";
pub(crate) const ON_THE_SERVER: &str = "longest wait, on the server";
pub(crate) const ELSEWHERE: &str = "longest wait, of two processes";

/// A caller that waits longer has no answer.
const GIVE_UP: Duration = Duration::from_millis(2_500);
const CALLERS: usize = 16;

/// How many polls a call may need.
const ROWS: usize = 12;

/// How long waiters let a load go on that is not woken.
const HEDGE: Duration = Duration::from_secs(1);

/// A cache of whose loads a scenario says what they do.
#[derive(Clone)]
pub(crate) struct Reads {
    pub(crate) cache: Cache,
    pub(crate) events: EventLog,
}

impl Reads {
    pub(crate) fn new(builder: CacheBuilder) -> Self {
        let events = EventLog::default();
        Self {
            cache: events.record(builder).build().expect("a cache"),
            events,
        }
    }

    pub(crate) async fn read(&self, key: &str, load: impl Future<Output = u64>) -> u64 {
        let load = async { Ok::<_, Infallible>(load.await) };
        let Ok(value) = self.cache.get_or_load(key, Options::new(), load).await;
        value
    }

    /// Polls a call until this event was recorded so many times, and not any more.
    async fn poll_until<F: Future>(&self, call: std::pin::Pin<&mut F>, line: &str, count: usize) {
        tokio::select! {
            biased;
            _ = call => panic!("it has ended"),
            () = self.events.until_count(line, count) => {}
        }
    }
}

/// How long a call takes; as long as [`GIVE_UP`] if it does not end by then.
pub(crate) async fn time(call: impl Future) -> Duration {
    let began = Instant::now();
    let _ = tokio::time::timeout(GIVE_UP, call).await;
    began.elapsed()
}

/// The longest of several waits at the same time.
pub(crate) async fn longest(waits: JoinSet<Duration>) -> Duration {
    waits.join_all().await.into_iter().max().unwrap_or_default()
}

/// Measures in process, and on a server.
async fn on_both(
    promise: Duration,
    measure: impl AsyncFn(CacheBuilder) -> Duration,
) -> Vec<Figure> {
    let server = RedisServer::start();
    let (here, there) = tokio::join!(
        measure(cache("memory:").hedge(HEDGE)),
        measure(cache(&server.url()).hedge(HEDGE))
    );
    vec![
        Figure::within(IN_PROCESS, here, promise),
        Figure::within(ON_THE_SERVER, there, promise),
    ]
}

/// Callers of one row are polled until one of them loads and the others wait, and then not any
/// more, though the load can go on.
pub(crate) async fn set_aside(count: usize) -> Vec<Figure> {
    on_both(CALL, async |builder| {
        let reads = Reads::new(builder);
        let may_end = Semaphore::new(0);
        let mut aside = Vec::new();
        for others in 0..count {
            let mut call = Box::pin(reads.read("row", async {
                may_end.acquire().await.expect("open").forget();
                1
            }));
            let (line, lines) = match others {
                0 => ("load row", 1),
                waiting => ("wait row", waiting),
            };
            reads.poll_until(call.as_mut(), line, lines).await;
            aside.push(call);
        }
        may_end.add_permits(1);
        later_callers(&reads).await
    })
    .await
}

/// A caller of one row is polled once, that of another row twice, … and then not any more.
pub(crate) async fn set_aside_anywhere() -> Vec<Figure> {
    on_both(CALL, async |builder| {
        let reads = Reads::new(builder);
        let _aside = after_each_poll(&reads).await;
        callers_of_each(&reads).await
    })
    .await
}

/// The same, while another process loads each row. Its lease is waited for, once.
pub(crate) async fn set_aside_watching() -> Vec<Figure> {
    const LEASE_WAIT: Duration = Duration::from_millis(200);
    let server = RedisServer::start();
    let others = Reads::new(cache(&server.url()));
    let mut loads = JoinSet::new();
    for row in 1..=ROWS {
        let reads = others.clone();
        loads.spawn(async move { reads.read(&format!("row:{row}"), pending()).await });
        others.events.until(&format!("load row:{row}")).await;
    }
    let reads = Reads::new(cache(&server.url()).lease_wait(LEASE_WAIT));
    let _aside = after_each_poll(&reads).await;
    let there = callers_of_each(&reads).await;
    vec![Figure::within(ON_THE_SERVER, there, LEASE_WAIT + CALL)]
}

/// Calls that were polled once, twice, … [`ROWS`] times.
async fn after_each_poll(reads: &Reads) -> Vec<impl Future<Output = u64>> {
    // A server that has just started may answer late, and the cache would go on without it.
    while reads.cache.ping().await.is_err() {}
    reads.read("another", async { 1 }).await;
    let mut aside = Vec::new();
    for polls in 1..=ROWS {
        let reads = reads.clone();
        let mut call = Box::pin(async move {
            let load = async {
                // Several, since a request may be answered within one poll.
                for _ in 0..6 {
                    tokio::task::yield_now().await;
                }
                1
            };
            reads.read(&format!("row:{polls}"), load).await
        });
        let mut left = polls;
        std::future::poll_fn(|context| {
            left -= 1;
            if call.as_mut().poll(context).is_ready() || left == 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        aside.push(call);
    }
    aside
}

async fn callers_of_each(reads: &Reads) -> Duration {
    let mut waits = JoinSet::new();
    for row in (1..=ROWS).cycle().take(CALLERS * ROWS) {
        let reads = reads.clone();
        waits.spawn(async move { time(reads.read(&format!("row:{row}"), async { 2 })).await });
    }
    longest(waits).await
}

/// Callers that lead one after the other are set aside, each once it loads.
pub(crate) async fn leaders_set_aside() -> Vec<Figure> {
    on_both(CALL, async |builder| {
        let reads = Reads::new(builder);
        let may_end = Semaphore::new(0);
        let mut aside = Vec::new();
        for loads in 1..=3 {
            let mut call = Box::pin(reads.read("row", async {
                may_end.acquire().await.expect("open").forget();
                pending::<()>().await;
                1
            }));
            reads.poll_until(call.as_mut(), "load row", loads).await;
            may_end.add_permits(1);
            aside.push(call);
        }
        later_callers(&reads).await
    })
    .await
}

async fn later_callers(reads: &Reads) -> Duration {
    let mut waits = JoinSet::new();
    for _ in 0..CALLERS {
        let reads = reads.clone();
        waits.spawn(async move { time(reads.read("row", async { 2 })).await });
    }
    longest(waits).await
}

/// Two layers of a program, both annotated with the same key.
struct Layers {
    cache: Cache,
}

impl Layers {
    #[cached(key = "row", ttl = 60, cache = self.cache)]
    async fn find(&self) -> u64 {
        self.find_in_database().await
    }

    #[cached(key = "row", ttl = 60, cache = self.cache)]
    async fn find_in_database(&self) -> u64 {
        tokio::task::yield_now().await;
        7
    }
}

/// A function calls another one with the same key inside of its load.
pub(crate) async fn reentrant(_size: Size) -> Vec<Figure> {
    on_both(CALL, async |builder| {
        let cache = builder.build().expect("a cache");
        let layers = Arc::new(Layers { cache });
        let mut waits = JoinSet::new();
        for _ in 0..CALLERS {
            let layers = layers.clone();
            waits.spawn(async move { time(layers.find()).await });
        }
        longest(waits).await
    })
    .await
}

/// `a` loads `b` while `b` loads `a`. With a cache for each, as in two processes, each of them
/// waits for the other's lease, once.
pub(crate) async fn crossed(_size: Size) -> Vec<Figure> {
    const LEASE_WAIT: Duration = Duration::from_millis(500);
    let mut figures = on_both(CALL, async |builder| {
        let reads = Reads::new(builder);
        cross([reads.clone(), reads]).await
    })
    .await;
    let server = RedisServer::start();
    let process = || Reads::new(cache(&server.url()).lease_wait(LEASE_WAIT));
    let elsewhere = cross([process(), process()]).await;
    figures.push(Figure::within(ELSEWHERE, elsewhere, LEASE_WAIT + CALL));
    figures
}

async fn cross([one, other]: [Reads; 2]) -> Duration {
    let both_load = Arc::new(Barrier::new(2));
    let mut waits = JoinSet::new();
    for (reads, key, needs) in [(one, "a", "b"), (other, "b", "a")] {
        let both_load = both_load.clone();
        waits.spawn(async move {
            let load = async {
                both_load.wait().await;
                reads.read(needs, async { 1 }).await
            };
            Box::pin(time(reads.read(key, load))).await
        });
    }
    longest(waits).await
}

/// A call within a transaction would wait for a load that waits for the only connection of a pool,
/// which the transaction holds.
pub(crate) async fn in_a_transaction(_size: Size) -> Vec<Figure> {
    on_both(CALL, async |builder| {
        let reads = Reads::new(builder);
        let pool = Arc::new(Mutex::new(1));
        let connection = pool.clone().lock_owned().await;
        let outside = {
            let (reads, pool) = (reads.clone(), pool.clone());
            tokio::spawn(async move {
                let load = async { *pool.lock().await };
                reads.read("row", load).await
            })
        };
        reads.events.until("load row").await;
        let inside = after_commit(async {
            let inside = time(reads.read("row", async { *connection })).await;
            Ok::<_, Infallible>(inside)
        });
        let Ok(inside) = inside.await;
        drop(connection);
        outside.await.expect("no panic");
        inside
    })
    .await
}

/// The first load never ends. Its own caller is served as all others are.
pub(crate) async fn first_hangs(_size: Size) -> Vec<Figure> {
    const HEDGE: Duration = Duration::from_millis(300);
    const LOAD: Duration = Duration::from_millis(50);
    on_both(HEDGE + CALL, async |builder| {
        let reads = Reads::new(builder.hedge(HEDGE));
        let mut waits = JoinSet::new();
        {
            let reads = reads.clone();
            waits.spawn(async move { time(reads.read("row", pending())).await });
        }
        reads.events.until("load row").await;
        for _ in 0..CALLERS {
            let reads = reads.clone();
            waits.spawn(async move {
                let load = async {
                    tokio::time::sleep(LOAD).await;
                    2
                };
                time(reads.read("row", load)).await
            });
        }
        longest(waits).await.saturating_sub(LOAD)
    })
    .await
}

pub(crate) const STAYS: &str = "longest call of the caller that stays";

/// The server takes no writes for a while, and answers reads. So each caller that leads waits for
/// its lease, and gives up; then the next one leads.
pub(crate) async fn writes_paused(_size: Size) -> Vec<Figure> {
    /// Long beside what a busy machine takes.
    const REQUEST: Duration = Duration::from_millis(400);
    const GIVE_UP_AFTER: Duration = Duration::from_millis(320);
    /// As few as reads have a command each.
    const CALLERS: u32 = 6;
    let server = RedisServer::start();
    let reads = Reads::new(cache(&server.url()).op_timeout(REQUEST));
    // The connection is there before the pause.
    reads.read("another", async { 1 }).await;
    let () = server.query(&["CLIENT", "PAUSE", "5000", "WRITE"]);
    // One task polls all of them, in their order, so they lead in this order.
    let mut calls: Vec<_> = (1..=CALLERS)
        .map(|nth| {
            let call = reads.read("row", async { 1 });
            Box::pin(tokio::time::timeout(GIVE_UP_AFTER * nth, call))
        })
        .collect();
    let mut stays = pin!(time(reads.read("row", async { 1 })));
    let mut is_first = true;
    // No slot is read before all callers ask for it. So they all wait for the first one's lease.
    server.freeze();
    let stayed = std::future::poll_fn(|context| {
        calls.retain_mut(|call| call.as_mut().poll(context).is_pending());
        let stayed = stays.as_mut().poll(context);
        if std::mem::take(&mut is_first) {
            server.thaw();
        }
        stayed
    })
    .await;
    let () = server.query(&["CLIENT", "UNPAUSE"]);
    vec![Figure::within(STAYS, stayed, REQUEST + CALL).without_slack()]
}

pub(crate) const MISSED: &str = "cached rows that are missed";
pub(crate) const LONGEST_HIT: &str = "longest hit";

/// Reads of so many rows are polled once, and not any more, though the server answers them. Then
/// other rows of that size are read.
pub(crate) async fn reads_set_aside(count: usize, size: usize) -> Vec<Figure> {
    /// Long beside what a busy machine takes.
    const REQUEST: Duration = Duration::from_millis(400);
    const HIT: Duration = Duration::from_millis(50);
    const OTHERS: usize = 3;
    let server = RedisServer::start();
    let cache = cache(&server.url()).op_timeout(REQUEST).build();
    let cache = cache.expect("a cache");
    let misses = AtomicU64::new(0);
    let read = async |row: usize| {
        let load = async {
            misses.fetch_add(1, SeqCst);
            Ok::<_, Infallible>("x".repeat(size))
        };
        let key = format!("row:{row}");
        let Ok(value) = cache.get_or_load(key, Options::new(), load).await;
        assert_eq!(value.len(), size);
    };
    // The second read shows how large the value is.
    for row in (0..count + OTHERS).chain(0..count + OTHERS) {
        read(row).await;
    }
    misses.store(0, SeqCst);
    // Else the server may answer before a poll ends.
    server.freeze();
    let mut aside: Vec<_> = (0..count).map(|row| Box::pin(read(row))).collect();
    std::future::poll_fn(|context| {
        for call in &mut aside {
            assert!(call.as_mut().poll(context).is_pending(), "it is answered");
        }
        Poll::Ready(())
    })
    .await;
    server.thaw();
    let mut longest = Duration::ZERO;
    for row in count..count + OTHERS {
        longest = longest.max(time(read(row)).await);
    }
    vec![
        Figure::none(MISSED, misses.load(SeqCst)).of(OTHERS as u64),
        Figure::within(LONGEST_HIT, longest, HIT),
    ]
}
