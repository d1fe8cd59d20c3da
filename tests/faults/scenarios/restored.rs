//! The server comes back with its data from before the last updates.

use cache_tests::RedisServer;

use crate::figure::Figure;
use crate::rows::{Rows, patient};
use crate::suite::Size;

pub(crate) const STALE: &str = "stale rows";

pub(crate) const ROWS: u32 = 200;

pub(crate) async fn from_a_snapshot(_size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = RedisServer::start();
    let rows = Rows::new(patient(&server.url()), folder.path());
    rows.warm(0..ROWS).await;
    server.save();
    update_all(&rows).await;
    server.restart_from_snapshot();
    let stored: u64 = server.query(&["DBSIZE"]);
    assert!(stored > ROWS.into(), "the snapshot has all entries");
    vec![
        Figure::none(STALE, rows.stuck(0..ROWS).await).of(ROWS.into()),
        Figure::broken(rows.tally().broken()),
    ]
}

pub(crate) async fn update_all(rows: &Rows) {
    for row in 0..ROWS {
        rows.write(row).await;
    }
}
