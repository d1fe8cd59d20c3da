//! Entries that live longer than their function says.

use std::convert::Infallible;
use std::time::Duration;

use cache_runtime::{Cache, cached};
use cache_tests::RedisServer;

use super::restored::ROWS;
use crate::figure::Figure;
use crate::rows::{A_SHELF, patient};
use crate::suite::Size;

pub(crate) const MISSED: &str = "cached rows that are missed";

/// Longer than a version lives that was read for the default ttl, of five minutes.
const LATER: Duration = Duration::from_secs(30 * 60);

#[cached(
    key = "row:<row>",
    ttl = |_| Duration::from_secs(86_400),
    invalidate_on = "shelf:<shelf>",
    cache = cache,
    skip(cache, shelf)
)]
async fn find(cache: &Cache, row: u32, shelf: u32) -> Result<u32, Infallible> {
    Ok(row)
}

/// The ttl of entries with tags comes from their values. They are read half an hour later.
pub(crate) async fn ttl_from_the_value(_size: Size) -> Vec<Figure> {
    let server = RedisServer::start();
    let cache = patient(&server.url());
    for row in 0..ROWS {
        let Ok(_) = find(&cache, row, row / A_SHELF).await;
    }
    pass_time(&server, LATER);
    let before = cache.stats().misses;
    for row in 0..ROWS {
        let Ok(_) = find(&cache, row, row / A_SHELF).await;
    }
    let missed = cache.stats().misses - before;
    vec![Figure::none(MISSED, missed).of(ROWS.into())]
}

/// Takes time from all that the server holds.
fn pass_time(server: &RedisServer, time: Duration) {
    let passed = i64::try_from(time.as_millis()).expect("half an hour");
    for key in server.keys() {
        let left: i64 = server.query(&["PTTL", &key]);
        // One that has no time left is removed.
        let () = server.query(&["PEXPIRE", &key, &(left - passed).to_string()]);
    }
}
