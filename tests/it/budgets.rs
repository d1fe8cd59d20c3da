//! Budgets: what takes too much comes back under it, the least recently used goes first, and nothing but entries
//! goes.

use std::collections::HashMap;
use std::time::Duration;

use cache_runtime::{Cache, Options, Rate, Scope};
use cache_tests::{Random, RedisCluster, RedisServer, patient, until};

const HOUR: Duration = Duration::from_secs(3600);

fn cache(url: &str) -> Cache {
    patient(url).build().unwrap()
}

async fn fill(scope: &Scope, entries: u32) {
    for id in 0..entries {
        let report = "x".repeat(1_000);
        let options = Options::new().ttl(HOUR).tag("reports");
        scope.set(id.to_string(), &report, options).await.unwrap();
    }
}

/// What all keys of a server take that begin so, by its own count.
fn taken(server: &RedisServer, prefix: &str) -> u64 {
    let keys = server
        .keys()
        .into_iter()
        .filter(|key| key.starts_with(prefix));
    let taken = keys.map(|key| server.query::<Option<u64>>(&["MEMORY", "USAGE", &key]));
    taken.map(Option::unwrap_or_default).sum()
}

/// Has the server take a key for one that was last used so long ago, or is used so often.
fn age(server: &RedisServer, key: &str, option: &str, number: u64) {
    let mut connection = server.connection();
    let left: i64 = redis::cmd("PTTL").arg(key).query(&mut connection).unwrap();
    let dump: Vec<u8> = redis::cmd("DUMP").arg(key).query(&mut connection).unwrap();
    let mut restore = redis::cmd("RESTORE");
    restore.arg(key).arg(left.max(0)).arg(dump).arg("REPLACE");
    restore
        .arg(option)
        .arg(number)
        .exec(&mut connection)
        .unwrap();
}

#[tokio::test]
async fn ten_times_too_much_comes_back_and_nothing_but_entries_goes() {
    let server = RedisServer::start();
    let cache = cache(&server.url());
    let reports = cache.scope("reports");
    fill(&reports, 400).await;
    let others = cache.scope("users");
    fill(&others, 50).await;
    let texts = reports.strings("sessions").unwrap();
    texts
        .set("reports:1", &"x".repeat(5_000), None)
        .await
        .unwrap();
    let limit = reports.rate_limit("export", Rate::per_hour(1));
    assert!(limit.check("ada").await.unwrap().allowed);
    let held = reports.lock("7", HOUR).try_lock().await.unwrap().unwrap();
    // As a writer's fence and a load's lease, that were last used long ago.
    let mut connection = server.connection();
    for (key, bytes) in [("fence", b"F\x0112345678"), ("lease", b"L\x0112345678")] {
        let key = format!("cache:e:reports:{key}");
        redis::cmd("SET")
            .arg(&key)
            .arg(bytes)
            .exec(&mut connection)
            .unwrap();
        age(&server, &key, "IDLETIME", 100_000);
    }
    let before = taken(&server, "cache:e:reports:");
    let budget = reports.budget(before / 10);
    let swept = budget.sweep().await.unwrap().unwrap();
    assert_eq!((swept.entries, swept.bytes), (402, before));
    assert!(taken(&server, "cache:e:reports:") <= before / 10);
    assert!((300..400).contains(&swept.removed), "{swept:?}");
    // It does not go on where there is not too much.
    let swept = budget.sweep().await.unwrap().unwrap();
    assert_eq!(swept.removed, 0);
    for key in ["fence", "lease"] {
        let key = format!("cache:e:reports:{key}");
        assert_eq!(server.query::<u64>(&["EXISTS", &key]), 1);
    }
    assert!(texts.get("reports:1").await.unwrap().is_some());
    assert!(!limit.check("ada").await.unwrap().allowed);
    assert!(held.release().await.unwrap());
    for id in 0..50 {
        assert!(others.exists(id.to_string()).await.unwrap());
    }
}

/// Spearman's correlation of two rankings, each of which may have ties.
fn correlation(pairs: &[(u32, u32)]) -> f64 {
    // Twice the rank, less its mean.
    let ranks = |of: fn(&(u32, u32)) -> u32| {
        let count = |is_meant: &dyn Fn(u32) -> bool| {
            let meant = pairs.iter().filter(|pair| is_meant(of(pair)));
            i32::try_from(meant.count()).unwrap()
        };
        let rank = |pair| {
            let value = of(pair);
            f64::from(count(&|other| other < value) - count(&|other| other > value))
        };
        pairs.iter().map(rank).collect::<Vec<_>>()
    };
    let (ones, others) = (ranks(|pair| pair.0), ranks(|pair| pair.1));
    let sum = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    sum(&ones, &others) / (sum(&ones, &ones) * sum(&others, &others)).sqrt()
}

