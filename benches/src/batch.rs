//! On Redis: a function for several keys, of which all or half are there, beside what one would write by
//! hand: one `MGET`, and one pipeline of `SET`s for what is missing.
//!
//! Ours also takes a lease and reads a tag's version before it loads, and stores an entry only in the
//! place of its lease. What that costs at least is shown by the same requests, written by hand.

use std::cell::Cell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::hint::black_box;
use std::ops::Range;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use cache_runtime::Cache;
use cache_tests::RedisServer;
use redis::Script;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;

use crate::harness::{
    Contestant, Effort,
    Role::{Floor, Ours, Shown},
    Row, compare, runtime,
};
use crate::shared::patient;
use crate::value::User;

static LEASE_MANY: LazyLock<Script> = LazyLock::new(|| {
    Script::new(include_str!(
        "../../cache-runtime/src/tier/shared/scripts/lease_many.lua"
    ))
});
static FILL_MANY: LazyLock<Script> = LazyLock::new(|| {
    Script::new(include_str!(
        "../../cache-runtime/src/tier/shared/scripts/fill_many.lua"
    ))
});
const LEASE_MILLISECONDS: u64 = 30_000;

/// The ids of one call.
const IDS: u64 = 100;
const TTL_SECONDS: u64 = 3600;

#[cache_runtime::cached(
    key = "user:<id>", ttl = "1h", invalidate_on = "users", each(id in ids), cache = cache, skip(cache)
)]
async fn ours(cache: &Cache, ids: &[u64]) -> Result<HashMap<u64, User>, Infallible> {
    Ok(ids.iter().map(|id| (*id, User::load(*id))).collect())
}

#[cache_runtime::cached(
    key = "user:<id>", ttl = "1h", invalidate_on = "users", cache = cache, skip(cache)
)]
async fn ours_for_one(cache: &Cache, id: u64) -> Result<User, Infallible> {
    Ok(User::load(id))
}

/// Reads all keys by one command, and loads and stores what is missing.
async fn by_hand(connection: &mut MultiplexedConnection, ids: &[u64]) -> HashMap<u64, User> {
    let key = |id: u64| format!("plain:e:user:{id}");
    let mut mget = redis::cmd("MGET");
    for id in ids {
        mget.arg(key(*id));
    }
    let found: Vec<Option<Vec<u8>>> = mget.query_async(connection).await.expect("an answer");
    let mut users = HashMap::with_capacity(ids.len());
    let mut store = redis::pipe();
    let mut misses = 0;
    for (id, found) in ids.iter().zip(found) {
        let user = if let Some(payload) = found {
            serde_json::from_slice(&payload).expect("a user")
        } else {
            let user = User::load(*id);
            let payload = serde_json::to_vec(&user).expect("JSON");
            store.set_ex(key(*id), payload, TTL_SECONDS).ignore();
            misses += 1;
            user
        };
        users.insert(*id, user);
    }
    if misses > 0 {
        let () = store.query_async(connection).await.expect("it is stored");
    }
    users
}

/// As [`by_hand`], with the requests that ours sends: what is missing is leased before it is loaded, and stored
/// where its lease still is.
async fn with_leases(connection: &mut MultiplexedConnection, ids: &[u64]) -> HashMap<u64, User> {
    let key = |id: u64| format!("leased:e:user:{id}");
    let lease = |id: u64| format!("L\u{1}{id:026}");
    let mut mget = redis::cmd("MGET");
    for id in ids {
        mget.arg(key(*id));
    }
    let found: Vec<Option<Vec<u8>>> = mget.query_async(connection).await.expect("an answer");
    let mut users = HashMap::with_capacity(ids.len());
    let mut missing = Vec::new();
    for (id, found) in ids.iter().zip(found) {
        match found {
            Some(payload) => {
                let user = serde_json::from_slice(&payload).expect("a user");
                users.insert(*id, user);
            }
            None => missing.push(*id),
        }
    }
    let mut leases = LEASE_MANY.prepare_invoke();
    let mut entries = FILL_MANY.prepare_invoke();
    leases.arg(LEASE_MILLISECONDS);
    for id in &missing {
        leases.key(key(*id)).arg("").arg(lease(*id));
    }
    let _: String = leases.invoke_async(connection).await.expect("leases");
    for id in &missing {
        let user = User::load(*id);
        let payload = serde_json::to_vec(&user).expect("JSON");
        let entry = entries.key(key(*id)).arg(lease(*id)).arg(payload);
        entry.arg(TTL_SECONDS * 1000);
        users.insert(*id, user);
    }
    let _: String = entries
        .invoke_async(connection)
        .await
        .expect("it is stored");
    users
}

/// A hundred ids of which so many were never asked for; the others are those of each call.
fn with_new(new: u64, next: &Cell<u64>) -> Vec<u64> {
    let first = next.replace(next.get() + new);
    let new: Range<u64> = first..first + new;
    (0..IDS - (new.end - new.start)).chain(new).collect()
}

/// So many calls, without the making of their ids.
fn measure<'a>(
    new: u64,
    next: &'a Cell<u64>,
    call: impl Fn(Vec<u64>) + 'a,
) -> impl FnMut(u64) -> Duration + 'a {
    move |calls| {
        let ids: Vec<_> = (0..calls).map(|_| with_new(new, next)).collect();
        let start = Instant::now();
        ids.into_iter().for_each(&call);
        start.elapsed()
    }
}

pub(crate) fn compare_batches(effort: Effort) -> Vec<Row> {
    let server = RedisServer::start();
    let runtime = runtime(1);
    let effort = Effort {
        rounds: (effort.rounds / 2).max(2),
        slice: effort.slice * 8,
        ..effort
    };
    let mut rows = Vec::new();
    for (group, new) in [("shared-batch-hits", 0), ("shared-batch-half", IDS / 2)] {
        let cache = patient(&server.url());
        let client = redis::Client::open(server.url()).expect("a URL");
        let connection = runtime.block_on(client.get_multiplexed_async_connection());
        let connection = connection.expect("a connection");
        // Each contestant has ids of its own.
        let nexts = [1, 2, 3, 4].map(|of| Cell::new(of * 1_000_000_000));
        let batch = |ids: Vec<u64>| {
            let users = runtime.block_on(ours(&cache, &ids));
            assert_eq!(black_box(users).map(|users| users.len()), Ok(100));
        };
        let one_each = |ids: Vec<u64>| {
            runtime.block_on(async {
                let mut calls = JoinSet::new();
                for id in ids {
                    let cache = cache.clone();
                    calls.spawn(async move { ours_for_one(&cache, id).await });
                }
                assert_eq!(black_box(calls.join_all().await).len(), 100);
            });
        };
        let plain = |ids: Vec<u64>| {
            let users = runtime.block_on(by_hand(&mut connection.clone(), &ids));
            assert_eq!(black_box(users).len(), 100);
        };
        let leased = |ids: Vec<u64>| {
            let users = runtime.block_on(with_leases(&mut connection.clone(), &ids));
            assert_eq!(black_box(users).len(), 100);
        };
        let mut contestants = vec![
            Contestant::new("ours, `each`", Ours, measure(new, &nexts[0], batch)),
            Contestant::new(
                "ours, a call for each id, at once",
                Shown,
                measure(new, &nexts[1], one_each),
            ),
            Contestant::new("redis-rs by hand", Floor, measure(new, &nexts[2], plain)),
        ];
        if new > 0 {
            contestants.push(Contestant::new(
                "redis-rs by hand, with leases",
                Shown,
                measure(new, &nexts[3], leased),
            ));
        }
        rows.extend(compare(group, effort, contestants));
    }
    rows
}
