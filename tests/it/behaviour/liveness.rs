//! A call does not wait for a caller that is not polled, for a load that hangs, or for itself.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use cache_runtime::{Cache, CacheBuilder, Options, after_commit, cache_invalidate, cached};
use cache_tests::LIMIT;
use tokio::sync::{Barrier, Mutex};

use super::{Recorded, on_every_backend};
use crate::gated::{Gate, answer};

on_every_backend! {
    a_caller_that_is_set_aside_delays_no_other
    callers_that_are_set_aside_one_after_the_other_delay_no_other
    a_caller_that_is_set_aside_and_polled_late_gets_the_value_of_the_others
    a_load_that_hangs_is_repeated_once
    a_load_that_is_woken_from_time_to_time_is_not_repeated
    a_function_that_is_called_inside_of_its_own_load_loads_alone
    loads_that_wait_for_each_other_end
    a_circle_of_three_loads_ends
    a_call_within_a_transaction_does_not_wait_for_a_load_that_waits_for_it
    callers_of_a_load_that_fails_load_in_waves
    the_first_load_that_succeeds_serves_the_callers_of_those_that_failed
    a_load_behind_a_fence_serves_a_none_to_all_that_wait
}

/// A cache of which a test names the key and the load.
#[derive(Clone)]
struct Reads(Cache);

impl Reads {
    async fn read<E>(
        &self,
        key: &str,
        load: impl Future<Output = Result<u32, E>>,
    ) -> Result<u32, E> {
        let read = pin!(self.0.get_or_load(key, Options::new(), load));
        tokio::time::timeout(LIMIT, read).await.expect("it ends")
    }
}

/// Polls a future until `passed` is true, and not any more.
async fn poll_until<F: Future>(mut future: std::pin::Pin<&mut F>, gate: &Gate) {
    tokio::select! {
        biased;
        () = gate.passed() => {}
        _ = future.as_mut() => panic!("it has ended"),
    }
}

async fn a_caller_that_is_set_aside_delays_no_other(Recorded { cache, events }: Recorded) {
    let reads = Reads(cache);
    let (started, may_end) = (Gate::new(), Gate::new());
    let mut first = pin!(reads.read("row", async {
        started.open();
        may_end.pass().await;
        Ok::<_, ()>(1)
    }));
    poll_until(first.as_mut(), &started).await;
    may_end.open();
    assert_eq!(reads.read("row", async { Ok::<_, ()>(2) }).await, Ok(2));
    assert_eq!(reads.read("row", async { Ok::<_, ()>(3) }).await, Ok(2));
    let expected = [
        "miss row",
        "load row",
        "wait row",
        "miss row",
        "load row",
        "fill row ttl=300s",
        "hit row",
    ];
    assert_eq!(events.take(), expected);
    assert_eq!(first.await, Ok(2));
    assert_eq!(events.take(), ["share row"]);
}

async fn callers_that_are_set_aside_one_after_the_other_delay_no_other(cache: Cache) {
    let reads = Reads(cache);
    let mut set_aside = Vec::new();
    let (started, may_end) = (Arc::new(Gate::new()), Arc::new(Gate::new()));
    may_end.stay_open();
    for _ in 0..3 {
        let (reads, started, may_end) = (reads.clone(), started.clone(), may_end.clone());
        let mut read = Box::pin(async move {
            let load = async {
                tokio::task::yield_now().await;
                started.open();
                may_end.pass().await;
                pending::<()>().await;
                Ok::<_, ()>(1)
            };
            reads.read("row", load).await
        });
        // A poll that shows that the load has begun, and then none.
        tokio::select! {
            biased;
            _ = read.as_mut() => panic!("it has ended"),
            () = tokio::task::yield_now() => {}
        }
        set_aside.push(read);
    }
    assert_eq!(reads.read("row", async { Ok::<_, ()>(2) }).await, Ok(2));
}

