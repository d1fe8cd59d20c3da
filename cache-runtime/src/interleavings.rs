//! Threads of one process that use flights, versions and the journal at the same time, under
//! a scheduler that tries thousands of orders. `cargo xtask interleavings` runs this.
//!
//! Each promise is also tested with a mechanism taken away. It must then be broken, which shows
//! that the scheduler reaches the orders that matter.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use shuttle::future::{block_on, spawn, yield_now};
use shuttle::sync::atomic::AtomicU64;

use crate::call::of_value::WithTags;
use crate::call::request::{Keep, Request};
use crate::call::shape::ResultOf;
use crate::sabotage::{self, Rule};
use crate::tier::Query;
use crate::{Cache, Key, Options};

const ORDERS: usize = 3_000;

/// The test holds in every order that is tried.
fn holds(test: fn()) {
    shuttle::check_random(test, ORDERS);
    shuttle::check_pct(test, ORDERS, 3);
}

/// Without `rule`, the test fails in one of the orders that are tried.
fn needs(rule: Rule, test: fn()) {
    let _guard = sabotage::without(rule);
    let broken = catch_unwind(AssertUnwindSafe(|| holds(test)));
    assert!(broken.is_err(), "the test passes without {rule:?}");
}

/// A load that is pending at its first poll is polled once more at once.
async fn pending_twice() {
    yield_now().await;
    yield_now().await;
}

/// A row, and a cache in front of it.
#[derive(Clone)]
struct Database {
    cache: Cache,
    row: Arc<AtomicU64>,
    /// The newest row that was committed before an invalidation that has returned. No read that
    /// begins now may yield an older one.
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

    /// Reads, and checks that the value is not older than the floor was when the read began.
    async fn read(&self) -> u64 {
        let floor = self.floor.load(SeqCst);
        let load = async {
            self.loads.fetch_add(1, SeqCst);
            let value = self.row.load(SeqCst);
            pending_twice().await;
            Ok::<_, Infallible>(value)
        };
        let options = Options::new().tag("rows");
        let Ok(value) = self.cache.get_or_load("row", options, load).await;
        assert!(value >= floor, "{value} was read after {floor}");
        value
    }

    /// As [`read`](Self::read), where only the value tells the tag.
    async fn read_of_value(&self) -> u64 {
        let floor = self.floor.load(SeqCst);
        let load = async {
            let value = self.row.load(SeqCst);
            pending_twice().await;
            Ok::<_, Infallible>(value)
        };
        let ttl = std::time::Duration::from_secs(60);
        let query = Query {
            learns_tags: true,
            ..Query::by_hand("row".into(), Vec::new(), ttl)
        };
        let request = Request::new(self.cache.core().clone(), query);
        let keeping = WithTags {
            keep: |_: &u64| Keep::Default,
            tags: |_: &u64| vec![Key::from("rows")],
        };
        let read = request.get_or_load::<ResultOf<u64, Infallible>, _>(keeping, load);
        let Ok(value) = read.await;
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
        // When all are done, nothing stale is left.
        assert_eq!(database.read().await, 1);
    });
}

fn a_tag_of_the_value_is_invalidated() {
    block_on(async move {
        let database = Database::new();
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let database = database.clone();
                spawn(async move {
                    database.read_of_value().await;
                    database.read_of_value().await
                })
            })
            .collect();
        let writer = {
            let database = database.clone();
            spawn(async move { database.write("rows").await })
        };
        for reader in readers {
            reader.await.unwrap();
        }
        writer.await.unwrap();
        for _ in 0..2 {
            assert_eq!(database.read_of_value().await, 1);
        }
    });
}

#[test]
fn no_read_yields_a_value_from_before_an_invalidation_of_a_tag_that_it_tells() {
    holds(a_tag_of_the_value_is_invalidated);
    needs(Rule::TagsBeforeLoad, a_tag_of_the_value_is_invalidated);
    needs(Rule::LateWaiter, a_tag_of_the_value_is_invalidated);
}

fn a_key_is_invalidated() {
    readers_and_a_writer("row");
}

fn a_tag_is_invalidated() {
    readers_and_a_writer("rows");
}

