//! Readers of pages and writers of the rows on them, at the same time: no read yields a row, or a list of
//! rows, from before an invalidation that had returned when it began. Only the loaded page tells which rows
//! it has, and so which tags.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_runtime::{Cache, CacheTag, cache_invalidate, cached};
use cache_tests::{Random, RedisCluster, RedisServer, Upstash, patient, until};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

const PAGES: usize = 3;
const ROWS: usize = 12;
const READERS: u64 = 6;
const READS: u64 = 300;
const WRITERS: u64 = 3;
const WRITES: u64 = 120;
const SEED: u64 = 0x0115_7500;

#[derive(CacheTag)]
#[cache_tag("row:<0>")]
struct RowTag(usize);

/// What a row holds, and the page that it is on.
#[derive(Clone, Copy)]
struct Row {
    version: u64,
    page: usize,
}

#[derive(Clone, Serialize, Deserialize)]
struct Page {
    /// How often a row came to the page, or left it.
    moves: u64,
    rows: BTreeMap<usize, u64>,
}

/// The rows, and how new each read has to be.
struct Database {
    /// The rows, and the moves of each page. One lock is one transaction.
    rows: Mutex<(Vec<Row>, Vec<u64>)>,
    row_floors: Vec<AtomicU64>,
    page_floors: Vec<AtomicU64>,
    stale: AtomicU64,
}

impl Database {
    fn new() -> Arc<Self> {
        let row = |row| Row {
            version: 0,
            page: row % PAGES,
        };
        let floors = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self {
            rows: Mutex::new(((0..ROWS).map(row).collect(), vec![0; PAGES])),
            row_floors: floors(ROWS),
            page_floors: floors(PAGES),
            stale: AtomicU64::new(0),
        })
    }

    fn page(&self, nr: usize) -> Page {
        let all = self.rows.lock().unwrap();
        let rows = (0..).zip(&all.0).filter(|(_, row)| row.page == nr);
        Page {
            moves: all.1[nr],
            rows: rows.map(|(id, row)| (id, row.version)).collect(),
        }
    }
}

/// The rows as one process sees them.
struct Process {
    cache: Cache,
    database: Arc<Database>,
    random: Mutex<Random>,
}

impl Process {
    fn new(cache: Cache, database: &Arc<Database>, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            cache,
            database: database.clone(),
            random: Mutex::new(Random::new(SEED + seed)),
        })
    }

    fn below(&self, limit: usize) -> usize {
        let below = self.random.lock().unwrap().below(limit as u64);
        usize::try_from(below).unwrap()
    }

    /// For less than so many milliseconds.
    async fn pause(&self, limit: usize) {
        match self.below(limit) {
            0 => tokio::task::yield_now().await,
            ms => tokio::time::sleep(Duration::from_millis(ms as u64)).await,
        }
    }

    #[cached(
        key = "page:<nr>",
        ttl = 60,
        invalidate_on = |page| page.rows.keys().map(|id| RowTag(*id)),
        cache = self.cache,
    )]
    async fn page(&self, nr: usize) -> Page {
        let page = self.database.page(nr);
        self.pause(4).await;
        page
    }

    #[cache_invalidate(RowTag(row), cache = self.cache)]
    async fn change(&self, row: usize) -> u64 {
        let mut all = self.database.rows.lock().unwrap();
        let row = &mut all.0[row];
        row.version += 1;
        row.version
    }

    /// The page that the row leaves carries its tag. The other one does not yet.
    #[cache_invalidate(RowTag(row), "page:<to>", cache = self.cache)]
    async fn move_to(&self, row: usize, to: usize) -> [(usize, u64); 2] {
        let mut all = self.database.rows.lock().unwrap();
        let from = std::mem::replace(&mut all.0[row].page, to);
        [from, to].map(|page| {
            all.1[page] += 1;
            (page, all.1[page])
        })
    }

    async fn read(&self) {
        let nr = self.below(PAGES);
        let floor = |floor: &AtomicU64| floor.load(SeqCst);
        let rows: Vec<u64> = self.database.row_floors.iter().map(floor).collect();
        let moves = floor(&self.database.page_floors[nr]);
        let page = self.page(nr).await;
        let is_old = |(id, version): (&usize, &u64)| *version < rows[*id];
        if page.moves < moves || page.rows.iter().any(is_old) {
            self.database.stale.fetch_add(1, SeqCst);
        }
    }

    async fn write(&self) {
        let row = self.below(ROWS);
        if self.below(4) == 0 {
            for (page, moves) in self.move_to(row, self.below(PAGES)).await {
                self.database.page_floors[page].fetch_max(moves, SeqCst);
            }
        } else {
            let version = self.change(row).await;
            self.database.row_floors[row].fetch_max(version, SeqCst);
        }
        self.pause(6).await;
    }
}

/// Reads and writes, in all of these processes at once. Returns how many reads were stale, and how many
/// pages are when all is done.
async fn stale_reads(caches: Vec<Cache>) -> (u64, usize) {
    let database = Database::new();
    let processes: Vec<_> = (0..)
        .zip(&caches)
        .map(|(seed, cache)| Process::new(cache.clone(), &database, seed))
        .collect();
    let mut calls = JoinSet::new();
    for process in &processes {
        for _ in 0..READERS {
            let process = process.clone();
            calls.spawn(async move {
                for _ in 0..READS {
                    process.read().await;
                    process.pause(2).await;
                }
            });
        }
        for _ in 0..WRITERS {
            let process = process.clone();
            calls.spawn(async move {
                for _ in 0..WRITES {
                    process.write().await;
                }
            });
        }
    }
    calls.join_all().await;
    let mut stuck = 0;
    for process in &processes {
        until(async || process.cache.health().waiting == 0).await;
        for nr in 0..PAGES {
            for _ in 0..3 {
                let (read, now) = (process.page(nr).await, database.page(nr));
                stuck += usize::from((read.moves, read.rows) != (now.moves, now.rows));
            }
        }
    }
    let stats: Vec<_> = caches.iter().map(Cache::stats).collect();
    let hits: u64 = stats.iter().map(|stats| stats.hits).sum();
    let errors: u64 = stats.iter().map(|stats| stats.errors).sum();
    assert_eq!(errors, 0, "the server answered all calls: {stats:?}");
    assert!(
        hits > 100,
        "an entry that is not served cannot be stale: {hits}"
    );
    (database.stale.load(SeqCst), stuck)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_is_stale_in_process() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    assert_eq!(stale_reads(vec![cache]).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_is_stale_in_two_processes() {
    let server = RedisServer::start();
    let caches = [(); 2].map(|()| patient(&server.url()).build().unwrap());
    assert_eq!(stale_reads(caches.into()).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_is_stale_in_a_cluster() {
    let cluster = RedisCluster::shared();
    let namespace = cluster.namespace();
    let caches = [(); 2].map(|()| {
        let builder = patient(&cluster.url()).namespace(namespace);
        builder.build().unwrap()
    });
    assert_eq!(stale_reads(caches.into()).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_is_stale_on_upstash() {
    let emulator = Upstash::start();
    let cache = patient(&emulator.url()).build().unwrap();
    assert_eq!(stale_reads(vec![cache]).await, (0, 0));
}