/// Sweeps with smaller and smaller budgets, and returns how well the order in which entries went agrees with the
/// order of their ages.
async fn agreement(server: &RedisServer, option: &str, ages: impl Fn(u64) -> u64) -> f64 {
    let cache = cache(&server.url());
    let reports = cache.scope("reports");
    fill(&reports, 100).await;
    let mut order: Vec<u64> = (0..100).collect();
    let mut random = Random::new(11);
    for at in (1..order.len()).rev() {
        order.swap(at, usize::try_from(random.below(at as u64 + 1)).unwrap());
    }
    for (id, &nth) in order.iter().enumerate() {
        age(server, &format!("cache:e:reports:{id}"), option, ages(nth));
    }
    let all = taken(server, "cache:e:reports:");
    let mut went: HashMap<usize, u32> = HashMap::new();
    for round in 0..10 {
        let budget = reports.budget(all / 10 * u64::from(9 - round));
        budget.sweep().await.unwrap().unwrap();
        let left = server.keys();
        for id in 0..order.len() {
            if !left.contains(&format!("cache:e:reports:{id}")) {
                went.entry(id).or_insert(round);
            }
        }
    }
    assert_eq!(
        went.len(),
        order.len(),
        "a budget of zero has room for nothing"
    );
    let pairs = order
        .iter()
        .enumerate()
        .map(|(id, &nth)| (u32::try_from(nth).unwrap(), 10 - went[&id]));
    correlation(&pairs.collect::<Vec<_>>())
}

#[tokio::test]
async fn the_least_recently_used_go_first() {
    let server = RedisServer::start();
    // Some minutes, up to a day.
    let agreement = agreement(&server, "IDLETIME", |nth| 60 + nth * 900).await;
    assert!(agreement > 0.97, "{agreement}");
}

#[tokio::test]
async fn where_the_server_counts_uses_the_least_frequently_used_go_first() {
    let server = RedisServer::builder()
        .args(&["--maxmemory-policy", "allkeys-lfu"])
        .start();
    let agreement = agreement(&server, "FREQ", |nth| 255 - nth * 2).await;
    assert!(agreement > 0.97, "{agreement}");
}

#[tokio::test]
async fn one_process_sweeps_at_a_time() {
    let server = RedisServer::start();
    let cache = cache(&server.url());
    let reports = cache.scope("reports");
    fill(&reports, 20).await;
    // As another process.
    server.query::<()>(&["SET", "cache:b:reports:", "1 9999999999999 another"]);
    assert_eq!(reports.budget(1).sweep().await.unwrap(), None);
    // The budget of another scope is another sweep.
    assert!(
        cache
            .scope("users")
            .budget(1)
            .sweep()
            .await
            .unwrap()
            .is_some()
    );
    server.query::<()>(&["DEL", "cache:b:reports:"]);
    let swept = reports.budget(1).sweep().await.unwrap().unwrap();
    assert_eq!((swept.entries, swept.removed), (20, 20));
}

#[tokio::test]
async fn what_is_kept_stays_under_its_budget() {
    let server = RedisServer::start();
    let cache = cache(&server.url());
    let reports = cache.scope("reports");
    let keeper = tokio::spawn(reports.budget(50_000).keep(Duration::from_millis(5)));
    for _ in 0..3 {
        fill(&reports, 200).await;
        until(async || taken(&server, "cache:e:reports:") <= 50_000).await;
    }
    keeper.abort();
}

#[tokio::test]
async fn all_nodes_of_a_cluster_are_swept() {
    let cluster = RedisCluster::shared();
    let builder = patient(&cluster.url()).namespace(cluster.namespace());
    let cache = builder.build().unwrap();
    let reports = cache.scope("reports");
    fill(&reports, 100).await;
    let swept = reports.budget(10_000).sweep().await.unwrap().unwrap();
    assert_eq!(swept.entries, 100);
    assert!(swept.bytes - swept.freed <= 10_000, "{swept:?}");
    let mut left = 0;
    for id in 0..100 {
        left += u64::from(reports.exists(id.to_string()).await.unwrap());
    }
    assert_eq!(left, 100 - swept.removed);
}

#[tokio::test]
async fn a_sweep_of_a_server_that_is_away_is_an_error() {
    let mut server = RedisServer::start();
    let limit = Duration::from_millis(200);
    let cache = Cache::builder().url(server.url()).op_timeout(limit);
    let cache = cache.build().unwrap();
    fill(&cache.scope("reports"), 1).await;
    server.kill();
    assert!(cache.budget(1).sweep().await.unwrap_err().is_unavailable());
}

#[tokio::test]
async fn in_process_the_unused_go_first() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    let old = cache.scope("old");
    fill(&old, 10).await;
    let reports = cache.scope("reports");
    let budget = reports.budget(40_000);
    fill(&reports, 100).await;
    fill(&cache.scope("users"), 50).await;
    for _ in 0..3 {
        for id in (0..100).step_by(5) {
            assert!(
                reports
                    .get::<String>(id.to_string())
                    .await
                    .unwrap()
                    .is_some()
            );
        }
    }
    let swept = budget.sweep().await.unwrap().unwrap();
    assert_eq!(swept.entries, 100);
    assert!(
        swept.bytes > 100_000 && swept.bytes - swept.freed <= 40_000,
        "{swept:?}"
    );
    for id in (0..100).step_by(5) {
        assert!(reports.exists(id.to_string()).await.unwrap(), "{id}");
    }
    for id in 0..50 {
        assert!(cache.exists(format!("users:{id}")).await.unwrap());
    }
    // What was stored before any budget counts with its key only.
    let swept = old.budget(1 << 20).sweep().await.unwrap().unwrap();
    assert!(
        swept.entries == 10 && (900..2_000).contains(&swept.bytes),
        "{swept:?}"
    );
    // Whatever is used, a budget of zero has room for nothing.
    let swept = reports.budget(0).sweep().await.unwrap().unwrap();
    assert_eq!(swept.removed, swept.entries);
    let off = Cache::builder().url("off:").build().unwrap();
    assert_eq!(off.budget(0).sweep().await.unwrap().unwrap().entries, 0);
}
