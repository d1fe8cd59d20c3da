//! What the tasks do: reads, changes and comparisons.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;

use cache_runtime::Cache;
use cache_tests::{LIMIT, Random, until};
use sqlx::{Sqlite, SqlitePool, Transaction};
use tempfile::TempDir;
use tokio::sync::RwLock;

use super::changes::Changes;
use super::mistakes::{Mistake, Noted};
use super::reads::Read;
use crate::database;
use crate::entities::TenantId;
use crate::error::Error;
use crate::tracker::Tracker;

pub const TENANTS: [TenantId; 3] = [TenantId(1), TenantId(2), TenantId(3)];
const STEPS: u64 = 60;
/// How many reads a comparison amid the work has. At the end of a round, all are compared.
const SOME_READS: u64 = 20;

/// A database, the caches in front of it, and what the tasks found.
pub struct Work {
    pub pool: SqlitePool,
    _directory: TempDir,
    pub caches: Vec<Cache>,
    /// With this cache, the same functions ask the database each time. So what they answer is right.
    off: Cache,
    pub mistake: Option<Mistake>,
    pub tenants: &'static [TenantId],
    /// Writers share it. A comparison has it alone, so that no write is under way.
    turn: RwLock<()>,
    pub differences: Mutex<Vec<String>>,
    pub kinds_of_names: Mutex<BTreeSet<String>>,
    pub counts: Counts,
}

#[derive(Debug, Default)]
pub struct Counts {
    pub commits: AtomicU64,
    pub rollbacks: AtomicU64,
    pub violations: AtomicU64,
    pub dropped_callers: AtomicU64,
}

impl Work {
    pub async fn new(caches: Vec<Cache>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tracker.sqlite");
        Self {
            pool: database::open(&file).await.unwrap(),
            _directory: directory,
            caches,
            off: Cache::builder().url("off:").build().unwrap(),
            mistake: None,
            tenants: &TENANTS,
            turn: RwLock::new(()),
            differences: Mutex::default(),
            kinds_of_names: Mutex::default(),
            counts: Counts::default(),
        }
    }

    pub async fn steps(&self, mut random: Random, callers_give_up: bool) {
        let reads = Read::all(&self.pool).await;
        for _ in 0..STEPS {
            let tenant = *pick(&mut random, self.tenants).unwrap();
            match random.below(8) {
                // What was dropped may still be under way: only the end of the round compares then.
                0 if !callers_give_up => {
                    let _alone = self.turn.write().await;
                    let some = (0..SOME_READS).map(|_| Read::random(&reads, &mut random));
                    let some: Vec<_> = some.collect();
                    self.compare(tenant, &some).await;
                }
                0..=3 => {
                    // Concurrent with writes: a later comparison judges what this stores.
                    let read = Read::random(&reads, &mut random);
                    let cache = pick(&mut random, &self.caches).unwrap();
                    read.answer(&self.tracker(tenant, cache)).await.unwrap();
                }
                _ => {
                    let _shared = self.turn.read().await;
                    self.write(tenant, &reads, &mut random, callers_give_up)
                        .await;
                }
            }
        }
    }

    pub fn tracker(&self, tenant: TenantId, cache: &Cache) -> Tracker {
        Tracker::new(tenant, &self.pool, cache)
    }

    pub fn has_noticed(&self) -> bool {
        !self.differences.lock().unwrap().is_empty()
    }

    pub async fn compare_all(&self, which: impl Fn(&str) -> bool) {
        let mut reads = Read::all(&self.pool).await;
        reads.retain(|read| which(&format!("{read:?}")));
        for tenant in self.tenants {
            self.compare(*tenant, &reads).await;
        }
    }

    /// Compares each cache with the database, while nothing writes.
    async fn compare(&self, tenant: TenantId, reads: &[Read]) {
        let off = self.tracker(tenant, &self.off);
        for read in reads {
            let expected = read.answer(&off).await.unwrap();
            for cache in &self.caches {
                let found = read.answer(&self.tracker(tenant, cache)).await.unwrap();
                if found != expected {
                    let difference = format!("{read:?} of {tenant:?}: {found}, not {expected}");
                    self.differences.lock().unwrap().push(difference);
                }
            }
        }
    }