async fn a_caller_that_is_set_aside_and_polled_late_gets_the_value_of_the_others(cache: Cache) {
    let reads = Reads(cache);
    let (started, second_started) = (Gate::new(), Gate::new());
    let (may_end, second_may_end) = (Gate::new(), Gate::new());
    let mut first = pin!(reads.read("row", async {
        started.open();
        may_end.pass().await;
        Ok::<_, ()>(1)
    }));
    poll_until(first.as_mut(), &started).await;
    may_end.open();
    let mut second = pin!(reads.read("row", async {
        second_started.open();
        second_may_end.pass().await;
        Ok::<_, ()>(2)
    }));
    poll_until(second.as_mut(), &second_started).await;
    // The load that ends first serves both.
    assert_eq!(first.await, Ok(1));
    assert_eq!(second.await, Ok(1));
    assert_eq!(reads.read("row", async { Ok::<_, ()>(3) }).await, Ok(1));
}

async fn a_load_that_hangs_is_repeated_once(builder: CacheBuilder) {
    let reads = Reads(builder.hedge(Duration::from_millis(50)).build().unwrap());
    let loads = Arc::new(AtomicUsize::new(0));
    let started = Arc::new(Gate::new());
    let hung = {
        let (reads, started) = (reads.clone(), started.clone());
        tokio::spawn(async move {
            let load = async {
                started.open();
                pending::<Result<u32, ()>>().await
            };
            reads.read("row", load).await
        })
    };
    started.passed().await;
    let others: Vec<_> = (0..20)
        .map(|_| {
            let (reads, loads) = (reads.clone(), loads.clone());
            tokio::spawn(async move {
                let load = async {
                    loads.fetch_add(1, SeqCst);
                    Ok::<_, ()>(2)
                };
                reads.read("row", load).await
            })
        })
        .collect();
    for other in others {
        assert_eq!(answer(other).await, Ok(2));
    }
    assert_eq!(loads.load(SeqCst), 1);
    // The caller whose load hangs is served too.
    assert_eq!(answer(hung).await, Ok(2));
    assert_eq!(reads.read("row", async { Ok::<_, ()>(3) }).await, Ok(2));
}

async fn a_load_that_is_woken_from_time_to_time_is_not_repeated(builder: CacheBuilder) {
    let reads = Reads(builder.hedge(Duration::from_secs(2)).build().unwrap());
    let started = Arc::new(Gate::new());
    let slow = {
        let (reads, started) = (reads.clone(), started.clone());
        tokio::spawn(async move {
            let load = async {
                started.open();
                for _ in 0..50 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok::<_, ()>(1)
            };
            reads.read("row", load).await
        })
    };
    started.passed().await;
    let never = async { panic!("a second load begins") };
    assert_eq!(reads.read::<()>("row", never).await, Ok(1));
    assert_eq!(answer(slow).await, Ok(1));
}

async fn a_function_that_is_called_inside_of_its_own_load_loads_alone(
    Recorded { cache, events }: Recorded,
) {
    let reads = Reads(cache);
    let outer = reads.read("row", reads.read("row", async { Ok::<_, ()>(1) }));
    assert_eq!(outer.await, Ok(1));
    let expected = [
        "miss row",
        "load row",
        "wait row",
        "miss row",
        "load row",
        "not filled row: unstorable",
        "fill row ttl=300s",
    ];
    assert_eq!(events.take(), expected);
}

