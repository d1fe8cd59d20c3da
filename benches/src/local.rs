//! In memory: hits and misses, through each contestant's natural interface.
//!
//! * ours: `#[cached]` with a key, a ttl and a cache of its own;
//! * `cached`: `#[concurrent_cached]`, its sharded stores, with a ttl and a bound
//!   like ours, and with neither, which is its fastest; `#[cached]`, one lock around the
//!   whole store;
//! * `moka`: `future::Cache`, with `try_get_with`, and with `get` alone, which is faster;
//! * `quick_cache`: `get_or_insert_async`, and `get` alone; it has no ttl;
//! * `hitbox`: `#[cached]` over its moka backend, with its fastest format; it
//!   keeps values serialized, so it does not share an `Arc`;
//! * `multi-tier-cache`: `get_or_compute_typed` over moka, serialized as well.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use cache_runtime::Cache;

use hitbox::policy::PolicyConfig;
use hitbox_backend::format::BincodeFormat;
use hitbox_moka::MokaBackend;
use multi_tier_cache::{
    CacheStrategy, CacheSystem, CacheSystemBuilder, L1Cache, MokaCacheConfig, TierConfig,
};

use crate::floor::ShardedMap;
use crate::harness::{
    Contestant, Effort,
    Role::{Floor, Ours, Peer, Shown},
    Row, compare, in_threads, one_after_the_other, runtime,
};
use crate::value::{Failed, IDS, Ids, User};

const BOUND: usize = 100_000;
const TTL: Duration = Duration::from_hours(1);

pub(crate) static CACHE: LazyLock<Cache> = LazyLock::new(|| {
    let cache = Cache::builder().url("memory:").max_entries(BOUND);
    cache.build().expect("a cache")
});

#[cache_runtime::cached(key = "user:<id>", ttl = "1h", cache = CACHE)]
async fn ours(id: u64) -> Result<Arc<User>, Infallible> {
    Ok(Arc::new(User::load(id)))
}

#[cache_runtime::cached(key = "login:<login>", ttl = "1h", cache = CACHE)]
async fn ours_by_text(login: &str) -> Result<Arc<User>, Infallible> {
    Ok(Arc::new(User::load(login.len() as u64)))
}

#[cache_runtime::cached(key = "owned:<id>", ttl = "1h", cache = CACHE)]
async fn ours_owned(id: u64) -> Result<User, Infallible> {
    Ok(User::load(id))
}

mod concurrent_cached {
    use super::{Arc, Infallible, User};

    #[cached::macros::concurrent_cached(max_size = 100_000, ttl_secs = 3600)]
    pub(super) async fn bounded(id: u64) -> Result<Arc<User>, Infallible> {
        Ok(Arc::new(User::load(id)))
    }

    #[cached::macros::concurrent_cached(ttl_secs = 3600)]
    pub(super) async fn with_ttl(id: u64) -> Result<Arc<User>, Infallible> {
        Ok(Arc::new(User::load(id)))
    }

    #[cached::macros::concurrent_cached]
    pub(super) async fn bare(id: u64) -> Result<Arc<User>, Infallible> {
        Ok(Arc::new(User::load(id)))
    }

    #[cached::macros::concurrent_cached(
        ttl_secs = 3600,
        key = "String",
        convert = r#"{ login.to_owned() }"#
    )]
    pub(super) async fn by_text(login: &str) -> Result<Arc<User>, Infallible> {
        Ok(Arc::new(User::load(login.len() as u64)))
    }

    #[cached::macros::concurrent_cached(ttl_secs = 3600)]
    pub(super) async fn owned(id: u64) -> Result<User, Infallible> {
        Ok(User::load(id))
    }

    #[cached::macros::cached(max_size = 100_000, ttl_secs = 3600)]
    pub(super) async fn one_lock(id: u64) -> Result<Arc<User>, Infallible> {
        Ok(Arc::new(User::load(id)))
    }
}

mod hitbox_function {
    use super::{Failed, User};

    #[hitbox_fn::cached]
    pub(super) async fn user(id: u64) -> Result<User, Failed> {
        Ok(User::load(id))
    }
}

type Hitbox = hitbox_fn::Cache<MokaBackend<BincodeFormat>>;

fn moka<V: Clone + Send + Sync + 'static>() -> moka::future::Cache<u64, V> {
    moka::future::Cache::builder()
        .max_capacity(BOUND as u64)
        .time_to_live(TTL)
        .build()
}

fn multi_tier() -> Arc<CacheSystem> {
    let l1 = L1Cache::new(MokaCacheConfig {
        max_capacity: BOUND as u64,
        time_to_live: TTL,
        time_to_idle: TTL,
    });
    let system = CacheSystemBuilder::new()
        .with_tier(Arc::new(l1.expect("a cache")), TierConfig::as_l1())
        .build();
    Arc::new(runtime(1).block_on(system).expect("a cache"))
}

