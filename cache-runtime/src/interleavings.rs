//! What threads do to each other in one process: flights, generations and the journal, under a
//! scheduler that tries thousands of orders. `cargo xtask interleavings` runs it.
//!
//! Each promise is also looked for with a mechanism taken away, and must then be broken:
//! so the scheduler reaches the orders that matter.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use shuttle::future::{block_on, spawn, yield_now};
use shuttle::sync::atomic::AtomicU64;

use crate::sabotage::{self, Rule};
use crate::{Cache, Key, Options};

const ORDERS: usize = 3_000;

/// Holds in every order that is tried.
fn holds(test: fn()) {
    shuttle::check_random(test, ORDERS);
    shuttle::check_pct(test, ORDERS, 3);
}

/// Does not hold without `rule`, in one of the orders that are tried.
fn needs(rule: Rule, test: fn()) {
    let _guard = sabotage::without(rule);
    let broken = catch_unwind(AssertUnwindSafe(|| holds(test)));
    assert!(broken.is_err(), "nobody noticed that there is no {rule:?}");
}

/// A row, and a cache in front of it.
#[derive(Clone)]
struct Database {
    cache: Cache,
    row: Arc<AtomicU64>,
    /// What an invalidation that has returned is the floor of.
    floor: Arc<AtomicU64>,
    loads: Arc<AtomicU64>,
}

impl Database {
    fn new() -> Self {
        Self {
            cache: Cache::builder().url("memory:").build().unwrap(),
            row: Arc::default(),
            floor: Arc::default(),
            loads: Arc::default(),
        }
    }

    /// Reads, and is served nothing from before an invalidation that had returned.
    async fn read(&self) -> u64 {
        let floor = self.floor.load(SeqCst);
        let load = async {
            self.loads.fetch_add(1, SeqCst);
            let value = self.row.load(SeqCst);
            yield_now().await;
            Ok::<_, Infallible>(value)
        };
        let options = Options::new().tag("rows");
        let Ok(value) = self.cache.get_or_load("row", options, load).await;
        assert!(value >= floor, "{value} was read after {floor}");
        value
    }

    async fn write(&self, name: &str) {
        let value = self.row.fetch_add(1, SeqCst) + 1;
        self.cache.invalidate([name]).await.unwrap();
        self.floor.fetch_max(value, SeqCst);
    }
}

fn readers_and_a_writer(name: &'static str) {
    block_on(async move {
        let database = Database::new();
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let database = database.clone();
                spawn(async move {
                    database.read().await;
                    database.read().await
                })
            })
            .collect();
        let writer = {
            let database = database.clone();
            spawn(async move { database.write(name).await })
        };
        for reader in readers {
            reader.await.unwrap();
        }
        writer.await.unwrap();
        // At rest nothing stale is left.
        assert_eq!(database.read().await, 1);
    });
}

fn a_key_is_invalidated() {
    readers_and_a_writer("row");
}

fn a_tag_is_invalidated() {
    readers_and_a_writer("rows");
}

#[test]
fn nothing_from_before_an_invalidation_is_read() {
    holds(a_key_is_invalidated);
    holds(a_tag_is_invalidated);
    needs(Rule::CompareAndFill, a_key_is_invalidated);
    needs(Rule::VersionsBeforeLoad, a_tag_is_invalidated);
    needs(Rule::Boarding, a_tag_is_invalidated);
}

/// Readers that give up at any point strand nobody, and share a load where they can.
fn readers_that_give_up() {
    block_on(async {
        let database = Database::new();
        let impatient: Vec<_> = (0..2)
            .map(|_| {
                let database = database.clone();
                let reader = spawn(async move { database.read().await });
                shuttle::thread::yield_now();
                reader
            })
            .collect();
        let patient: Vec<_> = (0..2)
            .map(|_| {
                let database = database.clone();
                spawn(async move { database.read().await })
            })
            .collect();
        for reader in impatient {
            yield_now().await;
            reader.abort();
        }
        for reader in patient {
            reader.await.unwrap();
        }
        // One for each of the two that may have been dropped half-way, and one that stays.
        assert!(database.loads.load(SeqCst) <= 3);
        let loads = database.loads.load(SeqCst);
        database.read().await;
        assert_eq!(database.loads.load(SeqCst), loads, "it is cached");
    });
}

