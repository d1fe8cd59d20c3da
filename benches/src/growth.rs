//! Costs that may grow with the number of entries or tags.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use cache_runtime::{Cache, cached};

use crate::allocations;
use crate::floor::ShardedMap;
use crate::harness::{
    Contestant, Effort,
    Role::{Floor, Ours, Peer, Shown},
    Row, Unit, compare, one_after_the_other, runtime,
};
use crate::value::{Ids, User};

/// One value for all entries, so that only the memory of the caches is counted.
static USER: LazyLock<Arc<User>> = LazyLock::new(|| Arc::new(User::load(1)));

fn cache() -> Cache {
    let cache = Cache::builder().url("memory:").max_entries(20_000_000);
    cache.build().expect("a cache")
}

#[cached(key = "user:<id>", ttl = "1h", cache = cache, skip(cache))]
async fn find(cache: &Cache, id: u64) -> Result<Arc<User>, Infallible> {
    Ok(USER.clone())
}

/// The heap that a million entries take, without their keys and values of eight bytes each.
pub(crate) fn memory() -> Vec<Row> {
    const ENTRIES: u64 = 1_000_000;
    eprintln!("memory …");
    let row = |name: &str, role, bytes: i64| Row {
        group: "memory of an entry, over key and value, at 1M".to_owned(),
        name: name.to_owned(),
        role,
        value: bytes as f64 / ENTRIES as f64 - 16.0,
        unit: Unit::Bytes,
        allocations: None,
        note: String::new(),
    };
    let runtime = runtime(1);
    LazyLock::force(&USER);
    let mut rows = Vec::new();
    let (kept, _, bytes) = allocations::count(|| {
        let cache = Cache::builder()
            .url("memory:")
            .max_entries(ENTRIES as usize);
        let cache = cache.build().expect("a cache");
        runtime.block_on(async {
            for id in 0..ENTRIES {
                let _ = find(&cache, id).await;
            }
        });
        cache
    });
    let mut ours = row("ours; the key's text counts as overhead", Ours, bytes);
    ours.note = format!("{} entries", kept.stats().entries);
    rows.push(ours);
    drop(kept);

    let (kept, _, bytes) = allocations::count(|| {
        let cache = cached::ShardedTtlCache::<u64, Arc<User>>::builder()
            .ttl(Duration::from_hours(1))
            .build()
            .expect("a cache");
        for id in 0..ENTRIES {
            cache.set(id, USER.clone());
        }
        cache
    });
    rows.push(row("`cached`, sharded, ttl", Peer, bytes));
    drop(kept);

    let (kept, _, bytes) = allocations::count(|| {
        let cache = cached::ShardedLruTtlCache::<u64, Arc<User>>::builder()
            .max_size(2 * ENTRIES as usize)
            .ttl(Duration::from_hours(1))
            .build()
            .expect("a cache");
        for id in 0..ENTRIES {
            cache.set(id, USER.clone());
        }
        cache
    });
    rows.push(row("`cached`, sharded, ttl and bound", Peer, bytes));
    drop(kept);

    let (kept, _, bytes) = allocations::count(|| {
        let cache = quick_cache::sync::Cache::<u64, Arc<User>>::new(ENTRIES as usize);
        for id in 0..ENTRIES {
            cache.insert(id, USER.clone());
        }
        cache
    });
    rows.push(row("`quick_cache`: no ttl", Shown, bytes));
    drop(kept);

    let (kept, _, bytes) = allocations::count(|| {
        let cache = moka::future::Cache::<u64, Arc<User>>::builder()
            .max_capacity(ENTRIES)
            .time_to_live(Duration::from_hours(1))
            .build();
        runtime.block_on(async {
            for id in 0..ENTRIES {
                cache.insert(id, USER.clone()).await;
            }
            cache.run_pending_tasks().await;
        });
        cache
    });
    rows.push(row("`moka`, ttl", Peer, bytes));
    drop(kept);

    let (kept, _, bytes) = allocations::count(|| ShardedMap::fill(ENTRIES, |_| USER.clone()));
    rows.push(row("64-shard map", Floor, bytes));
    drop(kept);
    rows
}