async fn from_multi_tier(cache: &CacheSystem, id: u64) -> User {
    let key = format!("user:{id}");
    let strategy = CacheStrategy::Custom(TTL);
    let load = || async move { Ok(User::load(id)) };
    let user = cache
        .cache_manager()
        .get_or_compute_typed(&key, strategy, load)
        .await;
    user.expect("a user")
}

/// Hits on an `Arc<User>`, for every contestant. All entries are there.
pub(crate) fn hit(effort: Effort, threads: usize) -> Vec<Row> {
    let ids = Ids::zipf(IDS);
    let floor = ShardedMap::fill(IDS, |id| Arc::new(User::load(id)));
    let moka = moka::<Arc<User>>();
    let quick = quick_cache::sync::Cache::<u64, Arc<User>>::new(BOUND);
    let hitbox: Hitbox = hitbox_fn::Cache::builder()
        .backend(
            MokaBackend::builder()
                .max_entries(BOUND as u64)
                .value_format(BincodeFormat)
                .build(),
        )
        .policy(PolicyConfig::builder().ttl(TTL).build())
        .build();
    let multi_tier = multi_tier();

    macro_rules! contestant {
        ($name:expr, $role:expr, $find:expr) => {{
            let find = $find;
            runtime(1).block_on(async {
                for id in 0..IDS {
                    let _ = find(id).await;
                }
            });
            if threads == 1 {
                Contestant::new($name, $role, one_after_the_other(&ids, find))
            } else {
                Contestant::new($name, $role, in_threads(threads, &ids, find))
            }
        }};
    }

    let contestants = vec![
        contestant!("ours", Ours, async |id| ours(id).await),
        contestant!("`#[concurrent_cached]`, ttl", Peer, async |id| {
            concurrent_cached::with_ttl(id).await
        }),
        contestant!("`#[concurrent_cached]`, ttl and bound", Peer, async |id| {
            concurrent_cached::bounded(id).await
        }),
        contestant!("`#[concurrent_cached]`, neither", Peer, async |id| {
            concurrent_cached::bare(id).await
        }),
        contestant!("`#[cached]`, ttl and bound", Peer, async |id| {
            concurrent_cached::one_lock(id).await
        }),
        contestant!("`moka`, `try_get_with`", Peer, async |id: u64| {
            moka.try_get_with(id, async { Ok::<_, Infallible>(Arc::new(User::load(id))) })
                .await
        }),
        contestant!("`moka`, `get`", Peer, async |id: u64| moka.get(&id).await),
        contestant!(
            "`quick_cache`, `get_or_insert_async`: no ttl",
            Shown,
            async |id: u64| {
                quick
                    .get_or_insert_async(&id, async {
                        Ok::<_, Infallible>(Arc::new(User::load(id)))
                    })
                    .await
            }
        ),
        contestant!("`quick_cache`, `get`: no ttl", Shown, async |id: u64| quick
            .get(&id)),
        contestant!("`hitbox`: serialized", Peer, async |id| {
            hitbox_function::user(id).cache(&hitbox).await
        }),
        contestant!("`multi-tier-cache`: serialized", Peer, async |id| {
            from_multi_tier(&multi_tier, id).await
        }),
        contestant!("64-shard map", Floor, async |id| floor.get(id).await),
    ];
    let name = if threads == 1 {
        "local hit, `Arc`".to_owned()
    } else {
        format!("local hit, `Arc`, {threads} threads")
    };
    compare(&name, effort, contestants)
}

/// Hits on an owned `User`: every contestant clones it.
pub(crate) fn hit_owned(effort: Effort) -> Vec<Row> {
    let ids = Ids::zipf(IDS);
    let floor = ShardedMap::fill(IDS, User::load);
    let moka = moka::<User>();
    runtime(1).block_on(async {
        for id in 0..IDS {
            let _ = ours_owned(id).await;
            let _ = concurrent_cached::owned(id).await;
            moka.insert(id, User::load(id)).await;
        }
    });
    let contestants = vec![
        Contestant::new(
            "ours",
            Ours,
            one_after_the_other(&ids, async |id| ours_owned(id).await),
        ),
        Contestant::new(
            "`#[concurrent_cached]`, ttl",
            Peer,
            one_after_the_other(&ids, async |id| concurrent_cached::owned(id).await),
        ),
        Contestant::new(
            "`moka`, `get`",
            Peer,
            one_after_the_other(&ids, async |id| moka.get(&id).await),
        ),
        Contestant::new(
            "64-shard map",
            Floor,
            one_after_the_other(&ids, async |id| floor.get(id).await),
        ),
    ];
    compare("local hit, owned", effort, contestants)
}

