//! Old values where they are asked for: a ttl ends in two processes, and the database is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cache_runtime::{Cache, cached};
use cache_tests::{RedisServer, until};
use tokio::task::JoinSet;

use super::restored::STALE;
use crate::copies;
use crate::figure::Figure;
use crate::rows::cache;
use crate::suite::Size;

pub(crate) const AT_ONCE: &str = "refreshes beside another one";
pub(crate) const ERRORS: &str = "errors that callers got";
pub(crate) const LOADS: &str = "loads while the database was away";
pub(crate) const MORE_LOADS: &str = "loads beyond one at each expiration";
const WAITED: &str = "calls that waited for a load";
const SLOWER: &str = "99th percentile of a crowd, beyond that at a fresh entry (median)";

const CALLERS: u32 = 16;
const LOAD: Duration = Duration::from_millis(10);
/// In a crowd of callers, some hits take longer than [`LOAD`], and none so long.
const LONG_LOAD: Duration = Duration::from_millis(500);
/// No request takes so long, however busy the machine is: a call whose request has failed loads.
const PATIENCE: Duration = Duration::from_secs(10);
/// In each of two processes.
const CROWD: u32 = 512;

/// A database of one row.
#[derive(Default)]
struct Database {
    version: AtomicU64,
    loads: AtomicU64,
    is_slow: AtomicBool,
    under_way: AtomicU64,
    overlaps: AtomicU64,
    is_away: AtomicBool,
}

#[derive(Clone)]
struct Row {
    cache: Cache,
    database: Arc<Database>,
}

impl Row {
    #[cached(
        key = "row", ttl = 600, invalidate_on = "rows", stale_while_revalidate = "1h",
        retry_after = "1m", cache = self.cache, skip(self)
    )]
    async fn find(&self) -> Result<u64, String> {
        self.database.load().await
    }

    #[cached(
        key = "row", ttl = 600, invalidate_on = "rows", stale_while_revalidate = "1h", detach,
        cache = self.cache, skip(self)
    )]
    async fn find_at_once(&self) -> Result<u64, String> {
        self.database.load().await
    }

    #[cached(
        key = "row", ttl = 600, invalidate_on = "rows", stale_if_error = "1h", retry_after = "1m",
        cache = self.cache, skip(self)
    )]
    async fn find_or_old(&self) -> Result<u64, String> {
        self.database.load().await
    }
}

impl Row {
    async fn is_fresh(&self) -> bool {
        let entry = self.cache.entry::<u64>("row").await;
        let entry = entry.expect("the server answers");
        entry.is_some_and(|entry| !entry.is_stale)
    }
}

impl Database {
    async fn load(&self) -> Result<u64, String> {
        let version = self.version.load(SeqCst);
        self.loads.fetch_add(1, SeqCst);
        if self.under_way.fetch_add(1, SeqCst) > 0 {
            self.overlaps.fetch_add(1, SeqCst);
        }
        let is_slow = self.is_slow.load(SeqCst);
        tokio::time::sleep(if is_slow { LONG_LOAD } else { LOAD }).await;
        self.under_way.fetch_sub(1, SeqCst);
        if self.is_away.load(SeqCst) {
            return Err("the database is away".to_owned());
        }
        Ok(version)
    }
}

/// Two caches on one server, as two processes have them.
fn two_caches(server: &RedisServer) -> [Row; 2] {
    let database = Arc::new(Database::default());
    [(); 2].map(|()| Row {
        cache: cache(&server.url())
            .op_timeout(PATIENCE)
            .build()
            .expect("a cache"),
        database: database.clone(),
    })
}

