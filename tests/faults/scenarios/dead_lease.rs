//! Leases that stand on a server after their loads have ended, since the network or the server has
//! failed meanwhile.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use cache_tests::{Proxy, RedisServer, Way, until};
use tokio::task::{JoinHandle, JoinSet};

use super::liveness::{Reads, longest, time};
use super::outage::CALL;
use crate::figure::Figure;
use crate::rows::cache;
use crate::suite::Size;

pub(crate) const HERE: &str = "longest read after it, in the process that loaded";
pub(crate) const ELSEWHERE: &str = "longest read after it, in another process";
pub(crate) const WATCHING: &str = "longest wait after it, of those that waited before";
const CUT_OFF: &str = "longest call during it, over its load";

/// The rows that this process reads after the fault. With the others, they are as few as reads have
/// a command each: a paused server answers no read that it gets after a request for a lease.
const OURS: [&str; 4] = ["0", "1", "2", "3"];
/// The rows that another process reads.
const THEIRS: [&str; 4] = ["4", "5", "6", "7"];

/// The rows for whose loads another process waits during the fault.
const WATCHED: [&str; 4] = ["8", "9", "10", "11"];

/// How long a load takes that the fault interrupts.
const LOAD: Duration = Duration::from_millis(300);

/// So long that no connection is made that was begun before.
const REFUSED: Duration = Duration::from_millis(120);

/// So long that each request for giving a lease back fails once.
const TRIES: Duration = Duration::from_millis(300);

/// How long a load takes that is still under way when others read.
const LONG_LOAD: Duration = Duration::from_secs(5);

/// Loads begin, and then nothing that this process sends arrives. So it cannot give its leases back.
pub(crate) async fn commands_held(_size: Size) -> Vec<Figure> {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let reads = Reads::new(cache(&proxy.url()));
    reads.cache.ping().await.expect("the server runs");
    let loads = load_all(&reads, rows(), LOAD);
    leases_stand(&server, rows().count()).await;
    proxy.hold(Way::ToServer);
    let cut_off = loads.await.expect("no panic");
    // What was sent meanwhile is lost.
    proxy.cut().await;
    tokio::time::sleep(REFUSED).await;
    proxy.heal().await;
    after_the_hole(&server, &reads, cut_off.saturating_sub(LOAD)).await
}

/// The server gives leases, and this process does not hear of it.
pub(crate) async fn answers_held(_size: Size) -> Vec<Figure> {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let reads = Reads::new(cache(&proxy.url()));
    // The server knows the scripts before the pause.
    reads.read("another", async { 1 }).await;
    server.flush_all();
    let () = server.query(&["CLIENT", "PAUSE", "5000", "WRITE"]);
    let loads = load_all(&reads, rows(), Duration::ZERO);
    // The slots were read, and the leases asked for.
    tokio::time::sleep(Duration::from_millis(50)).await;
    proxy.hold(Way::ToClient);
    let () = server.query(&["CLIENT", "UNPAUSE"]);
    leases_stand(&server, rows().count()).await;
    let cut_off = loads.await.expect("no panic");
    tokio::time::sleep(TRIES).await;
    proxy.heal().await;
    after_the_hole(&server, &reads, cut_off).await
}

async fn after_the_hole(server: &RedisServer, reads: &Reads, cut_off: Duration) -> Vec<Figure> {
    until(async || reads.cache.ping().await.is_ok()).await;
    let others = Reads::new(cache(&server.url()));
    let (here, elsewhere) = tokio::join!(read_all(reads, OURS), read_all(&others, THEIRS));
    vec![
        Figure::within(CUT_OFF, cut_off, CALL),
        Figure::within(HERE, here, CALL),
        Figure::within(ELSEWHERE, elsewhere, CALL),
    ]
}

/// A replica takes the primary's place while loads run. It has their leases.
pub(crate) async fn failover(_size: Size) -> Vec<Figure> {
    // By default a primary waits for more replicas before it sends its data.
    let at_once = ["--repl-diskless-sync-delay", "0"];
    let mut primary = RedisServer::builder().args(&at_once).start();
    let replica = RedisServer::start();
    replica.replicate(primary.port());
    let proxy = Proxy::start(primary.port()).await;
    let reads = Reads::new(cache(&proxy.url()));
    let others = Reads::new(cache(&proxy.url()));
    others.cache.ping().await.expect("the server runs");
    let loads = load_all(&reads, rows().chain(WATCHED), LONG_LOAD);
    leases_stand(&replica, rows().chain(WATCHED).count()).await;
    let mut watching = JoinSet::new();
    for key in WATCHED {
        let waits = others.clone();
        watching.spawn(async move { waits.read(key, async { 2 }).await });
        others.events.until(&format!("watch {key}")).await;
    }
    replica.promote();
    proxy.redirect(replica.port());
    primary.kill();
    let watched = tokio::spawn(time(watching.join_all()));
    let (here, elsewhere) = tokio::join!(read_all(&reads, OURS), read_all(&others, THEIRS));
    let watched = watched.await.expect("no panic");
    loads.abort();
    vec![
        Figure::within(WATCHING, watched, CALL),
        Figure::within(HERE, here, CALL),
        Figure::within(ELSEWHERE, elsewhere, CALL),
    ]
}

/// Begins a load of each row. Returns the longest wait. One task polls all calls, so the server gets
/// all their reads before the first request for a lease.
fn load_all(
    reads: &Reads,
    rows: impl Iterator<Item = &'static str>,
    takes: Duration,
) -> JoinHandle<Duration> {
    let call = |key: &'static str| {
        let reads = reads.clone();
        Box::pin(async move {
            let load = async {
                tokio::time::sleep(takes).await;
                1
            };
            time(reads.read(key, load)).await
        })
    };
    let mut calls: Vec<_> = rows.map(call).collect();
    let mut longest = Duration::ZERO;
    tokio::spawn(poll_fn(move |context| {
        calls.retain_mut(|call| match call.as_mut().poll(context) {
            Poll::Ready(wait) => {
                longest = longest.max(wait);
                false
            }
            Poll::Pending => true,
        });
        if calls.is_empty() {
            Poll::Ready(longest)
        } else {
            Poll::Pending
        }
    }))
}

async fn leases_stand(server: &RedisServer, count: usize) {
    let slots = || server.keys().into_iter().filter(|key| key.contains(":e:"));
    until(async || slots().count() >= count).await;
}

fn rows() -> impl Iterator<Item = &'static str> {
    OURS.into_iter().chain(THEIRS)
}

/// Several callers read each row. Returns the longest wait.
async fn read_all(reads: &Reads, keys: [&'static str; 4]) -> Duration {
    let mut waits = JoinSet::new();
    for key in keys.into_iter().cycle().take(keys.len() * 3) {
        let reads = reads.clone();
        waits.spawn(async move { time(reads.read(key, async { 2 })).await });
    }
    longest(waits).await
}
