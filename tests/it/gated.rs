//! A row whose loads end when the test says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cache_runtime::{Cache, cache_invalidate, cached};
use cache_tests::LIMIT;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// A gate that one task of a test opens, and another passes once for each time.
#[derive(Debug)]
pub(crate) struct Gate(Semaphore);

impl Gate {
    pub(crate) fn new() -> Self {
        Self(Semaphore::new(0))
    }

    /// Lets one wait end.
    pub(crate) fn open(&self) {
        self.0.add_permits(1);
    }

    /// From now on, waits end at once.
    pub(crate) fn stay_open(&self) {
        self.0.add_permits(1_000_000);
    }

    /// Waits until the gate was opened once more.
    pub(crate) async fn pass(&self) {
        self.0.acquire().await.expect("it is not closed").forget();
    }

    /// [`pass`](Self::pass), in a test: fails where the gate is not opened.
    pub(crate) async fn passed(&self) {
        let passed = tokio::time::timeout(LIMIT, self.pass()).await;
        passed.expect("the gate is opened");
    }
}

#[derive(Debug)]
pub(crate) struct Row {
    cache: Cache,
    value: AtomicU64,
    loads: AtomicU64,
    load_started: Gate,
    load_may_end: Gate,
}

impl Row {
    /// A row of value 1.
    pub(crate) fn new(cache: &Cache) -> Arc<Self> {
        Arc::new(Self {
            cache: cache.clone(),
            value: AtomicU64::new(1),
            loads: AtomicU64::new(0),
            load_started: Gate::new(),
            load_may_end: Gate::new(),
        })
    }

    /// A load of the value 0 panics.
    #[cached(key = "row", ttl = 60, invalidate_on = "rows", cache = self.cache)]
    pub(crate) async fn read(&self) -> u64 {
        let value = self.value.load(Ordering::SeqCst);
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.load_started.open();
        self.load_may_end.pass().await;
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

    /// Changes the value, and invalidates nothing.
    pub(crate) fn set_silently(&self, value: u64) {
        self.value.store(value, Ordering::SeqCst);
    }

    pub(crate) fn reader(self: &Arc<Self>) -> JoinHandle<u64> {
        let row = self.clone();
        tokio::spawn(async move { row.read().await })
    }

    /// Waits until one more load has read the row.
    pub(crate) async fn load_started(&self) {
        self.load_started.passed().await;
    }

    /// Lets one load end.
    pub(crate) fn end_load(&self) {
        self.load_may_end.open();
    }

    /// From now on, loads end at once.
    pub(crate) fn end_loads(&self) {
        self.load_may_end.stay_open();
    }

    pub(crate) fn loads(&self) -> u64 {
        self.loads.load(Ordering::SeqCst)
    }
}

/// What a reader got. The test fails if that takes long.
pub(crate) async fn answer<T>(reader: JoinHandle<T>) -> T {
    let answer = tokio::time::timeout(LIMIT, reader).await;
    answer.expect("an answer").expect("no panic")
}