/// Each of these keys is loaded with the next one's value, the last one's with the first one's.
async fn loads_in_a_circle(cache: Cache, keys: [&'static str; 3], length: usize) {
    let reads = Reads(cache);
    let all_load = Arc::new(Barrier::new(length));
    let readers: Vec<_> = (0..length)
        .map(|at| {
            let (reads, all_load) = (reads.clone(), all_load.clone());
            tokio::spawn(async move {
                let next = keys[(at + 1) % length];
                let load = async {
                    all_load.wait().await;
                    reads.read(next, async { Ok::<_, ()>(1) }).await
                };
                reads.read(keys[at], load).await
            })
        })
        .collect();
    for reader in readers {
        assert_eq!(answer(reader).await, Ok(1));
    }
}

async fn loads_that_wait_for_each_other_end(cache: Cache) {
    loads_in_a_circle(cache, ["a", "b", ""], 2).await;
}

async fn a_circle_of_three_loads_ends(cache: Cache) {
    loads_in_a_circle(cache, ["a", "b", "c"], 3).await;
}

async fn a_call_within_a_transaction_does_not_wait_for_a_load_that_waits_for_it(cache: Cache) {
    let reads = Reads(cache);
    // The only connection of a pool.
    let pool = Arc::new(Mutex::new(1));
    let mut connection = pool.clone().lock_owned().await;
    let started = Arc::new(Gate::new());
    let outside = {
        let (reads, pool, started) = (reads.clone(), pool.clone(), started.clone());
        tokio::spawn(async move {
            let load = async {
                started.open();
                Ok::<_, ()>(*pool.lock().await)
            };
            reads.read("row", load).await
        })
    };
    started.passed().await;
    after_commit(async {
        *connection += 1;
        let inside = reads.read("row", async { Ok::<_, ()>(*connection) });
        assert_eq!(inside.await, Ok(2));
        Ok::<_, ()>(())
    })
    .await
    .unwrap();
    drop(connection);
    assert_eq!(answer(outside).await, Ok(2));
}

/// An error that cannot be cloned.
#[derive(Debug, PartialEq)]
struct Unreadable;

/// A hundred callers, of whose loads the first `failures` fail, once all that begin meanwhile have
/// begun. Returns how many loads there were, and how many callers got an error.
async fn failing_loads(cache: Cache, failures: usize) -> (usize, usize) {
    let reads = Reads(cache);
    let loads = Arc::new(AtomicUsize::new(0));
    let may_end = Arc::new(Gate::new());
    let readers: Vec<_> = (0..100)
        .map(|_| {
            let (reads, loads, may_end) = (reads.clone(), loads.clone(), may_end.clone());
            tokio::spawn(async move {
                let load = async {
                    let nth = loads.fetch_add(1, SeqCst);
                    may_end.pass().await;
                    if nth < failures {
                        Err(Unreadable)
                    } else {
                        Ok(1)
                    }
                };
                reads.read("row", load).await
            })
        })
        .collect();
    let waits = || reads.0.stats();
    cache_tests::until(async || waits().misses >= 1 && loads.load(SeqCst) == 1).await;
    may_end.stay_open();
    let mut errors = 0;
    for reader in readers {
        errors += usize::from(answer(reader).await.is_err());
    }
    (loads.load(SeqCst), errors)
}

async fn callers_of_a_load_that_fails_load_in_waves(cache: Cache) {
    // Each caller gets the error of a load of its own.
    assert_eq!(failing_loads(cache, 1000).await, (100, 100));
}

async fn the_first_load_that_succeeds_serves_the_callers_of_those_that_failed(cache: Cache) {
    let (loads, errors) = failing_loads(cache, 1).await;
    assert_eq!(errors, 1);
    assert!(loads <= 9, "{loads} loads");
}

#[derive(Clone)]
struct Fenced {
    cache: Cache,
    loads: Arc<AtomicUsize>,
    may_end: Arc<Gate>,
}

impl Fenced {
    #[cached(key = "row", ttl = 60, none_ttl = 60, cache = self.cache)]
    async fn read(&self) -> Option<u32> {
        self.loads.fetch_add(1, SeqCst);
        self.may_end.pass().await;
        None
    }

    #[cache_invalidate("row", fence = 60, cache = self.cache)]
    async fn write(&self, load: impl AsyncFnOnce()) {
        load().await;
    }
}

async fn a_load_behind_a_fence_serves_a_none_to_all_that_wait(
    Recorded { cache, events }: Recorded,
) {
    let row = Fenced {
        cache,
        loads: Arc::default(),
        may_end: Arc::new(Gate::new()),
    };
    row.write(async || {
        let reader = || {
            let row = row.clone();
            tokio::spawn(async move { row.read().await })
        };
        let first = reader();
        cache_tests::until(async || row.loads.load(SeqCst) == 1).await;
        let others: Vec<_> = (0..20).map(|_| reader()).collect();
        events.until_count("wait row", 20).await;
        row.may_end.stay_open();
        for reader in others.into_iter().chain([first]) {
            assert_eq!(answer(reader).await, None);
        }
        // One of those that came while a load was under way loads for all others.
        assert!(row.loads.load(SeqCst) <= 2);
    })
    .await;
}
