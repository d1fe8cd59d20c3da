//! Copies of the server's entries, in two processes or caches: one of them updates.

use std::time::Duration;

use cache_tests::{Proxy, RedisCluster, RedisServer, Way, patient, until};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::cluster;
use super::mixed::{self, stale_reads};
use crate::copies;
use crate::figure::Figure;
use crate::peer::{Order, Peer};
use crate::rows::{A_SHELF, Rows, cache, cache_of};
use crate::suite::Size;

const ROWS: u32 = 20;

pub(crate) async fn steady(size: Size) -> Vec<Figure> {
    copies::keep();
    let server = RedisServer::start();
    mixed::steady(&server.url(), A_SHELF, size).await
}

pub(crate) async fn in_a_cluster(size: Size) -> Vec<Figure> {
    copies::keep();
    let cluster = RedisCluster::start();
    mixed::steady(&cluster.url(), A_SHELF, size).await
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
        Channel::Slow => proxy.delay_way(Way::ToClient, copies::LAG * 3 / 2),
        Channel::Flooded => proxy.bandwidth(50_000, Duration::from_secs(1)),
    }
    let rounds = size.pick(20, 4);
    for _ in 0..rounds {
        if let Channel::Flooded = channel {
            let message = "e".repeat(10_000);
            for _ in 0..20 {
                let _: u64 = server.query(&["PUBLISH", "faults:0:n", &message]);
            }
        }
        for row in 0..ROWS {
            ours.write(row).await;
        }
        // So that the other cache finds an entry.
        ours.warm(0..ROWS).await;
        let mut readers = JoinSet::new();
        for row in 0..ROWS {
            let rows = others.clone();
            readers.spawn(async move {
                loop {
                    rows.read(row).await;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
        }
        tokio::time::sleep(copies::LAG * 2).await;
        readers.shutdown().await;
    }
    stale_reads(ours.tally().and(others.tally()))
}

/// A process is stopped for longer than the lag, and reads as soon as it goes on. What it was told meanwhile
/// has not arrived.
pub(crate) async fn stopped(size: Size) -> Vec<Figure> {
    copies::keep();
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    let ours = rows(&folder, &server.url());
    let mut peer = Peer::patient(&proxy.url(), folder.path());
    for _ in 0..size.pick(10, 3) {
        for _ in 0..20 {
            peer.tell(&Order::Read(0..ROWS));
            peer.tally();
        }
        proxy.hold(Way::ToClient);
        peer.stop();
        for row in 0..ROWS {
            ours.write(row).await;
        }
        tokio::time::sleep(copies::LAG * 3 / 2).await;
        peer.tell(&Order::Read(0..ROWS));
        peer.go_on();
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.release(Way::ToClient);
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
    let [ours, others] = [(); 2].map(|()| {
        let cache = cache(&cluster.url()).build().expect("a cache");
        Rows::new(cache, folder.path())
    });
    ours.warm(0..ROWS).await;
    let rounds = size.pick(9, 3);
    for round in 0..rounds {
        keep_copies(&others).await;
        // For both caches: what `ours` is not told to be done there stays in its journal, too.
        cluster.proxy(round % 3).hold(Way::ToClient);
        for row in 0..ROWS {
            ours.write(row).await;
        }
        tokio::time::sleep(copies::LAG).await;
        for row in 0..ROWS {
            others.read(row).await;
        }
        cluster.proxy(round % 3).heal().await;
        // Until then, other processes may be served what could not be invalidated.
        until(async || ours.cache.health().waiting == 0).await;
    }
    stale_reads(ours.tally().and(others.tally()))
}

fn rows(folder: &TempDir, url: &str) -> std::sync::Arc<Rows> {
    Rows::new(cache_of(patient(url), url), folder.path())
}

/// Reads rows until copies of all of them are kept.
async fn keep_copies(rows: &Rows) {
    until(async || {
        rows.warm(0..ROWS).await;
        rows.cache.stats().entries >= u64::from(ROWS)
    })
    .await;
}