/// Hits by a key with a text of about twenty bytes.
pub(crate) fn hit_by_text(effort: Effort) -> Vec<Row> {
    let ids = Ids::zipf(IDS);
    let logins: Vec<String> = (0..IDS).map(|id| format!("some-user-{id:08}")).collect();
    let moka = moka::future::Cache::<String, Arc<User>>::builder()
        .max_capacity(BOUND as u64)
        .time_to_live(TTL)
        .build();
    runtime(1).block_on(async {
        for login in &logins {
            let _ = ours_by_text(login).await;
            let _ = concurrent_cached::by_text(login).await;
            moka.insert(login.clone(), Arc::new(User::load(1))).await;
        }
    });
    let login = |id: u64| logins[id as usize].as_str();
    let contestants = vec![
        Contestant::new(
            "ours",
            Ours,
            one_after_the_other(&ids, async |id| ours_by_text(login(id)).await),
        ),
        Contestant::new(
            "`#[concurrent_cached]`, ttl",
            Peer,
            one_after_the_other(&ids, async |id| concurrent_cached::by_text(login(id)).await),
        ),
        Contestant::new(
            "`moka`, `get`",
            Peer,
            one_after_the_other(&ids, async |id| moka.get(login(id)).await),
        ),
    ];
    compare("local hit, text in the key", effort, contestants)
}

/// Misses: each key is new. The caches are full, so each miss also evicts an entry.
pub(crate) fn miss(effort: Effort) -> Vec<Row> {
    static SMALL: LazyLock<Cache> = LazyLock::new(|| {
        let cache = Cache::builder().url("memory:").max_entries(10_000);
        cache.build().expect("a cache")
    });
    #[cache_runtime::cached(key = "cold:<id>", ttl = "1h", cache = SMALL)]
    async fn ours(id: u64) -> Result<Arc<User>, Infallible> {
        Ok(USER.clone())
    }
    #[cached::macros::concurrent_cached(max_size = 10_000, ttl_secs = 3600)]
    async fn theirs(id: u64) -> Result<Arc<User>, Infallible> {
        let _ = id;
        Ok(USER.clone())
    }
    static USER: LazyLock<Arc<User>> = LazyLock::new(|| Arc::new(User::load(1)));

    let moka = moka::future::Cache::builder()
        .max_capacity(10_000)
        .time_to_live(TTL)
        .build();
    let quick = quick_cache::sync::Cache::<u64, Arc<User>>::new(10_000);
    let mut rows = Vec::new();
    let contestants = vec![
        Contestant::new("ours", Ours, cold(async |id| ours(id).await)),
        Contestant::new(
            "`#[concurrent_cached]`, ttl and bound",
            Peer,
            cold(async |id| theirs(id).await),
        ),
        Contestant::new(
            "`moka`, `try_get_with`",
            Peer,
            cold(async |id| {
                moka.try_get_with(id, async { Ok::<_, Infallible>(USER.clone()) })
                    .await
            }),
        ),
        Contestant::new(
            "`quick_cache`, `get_or_insert_async`: no ttl",
            Shown,
            cold(async |id: u64| {
                quick
                    .get_or_insert_async(&id, async { Ok::<_, Infallible>(USER.clone()) })
                    .await
            }),
        ),
    ];
    rows.extend(compare("local miss", effort, contestants));
    rows
}

/// Calls with ids that never repeat.
fn cold<T>(find: impl AsyncFn(u64) -> T) -> impl FnMut(u64) -> Duration {
    let runtime = runtime(1);
    let mut next = 0;
    move |calls| {
        let ids = next..next + calls;
        next += calls;
        runtime.block_on(async {
            let start = Instant::now();
            for id in ids {
                black_box(find(black_box(id)).await);
            }
            start.elapsed()
        })
    }
}

/// Invalidations of one name whose entry is there.
pub(crate) fn invalidate(effort: Effort) -> Vec<Row> {
    let moka = moka::<Arc<User>>();
    let user = Arc::new(User::load(1));
    let contestants = vec![
        Contestant::new(
            "ours, by `#[cache_invalidate]`",
            Ours,
            filled_first(async |id| ours(id).await, async |id| forget(id).await),
        ),
        Contestant::new(
            "`moka`, `invalidate`",
            Peer,
            filled_first(
                async |id| moka.insert(id, user.clone()).await,
                async |id: u64| moka.invalidate(&id).await,
            ),
        ),
        Contestant::new(
            "`#[concurrent_cached]`, `remove`",
            Peer,
            filled_first(
                async |id| concurrent_cached::with_ttl(id).await,
                async |id: u64| {
                    concurrent_cached::WITH_TTL
                        .get()
                        .map(|cache| cache.remove(&id))
                },
            ),
        ),
    ];
    compare("local invalidation of one name", effort, contestants)
}

#[cache_runtime::cache_invalidate("user:<id>", cache = CACHE)]
async fn forget(id: u64) {
    black_box(id);
}

fn filled_first<T, U>(
    fill: impl AsyncFn(u64) -> T,
    remove: impl AsyncFn(u64) -> U,
) -> impl FnMut(u64) -> Duration {
    let runtime = runtime(1);
    move |calls| {
        runtime.block_on(async {
            let mut took = Duration::ZERO;
            let mut left = calls;
            while left > 0 {
                let count = left.min(1000);
                left -= count;
                for id in 0..count {
                    fill(id).await;
                }
                let start = Instant::now();
                for id in 0..count {
                    black_box(remove(black_box(id)).await);
                }
                took += start.elapsed();
            }
            took
        })
    }
}
