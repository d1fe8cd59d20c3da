//! A command is held back in a connection until its call has given up, and longer.

use std::collections::HashSet;
use std::time::Duration;

use cache_runtime::{Options, key};
use cache_tests::{Proxy, RedisServer, Way, until};
use tokio::task::JoinSet;

use super::restored::{ROWS, STALE};
use crate::figure::Figure;
use crate::rows::{cache, patient};
use crate::suite::Size;

/// Rows are set by hand, and the command that stores each of them is held back. Meanwhile they are
/// invalidated by another process, and then the commands arrive.
pub(crate) async fn sets(_size: Size) -> Vec<Figure> {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let elsewhere = patient(&server.url());
    elsewhere.ping().await.expect("the server runs");
    let others = connections(&server);
    // Long enough for the requests that come before the ones that are held back.
    let here = cache(&proxy.url()).op_timeout(Duration::from_secs(1));
    let here = here.build().expect("a cache");
    here.ping().await.expect("the server runs");
    let connections_here = &connections(&server) - &others;
    proxy.hold(Way::ToClient);
    let mut sets = JoinSet::new();
    for row in 0..ROWS {
        let here = here.clone();
        sets.spawn(async move { here.set(key!("row:<row>"), &0, Options::new()).await });
    }
    // Each slot has a lease, and no answer has arrived.
    until(async || server.keys().len() >= ROWS as usize).await;
    proxy.hold(Way::ToServer);
    proxy.release(Way::ToClient);
    let set = sets.join_all().await;
    assert!(set.iter().all(Result::is_err), "they are held back");
    let names = (0..ROWS).map(|row| key!("row:<row>"));
    elsewhere.invalidate(names).await.expect("the server runs");
    proxy.heal().await;
    until(async || connections(&server).is_disjoint(&connections_here)).await;
    let mut stale = 0;
    for row in 0..ROWS {
        let read = elsewhere.get::<u64>(key!("row:<row>")).await;
        stale += u64::from(read.expect("the server runs").is_some());
    }
    vec![Figure::none(STALE, stale).of(ROWS.into())]
}

/// The ids of the connections that a server has.
fn connections(server: &RedisServer) -> HashSet<String> {
    let list: String = server.query(&["CLIENT", "LIST"]);
    let ids = list.lines().filter_map(|line| line.split(' ').next());
    ids.map(str::to_owned).collect()
}
