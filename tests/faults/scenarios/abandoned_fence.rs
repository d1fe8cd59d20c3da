//! Updates behind a fence of one name fail, one after the other.

use cache_runtime::{Cache, cache_invalidate};
use cache_tests::RedisServer;

use crate::figure::Figure;
use crate::rows::patient;
use crate::suite::Size;

pub(crate) const BYTES: &str = "bytes of the fence, which a reader fetches";
pub(crate) const TIME: &str =
    "server's time for the last updates, in percent of that for the first";

#[cache_invalidate("row", fence = "10m", cache = cache)]
async fn update(cache: &Cache) -> Result<(), &'static str> {
    Err("no such row")
}

pub(crate) async fn failing_updates(size: Size) -> Vec<Figure> {
    let updates = size.pick(3_000, 1_000);
    let server = RedisServer::start();
    let cache = patient(&server.url());
    // The first ones fill the fence.
    fail(&cache, 100).await;
    let first = time_of(&server, &cache, updates / 10).await;
    fail(&cache, updates).await;
    let last = time_of(&server, &cache, updates / 10).await;
    let bytes = server
        .keys()
        .into_iter()
        .map(|key| server.query(&["STRLEN", &key]));
    vec![
        Figure::at_most(BYTES, bytes.max().unwrap_or(0), 521),
        Figure::at_most(TIME, last * 100 / first, 300),
    ]
}

async fn fail(cache: &Cache, updates: u32) {
    for _ in 0..updates {
        assert!(update(cache).await.is_err());
    }
}

/// How many microseconds the server takes for the commands of so many updates.
async fn time_of(server: &RedisServer, cache: &Cache, updates: u32) -> u64 {
    let () = server.query(&["CONFIG", "RESETSTAT"]);
    fail(cache, updates).await;
    let stats: String = server.query(&["INFO", "commandstats"]);
    let scripts = stats.lines().find(|line| line.starts_with("cmdstat_eval:"));
    let fields = scripts.expect("scripts have run").split(',');
    let mut micros = fields.filter_map(|field| field.strip_prefix("usec="));
    micros
        .next()
        .and_then(|micros| micros.parse().ok())
        .expect("a number")
}