#[test]
fn no_read_yields_a_value_from_before_an_invalidation() {
    holds(a_key_is_invalidated);
    holds(a_tag_is_invalidated);
    needs(Rule::CompareAndFill, a_key_is_invalidated);
    needs(Rule::VersionsBeforeLoad, a_tag_is_invalidated);
    needs(Rule::Boarding, a_tag_is_invalidated);
}

/// Readers that are cancelled at any point leave no other reader waiting for ever, and readers
/// share a load where they can.
fn cancelled_readers() {
    block_on(async {
        let database = Database::new();
        let cancelled: Vec<_> = (0..2)
            .map(|_| {
                let database = database.clone();
                let reader = spawn(async move { database.read().await });
                shuttle::thread::yield_now();
                reader
            })
            .collect();
        let others: Vec<_> = (0..2)
            .map(|_| {
                let database = database.clone();
                spawn(async move { database.read().await })
            })
            .collect();
        for reader in &cancelled {
            yield_now().await;
            reader.abort();
        }
        for reader in others {
            reader.await.unwrap();
        }
        for reader in cancelled {
            // It may have ended before it was cancelled.
            let _ = reader.await;
        }
        // One load for each of the two readers that may be dropped half-way, and one that is kept.
        assert!(database.loads.load(SeqCst) <= 3);
        let loads = database.loads.load(SeqCst);
        database.read().await;
        assert_eq!(database.loads.load(SeqCst), loads, "it is cached");
    });
}

#[test]
fn a_cancelled_reader_leaves_no_other_waiting() {
    // No time passes here, so each load that waits for its turn would look set aside, and be repeated.
    let _loads_are_counted = sabotage::without(Rule::SetAside);
    holds(cancelled_readers);
    // Without it, the waiters wait for ever, which the scheduler reports as a deadlock.
    needs(Rule::HandOver, cancelled_readers);
}

