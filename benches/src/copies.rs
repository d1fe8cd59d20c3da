//! On Redis: hits on copies that a process keeps of the server's entries, beside hits in a process without a
//! server.
//!
//! Between its turns, nothing drives the runtime of a contestant. So the first call of a turn asks the
//! server, which shows that copies may be served again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use cache_runtime::Cache;
use cache_tests::RedisServer;

use crate::harness::{
    Contestant, Effort,
    Role::{Floor, Ours},
    Row, compare, one_after_the_other,
};
use crate::value::{IDS, Ids, User};

#[cache_runtime::cached(
    key = "user:<id>", ttl = "1h", local_ttl = "1h", invalidate_on = "users", cache = cache, skip(cache)
)]
async fn ours(cache: &Cache, id: u64) -> Result<Arc<User>, Infallible> {
    Ok(Arc::new(User::load(id)))
}

pub(crate) fn hit(effort: Effort) -> Vec<Row> {
    let server = RedisServer::start();
    let ids = Ids::zipf(IDS);
    let effort = Effort {
        slice: effort.slice * 8,
        ..effort
    };
    let cache = |url: &str| {
        let cache = Cache::builder().url(url).op_timeout(Duration::from_mins(1));
        cache.build().expect("a cache")
    };
    let [copies, in_process] = [cache(&server.url()), cache("memory:")];
    let contestants = vec![
        Contestant::new("ours, a copy", Ours, {
            let mut read = one_after_the_other(&ids, async |id| ours(&copies, id).await);
            // Loaded, read from the server, and kept.
            for _ in 0..50 {
                read(IDS);
            }
            let stats = copies.stats();
            assert!(stats.hits_in_front > stats.hits / 10 * 9, "{stats:?}");
            read
        }),
        Contestant::new("ours, `memory:`", Floor, {
            let mut read = one_after_the_other(&ids, async |id| ours(&in_process, id).await);
            read(IDS);
            read
        }),
    ];
    compare("copies-hit", effort, contestants)
}