#[test]
fn a_reader_that_gives_up_strands_nobody() {
    holds(readers_that_give_up);
    // The waiters then wait for ever, which the scheduler takes for a deadlock.
    needs(Rule::HandOver, readers_that_give_up);
}

/// Threads of the local tier's table: what is removed is gone, what is inserted is there.
fn a_table_in_many_hands() {
    let cache = Cache::builder()
        .url("memory:")
        .max_entries(4)
        .build()
        .unwrap();
    let threads: Vec<_> = (0..3_u64)
        .map(|thread| {
            let cache = cache.clone();
            shuttle::thread::spawn(move || {
                block_on(async {
                    for i in 0..3 {
                        let key = Key::from(format!("row:{}", (thread + i) % 3));
                        cache.set(&key, &i, Options::new()).await.unwrap();
                        let _: Option<u64> = cache.get(&key).await.unwrap();
                        cache.invalidate([&key]).await.unwrap();
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    block_on(async {
        for row in 0..3 {
            assert!(!cache.exists(format!("row:{row}")).await.unwrap());
        }
    });
}

#[test]
fn threads_that_store_and_invalidate_leave_nothing_behind() {
    holds(a_table_in_many_hands);
}

#[cfg(feature = "redis")]
mod journal {
    use super::*;
    use crate::store::{Journal, Keyspace};

    const INVALIDATION: u64 = 1 << 32;

    /// A row, what the server has of it, and a process whose invalidations all fail.
    #[derive(Clone)]
    struct Process {
        journal: Arc<Journal>,
        row: Arc<AtomicU64>,
        /// What the server has of it: below, one more than the value, or 0 for none; above, how
        /// often it was invalidated.
        stored: Arc<AtomicU64>,
        floor: Arc<AtomicU64>,
    }

    impl Process {
        fn new() -> Self {
            Self {
                journal: Arc::new(Journal::new(Keyspace::new("test"), 10)),
                row: Arc::default(),
                // Of the row as it is at first.
                stored: Arc::new(AtomicU64::new(1)),
                floor: Arc::default(),
            }
        }

        fn read(&self) {
            let floor = self.floor.load(SeqCst);
            let (key, tags) = (Key::from("row"), [Key::from("rows")]);
            let is_distrusted =
                sabotage::keeps(Rule::Distrust) && self.journal.distrusts(&key, &tags);
            let stored = self.stored.load(SeqCst) % INVALIDATION;
            if !is_distrusted && stored > 0 {
                assert!(stored > floor, "{} was read after {floor}", stored - 1);
            }
        }

        fn fail_to_write(&self) {
            let value = self.row.fetch_add(1, SeqCst) + 1;
            let names = [Key::from("rows")];
            let under_way = self.journal.begin(&names);
            if sabotage::keeps(Rule::Journal) {
                drop(under_way);
            } else {
                under_way.done();
            }
            self.floor.fetch_max(value, SeqCst);
        }

        fn replay(&self) {
            let replay = self.journal.begin_replay();
            if !replay.names.is_empty() {
                let invalidate = |stored| Some(stored - stored % INVALIDATION + INVALIDATION);
                let _ = self.stored.fetch_update(SeqCst, SeqCst, invalidate);
            }
            self.journal.end_replay(replay.everything, &replay.names);
        }

        /// Another process, to which nothing is distrusted, stores what it reads.
        fn store_elsewhere(&self) {
            let seen = self.stored.load(SeqCst);
            if seen.is_multiple_of(INVALIDATION) {
                let filled = seen + self.row.load(SeqCst) + 1;
                let _ = self.stored.compare_exchange(seen, filled, SeqCst, SeqCst);
            }
        }
    }

    fn writers_that_fail_and_replays() {
        let process = Process::new();
        let run = |run: fn(&Process)| {
            let process = process.clone();
            shuttle::thread::spawn(move || {
                run(&process);
                run(&process);
            })
        };
        let threads = [
            run(Process::read),
            run(Process::fail_to_write),
            run(Process::replay),
            run(Process::store_elsewhere),
        ];
        for thread in threads {
            thread.join().unwrap();
        }
        process.replay();
        assert!(process.journal.is_empty());
        process.read();
    }

    #[test]
    fn a_name_is_trusted_only_once_its_last_invalidation_was_replayed() {
        holds(writers_that_fail_and_replays);
        needs(Rule::Distrust, writers_that_fail_and_replays);
        needs(Rule::Journal, writers_that_fail_and_replays);
    }
}
