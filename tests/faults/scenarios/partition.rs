//! Two processes. One of them cannot send its invalidations to the server.

use std::time::{Duration, Instant};

use cache_tests::RedisServer;

use super::outage::{AT_REST, LOST, REPLAYED, Setup, three_seconds};
use super::restored::ROWS;
use crate::figure::Figure;
use crate::peer::{Order, Peer};
use crate::rows::{Rows, cache};
use crate::suite::Size;

pub(crate) const LATE: &str = "rows served as they were, by another process";
pub(crate) const LATE_HERE: &str = "the same, by the process that updates";

/// The writer is cut off; the other process is not.
pub(crate) async fn writer_cut_off(size: Size) -> Vec<Figure> {
    let mut setup = Setup::new(|builder| builder).await;
    let mut peer = Peer::start(&setup.server.url(), setup.folder());
    peer.tell(&Order::Read(0..ROWS));
    peer.tally();
    setup.proxy.cut().await;
    setup.update_for(three_seconds(size)).await;
    setup.proxy.heal().await;
    let began = Instant::now();
    let mut lost = 0;
    for row in 0..ROWS {
        let mut is_stuck = || {
            peer.tell(&Order::Stuck(row..row + 1));
            peer.stuck() > 0
        };
        while is_stuck() {
            if began.elapsed() > AT_REST {
                lost += 1;
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    vec![
        Figure::none(LOST, lost).of(ROWS.into()),
        Figure::broken(setup.ours.tally().broken()),
        Figure::shown(REPLAYED, began.elapsed()),
    ]
}

/// The server takes no writes, since it has too few replicas. It still passes messages on.
pub(crate) async fn writes_refused(_size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start();
    let rows = Rows::new(
        cache(&server.url()).build().expect("a cache"),
        folder.path(),
    );
    let mut peer = Peer::start(&server.url(), folder.path());
    rows.warm(0..ROWS).await;
    peer.tell(&Order::Read(0..ROWS));
    assert!(
        peer.tally().hits > 0,
        "an entry that is not served cannot be stale"
    );
    server.refuse_writes();
    for row in 0..ROWS {
        rows.write(row).await;
        peer.tell(&Order::Read(row..row + 1));
        peer.tally();
        rows.read(row).await;
    }
    server.accept_writes();
    let (ours, theirs) = (rows.tally(), {
        peer.tell(&Order::Read(0..0));
        peer.tally()
    });
    vec![
        Figure::none(LATE, theirs.stale).of(ROWS.into()),
        Figure::none(LATE_HERE, ours.stale).of(ROWS.into()),
        Figure::broken(ours.and(theirs).broken()),
    ]
}
