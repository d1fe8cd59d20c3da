//! A replica takes the primary's place, and has not heard of the last updates.

use std::time::{Duration, Instant};

use cache_tests::{Proxy, RedisServer};

use super::restored::{ROWS, STALE, update_all};
use crate::figure::Figure;
use crate::rows::{Rows, patient};
use crate::suite::Size;

pub(crate) async fn to_a_replica(_size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    // It would wait for more replicas to ask.
    let at_once = ["--repl-diskless-sync-delay", "0"];
    let mut primary = RedisServer::builder().args(&at_once).start();
    let replica = RedisServer::start();
    let port = primary.port().to_string();
    let () = replica.query(&["REPLICAOF", "127.0.0.1", &port]);
    // The URL stays the same, as it does behind a load balancer or a floating address.
    let proxy = Proxy::start(primary.port()).await;
    let rows = Rows::new(patient(&proxy.url()), folder.path());
    rows.warm(0..ROWS).await;
    replicated(&primary, &replica).await;
    // From here on the replica hears of nothing.
    let () = replica.query(&["REPLICAOF", "NO", "ONE"]);
    update_all(&rows).await;
    proxy.redirect(replica.port());
    primary.kill();
    vec![
        Figure::none(STALE, rows.stuck(0..ROWS).await).of(ROWS.into()),
        Figure::none("errors, panics and hangs", rows.tally().broken()),
    ]
}

/// Waits until the replica holds all that the primary holds.
async fn replicated(primary: &RedisServer, replica: &RedisServer) {
    let began = Instant::now();
    while primary.keys() != replica.keys() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "the replica does not follow"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