/// Threads that insert, read and remove the same keys in the local tier's table.
fn threads_on_one_table() {
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
fn no_entry_is_left_after_its_last_invalidation() {
    holds(threads_on_one_table);
}

mod flights {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;
    use std::time::Duration;

    use tokio::sync::Notify;

    use super::*;
    use crate::flight::{Claim, Flights, Landing, Leader, LoadEnd, Patience, Seat};

    /// What the callers of one key did, with evidence that is the same for all.
    #[derive(Clone, Default)]
    struct Callers {
        flights: Flights<u32>,
        /// How many attempts have made their value the flight's.
        landed: Arc<AtomicU64>,
        loads: Arc<AtomicU64>,
        /// How many calls have ended.
        ended: Arc<AtomicU64>,
    }

    fn key() -> Key {
        Key::from("row")
    }

    fn number(value: &crate::value::SharedValue) -> Option<u64> {
        let value: &dyn std::any::Any = &**value;
        value.downcast_ref().copied()
    }

    impl Callers {
        /// One call: it leads or waits, and ends with a value.
        async fn call(&self) -> u64 {
            self.call_with(Patience {
                limit: Duration::MAX,
                hedge: Duration::MAX,
            })
            .await
        }

        async fn call_with(&self, patience: Patience) -> u64 {
            let value = self.seek(patience).await;
            self.ended.fetch_add(1, SeqCst);
            value
        }

        async fn seek(&self, patience: Patience) -> u64 {
            let mut seat = self.flights.board(&key(), Some(1));
            loop {
                let landing = match seat {
                    Seat::Lead(leader) => return self.lead(leader, pending_twice()).await,
                    Seat::Wait(waiter) => waiter.wait(patience).await,
                };
                seat = match landing {
                    Landing::Value(value) => return number(&value).unwrap(),
                    Landing::Lead(leader) => Seat::Lead(leader),
                    // It would have waited in a circle.
                    Landing::Alone => return self.loads.fetch_add(1, SeqCst),
                    Landing::Dissolved { .. } => self.flights.board(&key(), Some(1)),
                    other => panic!("neither a value nor a lead: {other:?}"),
                };
            }
        }

        async fn lead(&self, mut leader: Leader<u32>, work: impl Future<Output = ()>) -> u64 {
            let value = self.loads.fetch_add(1, SeqCst);
            let load = pin!(async {
                work.await;
                value
            });
            let loaded = match leader.load(load, number).await {
                LoadEnd::Loaded(value) => value,
                LoadEnd::Shared(value) => return value,
            };
            if leader.claim() != Claim::Superseded {
                self.landed.fetch_add(1, SeqCst);
                leader.land(Arc::new(loaded), true);
                leader.finish();
            }
            loaded
        }
    }

    /// A caller leads, and its load is woken. It is polled again only when the others have ended.
    fn a_leader_is_set_aside() {
        block_on(async {
            let callers = Callers::default();
            let woken = Notify::new();
            let Seat::Lead(leader) = callers.flights.board(&key(), Some(1)) else {
                panic!("expected to lead");
            };
            let mut first = pin!(callers.lead(leader, woken.notified()));
            let poll = |context: &mut std::task::Context<'_>| {
                assert!(first.as_mut().poll(context).is_pending());
                Poll::Ready(())
            };
            poll_fn(poll).await;
            let others: Vec<_> = (0..2)
                .map(|_| {
                    let callers = callers.clone();
                    spawn(async move { callers.call().await })
                })
                .collect();
            let checks = {
                let flights = callers.flights.clone();
                shuttle::thread::spawn(move || {
                    for _ in 0..3 {
                        shuttle::thread::yield_now();
                        flights.check(&key());
                    }
                })
            };
            woken.notify_one();
            checks.join().unwrap();
            // One more, for waiters that came after the last.
            yield_now().await;
            callers.flights.check(&key());
            let mut values = Vec::new();
            for other in others {
                values.push(other.await.unwrap());
            }
            values.push(first.await);
            assert!(callers.loads.load(SeqCst) <= 3);
            let landed = callers.landed.load(SeqCst);
            assert!(landed >= 1, "{values:?}");
            assert!(matches!(
                callers.flights.board(&key(), Some(1)),
                Seat::Lead(_)
            ));
        });
    }

    #[test]
    fn a_leader_that_is_not_polled_holds_up_no_waiter() {
        holds(a_leader_is_set_aside);
        needs(Rule::SetAside, a_leader_is_set_aside);
    }

    /// A load is not woken any more. Checks find that, as they do after a `hedge`.
    fn a_load_hangs() {
        block_on(async {
            let callers = Callers::default();
            let Seat::Lead(leader) = callers.flights.board(&key(), Some(1)) else {
                panic!("expected to lead");
            };
            let mut first = pin!(callers.lead(leader, std::future::pending()));
            let poll = |context: &mut std::task::Context<'_>| {
                assert!(first.as_mut().poll(context).is_pending());
                Poll::Ready(())
            };
            poll_fn(poll).await;
            let patience = Patience {
                limit: Duration::MAX,
                hedge: Duration::ZERO,
            };
            let others: Vec<_> = (0..2)
                .map(|_| {
                    let callers = callers.clone();
                    spawn(async move { callers.call_with(patience).await })
                })
                .collect();
            // Until all others have ended: a check may come before a caller waits.
            while callers.ended.load(SeqCst) < 2 {
                callers.flights.check(&key());
                yield_now().await;
            }
            for other in others {
                other.await.unwrap();
            }
            // The caller whose load hangs is served too.
            first.await;
            assert!(matches!(
                callers.flights.board(&key(), Some(1)),
                Seat::Lead(_)
            ));
        });
    }

    #[test]
    fn a_load_that_hangs_holds_up_no_caller() {
        holds(a_load_hangs);
        needs(Rule::Hedge, a_load_hangs);
    }

    /// Three loads, each of which reads the next one's key, and the last one the first one's.
    fn loads_in_a_circle() {
        block_on(async {
            let callers = [Callers::default(), Callers::default(), Callers::default()];
            let reads: Vec<_> = (0..3)
                .map(|at| {
                    let [mine, next] = [at, (at + 1) % 3].map(|at| callers[at].clone());
                    spawn(async move {
                        match mine.flights.board(&key(), Some(1)) {
                            Seat::Lead(leader) => {
                                let nested = async {
                                    pending_twice().await;
                                    next.call().await;
                                };
                                mine.lead(leader, nested).await
                            }
                            Seat::Wait(waiter) => {
                                drop(waiter);
                                mine.call().await
                            }
                        }
                    })
                })
                .collect();
            for read in reads {
                read.await.unwrap();
            }
        });
    }

    #[test]
    fn loads_that_wait_for_each_other_end() {
        // No time passes here, so each load that waits for its turn would look set aside.
        let _none_is_set_aside = sabotage::without(Rule::SetAside);
        holds(loads_in_a_circle);
        needs(Rule::Circle, loads_in_a_circle);
    }

    /// All callers load and fail, or are served what another caller loaded.
    fn loads_fail() {
        block_on(async {
            let callers = Callers::default();
            let failures = Arc::new(AtomicU64::new(2));
            let calls: Vec<_> = (0..4)
                .map(|_| {
                    let (callers, failures) = (callers.clone(), failures.clone());
                    spawn(async move {
                        let seat = callers.flights.board(&key(), Some(1));
                        let patience = Patience {
                            limit: Duration::MAX,
                            hedge: Duration::MAX,
                        };
                        let leader = match seat {
                            Seat::Lead(leader) => leader,
                            Seat::Wait(waiter) => match waiter.wait(patience).await {
                                Landing::Lead(leader) => leader,
                                // The value, or a flight that has ended with it.
                                _ => return,
                            },
                        };
                        let fails =
                            failures.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
                        if fails.is_ok() {
                            yield_now().await;
                            leader.fail(None);
                        } else {
                            callers.lead(leader, pending_twice()).await;
                        }
                    })
                })
                .collect();
            for call in calls {
                call.await.unwrap();
            }
            // Nothing is left behind: the next caller leads.
            assert!(matches!(
                callers.flights.board(&key(), Some(1)),
                Seat::Lead(_)
            ));
        });
    }

    #[test]
    fn every_caller_of_loads_that_fail_ends() {
        holds(loads_fail);
    }
}

