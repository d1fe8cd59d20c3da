//! Cached access to the rows, and the checker: it knows how new each read has to be.

use std::convert::Infallible;
use std::future::poll_fn;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::task::Poll;
use std::time::{Duration, Instant};

use cache_runtime::{Cache, CacheBuilder, KeyPart, cache_invalidate, cached};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::copies;
use crate::database::Database;

pub(crate) const NAMESPACE: &str = "faults";

/// A call that takes longer counts as hung.
pub(crate) const HUNG: Duration = Duration::from_secs(5);

/// Rows that are this far apart are on different shelves.
pub(crate) const A_SHELF: u32 = 10;

/// The number of a row. Ten of them share a shelf, which is a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, KeyPart)]
pub(crate) struct Row(pub(crate) u32);

impl Row {
    fn shelf(self) -> u32 {
        self.0 / A_SHELF
    }
}

/// What a read of a row yields.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Content {
    version: u64,
    /// Makes entries large, for scenarios in which memory runs out.
    padding: String,
}

/// The rows as a process sees them: their database, and a cache in front of it.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) cache: Cache,
    pub(crate) database: Database,
    /// The longest time that the database takes to answer.
    latency: Duration,
    padding: usize,
    random: AtomicU64,
    /// True once reads and updates do not meet any more: then the database answers at once.
    at_rest: AtomicBool,
    unrelated_loads: AtomicU64,
    /// Whether the keys of all rows and shelves are in one hash slot of a cluster.
    are_together: bool,
    tally: Counted,
}

/// Rows below this one are those that a scenario leaves alone, if it counts their loads.
const UNRELATED: u32 = 1_000;

#[derive(Debug, Default)]
struct Counted {
    reads: AtomicU64,
    writes: AtomicU64,
    stale: AtomicU64,
    hung: AtomicU64,
    longest_nanos: AtomicU64,
}

/// What the checker of a process has counted.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    /// Reads that yielded a version from before an invalidation that had returned before they
    /// began.
    pub(crate) stale: u64,
    pub(crate) hung: u64,
    /// Panics of this process, in any task.
    pub(crate) panics: u64,
    /// Reads that the cache answered.
    pub(crate) hits: u64,
    /// Failures that the cache has counted.
    pub(crate) reported: u64,
    pub(crate) longest: Duration,
}

impl Tally {
    /// The tally of two processes.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            reads: self.reads + other.reads,
            writes: self.writes + other.writes,
            stale: self.stale + other.stale,
            hung: self.hung + other.hung,
            panics: self.panics + other.panics,
            hits: self.hits + other.hits,
            reported: self.reported + other.reported,
            longest: self.longest.max(other.longest),
        }
    }

    /// Calls that did not end as a call without a cache does. None can have returned an error:
    /// the functions of [`Rows`] have no error type.
    pub(crate) fn broken(&self) -> u64 {
        self.panics + self.hung
    }
}

/// How many readers and writers are at work at the same time; see [`Rows::mix`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Mix {
    pub(crate) rows: u32,
    /// The distance between the number of one row and that of the next.
    pub(crate) apart: u32,
    pub(crate) readers: u32,
    /// The writers of this process, among those of all processes. Each writer has rows of its own.
    pub(crate) writers: Range<u32>,
    pub(crate) all_writers: u32,
    pub(crate) lasts: Duration,
}

/// How an update ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    Well,
    Err,
    Panic,
}

impl Rows {
    /// The rows in `folder`, read through this cache.
    pub(crate) fn new(cache: Cache, folder: &Path) -> Arc<Self> {
        Self::with(cache, folder, Duration::from_millis(2), 0)
    }

