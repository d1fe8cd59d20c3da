//! The server cannot save its data, and therefore takes no writes.

use std::path::PathBuf;
use std::time::Duration;

use cache_tests::{RedisServer, until};

use super::restored::ROWS;
use crate::figure::Figure;
use crate::peer::{Order, Peer};
use crate::rows::{Rows, patient};

pub(crate) const MISSED: &str = "misses of warm rows";

/// A process connects while the server answers all writes, and `PING`, with `MISCONF`.
pub(crate) async fn misconf() -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::builder()
        .args(&["--stop-writes-on-bgsave-error", "yes"])
        .start();
    // Only a server that is to save its data minds that it cannot.
    server.configure("save", "3600 1000000");
    let rows = Rows::new(patient(&server.url()), folder.path());
    rows.warm(0..ROWS).await;
    // A snapshot is renamed to this, which is impossible for a folder with something in it.
    let (_, home): (String, PathBuf) = {
        let (name, home): (String, String) = server.query(&["CONFIG", "GET", "dir"]);
        (name, home.into())
    };
    std::fs::create_dir_all(home.join("dump.rdb/taken")).expect("a folder");
    let () = server.query(&["BGSAVE"]);
    until(async || {
        let info: String = server.query(&["INFO", "persistence"]);
        info.contains("rdb_last_bgsave_status:err")
    })
    .await;
    let refused = redis::cmd("PING").query::<String>(&mut server.connection());
    assert!(refused.is_err(), "the server refuses writes");
    let mut peer = Peer::start(&server.url(), folder.path());
    peer.tell(&Order::Read(0..ROWS));
    let theirs = peer.tally();
    vec![
        Figure::at_most(MISSED, u64::from(ROWS) - theirs.hits.min(ROWS.into()), 0).of(ROWS.into()),
        Figure::within("longest call", theirs.longest, Duration::from_millis(150)),
        Figure::broken(theirs.and(rows.tally()).broken()),
    ]
}
