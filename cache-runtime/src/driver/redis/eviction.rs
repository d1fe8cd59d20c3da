//! What a server does when its memory is full.

use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue as _, Value, cmd};

use crate::driver::field;

/// Whether a server of this process has said how it evicts. It is asked until then.
static IS_KNOWN: AtomicBool = AtomicBool::new(false);

/// Warns, once in a process, of a server that never evicts. A URL that is in the environment for other
/// programs too may be that of a queue, which sets its server up so: where the memory of such a
/// server is full of cached values, the queue fails.
pub(super) async fn check(redis: &mut MultiplexedConnection, address: &str, variable: &str) {
    if IS_KNOWN.load(Ordering::Relaxed) {
        return;
    }
    // It may be denied. Then nothing is said.
    let memory = cmd("INFO").arg("memory").query_async::<Value>(redis).await;
    let memory = memory.and_then(|memory| Ok(String::from_redis_value(memory)?));
    let Ok(memory) = memory else {
        return;
    };
    let Some(policy) = field(&memory, "maxmemory_policy") else {
        return;
    };
    if !IS_KNOWN.swap(true, Ordering::Relaxed) && policy == "noeviction" {
        tracing::warn!(
            server = address,
            variable,
            "the server of the cache evicts nothing (its `maxmemory-policy` is `noeviction`), as that of \
             a queue: once its memory is full, it refuses what other programs write too; set \
             `CACHE_URL` to a server of the cache's own, or `maxmemory-policy` to `allkeys-lru`"
        );
    }
}
