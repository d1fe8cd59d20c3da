//! On Redis: hits of one, 64 and 512 callers at once, through each contestant's natural interface.
//!
//! * ours: `#[cached]` with one tag, so that a hit reads two keys;
//! * redis-rs: an `MGET` of two keys over a `MultiplexedConnection`, with and without decoding;
//! * `cached`: `#[concurrent_cached]` over its `AsyncRedisCache`;
//! * `hitbox`: `#[cached]` over its Redis backend, with its default, bincode;
//! * `multi-tier-cache`: `get_or_compute_typed` with Redis as its only tier.
//!
//! Only ours and the plain `MGET` read a tag's version beside the value: the others have no tags.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cache_runtime::Cache;
use cache_tests::RedisServer;
use cached::AsyncRedisCache;
use hitbox::policy::PolicyConfig;
use hitbox_redis::{ConnectionMode, RedisBackend};
use multi_tier_cache::{
    CacheStrategy, CacheSystem, CacheSystemBuilder, L2CacheBackend, RedisCache, TierConfig,
};
use redis::aio::MultiplexedConnection;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::harness::{
    Contestant, Effort,
    Role::{Floor, Ours, Peer, Shown},
    Row, compare, runtime,
};
use crate::value::{Failed, Ids, User};

/// The number of different ids. The server has an entry for each.
const IDS: u64 = 1_000;
const TTL: Duration = Duration::from_hours(1);

/// The server's URL, for annotated functions of the peers.
static URL: OnceLock<String> = OnceLock::new();

#[cache_runtime::cached(
    key = "user:<id>", ttl = "1h", invalidate_on = "users", cache = cache, skip(cache)
)]
async fn ours(cache: &Cache, id: u64) -> Result<User, Infallible> {
    Ok(User::load(id))
}

/// A cache that waits long for an answer, for a busy machine.
pub(crate) fn patient(url: &str) -> Cache {
    let cache = Cache::builder().url(url).op_timeout(Duration::from_mins(1));
    cache.build().expect("a cache")
}

/// `cached` keeps one store for each function, and one connection in it, for ever. So each runtime
/// has a function of its own.
macro_rules! concurrent_cached {
    ($($name:ident)+) => { $(
        #[cached::macros::concurrent_cached(
            map_error = |_| Failed,
            ty = "AsyncRedisCache<u64, User>",
            create = r#"{
                AsyncRedisCache::builder("cached")
                    .ttl(TTL)
                    .connection_string(URL.get().expect("set"))
                    .build()
                    .await
                    .expect("a cache")
            }"#
        )]
        async fn $name(id: u64) -> Result<User, Failed> {
            Ok(User::load(id))
        }
    )+ };
}

concurrent_cached!(theirs_on_one theirs_on_two);

mod hitbox_function {
    use super::{Failed, User};

    #[hitbox_fn::cached]
    pub(super) async fn user(id: u64) -> Result<User, Failed> {
        Ok(User::load(id))
    }
}

type Hitbox = hitbox_fn::Cache<RedisBackend>;

pub(crate) async fn multi_tier(url: &str) -> CacheSystem {
    let redis = RedisCache::with_url(url).await.expect("a connection");
    let redis: Arc<dyn L2CacheBackend> = Arc::new(redis);
    let system = CacheSystemBuilder::new().with_tier(redis, TierConfig::as_l1());
    system.build().await.expect("a cache")
}

async fn from_multi_tier(cache: &CacheSystem, id: u64) -> User {
    let key = format!("tiers:{id}");
    let strategy = CacheStrategy::Custom(TTL);
    let load = || async move { Ok(User::load(id)) };
    let user = cache
        .cache_manager()
        .get_or_compute_typed(&key, strategy, load)
        .await;
    user.expect("a user")
}

/// Reads a value and a version, as ours does.
async fn mget(mut connection: MultiplexedConnection, id: u64) -> Vec<Option<Vec<u8>>> {
    let mut mget = redis::cmd("MGET");
    mget.arg(format!("plain:e:user:{id}")).arg("plain:v:users");
    mget.query_async(&mut connection).await.expect("an answer")
}

async fn mget_and_decode(connection: MultiplexedConnection, id: u64) -> User {
    let found = mget(connection, id).await;
    let payload = found.into_iter().next().flatten().expect("it was filled");
    serde_json::from_slice(&payload).expect("a user")
}

/// Hits by one, 64 and 512 callers, on one and on two threads.
pub(crate) fn hit(effort: Effort) -> Vec<Row> {
    let server = RedisServer::start();
    URL.set(server.url()).expect("once");
    let effort = Effort {
        rounds: (effort.rounds / 4).max(2),
        slice: effort.slice * 12,
        ..effort
    };
    let mut rows = hit_on(effort, &server, 1, &[1, 64, 512]);
    rows.extend(hit_on(effort, &server, 2, &[64, 512]));
    rows
}

