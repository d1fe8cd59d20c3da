//! Many callers of one cold key at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cache_runtime::{Cache, cached};
use serde::{Deserialize, Serialize};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// A database that is slow, and counts its loads.
#[derive(Debug)]
pub struct SlowDatabase {
    cache: Cache,
    load: Duration,
    loads: AtomicU64,
}

/// The cost of a [`stampede`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Stampede {
    /// How often the database was asked.
    pub loads: u64,
    /// The time from the first call to the last answer.
    pub wall_ms: f64,
}

impl SlowDatabase {
    /// A database of which every load takes `load`.
    pub fn new(cache: Cache, load: Duration) -> Self {
        Self {
            cache,
            load,
            loads: AtomicU64::new(0),
        }
    }

    #[cached(key = "square:<n>", ttl = 60, skip(self.load), cache = self.cache)]
    async fn square(&self, n: u64) -> u64 {
        self.loads.fetch_add(1, Ordering::Relaxed);
        // A slow load reads row by row. One that is not woken for long is taken for one that hangs.
        let end = tokio::time::Instant::now() + self.load;
        while tokio::time::Instant::now() < end {
            let next = tokio::time::Instant::now() + Duration::from_millis(100);
            tokio::time::sleep_until(next.min(end)).await;
        }
        n * n
    }
}

/// Makes `callers` tasks ask for the square of `n` at the same moment.
///
/// # Panics
///
/// If one of them gets another answer.
pub async fn stampede(database: &Arc<SlowDatabase>, n: u64, callers: usize) -> Stampede {
    let start_line = Arc::new(Barrier::new(callers + 1));
    let mut calls = JoinSet::new();
    for _ in 0..callers {
        let (database, start_line) = (database.clone(), start_line.clone());
        calls.spawn(async move {
            start_line.wait().await;
            database.square(n).await
        });
    }
    start_line.wait().await;
    let start = Instant::now();
    let answers = calls.join_all().await;
    let wall = start.elapsed();
    assert!(answers.iter().all(|answer| *answer == n * n));
    Stampede {
        loads: database.loads.load(Ordering::Relaxed),
        wall_ms: wall.as_secs_f64() * 1000.0,
    }
}
