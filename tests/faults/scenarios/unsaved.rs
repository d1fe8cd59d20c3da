//! The server cannot save, and refuses writes and `PING` with `MISCONF`.

use std::time::{Duration, Instant};

use cache_tests::RedisServer;

use super::restored::ROWS;
use crate::figure::Figure;
use crate::rows::{Rows, patient};

pub(crate) const LOADED: &str = "rows loaded again by a process that connects meanwhile";

/// How long the server may take to notice that it cannot save.
const NOTICE: Duration = Duration::from_secs(10);

pub(crate) async fn cannot_save() -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = ["--enable-protected-configs", "yes"];
    let server = RedisServer::builder().args(&settings).start();
    let rows = Rows::new(patient(&server.url()), folder.path());
    rows.warm(0..ROWS).await;
    server.configure("save", "3600 1");
    // No file can be made there, not even by an administrator.
    server.configure("dir", "/proc");
    let _: String = server.query(&["BGSAVE"]);
    let begun = Instant::now();
    let has_noticed = || {
        let persistence: String = server.query(&["INFO", "persistence"]);
        persistence.contains("rdb_last_bgsave_status:err")
    };
    while !has_noticed() {
        assert!(begun.elapsed() < NOTICE, "the server saves all the same");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let later = Rows::new(patient(&server.url()), folder.path());
    later.warm(0..ROWS).await;
    let loads = later.cache.stats().loads;
    vec![
        Figure::none(LOADED, loads).of(ROWS.into()),
        Figure::broken(rows.tally().broken() + later.tally().broken()),
    ]
}