    pub(crate) fn with(
        cache: Cache,
        folder: &Path,
        latency: Duration,
        padding: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            cache,
            database: Database::open(folder),
            latency,
            padding,
            random: AtomicU64::new(u64::from(std::process::id())),
            at_rest: AtomicBool::new(false),
            unrelated_loads: AtomicU64::new(0),
            are_together: false,
            tally: Counted::default(),
        })
    }

    /// With the keys of all rows and shelves in one hash slot of a cluster, that of `library`.
    pub(crate) fn together(cache: Cache, folder: &Path) -> Arc<Self> {
        let rows = Self::new(cache, folder);
        let rows = Arc::into_inner(rows).expect("no other has it yet");
        Arc::new(Self {
            are_together: true,
            ..rows
        })
    }

    #[cached(
        key = "row:<row>",
        ttl = 600,
        invalidate_on = "shelf:<row.shelf()>",
        cache = self.cache
    )]
    pub(crate) async fn find(&self, row: Row) -> Result<Content, Infallible> {
        if row.0 < UNRELATED {
            self.unrelated_loads.fetch_add(1, SeqCst);
        }
        Ok(self.load(row).await)
    }

    #[cached(
        key = "row:{library}:<row>",
        ttl = 600,
        invalidate_on = "shelf:{library}:<row.shelf()>",
        cache = self.cache
    )]
    async fn find_together(&self, row: Row) -> Result<Content, Infallible> {
        Ok(self.load(row).await)
    }

    async fn load(&self, row: Row) -> Content {
        let version = self.database.version(row.0);
        self.pause().await;
        Content {
            version,
            padding: "x".repeat(self.padding),
        }
    }

    async fn find_any(&self, row: Row) -> Option<Content> {
        let Ok(content) = if self.are_together {
            self.observe(self.find_together(row)).await?
        } else {
            self.observe(self.find(row)).await?
        };
        Some(content)
    }

    /// The same read, through a transaction that has changed the row.
    #[cached(
        key = "row:<row>",
        ttl = 600,
        invalidate_on = "shelf:<row.shelf()>",
        skip(self.padding),
        cache = self.cache
    )]
    pub(crate) async fn find_uncommitted(&self, row: Row) -> Result<Content, Infallible> {
        Ok(Content {
            version: self.database.version(row.0) + 1,
            padding: "x".repeat(self.padding),
        })
    }

    #[cache_invalidate("row:<row>", cache = self.cache)]
    pub(crate) async fn update(&self, row: Row) -> Result<u64, Infallible> {
        Ok(self.change(row).await)
    }

    #[cache_invalidate("shelf:<row.shelf()>", cache = self.cache)]
    pub(crate) async fn update_by_shelf(&self, row: Row) -> Result<u64, Infallible> {
        Ok(self.change(row).await)
    }

    #[cache_invalidate("row:{library}:<row>", cache = self.cache)]
    async fn update_together(&self, row: Row) -> Result<u64, Infallible> {
        Ok(self.change(row).await)
    }

    #[cache_invalidate("shelf:{library}:<row.shelf()>", cache = self.cache)]
    async fn update_by_shelf_together(&self, row: Row) -> Result<u64, Infallible> {
        Ok(self.change(row).await)
    }

    async fn change(&self, row: Row) -> u64 {
        let version = self.database.commit(row.0);
        if self.random().is_multiple_of(2) {
            tokio::task::yield_now().await;
        }
        version
    }

    /// An update with await points before and after its commit. The commit takes a while in the
    /// database, and goes on there when this future is dropped.
    #[cache_invalidate("row:<row>", cache = self.cache)]
    pub(crate) async fn update_slowly(
        self: &Arc<Self>,
        row: Row,
        commit_takes: Duration,
        ends: Ends,
    ) -> Result<u64, &'static str> {
        tokio::task::yield_now().await;
        let rows = self.clone();
        let commit = tokio::spawn(async move {
            if !commit_takes.is_zero() {
                tokio::time::sleep(commit_takes).await;
            }
            rows.database.commit(row.0)
        });
        match ends {
            Ends::Well => {}
            // The connection broke: the program does not know whether the commit happens.
            Ends::Err => return Err("connection lost"),
            // A panic without its message, since it is on purpose.
            Ends::Panic => std::panic::resume_unwind(Box::new("connection lost")),
        }
        let version = commit.await.expect("a commit does not panic");
        tokio::task::yield_now().await;
        Ok(version)
    }

    /// An update that commits, and never reaches its invalidation.
    #[cache_invalidate("row:<row>", fence = "2s", cache = self.cache)]
    pub(crate) async fn update_and_hang(&self, row: Row, committed: &Semaphore) -> u64 {
        let version = self.database.commit(row.0);
        committed.add_permits(1);
        std::future::pending::<()>().await;
        version
    }

    /// A step of a transaction. The caller commits it later.
    #[cache_invalidate("row:<row>", cache = self.cache)]
    pub(crate) async fn stage(&self, row: Row) {
        self.pause().await;
    }

    /// Reads a row, and checks how new the result is.
    pub(crate) async fn read(&self, row: u32) {
        self.at_rest.store(false, SeqCst);
        let floor = self.database.floor(row);
        if let Some(content) = self.find_any(Row(row)).await
            && content.version < floor
        {
            self.tally.stale.fetch_add(1, SeqCst);
        }
        self.tally.reads.fetch_add(1, SeqCst);
    }

    /// Updates a row, and invalidates its own name or that of its shelf. From then on each read
    /// must see the update.
    pub(crate) async fn write(&self, row: u32) {
        self.at_rest.store(false, SeqCst);
        let (by_shelf, it) = (self.random().is_multiple_of(2), Row(row));
        let written = match (self.are_together, by_shelf) {
            (false, false) => self.observe(self.update(it)).await,
            (false, true) => self.observe(self.update_by_shelf(it)).await,
            (true, false) => self.observe(self.update_together(it)).await,
            (true, true) => self.observe(self.update_by_shelf_together(it)).await,
        };
        if let Some(Ok(version)) = written {
            self.database.promise(row, version);
        }
        self.tally.writes.fetch_add(1, SeqCst);
    }

    /// How many loads there were of rows below [`UNRELATED`].
    pub(crate) fn unrelated_loads(&self) -> u64 {
        self.unrelated_loads.load(SeqCst)
    }

    /// Waits for a call. `None` if it panics or hangs.
    async fn observe<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        let began = Instant::now();
        let mut call = pin!(call);
        let caught = poll_fn(|context| {
            match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context))) {
                Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
                Ok(Poll::Pending) => Poll::Pending,
                // The panic hook counts it, as it counts those of background tasks.
                Err(_) => Poll::Ready(None),
            }
        });
        let ended = tokio::time::timeout(HUNG, caught).await;
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.tally.longest_nanos.fetch_max(nanos, SeqCst);
        ended.unwrap_or_else(|_| {
            self.tally.hung.fetch_add(1, SeqCst);
            None
        })
    }

    /// Reads each row twice, so that it is in the cache.
    pub(crate) async fn warm(&self, rows: Range<u32>) {
        for row in rows {
            self.read(row).await;
            self.read(row).await;
        }
    }

    /// How many rows are not read as they are now. At rest there must be none.
    pub(crate) async fn stuck(&self, rows: impl IntoIterator<Item = u32>) -> u64 {
        if !self.at_rest.swap(true, SeqCst) && copies::are_kept() {
            tokio::time::sleep(copies::LAG).await;
        }
        let mut stuck = 0;
        for row in rows {
            let newest = self.database.version(row);
            let read = self.find_any(Row(row)).await;
            if !matches!(read, Some(content) if content.version == newest) {
                stuck += 1;
            }
        }
        stuck
    }

    /// Reads and updates rows at random: each reader and each writer one at a time.
    pub(crate) async fn mix(self: &Arc<Self>, mix: Mix) {
        let until = Instant::now() + mix.lasts;
        let mut tasks = JoinSet::new();
        for _ in 0..mix.readers {
            let (rows, count, apart) = (self.clone(), mix.rows, mix.apart);
            tasks.spawn(async move {
                while Instant::now() < until {
                    rows.read(rows.below(count) * apart).await;
                    // A hit in process does not wait, so without this no other task would run.
                    tokio::task::yield_now().await;
                }
            });
        }
        for writer in mix.writers {
            let rows = self.clone();
            let (count, step, apart) = (mix.rows, mix.all_writers, mix.apart);
            tasks.spawn(async move {
                while Instant::now() < until {
                    let row = rows.below(count / step) * step + writer;
                    rows.write(row * apart).await;
                    // Long enough for hits in between.
                    tokio::time::sleep(Duration::from_millis(u64::from(rows.below(12)))).await;
                }
            });
        }
        tasks.join_all().await;
    }

    pub(crate) fn tally(&self) -> Tally {
        let stats = self.cache.stats();
        Tally {
            reads: self.tally.reads.load(SeqCst),
            writes: self.tally.writes.load(SeqCst),
            stale: self.tally.stale.load(SeqCst),
            hung: self.tally.hung.load(SeqCst),
            panics: crate::panics::seen(),
            hits: stats.hits,
            reported: stats.errors,
            longest: Duration::from_nanos(self.tally.longest_nanos.load(SeqCst)),
        }
    }

    /// Pauses for a random time, up to the database's latency.
    pub(crate) async fn pause(&self) {
        let limit = u32::try_from(self.latency.as_micros()).unwrap_or(u32::MAX);
        let pause = Duration::from_micros(u64::from(self.below(limit.max(1))));
        // The timer rounds up to whole milliseconds.
        if pause < Duration::from_millis(1) || self.at_rest.load(SeqCst) {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(pause).await;
        }
    }

    pub(crate) fn below(&self, limit: u32) -> u32 {
        u32::try_from(self.random() % u64::from(limit)).expect("below a u32")
    }

    /// `SplitMix64`.
    fn random(&self) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.random.fetch_add(step, SeqCst).wrapping_add(step);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A cache with the limits that a program has by default.
pub(crate) fn cache(url: &str) -> CacheBuilder {
    copies::of(Cache::builder().url(url).namespace(NAMESPACE), url)
}

/// A cache for scenarios in which the server does not fail.
pub(crate) fn patient(url: &str) -> Cache {
    cache_of(cache_tests::patient(url), url)
}

/// A cache with these limits.
pub(crate) fn cache_of(builder: CacheBuilder, url: &str) -> Cache {
    let builder = copies::of(builder.namespace(NAMESPACE), url);
    builder.build().expect("a cache")
}
