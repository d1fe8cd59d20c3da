//! Runs of random work, and what each must have found.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use cache_runtime::Cache;
use cache_tests::Random;
use tokio::task::JoinSet;

use super::mistakes::Mistake;
use super::reads::Read;
use super::work::{TENANTS, Work, pick};

const TASKS: u64 = 4;
const ROUNDS: u64 = 4;
/// A mistake is noticed after far fewer.
const MOST_ATTEMPTS: u64 = 1_000;
const WRITES_OF_ATTEMPT: u64 = 3;

/// Work on a database of its own.
pub struct Run(Arc<Work>);

impl Run {
    pub async fn new(caches: Vec<Cache>) -> Self {
        Self(Arc::new(Work::new(caches).await))
    }

    /// With one tenant only, so that each comparison may show the mistake.
    pub fn with(mut self, mistake: Mistake) -> Self {
        let work = Arc::get_mut(&mut self.0).expect("no task has begun");
        work.mistake = Some(mistake);
        work.tenants = &TENANTS[..1];
        self
    }

    /// Rounds of work by turns without callers that give up, and with them.
    pub async fn work(&self) {
        let work = &self.0;
        for tenant in TENANTS {
            work.tracker(tenant, &work.caches[0])
                .projects
                .warm()
                .await
                .unwrap();
        }
        for round in 0..ROUNDS {
            self.round(round, round % 2 == 1).await;
            work.settle().await;
            work.compare_all(|_| true).await;
        }
    }

    /// Changes by one caller, and then comparisons of what the mistake should show, until it does.
    pub async fn work_until_noticed(&self) {
        let work = &self.0;
        let mistake = work.mistake.as_ref().unwrap();
        let mut random = Random::new(seed());
        for _ in 0..MOST_ATTEMPTS {
            self.change(WRITES_OF_ATTEMPT, &mut random).await;
            work.compare_all(|read| mistake.shows(read)).await;
            if work.has_noticed() {
                // It should show nothing else.
                work.compare_all(|read| !mistake.shows(read)).await;
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
        let work = &self.0;
        let reads = Read::all(&work.pool).await;
        let callers_give_up = work.mistake == Some(Mistake::NamesOfResult);
        for _ in 0..writes {
            let tenant = *pick(random, work.tenants).unwrap();
            work.write(tenant, &reads, random, callers_give_up).await;
        }
        // Without a scope, `settle` would mend what the mistake has done.
        if work.mistake != Some(Mistake::WithoutScope) {
            work.settle().await;
        }
    }

    async fn round(&self, round: u64, callers_give_up: bool) {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let work = self.0.clone();
            let random = Random::new((seed() * ROUNDS + round) * TASKS + task);
            tasks.spawn(async move { work.steps(random, callers_give_up).await });
        }
        tasks.join_all().await;
    }

    pub fn assert_no_difference(&self) {
        let Work {
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

fn seed() -> u64 {
    std::env::var("TRACKER_SEED").map_or(1, |seed| seed.parse().expect("a number"))
}
