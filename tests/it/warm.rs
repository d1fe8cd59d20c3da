//! Loads before they are asked for.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cache_runtime::{Cache, Warmed, cached, warm};
use cache_tests::{RedisServer, patient, poll_once};
use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;

/// Loads, and how many of them run at once.
struct Users {
    cache: Cache,
    running: AtomicUsize,
    most: AtomicUsize,
    loads: AtomicUsize,
}

/// Counts a load for as long as it runs.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Users {
    fn new(cache: Cache) -> Self {
        let [running, most, loads] = [0; 3].map(AtomicUsize::new);
        Self {
            cache,
            running,
            most,
            loads,
        }
    }

    fn begin(&self) -> Running<'_> {
        let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.loads.fetch_add(1, Ordering::SeqCst);
        Running(&self.running)
    }

    #[cached(key = "user:<id>", ttl = 600, cache = self.cache, skip(self))]
    async fn find(&self, id: u64) -> Result<u64, u64> {
        let _running = self.begin();
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        if id.is_multiple_of(10) {
            Err(id)
        } else {
            Ok(id)
        }
    }
}

fn counts(warmed: Warmed) -> (u64, u64) {
    (warmed.done, warmed.failed)
}

#[tokio::test]
async fn all_are_loaded_few_at_once_and_failures_are_counted() {
    let server = RedisServer::start();
    for url in ["memory:".to_owned(), server.url()] {
        let users = Users::new(patient(&url).build().unwrap());
        let mut told = Vec::new();
        let loads = stream::iter((1..=100).map(|id| users.find(id)));
        let warmed = warm(loads, 8).progress(|now| told.push(counts(now))).await;
        assert_eq!(counts(warmed), (100, 10));
        assert_eq!(told.len(), 100);
        assert!(told.is_sorted());
        assert_eq!(told.last(), Some(&(100, 10)));
        assert!((1..=8).contains(&users.most.load(Ordering::SeqCst)));
        let before = users.loads.load(Ordering::SeqCst);
        assert_eq!(users.find(7).await, Ok(7));
        assert_eq!(users.loads.load(Ordering::SeqCst), before);
    }
}

#[tokio::test]
async fn an_error_of_the_stream_is_a_load_that_fails() {
    let users = Users::new(Cache::builder().url("memory:").build().unwrap());
    let users = &users;
    let rows = stream::iter([Ok(1), Err(99_u64), Ok(2)]);
    let loads = rows.map(|row| async move { users.find(row?).await });
    assert_eq!(counts(warm(loads, 2).await), (3, 1));
    let none = stream::empty::<std::future::Ready<Result<(), Infallible>>>();
    assert_eq!(counts(warm(none, 0).await), (0, 0));
}

#[tokio::test]
async fn what_runs_is_dropped_with_it() {
    let hold = Arc::new(Notify::new());
    let running = AtomicUsize::new(0);
    let load = |_| {
        let (hold, running) = (&hold, &running);
        async move {
            running.fetch_add(1, Ordering::SeqCst);
            let _running = Running(running);
            hold.notified().await;
            Ok::<_, Infallible>(())
        }
    };
    {
        let mut warming = pin!(warm(stream::iter((0..10).map(load)), 3));
        assert!(poll_once(warming.as_mut()).is_pending());
        assert_eq!(running.load(Ordering::SeqCst), 3);
    }
    assert_eq!(running.load(Ordering::SeqCst), 0);
}

/// On another executor than Tokio's, without a server.
#[test]
fn it_needs_no_runtime() {
    let users = Users::new(Cache::builder().url("memory:").build().unwrap());
    let loads = (1..=3).map(|id| async move { Ok::<_, Infallible>(id) });
    let mut warming = pin!(warm(stream::iter(loads), 2));
    let warmed = loop {
        if let std::task::Poll::Ready(warmed) = poll_once(warming.as_mut()) {
            break warmed;
        }
    };
    assert_eq!(counts(warmed), (3, 0));
    drop(users);
}