mod journal {
    use super::*;
    use crate::observe::Observer;
    use crate::tier::shared::Journal;

    const INVALIDATION: u64 = 1 << 32;

    /// A row, its copy on the server, and a process whose invalidations all fail.
    #[derive(Clone)]
    struct Process {
        journal: Arc<Journal>,
        row: Arc<AtomicU64>,
        /// The server's copy: in the lower bits, one more than the value, or 0 for no copy. In the
        /// upper bits, how often it was invalidated.
        stored: Arc<AtomicU64>,
        floor: Arc<AtomicU64>,
    }

    impl Process {
        fn new() -> Self {
            Self {
                journal: Arc::new(Journal::new(1_000, Observer::default())),
                row: Arc::default(),
                // A copy of the first row.
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
            let mut under_way = self.journal.begin(&names);
            if !sabotage::keeps(Rule::Journal) {
                under_way.carried_out(names.len());
            }
            drop(under_way);
            self.floor.fetch_max(value, SeqCst);
        }

        fn replay(&self) {
            let sent = self.journal.next(10, u64::MAX);
            if !sent.is_empty() {
                let invalidate = |stored| Some(stored - stored % INVALIDATION + INVALIDATION);
                let _ = self.stored.fetch_update(SeqCst, SeqCst, invalidate);
            }
            self.journal.carried_out(&sent);
        }

        /// Another process, which distrusts no name, stores what it reads.
        fn store_elsewhere(&self) {
            let seen = self.stored.load(SeqCst);
            if seen.is_multiple_of(INVALIDATION) {
                let filled = seen + self.row.load(SeqCst) + 1;
                let _ = self.stored.compare_exchange(seen, filled, SeqCst, SeqCst);
            }
        }
    }

    fn failing_writers_and_replays() {
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
    fn a_name_is_distrusted_until_its_last_invalidation_is_replayed() {
        holds(failing_writers_and_replays);
        needs(Rule::Distrust, failing_writers_and_replays);
        needs(Rule::Journal, failing_writers_and_replays);
    }
}
