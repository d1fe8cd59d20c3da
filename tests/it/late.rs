//! A request whose caller has given up may still reach the server, through a connection that had
//! stalled. Whatever it was to do, what was invalidated meanwhile does not come back.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use cache_runtime::{Cache, Options, cache_invalidate};
use cache_tests::{EventLog, LIMIT, Proxy, RedisServer, Way, patient, poll_once, until};

use crate::gated::Gate;

const OLD: &str = "old";
const NEW: &str = "new";

/// What a slot holds before the call.
#[derive(Clone, Copy)]
enum Slot {
    Empty,
    Entry,
}

/// Which request of the call stalls.
#[derive(Clone, Copy)]
enum Stalls {
    First,
    Second,
    /// The first one after the body.
    AfterTheBody,
    SecondAfterTheBody,
}

/// A body, or a load, that waits for the test.
#[derive(Clone)]
struct Body(Arc<[Gate; 2]>);

impl Body {
    async fn run(&self) {
        let [begun, may_end] = &*self.0;
        begun.open();
        may_end.passed().await;
    }
}

/// Runs `call` until one of its requests stalls, and then until it gives up. The row is invalidated
/// by another process, and the request arrives.
async fn late<F>(slot: Slot, stalls: Stalls, call: impl FnOnce(Cache, Body) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let elsewhere = patient(&server.url()).build().unwrap();
    let options = || Options::new().tag("rows");
    if let Slot::Entry = slot {
        let old = OLD.to_owned();
        elsewhere.set("row", &old, options()).await.unwrap();
    }
    elsewhere.ping().await.unwrap();
    let others = connections(&server);
    let here = Cache::builder().url(proxy.url());
    // Long enough for each request before the one that stalls.
    let here = here.op_timeout(Duration::from_secs(1)).build().unwrap();
    here.ping().await.unwrap();
    let connections_here = &connections(&server) - &others;

    let body = Body(Arc::new([Gate::new(), Gate::new()]));
    let spawn = |call: F| tokio::spawn(call);
    let call = call(here, body.clone());
    let [begun, may_end] = &*body.0;
    let call = match stalls {
        Stalls::First => {
            proxy.hold(Way::ToServer);
            spawn(call)
        }
        Stalls::Second => {
            proxy.hold(Way::ToClient);
            let executed = executed(&server);
            let call = spawn(call);
            stall_the_next(&server, &proxy, executed).await;
            call
        }
        Stalls::AfterTheBody => {
            let call = spawn(call);
            begun.passed().await;
            proxy.hold(Way::ToServer);
            may_end.open();
            call
        }
        Stalls::SecondAfterTheBody => {
            let call = spawn(call);
            begun.passed().await;
            proxy.hold(Way::ToClient);
            let executed = executed(&server);
            may_end.open();
            stall_the_next(&server, &proxy, executed).await;
            call
        }
    };
    may_end.open();
    call.await.unwrap();

    elsewhere.invalidate(["row", "rows"]).await.unwrap();
    let before = elsewhere.get::<String>("row").await.unwrap();
    assert_eq!(before.as_deref(), None);
    proxy.heal().await;
    until(async || connections(&server).is_disjoint(&connections_here)).await;
    let after = elsewhere.get::<String>("row").await.unwrap();
    assert_eq!(after.as_deref(), None, "it came back");
    // What the request has left in the slot delays no call for long.
    let load = async { Ok::<_, ()>(NEW.to_owned()) };
    let loaded = elsewhere.get_or_load("row", options(), load);
    let loaded = tokio::time::timeout(LIMIT, loaded).await.unwrap();
    assert_eq!(loaded.as_deref(), Ok(NEW));
}

/// Once the server has carried out the request whose answer is held: lets the answer pass, and holds
/// the next request.
async fn stall_the_next(server: &RedisServer, proxy: &Proxy, executed_before: u64) {
    until(async || executed(server) > executed_before).await;
    proxy.hold(Way::ToServer);
    proxy.release(Way::ToClient);
}

