//! `detach`: a load runs in a task of its own, and does not end with its caller.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use async_recursion::async_recursion;
use cache_runtime::{Cache, CacheBuilder, after_commit, cached};
use cache_tests::{LIMIT, RedisServer, poll_once};
use tokio::runtime::Runtime;
use tokio::task::{Id, JoinHandle};

use super::{Recorded, builder, on_every_backend};
use crate::gated::{Gate, answer};

on_every_backend! {
    callers_that_all_give_up_leave_one_load_that_serves_later_callers
    a_waiter_is_served_by_the_load_of_a_caller_that_gave_up
    the_caller_and_its_waiters_share_the_load
    a_panic_of_the_load_is_a_panic_of_its_caller
    arguments_are_copied_for_a_load_and_not_for_a_hit
    a_load_within_after_commit_runs_in_place
    a_load_without_the_cache_runs_in_place
    a_load_that_calls_its_own_function_ends
    two_loads_that_call_each_other_end
    a_load_that_ends_with_its_runtime_leaves_nothing_behind
    a_caller_goes_on_with_a_load_that_ended_with_another_runtime
}

/// Rows whose loads end when the test says so. A copy is counted.
struct Rows(Arc<State>);

struct State {
    cache: Cache,
    copies: AtomicU64,
    loads: AtomicU64,
    /// How many loads have ended.
    ended: AtomicU64,
    started: Gate,
    may_end: Gate,
    /// The task of the last load.
    task: Mutex<Option<Id>>,
}

impl Clone for Rows {
    fn clone(&self) -> Self {
        self.0.copies.fetch_add(1, SeqCst);
        Self(self.0.clone())
    }
}

impl Rows {
    fn new(cache: Cache) -> Self {
        Self(Arc::new(State {
            cache,
            copies: AtomicU64::new(0),
            loads: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            started: Gate::new(),
            may_end: Gate::new(),
            task: Mutex::default(),
        }))
    }

    /// The row 0 cannot be read.
    #[cached(key = "row:<id>:<name>", ttl = 60, cache = self.0.cache, condition = id != 9, detach)]
    async fn read(&self, id: u64, name: &str) -> u64 {
        self.0.loads.fetch_add(1, SeqCst);
        *self.0.task.lock().unwrap() = tokio::task::try_id();
        self.0.started.open();
        self.0.may_end.pass().await;
        assert_ne!(id, 0, "a row that cannot be read");
        self.0.ended.fetch_add(1, SeqCst);
        id + name.len() as u64
    }

    /// A caller in a task of its own. It reads the row with a name of two letters.
    fn reader(&self, id: u64) -> JoinHandle<u64> {
        let rows = Self(self.0.clone());
        tokio::spawn(async move { rows.read(id, "ab").await })
    }

    fn loads(&self) -> u64 {
        self.0.loads.load(SeqCst)
    }

    fn copies(&self) -> u64 {
        self.0.copies.load(SeqCst)
    }

    fn task(&self) -> Option<Id> {
        *self.0.task.lock().unwrap()
    }
}

async fn give_up(reader: JoinHandle<u64>) {
    reader.abort();
    assert!(reader.await.unwrap_err().is_cancelled());
}