fn hit_on(effort: Effort, server: &RedisServer, threads: usize, callers: &[usize]) -> Vec<Row> {
    let url = server.url();
    let runtime = runtime(threads);
    let ids = Ids::zipf(IDS);

    let cache = patient(&url);
    let multi_tier = Arc::new(runtime.block_on(multi_tier(&url)));
    let hitbox: Arc<Hitbox> = Arc::new(
        hitbox_fn::Cache::builder()
            .backend(hitbox_backend(&url))
            .policy(PolicyConfig::builder().ttl(TTL).build())
            .build(),
    );
    let connection = runtime.block_on(fill_plain(&url));

    macro_rules! contestant {
        ($callers:expr, $name:expr, $role:expr, |$id:ident| $find:expr, $($mine:ident),*) => {{
            let find = {
                $(let $mine = $mine.clone();)*
                move |$id: u64| {
                    $(let $mine = $mine.clone();)*
                    async move { drop(black_box($find)) }
                }
            };
            runtime.block_on(async {
                for id in 0..IDS {
                    find(id).await;
                }
            });
            Contestant::new($name, $role, at_once(&runtime, &ids, $callers, find))
        }};
    }

    let mut rows = Vec::new();
    for &callers in callers {
        let mut contestants = vec![
            contestant!(callers, "ours", Ours, |id| ours(&cache, id).await, cache),
            if threads == 1 {
                contestant!(callers, "`#[concurrent_cached]`, redis", Peer, |id| {
                    theirs_on_one(id).await
                },)
            } else {
                contestant!(callers, "`#[concurrent_cached]`, redis", Peer, |id| {
                    theirs_on_two(id).await
                },)
            },
            contestant!(
                callers,
                "`hitbox`",
                Peer,
                |id| hitbox_function::user(id).cache(&*hitbox).await,
                hitbox
            ),
            contestant!(
                callers,
                "`multi-tier-cache`",
                Peer,
                |id| from_multi_tier(&multi_tier, id).await,
                multi_tier
            ),
            contestant!(
                callers,
                "redis-rs, `MGET` of two, decoded",
                Shown,
                |id| mget_and_decode(connection, id).await,
                connection
            ),
            contestant!(
                callers,
                "redis-rs, `MGET` of two, not decoded",
                Floor,
                |id| mget(connection, id).await,
                connection
            ),
        ];
        let costs: Vec<f64> = contestants
            .iter_mut()
            .map(|contestant| server_cpu(server, || contestant.run(20_000)) / 20_000.0)
            .collect();
        let many = if callers == 1 { "" } else { "s" };
        let group = format!("shared hit, {callers} caller{many}, runtime threads: {threads}");
        let compared = compare(&group, effort, contestants);
        rows.extend(compared.into_iter().zip(costs).map(|(mut row, cost)| {
            row.note = format!("server: {cost:.1} µs of CPU a hit");
            row
        }));
    }
    rows
}

/// The microseconds of CPU that the server takes while this runs.
fn server_cpu<T>(server: &RedisServer, run: impl FnOnce() -> T) -> f64 {
    let used = || -> f64 {
        let info: String = server.query(&["INFO", "cpu"]);
        let seconds = info.lines().filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            matches!(name, "used_cpu_user" | "used_cpu_sys")
                .then(|| value.trim().parse::<f64>().ok())?
        });
        seconds.sum::<f64>() * 1e6
    };
    let before = used();
    run();
    used() - before
}

async fn fill_plain(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).expect("a client");
    let connection = client.get_multiplexed_async_connection().await;
    let mut connection = connection.expect("a connection");
    for id in 0..IDS {
        let json = serde_json::to_vec(&User::load(id)).expect("a user");
        let mut set = redis::cmd("SET");
        set.arg(format!("plain:e:user:{id}")).arg(json);
        set.exec_async(&mut connection).await.expect("an answer");
    }
    let mut set = redis::cmd("SET");
    set.arg("plain:v:users").arg(1_u64 << 61);
    set.exec_async(&mut connection).await.expect("an answer");
    connection
}

pub(crate) fn hitbox_backend(url: &str) -> RedisBackend {
    let backend = RedisBackend::builder().connection(ConnectionMode::single(url));
    backend.build().expect("a backend")
}

/// As many tasks as callers, which share the calls.
fn at_once<F: Future<Output = ()> + Send + 'static>(
    runtime: &Runtime,
    ids: &Ids,
    callers: usize,
    find: impl Fn(u64) -> F + Clone + Send + 'static,
) -> impl FnMut(u64) -> Duration {
    move |calls| {
        let each = calls.div_ceil(callers as u64);
        let mut tasks = JoinSet::new();
        let start = Instant::now();
        for caller in 0..callers {
            let ids: Vec<u64> = ids.take_from(caller * 7919, each).collect();
            let find = find.clone();
            let task = async move {
                for id in ids {
                    find(id).await;
                }
            };
            tasks.spawn_on(task, runtime.handle());
        }
        runtime.block_on(tasks.join_all());
        let done = each * callers as u64;
        start.elapsed().mul_f64(calls as f64 / done as f64)
    }
}