/// A hit among more and more entries.
pub(crate) fn entries(effort: Effort) -> Vec<Row> {
    let mut counts = vec![1_000, 100_000];
    if effort.huge {
        counts.push(10_000_000);
    }
    let mut rows = Vec::new();
    for count in counts {
        let cache = cache();
        let filling = runtime(1);
        filling.block_on(async {
            for id in 0..count {
                let _ = find(&cache, id).await;
            }
        });
        let floor = ShardedMap::fill(count, |_| USER.clone());
        let ids = Ids::uniform(count);
        let contestants = vec![
            Contestant::new(
                "ours",
                Ours,
                one_after_the_other(&ids, async |id| find(&cache, id).await),
            ),
            Contestant::new(
                "64-shard map",
                Floor,
                one_after_the_other(&ids, async |id| floor.get(id).await),
            ),
        ];
        rows.extend(compare(
            &format!("local hit among {count} entries"),
            effort,
            contestants,
        ));
    }
    rows
}

/// Invalidating a tag that more and more entries carry.
pub(crate) fn tagged_entries(effort: Effort) -> Vec<Row> {
    #[cached(key = "tagged:<id>", ttl = "1h", invalidate_on = "users", cache = cache, skip(cache))]
    async fn tagged(cache: &Cache, id: u64) -> Result<Arc<User>, Infallible> {
        Ok(USER.clone())
    }

    let caches: Vec<(u64, Cache)> = [1, 1_000, 1_000_000].map(|count| (count, cache())).into();
    let contestants = caches.iter().map(|(count, cache)| {
        let runtime = runtime(1);
        runtime.block_on(async {
            for id in 0..*count {
                let _ = tagged(cache, id).await;
            }
        });
        let run = move |calls| {
            runtime.block_on(async {
                let mut took = Duration::ZERO;
                for _ in 0..calls {
                    // One entry carries the tag again, so the tag is in use.
                    let _ = tagged(cache, 0).await;
                    let start = Instant::now();
                    black_box(cache.invalidate(["users"]).await).expect("invalidated");
                    took += start.elapsed();
                }
                took
            })
        };
        Contestant::new(format!("ours, {count} entries"), Shown, run)
    });
    let contestants = contestants.collect();
    compare("local invalidation of a tag", effort, contestants)
}

/// A hit on an entry with more and more tags.
pub(crate) fn tags(effort: Effort) -> Vec<Row> {
    static CACHE: LazyLock<Cache> = LazyLock::new(cache);

    #[cached(key = "none:<id>", ttl = "1h", cache = CACHE)]
    async fn none(id: u64) -> Result<Arc<User>, Infallible> {
        Ok(USER.clone())
    }
    #[cached(key = "one:<id>", ttl = "1h", invalidate_on = "users", cache = CACHE)]
    async fn one(id: u64) -> Result<Arc<User>, Infallible> {
        Ok(USER.clone())
    }
    #[cached(key = "four:<id>", ttl = "1h", cache = CACHE, invalidate_on = ["a", "b", "user:<id>:c", "user:<id>:d"])]
    async fn four(id: u64) -> Result<Arc<User>, Infallible> {
        Ok(USER.clone())
    }
    #[cached(key = "sixteen:<id>", ttl = "1h", cache = CACHE, invalidate_on = [
        "a", "b", "user:<id>:c", "user:<id>:d", "e", "f", "user:<id>:g", "user:<id>:h",
        "i", "j", "user:<id>:k", "user:<id>:l", "m", "n", "user:<id>:o", "user:<id>:p",
    ])]
    async fn sixteen(id: u64) -> Result<Arc<User>, Infallible> {
        Ok(USER.clone())
    }

    let ids = Ids::zipf(1_000);
    let contestants = vec![
        Contestant::new(
            "ours, no tag",
            Shown,
            one_after_the_other(&ids, async |id| none(id).await),
        ),
        Contestant::new(
            "ours, 1 tag",
            Shown,
            one_after_the_other(&ids, async |id| one(id).await),
        ),
        Contestant::new(
            "ours, 4 tags",
            Shown,
            one_after_the_other(&ids, async |id| four(id).await),
        ),
        Contestant::new(
            "ours, 16 tags",
            Shown,
            one_after_the_other(&ids, async |id| sixteen(id).await),
        ),
    ];
    compare("local hit with tags", effort, contestants)
}
