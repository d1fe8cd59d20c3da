//! Copies of the server's entries, in two processes or caches: one of them updates.

use std::time::Duration;

use cache_tests::{Proxy, RedisCluster, RedisServer, Way, patient};
use tempfile::TempDir;

use super::mixed::{self, stale_reads};
use super::{cluster, races};
use crate::copies;
use crate::figure::Figure;
use crate::peer::{Order, Peer};
use crate::rows::{Rows, cache_of};
use crate::suite::Size;

const ROWS: u32 = 20;

pub(crate) async fn races(size: Size) -> Vec<Figure> {
    copies::keep();
    races::on_the_server(size).await
}

pub(crate) async fn steady(size: Size) -> Vec<Figure> {
    copies::keep();
    mixed::two_processes(size).await
}

pub(crate) async fn in_a_cluster(size: Size) -> Vec<Figure> {
    copies::keep();
    cluster::steady(size).await
}

pub(crate) async fn hash_slots_move(size: Size) -> Vec<Figure> {
    copies::keep();
    cluster::moving(size).await
}

/// What is wrong with the connection over which a process hears.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Channel {
    /// Nothing arrives. Requests do.
    Dead,
    /// Messages arrive, and requests do not.
    HalfDead,
    /// What arrives is late by more than the lag.
    Slow,
    /// There is more to hear than arrives in time.
    Flooded,
}

pub(crate) async fn through(channel: Channel, size: Size) -> Vec<Figure> {
    copies::keep();
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    let ours = rows(&folder, &server.url());
    let others = rows(&folder, &proxy.url());
    ours.warm(0..ROWS).await;
    keep_copies(&others).await;
    match channel {
        Channel::Dead => proxy.hold(Way::ToClient),
        Channel::HalfDead => proxy.hold(Way::ToServer),
        Channel::Slow => proxy.delay_way(Way::ToClient, copies::LAG * 2),
        Channel::Flooded => proxy.bandwidth(50_000, Duration::from_secs(1)),
    }
    let rounds = size.pick(20, 4);
    for round in 0..rounds {
        if let Channel::Flooded = channel {
            let message = "e".repeat(10_000);
            for _ in 0..20 {
                let _: u64 = server.query(&["PUBLISH", "faults:0:n", &message]);
            }
        }
        let row = round % ROWS;
        ours.write(row).await;
        let read = async {
            loop {
                for row in 0..ROWS {
                    others.read(row).await;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(copies::LAG * 2, read).await;
    }
    stale_reads(ours.tally().and(others.tally()))
}

/// A process is stopped for longer than the lag, and reads as soon as it goes on.
pub(crate) async fn stopped(size: Size) -> Vec<Figure> {
    copies::keep();
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start();
    let ours = rows(&folder, &server.url());
    let mut peer = Peer::start(&server.url(), folder.path());
    for _ in 0..size.pick(10, 3) {
        for _ in 0..20 {
            peer.tell(&Order::Read(0..ROWS));
            peer.tally();
        }
        peer.stop();
        for row in 0..ROWS {
            ours.write(row).await;
        }
        tokio::time::sleep(copies::LAG * 3 / 2).await;
        peer.tell(&Order::Read(0..ROWS));
        peer.go_on();
        peer.tally();
    }
    peer.tell(&Order::Read(0..0));
    stale_reads(ours.tally().and(peer.tally()))
}

/// What one node of a cluster says does not arrive.
pub(crate) async fn one_node_unheard(size: Size) -> Vec<Figure> {
    copies::keep();
    let folder = tempfile::tempdir().expect("a folder");
    let mut cluster = RedisCluster::builder().start_behind_proxies().await;
    let ours = rows(&folder, &cluster.url());
    ours.warm(0..ROWS).await;
    let others = rows(&folder, &cluster.url());
    keep_copies(&others).await;
    let rounds = size.pick(9, 3);
    for round in 0..rounds {
        for row in 0..ROWS {
            ours.write(row).await;
        }
        // For both caches, so what `ours` could not say there is kept in its journal.
        cluster.proxy(round % 3).hold(Way::ToClient);
        tokio::time::sleep(copies::LAG).await;
        for row in 0..ROWS {
            others.read(row).await;
        }
        cluster.proxy(round % 3).heal().await;
        keep_copies(&others).await;
    }
    stale_reads(ours.tally().and(others.tally()))
}

fn rows(folder: &TempDir, url: &str) -> std::sync::Arc<Rows> {
    Rows::new(cache_of(patient(url), url), folder.path())
}

/// Reads rows until copies of all of them are kept.
async fn keep_copies(rows: &Rows) {
    for _ in 0..20 {
        rows.warm(0..ROWS).await;
        if rows.cache.stats().entries >= u64::from(ROWS) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no copies are kept: {:?}", rows.cache.stats());
}
