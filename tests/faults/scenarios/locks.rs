//! Locks: contenders, holders that are killed or stopped, and servers that lose what they were told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cache_runtime::{Cache, LockGuard};
use cache_tests::{Proxy, RedisServer, until};
use tokio::task::JoinSet;

use crate::figure::Figure;
use crate::peer::{Order, Peer};
use crate::rows::patient;
use crate::suite::Size;

pub(crate) const TOGETHER: &str = "holders at the same time as another";
pub(crate) const TOKENS: &str = "tokens that are not greater than the last";
pub(crate) const LATE: &str = "writes of a holder that has lost it, which their token stops";
pub(crate) const HEARS: &str = "until the first holder hears that it is lost";

/// The lock that a peer takes.
pub(crate) const NAME: &str = "report";

const TTL: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// How much longer than its ttl a holder is stopped.
const LONGER: Duration = Duration::from_millis(1_500);

/// What the holders of a lock see of each other.
#[derive(Default)]
struct Seen {
    is_held: AtomicBool,
    last: AtomicU64,
    together: AtomicU64,
    tokens: AtomicU64,
}

impl Seen {
    fn enter(&self, token: u64) {
        self.together
            .fetch_add(u64::from(self.is_held.swap(true, SeqCst)), SeqCst);
        let last = self.last.fetch_max(token, SeqCst);
        self.tokens.fetch_add(u64::from(token <= last), SeqCst);
    }

    fn leave(&self) {
        self.is_held.store(false, SeqCst);
    }
}

/// Contenders of two caches. Some give up their attempt halfway, and some leave the release to the background.
pub(crate) async fn contenders(size: Size) -> Vec<Figure> {
    let server = RedisServer::start();
    let caches = [patient(&server.url()), patient(&server.url())];
    let contenders = size.pick(1_000, 200);
    let held = Arc::new(Seen::default());
    let mut tasks = JoinSet::new();
    for nth in 0..contenders {
        let (cache, held) = (caches[nth % 2].clone(), held.clone());
        tasks.spawn(async move {
            let lock = cache.lock(NAME, MINUTE);
            if nth % 10 == 0 {
                let moment = Duration::from_micros(50 * (nth as u64 % 40));
                drop(tokio::time::timeout(moment, lock.try_lock()).await);
            }
            let Ok(Some(guard)) = lock.lock_within(MINUTE).await else {
                return false;
            };
            held.enter(guard.token());
            tokio::task::yield_now().await;
            held.leave();
            nth % 4 == 0 || guard.release().await.is_ok()
        });
    }
    let ended = tasks.join_all().await;
    let without = ended.iter().filter(|held| !**held).count() as u64;
    let contenders = contenders as u64;
    vec![
        Figure::none(TOGETHER, held.together.load(SeqCst)).of(contenders),
        Figure::none(TOKENS, held.tokens.load(SeqCst)).of(contenders),
        Figure::none("contenders that never held it", without).of(contenders),
    ]
}

pub(crate) async fn holder_is_killed(_size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start();
    let cache = patient(&server.url());
    let mut peer = Peer::patient(&server.url(), folder.path());
    peer.tell(&Order::HoldLock(TTL));
    let first = peer.token();
    let lock = cache.lock(NAME, TTL);
    // It is renewed for as long as its holder lives.
    let waited = lock.lock_within(TTL * 3 / 2).await.expect("no error");
    let together = u64::from(waited.is_some());
    drop(waited);
    peer.kill();
    let began = Instant::now();
    let next = lock.lock_within(MINUTE).await.expect("no error");
    let took = began.elapsed();
    let token = next.map_or(0, |guard| guard.token());
    vec![
        Figure::none(TOGETHER, together).of(1),
        Figure::within("until the next holder has it", took, TTL + TTL / 5),
        Figure::none(TOKENS, u64::from(token <= first)).of(1),
    ]
}

