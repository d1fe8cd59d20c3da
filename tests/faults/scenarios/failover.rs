//! A replica takes the primary's place, and lacks the last updates.

use cache_tests::{Proxy, RedisServer, until};

use super::restored::{ROWS, STALE, update_all};
use crate::figure::Figure;
use crate::rows::{Rows, patient};
use crate::suite::Size;

pub(crate) async fn to_a_replica(_size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    // By default a primary waits for more replicas before it sends its data.
    let at_once = ["--repl-diskless-sync-delay", "0"];
    let mut primary = RedisServer::builder().args(&at_once).start();
    let replica = RedisServer::start();
    replica.replicate(primary.port());
    // The URL stays the same, as it does behind a load balancer or a floating address.
    let proxy = Proxy::start(primary.port()).await;
    let rows = Rows::new(patient(&proxy.url()), folder.path());
    rows.warm(0..ROWS).await;
    until(async || primary.keys() == replica.keys()).await;
    // From here on the replica gets no data.
    replica.promote();
    update_all(&rows).await;
    proxy.redirect(replica.port());
    primary.kill();
    vec![
        Figure::none(STALE, rows.stuck(0..ROWS).await).of(ROWS.into()),
        Figure::broken(rows.tally().broken()),
    ]
}