/// A ttl ends while callers of two processes come, and while the entry is refreshed it is invalidated.
pub(crate) async fn ttl_ends(size: Size) -> Vec<Figure> {
    let rounds = size.pick(200, 40);
    let server = RedisServer::start();
    let [one, other] = &two_caches(&server);
    let mut stale = 0;
    let mut reads = 0;
    for _ in 0..rounds {
        one.find().await.expect("the database answers");
        one.cache.expire(["row"]).await.expect("the server answers");
        let mut callers = JoinSet::new();
        for row in [one, other] {
            for _ in 0..CALLERS {
                let row = row.clone();
                callers.spawn(async move { row.find().await });
            }
        }
        // One of them has read the row by now.
        tokio::time::sleep(LOAD / 2).await;
        let version = one.database.version.fetch_add(1, SeqCst) + 1;
        let invalidated = other.cache.invalidate(["row"]).await;
        invalidated.expect("the server answers");
        // What they have loaded is stored, or not.
        callers.join_all().await;
        for row in [one, other] {
            reads += 1;
            stale += u64::from(row.find().await.expect("the database answers") < version);
        }
    }
    let database = &one.database;
    // Without entries, loads are no refreshes.
    database.overlaps.store(0, SeqCst);
    let before = database.loads.load(SeqCst);
    for _ in 0..rounds {
        one.cache.expire(["row"]).await.expect("the server answers");
        let mut callers = JoinSet::new();
        for row in [one, other] {
            for _ in 0..CALLERS {
                let row = row.clone();
                callers.spawn(async move { row.find().await });
            }
        }
        callers.join_all().await;
    }
    let refreshes = database.loads.load(SeqCst) - before;
    let overlaps = database.overlaps.load(SeqCst);
    vec![
        Figure::none(STALE, stale).of(reads),
        Figure::none(AT_ONCE, overlaps).of(refreshes),
    ]
}

/// A crowd of callers in two processes comes at an entry that is fresh, and at one whose ttl has just ended.
/// A task refreshes it, so no caller waits.
pub(crate) async fn crowd_at_expiry(size: Size) -> Vec<Figure> {
    let rounds = size.pick(20, 4);
    let server = RedisServer::start();
    let rows = &two_caches(&server);
    let [one, other] = rows;
    let database = &one.database;
    for row in rows {
        row.find_at_once().await.expect("the database answers");
    }
    database.is_slow.store(true, SeqCst);
    let (mut calls, mut waited, mut more_loads) = (0, 0, 0);
    let mut slower = Vec::new();
    for _ in 0..rounds {
        let fresh = crowd(rows).await;
        let before = database.loads.load(SeqCst);
        other
            .cache
            .expire(["row"])
            .await
            .expect("the server answers");
        let expired = crowd(rows).await;
        calls += expired.len() as u64;
        waited += expired.iter().filter(|took| **took >= LONG_LOAD).count() as u64;
        slower.push(percentile(expired, 99).saturating_sub(percentile(fresh, 99)));
        until(async || database.loads.load(SeqCst) > before).await;
        until(async || database.under_way.load(SeqCst) == 0).await;
        // The task stores what it has loaded.
        until(async || one.is_fresh().await).await;
        more_loads += (database.loads.load(SeqCst) - before).saturating_sub(1);
    }
    let mut figures = vec![
        Figure::none(MORE_LOADS, more_loads).of(rounds),
        Figure::none(WAITED, waited).of(calls),
    ];
    // A fresh entry may be a copy, which takes no request.
    if !copies::are_kept() {
        let slower = percentile(slower, 50);
        figures.push(Figure::within(SLOWER, slower, Duration::from_millis(1)));
    }
    figures
}

/// How long each of the callers' calls takes.
async fn crowd(rows: &[Row; 2]) -> Vec<Duration> {
    let mut callers = JoinSet::new();
    for row in rows {
        for _ in 0..CROWD {
            let row = row.clone();
            callers.spawn(async move {
                let began = Instant::now();
                row.find_at_once().await.expect("an old value is there");
                began.elapsed()
            });
        }
    }
    callers.join_all().await
}

fn percentile(mut times: Vec<Duration>, nth: usize) -> Duration {
    times.sort_unstable();
    times[times.len() * nth / 100]
}

/// The database is away, and an old value is there.
pub(crate) async fn database_is_away(size: Size) -> Vec<Figure> {
    let calls = size.pick(1_000, 200);
    let server = RedisServer::start();
    let [one, other] = &two_caches(&server);
    one.find().await.expect("the database answers");
    one.cache.expire(["row"]).await.expect("the server answers");
    let database = &one.database;
    database.is_away.store(true, SeqCst);
    let before = database.loads.load(SeqCst);
    let mut errors = 0;
    for nth in 0..calls {
        let row = if nth % 2 == 0 { one } else { other };
        let found = if nth % 4 < 2 {
            row.find_or_old().await
        } else {
            row.find().await
        };
        errors += u64::from(found.is_err());
    }
    let loads = database.loads.load(SeqCst) - before;
    vec![
        Figure::none(ERRORS, errors).of(calls),
        // Each process may try once before it hears of the other's failure.
        Figure::at_most(LOADS, loads, 2),
    ]
}
