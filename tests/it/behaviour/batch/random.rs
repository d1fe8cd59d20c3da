//! Random batches, single calls and updates: each call sees what the database has.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cache_runtime::{Cache, cache_invalidate, cached};
use cache_tests::Random;
use tokio::task::JoinSet;

use super::super::on_every_backend;

on_every_backend! {
    random_batches_see_what_the_database_has
    batches_beside_writers_see_nothing_from_before_an_update
}

/// On all backends together, these are more than ten thousand.
const BATCHES: usize = 2_000;
const IDS: u64 = 40;
const SEED: u64 = 0xba7c4;

/// Rows with a number each; a row whose number is 0 is not there.
struct Rows {
    cache: Cache,
    numbers: Vec<AtomicU64>,
}

impl Rows {
    fn new(cache: Cache) -> Self {
        Self {
            cache,
            numbers: (0..IDS).map(AtomicU64::new).collect(),
        }
    }

    fn now(&self, id: u64) -> Option<u64> {
        let at = usize::try_from(id).unwrap();
        let number = self.numbers[at].load(Ordering::SeqCst);
        (number > 0).then_some(number)
    }

    fn set(&self, id: u64, number: u64) {
        let at = usize::try_from(id).unwrap();
        self.numbers[at].store(number, Ordering::SeqCst);
    }

    async fn load(&self, ids: &[u64]) -> Vec<(u64, u64)> {
        let mut rows = Vec::new();
        for id in ids {
            rows.extend(self.now(*id).map(|number| (*id, number)));
            tokio::task::yield_now().await;
        }
        rows
    }

    #[cached(
        key = "row:<id>", ttl = 60, none_ttl = 60, invalidate_on = ["rows", "third:<id.third()>"],
        each(id in ids), cache = self.cache
    )]
    async fn by_map(&self, ids: &[u64]) -> Result<HashMap<u64, u64>, String> {
        Ok(self.load(ids).await.into_iter().collect())
    }

    #[cached(
        key = "row:<id>", ttl = 60, invalidate_on = ["rows", "third:<id.third()>"],
        each(id in ids), cache = self.cache
    )]
    async fn by_pairs(&self, ids: Vec<u64>) -> Vec<(u64, u64)> {
        self.load(&ids).await
    }

    #[cached(
        key = "row:<id>", ttl = 60, none_ttl = 60, invalidate_on = ["rows", "third:<id.third()>"],
        cache = self.cache
    )]
    async fn one(&self, id: u64) -> Option<u64> {
        self.load(&[id]).await.pop().map(|(_, number)| number)
    }

    #[cache_invalidate("row:<id>", cache = self.cache)]
    async fn update(&self, id: u64, number: u64) {
        self.set(id, number);
    }

    #[cache_invalidate("third:<id.third()>", cache = self.cache)]
    async fn update_by_tag(&self, id: u64, number: u64) {
        self.set(id, number);
    }

    #[cache_invalidate("row:<id>", each(id in ids), cache = self.cache)]
    async fn update_some(&self, ids: &[u64], number: u64) {
        for id in ids {
            self.set(*id, number);
        }
    }

    #[cache_invalidate("rows", cache = self.cache)]
    async fn update_all(&self, number: u64) {
        for id in 0..IDS {
            self.set(id, number);
        }
    }
}

trait Third {
    fn third(&self) -> u64;
}

impl Third for u64 {
    fn third(&self) -> u64 {
        self % 3
    }
}

fn random_ids(random: &mut Random) -> Vec<u64> {
    (0..random.below(15)).map(|_| random.below(IDS)).collect()
}

async fn random_batches_see_what_the_database_has(cache: Cache) {
    let rows = Rows::new(cache);
    let mut random = Random::new(SEED);
    for batch in 0..BATCHES {
        let ids = random_ids(&mut random);
        let expected: BTreeMap<u64, u64> = ids
            .iter()
            .filter_map(|id| Some((*id, rows.now(*id)?)))
            .collect();
        let seen: BTreeMap<u64, u64> = match random.below(3) {
            0 => rows.by_pairs(ids.clone()).await.into_iter().collect(),
            _ => rows.by_map(&ids).await.unwrap().into_iter().collect(),
        };
        assert_eq!(seen, expected, "batch {batch}: {ids:?}");
        let (id, number) = (random.below(IDS), random.below(1_000));
        assert_eq!(rows.one(id).await, rows.now(id), "batch {batch}: {id}");
        match random.below(12) {
            0..3 => rows.update(id, number).await,
            3 => rows.update(id, 0).await,
            4..6 => rows.update_by_tag(id, number).await,
            6..8 => rows.update_some(&ids, number).await,
            8 if random.below(8) == 0 => rows.update_all(number).await,
            _ => {}
        }
    }
    let stats = rows.cache.stats();
    assert!(stats.hits > stats.loads, "{stats:?}");
    assert_eq!(stats.errors, 0);
}

/// The numbers only grow. What a row had when an update of it has returned is the least that a read
/// may see which begins later.
async fn batches_beside_writers_see_nothing_from_before_an_update(cache: Cache) {
    let rows = Arc::new(Rows::new(cache));
    let returned: Arc<Vec<AtomicU64>> = Arc::new((0..IDS).map(|_| AtomicU64::new(0)).collect());
    let mut tasks = JoinSet::new();
    for writer in 0..4 {
        let (rows, returned) = (rows.clone(), returned.clone());
        tasks.spawn(async move {
            let mut random = Random::new(SEED + writer);
            for round in 1..150 {
                // Each writer has rows of its own.
                let id = random.below(IDS / 4) * 4 + writer;
                match random.below(2) {
                    0 => rows.update(id, IDS + round).await,
                    _ => rows.update_by_tag(id, IDS + round).await,
                }
                let at = usize::try_from(id).unwrap();
                returned[at].fetch_max(IDS + round, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        });
    }
    for reader in 0..8 {
        let (rows, returned) = (rows.clone(), returned.clone());
        tasks.spawn(async move {
            let mut random = Random::new(SEED - reader);
            for _ in 0..150 {
                let ids = random_ids(&mut random);
                let least: Vec<u64> = ids
                    .iter()
                    .map(|id| returned[usize::try_from(*id).unwrap()].load(Ordering::SeqCst))
                    .collect();
                let seen = rows.by_map(&ids).await.unwrap();
                for (id, least) in ids.iter().zip(least) {
                    let seen = seen.get(id).copied().unwrap_or_default();
                    assert!(seen >= least, "row {id}: {seen} after {least}");
                }
            }
        });
    }
    tasks.join_all().await;
    for id in 0..IDS {
        assert_eq!(rows.one(id).await, rows.now(id));
    }
}