async fn callers_that_all_give_up_leave_one_load_that_serves_later_callers(cache: Cache) {
    let rows = Rows::new(cache);
    for caller in 0..100 {
        let reader = rows.reader(1);
        if caller == 0 {
            rows.0.started.passed().await;
        } else {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        give_up(reader).await;
    }
    let later = rows.reader(1);
    rows.0.may_end.open();
    assert_eq!(answer(later).await, 3);
    assert_eq!(answer(rows.reader(1)).await, 3);
    assert_eq!(rows.loads(), 1);
}

async fn a_waiter_is_served_by_the_load_of_a_caller_that_gave_up(
    Recorded { cache, events }: Recorded,
) {
    let rows = Rows::new(cache);
    let first = rows.reader(1);
    rows.0.started.passed().await;
    let waiter = rows.reader(1);
    events.until("wait row:1:'ab'").await;
    give_up(first).await;
    rows.0.may_end.open();
    assert_eq!(answer(waiter).await, 3);
    let expected = [
        "fill row:1:'ab' ttl=60s",
        "load row:1:'ab'",
        "miss row:1:'ab'",
        "miss row:1:'ab'",
        "share row:1:'ab'",
        "wait row:1:'ab'",
    ];
    events.until("fill row:1:'ab' ttl=60s").await;
    assert_eq!(events.take_sorted(), expected);
}

async fn the_caller_and_its_waiters_share_the_load(Recorded { cache, events }: Recorded) {
    let rows = Rows::new(cache);
    let first = rows.reader(1);
    rows.0.started.passed().await;
    let waiters: Vec<_> = (0..20).map(|_| rows.reader(1)).collect();
    events.until_count("wait row:1:'ab'", 20).await;
    rows.0.may_end.open();
    for reader in waiters.into_iter().chain([first]) {
        assert_eq!(answer(reader).await, 3);
    }
    assert_eq!(rows.loads(), 1);
}

async fn a_panic_of_the_load_is_a_panic_of_its_caller(cache: Cache) {
    let rows = Rows::new(cache);
    let reader = rows.reader(0);
    rows.0.may_end.open();
    let panic = reader.await.unwrap_err().into_panic();
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or(panic.downcast_ref::<&str>().copied());
    assert!(message.unwrap().contains("a row that cannot be read"));
}

async fn arguments_are_copied_for_a_load_and_not_for_a_hit(cache: Cache) {
    let rows = Rows::new(cache);
    rows.0.may_end.stay_open();
    assert_eq!(rows.read(1, "ab").await, 3);
    assert_eq!(rows.copies(), 1);
    assert_eq!(rows.read(1, "ab").await, 3);
    assert_eq!((rows.copies(), rows.loads()), (1, 1));
}

/// The task of the caller, and that of its load.
async fn tasks(rows: &Rows, read: impl Future<Output = u64> + Send + 'static) -> [Option<Id>; 2] {
    let caller = tokio::spawn(read);
    let id = caller.id();
    rows.0.may_end.open();
    answer(caller).await;
    [Some(id), rows.task()]
}

async fn a_load_within_after_commit_runs_in_place(cache: Cache) {
    let rows = Rows::new(cache);
    let inside = Rows(rows.0.clone());
    let [caller, load] = tasks(&rows, async move {
        let scope = async { Ok::<_, Infallible>(inside.read(2, "ab").await) };
        let Ok(read) = after_commit(scope).await;
        read
    })
    .await;
    assert_eq!(caller, load);
    let inside = Rows(rows.0.clone());
    let [caller, load] = tasks(&rows, async move { inside.read(1, "ab").await }).await;
    assert_ne!(caller, load);
}

async fn a_load_without_the_cache_runs_in_place(cache: Cache) {
    let rows = Rows::new(cache);
    let inside = Rows(rows.0.clone());
    let [caller, load] = tasks(&rows, async move { inside.read(9, "ab").await }).await;
    assert_eq!(caller, load);
}

#[async_recursion]
#[cached(key = "again:<depth>", cache = cache, skip(cache, same), detach)]
async fn again(cache: &Cache, depth: u64, same: bool) -> u64 {
    if same {
        1 + again(cache, depth, false).await
    } else {
        depth
    }
}

async fn a_load_that_calls_its_own_function_ends(cache: Cache) {
    let again = pin!(again(&cache, 1, true));
    let ended = tokio::time::timeout(LIMIT, again).await;
    assert_eq!(ended.expect("it ends"), 2);
}

#[async_recursion]
#[cached(key = "crossed:<id>", cache = cache, skip(cache, depth), detach)]
async fn crossed(cache: &Cache, id: u64, depth: u64) -> u64 {
    if depth == 0 {
        return 0;
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    1 + crossed(cache, 1 - id, depth - 1).await
}

async fn two_loads_that_call_each_other_end(cache: Cache) {
    let both = pin!(async { tokio::join!(crossed(&cache, 0, 4), crossed(&cache, 1, 4)) });
    let ended = tokio::time::timeout(LIMIT, both).await;
    assert!(ended.is_ok(), "they end");
}

/// Does something on a thread, where a runtime may be made and dropped.
async fn on_a_thread<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(act).await.unwrap()
}

async fn a_load_that_ends_with_its_runtime_leaves_nothing_behind(builder: CacheBuilder) {
    let rows = Rows::new(builder.build().unwrap());
    let other = Rows(rows.0.clone());
    on_a_thread(move || {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let _reader = other.reader(1);
            other.0.started.passed().await;
        });
        drop(runtime);
    })
    .await;
    rows.0.may_end.stay_open();
    assert_eq!(answer(rows.reader(1)).await, 3);
    assert_eq!(answer(rows.reader(1)).await, 3);
    assert_eq!(rows.loads(), 2);
}

async fn a_caller_goes_on_with_a_load_that_ended_with_another_runtime(cache: Cache) {
    let rows = Rows::new(cache);
    let other = Rows(rows.0.clone());
    let read = on_a_thread(move || {
        let runtime = Runtime::new().unwrap();
        let rows = other.0.clone();
        let mut read = Box::pin(async move { other.read(1, "ab").await });
        runtime.block_on(async {
            loop {
                assert!(poll_once(read.as_mut()).is_pending());
                if rows.loads.load(SeqCst) > 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        drop(runtime);
        read
    })
    .await;
    rows.0.may_end.stay_open();
    let read = tokio::time::timeout(LIMIT, read).await;
    assert_eq!(read.expect("it ends"), 3);
    assert_eq!(rows.loads(), 1);
}

/// The load has ended, and its task waits for the server to store the value.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_gets_what_a_task_has_loaded_that_ended_while_it_stored() {
    let server = RedisServer::start();
    let rows = Rows::new(builder(&server.url()).build().unwrap());
    let other = Rows(rows.0.clone());
    let (read, server) = on_a_thread(move || {
        let runtime = Runtime::new().unwrap();
        let rows = other.0.clone();
        let mut read = Box::pin(async move { other.read(1, "ab").await });
        runtime.block_on(async {
            while rows.loads.load(SeqCst) == 0 {
                assert!(poll_once(read.as_mut()).is_pending());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            server.freeze();
            rows.may_end.stay_open();
            cache_tests::until(async || rows.ended.load(SeqCst) > 0).await;
        });
        drop(runtime);
        (read, server)
    })
    .await;
    let read = tokio::time::timeout(LIMIT, read).await;
    assert_eq!(read.expect("it ends"), 3);
    assert_eq!(rows.loads(), 1);
    server.thaw();
}