    pub async fn write(
        &self,
        tenant: TenantId,
        reads: &[Read],
        random: &mut Random,
        callers_give_up: bool,
    ) {
        let cache = pick(random, &self.caches).unwrap();
        let gives_up = callers_give_up && random.below(2) == 0;
        let outcome = if let Some(Mistake::LeavesOut(kind)) = &self.mistake {
            let noted = Noted::new();
            let tracker = self.tracker(tenant, &noted.cache);
            let outcome = self.change(&tracker, tenant, reads, random, gives_up).await;
            noted.pass_on(cache, kind, &self.kinds_of_names).await;
            outcome
        } else {
            let tracker = self.tracker(tenant, cache);
            self.change(&tracker, tenant, reads, random, gives_up).await
        };
        let counts = &self.counts;
        let count = match outcome {
            Ok(None) => &counts.dropped_callers,
            Ok(Some(())) => &counts.commits,
            Err(Error::RolledBack) => &counts.rollbacks,
            // A row that another task has deleted, or that was deleted in the same transaction.
            Err(Error::NotFound) => return,
            Err(Error::Database(sqlx::Error::Database(error)))
                if error.is_unique_violation() || error.is_foreign_key_violation() =>
            {
                &counts.violations
            }
            Err(error) => panic!("{error}"),
        };
        count.fetch_add(1, Relaxed);
    }

    /// A change, or `None` if its caller gave up.
    async fn change(
        &self,
        tracker: &Tracker,
        tenant: TenantId,
        reads: &[Read],
        random: &mut Random,
        gives_up: bool,
    ) -> Result<Option<()>, Error> {
        let off = self.tracker(tenant, &self.off);
        let mut changes = Changes {
            tracker,
            off: &off,
            mistake: self.mistake.as_ref(),
            random,
        };
        if changes.random.below(5) == 0 {
            let comment = changes.comment().await?;
            let polls = gives_up.then(|| changes.random.below(4));
            let change = give_up(polls, changes.make_by_itself(&comment)).await;
            return change.transpose();
        }
        let polls = gives_up.then(|| changes.random.below(40));
        let mut change = async |tx: &mut Transaction<'_, Sqlite>| {
            changes.make(tx).await?;
            if changes.random.below(3) == 0 {
                changes.make(tx).await?;
            }
            // The cache does not get what is read before the commit.
            let some = [Read::random(reads, changes.random)];
            let is_without_scope = self.mistake == Some(Mistake::WithoutScope);
            let within = if is_without_scope { reads } else { &some };
            for read in within {
                read.answer(tracker).await?;
            }
            match changes.random.below(4) {
                0 => Err(Error::RolledBack),
                _ => Ok(()),
            }
        };
        if self.mistake == Some(Mistake::WithoutScope) {
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            change(&mut tx).await?;
            tx.commit().await?;
            return Ok(Some(()));
        }
        let change = tracker.transaction(change);
        give_up(polls, change).await.transpose()
    }

    /// Waits until nothing is under way in the database, and repeats what callers that gave up have
    /// left to be invalidated once more.
    pub async fn settle(&self) {
        until(async || self.pool.num_idle() == self.pool.size() as usize).await;
        for cache in &self.caches {
            cache.flush(LIMIT).await.unwrap();
        }
    }
}

/// Drops the future after so many polls. `None` if it was dropped.
async fn give_up<F: Future>(polls: Option<u64>, future: F) -> Option<F::Output> {
    let mut left = polls.unwrap_or(u64::MAX);
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

pub fn pick<'a, T>(random: &mut Random, from: &'a [T]) -> Option<&'a T> {
    let at = random.below(from.len().max(1) as u64);
    from.get(usize::try_from(at).unwrap())
}
