//! Readers and writers of two processes, without any fault.

use std::time::Duration;

use cache_tests::RedisServer;

use crate::figure::Figure;
use crate::peer::{Order, Peer};
use crate::rows::{Mix, Rows, Tally, patient};
use crate::suite::Size;

pub(crate) const STALE: &str = "stale reads";

pub(crate) async fn two_processes(size: Size) -> Vec<Figure> {
    let server = RedisServer::start();
    steady(&server.url(), 1, size).await
}

/// Rows that are so far apart, at these servers.
pub(super) async fn steady(url: &str, apart: u32, size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    // So long that a reader that comes after an update meets a load from before it.
    let latency = Duration::from_millis(6);
    let rows = Rows::with(patient(url), folder.path(), latency, 0);
    let mut peer = Peer::patient(url, folder.path());
    let mix = |writers| Mix {
        rows: 4,
        apart,
        readers: 16,
        writers,
        all_writers: 4,
        lasts: size.pick(Duration::from_secs(12), Duration::from_secs(2)),
    };
    peer.tell(&Order::Mix(mix(2..4)));
    rows.mix(mix(0..2)).await;
    let peer = peer.tally();
    assert!(peer.reads > 0 && peer.writes > 0, "the peer took part");
    let tally = rows.tally().and(peer);
    let stuck = rows.stuck((0..4).map(|row| row * apart)).await;
    let mut figures = stale_reads(tally);
    figures.push(Figure::none("stale for good", stuck).of(4));
    figures
}

/// The figures of readers and writers that met.
pub(crate) fn stale_reads(tally: Tally) -> Vec<Figure> {
    assert!(
        tally.hits > 0,
        "an entry that is not served cannot be stale"
    );
    vec![
        Figure::none(STALE, tally.stale).of(tally.reads),
        Figure::broken(tally.broken()),
    ]
}