/// A stopped process does not hear that it has lost its lock. When it goes on, it looks before it writes, and
/// gives back what is not its own any more.
pub(crate) async fn holder_is_stopped(_size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start();
    let cache = patient(&server.url());
    let mut peer = Peer::patient(&server.url(), folder.path());
    peer.tell(&Order::HoldLock(TTL));
    let first = peer.token();
    peer.stop();
    let lock = cache.lock(NAME, TTL);
    let guard = lock.lock_within(MINUTE).await.expect("no error");
    let guard = guard.expect("the ttl of a stopped holder ends");
    let second = guard.token();
    write(&server, second);
    tokio::time::sleep(LONGER).await;
    peer.go_on();
    tokio::time::sleep(TTL / 2).await;
    // What the peer has given back was not this.
    let third = lock.try_lock().await.expect("no error");
    let together = u64::from(third.is_some() || !guard.is_held());
    let late = server
        .query::<Option<u64>>(&["GET", "refused"])
        .unwrap_or(0);
    vec![
        Figure::none(TOGETHER, together).of(1),
        Figure::none(TOKENS, u64::from(second <= first)).of(1),
        // It may have looked just before it was stopped.
        Figure::at_most(LATE, late, 1),
    ]
}

/// The server comes back without its data.
pub(crate) async fn server_restarts_empty(_size: Size) -> Vec<Figure> {
    let mut server = RedisServer::start();
    let cache = patient(&server.url());
    let guard = taken(&cache).await;
    server.restart();
    lost_by_the_server(&cache, guard).await
}

/// A replica that has not heard of the lock takes the primary's place.
pub(crate) async fn failover(_size: Size) -> Vec<Figure> {
    let at_once = ["--repl-diskless-sync-delay", "0"];
    let mut primary = RedisServer::builder().args(&at_once).start();
    let replica = RedisServer::start();
    replica.replicate(primary.port());
    let proxy = Proxy::start(primary.port()).await;
    let cache = patient(&proxy.url());
    drop(taken(&cache).await);
    until(async || primary.keys() == replica.keys()).await;
    replica.promote();
    let guard = taken(&cache).await;
    proxy.redirect(replica.port());
    primary.kill();
    lost_by_the_server(&cache, guard).await
}

async fn taken(cache: &Cache) -> LockGuard {
    let guard = cache.lock(NAME, TTL).lock_within(MINUTE).await;
    guard.expect("no error").expect("in time")
}

/// Two hold it, as the docs say. The first hears of it, and its token is the smaller one.
async fn lost_by_the_server(cache: &Cache, first: LockGuard) -> Vec<Figure> {
    let second = taken(cache).await;
    let began = Instant::now();
    first.lost().await;
    let hears = began.elapsed();
    vec![
        Figure::within(HEARS, hears, TTL),
        Figure::none(TOKENS, u64::from(second.token() <= first.token())).of(1),
        Figure::none("locks that were lost twice", u64::from(!second.is_held())),
    ]
}

/// Holds the lock in a peer, and writes for as long as it is held. Returns the token.
pub(crate) async fn hold(cache: &Cache, url: &str, ttl: Duration) -> u64 {
    let lock = cache.lock(NAME, ttl);
    let guard = lock.try_lock().await.expect("no error").expect("free");
    let token = guard.token();
    let mut server = redis::Client::open(url)
        .and_then(|client| client.get_connection())
        .expect("the server runs");
    tokio::spawn(async move {
        while guard.is_held() {
            write_over(&mut server, token);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    token
}

/// A write that its token stops if a later holder has written.
const WRITE: &str = "
    if tonumber(ARGV[1]) < tonumber(redis.call('GET', 'greatest') or 0) then
      return redis.call('INCR', 'refused')
    end
    return redis.call('SET', 'greatest', ARGV[1])";

fn write(server: &RedisServer, token: u64) {
    write_over(&mut server.connection(), token);
}

fn write_over(server: &mut redis::Connection, token: u64) {
    let written = redis::cmd("EVAL").arg(WRITE).arg(0).arg(token).exec(server);
    written.expect("the server runs");
}
