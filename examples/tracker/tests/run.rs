//! Several tasks that read and change, and what they find.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use cache_runtime::Cache;
use cache_tests::{LIMIT, Random, until};
use sqlx::SqlitePool;
use tempfile::TempDir;
use tokio::sync::RwLock;
use tokio::task::JoinSet;

use super::changes::Changes;
use super::mistakes::{Mistake, Noted};
use super::reads::Read;
use crate::database;
use crate::entities::TenantId;
use crate::error::Error;
use crate::tracker::Tracker;

const TENANTS: [TenantId; 3] = [TenantId(1), TenantId(2), TenantId(3)];
const TASKS: u64 = 4;
const ROUNDS: u64 = 4;
const STEPS: u64 = 60;
/// How many reads a comparison amid the work has. At the end of a round, all are compared.
const SOME_READS: u64 = 20;
/// A mistake is noticed after far fewer.
const MOST_ATTEMPTS: u64 = 1_000;
const WRITES_OF_ATTEMPT: u64 = 3;

/// A database, the caches in front of it, and what the tasks did.
#[derive(Clone)]
pub struct Run(Arc<Shared>);

struct Shared {
    pool: SqlitePool,
    _directory: TempDir,
    caches: Vec<Cache>,
    /// The same functions with this cache ask the database each time: what they answer is right.
    off: Cache,
    mistake: Option<Mistake>,
    tenants: &'static [TenantId],
    /// Writers share it. A comparison has it alone, so that no write is under way.
    turn: RwLock<()>,
    differences: Mutex<Vec<String>>,
    kinds_of_names: Mutex<BTreeSet<String>>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    commits: AtomicU64,
    rollbacks: AtomicU64,
    violations: AtomicU64,
    dropped_callers: AtomicU64,
}

impl Run {
    pub async fn new(caches: Vec<Cache>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tracker.sqlite");
        Self(Arc::new(Shared {
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
        }))
    }

    /// With one tenant only, so that each comparison may show the mistake.
    pub fn with(mut self, mistake: Mistake) -> Self {
        let shared = Arc::get_mut(&mut self.0).expect("no task has begun");
        shared.mistake = Some(mistake);
        shared.tenants = &TENANTS[..1];
        self
    }

    /// Rounds of work by turns without callers that give up, and with them.
    pub async fn work(&self) {
        let shared = &self.0;
        for tenant in TENANTS {
            shared
                .tracker(tenant, &shared.caches[0])
                .projects
                .warm()
                .await
                .unwrap();
        }
        for round in 0..ROUNDS {
            self.round(round, round % 2 == 1).await;
            shared.settle().await;
            shared.compare_all(|_| true).await;
        }
    }

    /// Changes by one caller, and then comparisons of what the mistake should show, until it does.
    pub async fn work_until_noticed(&self) {
        let shared = &self.0;
        let mistake = shared.mistake.as_ref().unwrap();
        let mut random = Random::new(seed());
        for _ in 0..MOST_ATTEMPTS {
            self.change(WRITES_OF_ATTEMPT, &mut random).await;
            shared.compare_all(|read| mistake.shows(read)).await;
            if shared.has_noticed() {
                // It should show nothing else.
                shared.compare_all(|read| !mistake.shows(read)).await;
                return;
            }
        }
    }

    /// Changes by one caller, with all reads cached before them.
    pub async fn change_and_compare(&self, writes: u64) {
        self.0.compare_all(|_| true).await;
        self.change(writes, &mut Random::new(seed())).await;
        self.0.compare_all(|_| true).await;
    }

    async fn change(&self, writes: u64, random: &mut Random) {
        let shared = &self.0;
        let reads = Read::all(&shared.pool).await;
        let callers_give_up = shared.mistake == Some(Mistake::NamesOfResult);
        for _ in 0..writes {
            let tenant = *pick(random, shared.tenants).unwrap();
            shared.write(tenant, &reads, random, callers_give_up).await;
        }
        shared.settle().await;
    }

    async fn round(&self, round: u64, callers_give_up: bool) {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let shared = self.0.clone();
            let random = Random::new((seed() * ROUNDS + round) * TASKS + task);
            tasks.spawn(async move { shared.steps(random, callers_give_up).await });
        }
        tasks.join_all().await;
    }

    pub fn assert_no_difference(&self) {
        let Shared {
            counts,
            caches,
            mistake,
            ..
        } = &*self.0;
        let differences = self.0.differences.lock().unwrap();
        assert!(differences.is_empty(), "{differences:#?}");
        if mistake.is_some() {
            return;
        }
        for count in [
            &counts.commits,
            &counts.rollbacks,
            &counts.violations,
            &counts.dropped_callers,
        ] {
            assert!(count.load(Relaxed) > 0, "{counts:?}");
        }
        for cache in caches {
            let (stats, health) = (cache.stats(), cache.health());
            assert!(stats.hits > 0 && stats.loads > 0, "{stats:?}");
            assert!(
                health.status.is_working() && health.waiting == 0,
                "{health:?}"
            );
        }
    }

    pub fn assert_noticed(&self) {
        let differences = self.0.differences.lock().unwrap();
        let mistake = self.0.mistake.as_ref().unwrap();
        assert!(!differences.is_empty(), "{mistake:?} is not noticed");
        let others: Vec<_> = differences.iter().filter(|it| !mistake.shows(it)).collect();
        assert!(others.is_empty(), "{mistake:?}: {others:#?}");
    }

    pub fn kinds_of_names(&self) -> BTreeSet<String> {
        self.0.kinds_of_names.lock().unwrap().clone()
    }
}

impl Shared {
    async fn steps(&self, mut random: Random, callers_give_up: bool) {
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

    fn tracker(&self, tenant: TenantId, cache: &Cache) -> Tracker {
        Tracker::new(tenant, &self.pool, cache)
    }

    fn has_noticed(&self) -> bool {
        !self.differences.lock().unwrap().is_empty()
    }

    async fn compare_all(&self, which: impl Fn(&str) -> bool) {
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

    async fn write(
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
        let change = tracker.transaction(async |tx| {
            changes.make(tx).await?;
            if changes.random.below(3) == 0 {
                changes.make(tx).await?;
            }
            // The cache does not get what is not committed.
            let read = Read::random(reads, changes.random);
            read.answer(tracker).await?;
            match changes.random.below(4) {
                0 => Err(Error::RolledBack),
                _ => Ok(()),
            }
        });
        give_up(polls, change).await.transpose()
    }

    /// Waits until nothing is under way in the database, and repeats what callers that gave up have
    /// left to be invalidated once more.
    async fn settle(&self) {
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

fn seed() -> u64 {
    std::env::var("TRACKER_SEED").map_or(1, |seed| seed.parse().expect("a number"))
}

pub fn pick<'a, T>(random: &mut Random, from: &'a [T]) -> Option<&'a T> {
    let at = random.below(from.len().max(1) as u64);
    from.get(usize::try_from(at).unwrap())
}