/// The ids of the connections that a server has.
fn connections(server: &RedisServer) -> HashSet<String> {
    let list: String = server.query(&["CLIENT", "LIST"]);
    let ids = list.lines().filter_map(|line| line.split(' ').next());
    ids.map(str::to_owned).collect()
}

/// How many requests of caches the server has carried out.
fn executed(server: &RedisServer) -> u64 {
    let commands = ["eval", "mget", "ping", "scan"];
    commands.iter().map(|command| server.calls(command)).sum()
}

/// Its lease ends sooner than callers would go without it.
#[tokio::test]
async fn a_set_that_is_set_aside_does_not_keep_readers_waiting() {
    let server = RedisServer::start();
    let setter = Cache::builder().url(server.url()).build().unwrap();
    let old = OLD.to_owned();
    let mut set = pin!(setter.set("row", &old, Options::new()));
    until(async || {
        let has_lease = !server.keys().is_empty();
        has_lease || poll_once(set.as_mut()).is_ready()
    })
    .await;
    let events = EventLog::default();
    let reader = events.record(patient(&server.url()).jitter(0.0));
    let reader = reader.build().unwrap();
    let load = async { Ok::<_, ()>(NEW.to_owned()) };
    let loaded = reader.get_or_load("row", Options::new(), load).await;
    assert_eq!(loaded.as_deref(), Ok(NEW));
    let expected = ["watch row", "miss row", "load row", "fill row ttl=300s"];
    assert_eq!(events.take(), expected);
    // Its lease has ended, so the value is not stored any more.
    let _ = set.await;
    let stored = reader.get::<String>("row").await.unwrap();
    assert_eq!(stored.as_deref(), Some(NEW));
}

async fn set(cache: Cache, _: Body) {
    let options = Options::new().tag("rows");
    let set = cache.set("row", &OLD.to_owned(), options).await;
    assert!(set.is_err_and(|error| error.is_timeout()));
}

async fn load(cache: Cache, body: Body) {
    let load = async {
        body.run().await;
        Ok::<_, ()>(OLD.to_owned())
    };
    let options = Options::new().tag("rows");
    let loaded = cache.get_or_load("row", options, load).await;
    assert_eq!(loaded.as_deref(), Ok(OLD));
}

async fn update(cache: Cache, body: Body) {
    #[cache_invalidate("row", "rows", fence = "1s", cache = cache)]
    async fn update(cache: &Cache, body: Body) {
        body.run().await;
    }
    update(&cache, body).await;
}

async fn delete(cache: Cache, _: Body) {
    let deleted = cache.delete("row").await;
    assert!(deleted.is_err_and(|error| error.is_timeout()));
}

async fn clear(cache: Cache, _: Body) {
    let cleared = cache.clear().await;
    assert!(cleared.is_err_and(|error| error.is_timeout()));
}

async fn invalidate(cache: Cache, _: Body) {
    let invalidated = cache.invalidate(["row", "rows"]).await;
    assert!(invalidated.is_err_and(|error| error.is_timeout()));
}

macro_rules! late {
    ($($test:ident: $slot:ident, $stalls:ident, $call:ident)+) => {$(
        #[tokio::test]
        async fn $test() {
            late(Slot::$slot, Stalls::$stalls, $call).await;
        }
    )+};
}

late! {
    a_set_that_prepares_an_empty_slot: Empty, First, set
    a_set_that_prepares_a_full_slot: Entry, First, set
    a_set_that_fills_an_empty_slot: Empty, Second, set
    a_set_that_replaces_an_entry: Entry, Second, set
    a_request_for_a_lease: Empty, Second, load
    a_fill_after_a_load: Empty, AfterTheBody, load
    a_writer_that_joins_a_fence: Entry, First, update
    an_invalidation_after_a_body: Entry, AfterTheBody, update
    a_writer_that_leaves_its_fence: Entry, SecondAfterTheBody, update
    a_deletion: Entry, First, delete
    a_clearing_of_the_cache: Entry, Second, clear
    an_invalidation: Entry, First, invalidate
}
