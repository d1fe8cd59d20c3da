//! A row whose loads end when the test says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache_runtime::{Cache, cache_invalidate, cached};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Longer than anything here takes; only reached when a test fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Row {
    cache: Cache,
    value: AtomicU64,
    loads: AtomicU64,
    started: Semaphore,
    may_end: Semaphore,
}

impl Row {
    /// A row of value 1.
    pub(crate) fn new(cache: &Cache) -> Arc<Self> {
        Arc::new(Self {
            cache: cache.clone(),
            value: AtomicU64::new(1),
            loads: AtomicU64::new(0),
            started: Semaphore::new(0),
            may_end: Semaphore::new(0),
        })
    }

    /// A value of 0 is a row that makes its reader panic.
    #[cached(key = "row", ttl = 60, invalidate_on = "rows", cache = self.cache)]
    pub(crate) async fn read(&self) -> u64 {
        let value = self.value.load(Ordering::SeqCst);
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.started.add_permits(1);
        self.may_end.acquire().await.unwrap().forget();
        assert_ne!(value, 0, "a row that cannot be read");
        value
    }

    #[cache_invalidate("row", cache = self.cache)]
    pub(crate) async fn write(&self, value: u64) {
        self.value.store(value, Ordering::SeqCst);
    }

    #[cache_invalidate("rows", cache = self.cache)]
    pub(crate) async fn write_by_tag(&self, value: u64) {
        self.value.store(value, Ordering::SeqCst);
    }

    /// Changes the value where the cache can't know of it.
    pub(crate) fn set_silently(&self, value: u64) {
        self.value.store(value, Ordering::SeqCst);
    }

    pub(crate) fn reader(self: &Arc<Self>) -> JoinHandle<u64> {
        let row = self.clone();
        tokio::spawn(async move { row.read().await })
    }

    /// Waits until one more load has read the row.
    pub(crate) async fn load_started(&self) {
        let started = tokio::time::timeout(LIMIT, self.started.acquire()).await;
        started.expect("a load begins").unwrap().forget();
    }

    /// Lets one load end.
    pub(crate) fn end_load(&self) {
        self.may_end.add_permits(1);
    }

    /// From now on loads end at once.
    pub(crate) fn end_loads(&self) {
        self.may_end.add_permits(1_000_000);
    }

    pub(crate) fn loads(&self) -> u64 {
        self.loads.load(Ordering::SeqCst)
    }
}

/// What a reader got, which never takes long.
pub(crate) async fn answer(reader: JoinHandle<u64>) -> u64 {
    let answer = tokio::time::timeout(LIMIT, reader).await;
    answer.expect("an answer").expect("no panic")
}
