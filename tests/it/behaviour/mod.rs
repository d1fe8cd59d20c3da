//! What a cache does, on each backend the same.

mod batch;
mod detach;
mod each;
mod flights;
mod freshness;
mod inspect;
mod invalidation;
mod liveness;
mod locks;
mod long_names;
mod manual;
mod many;
mod matching;
mod old_by_hand;
mod on_err;
mod optional;
mod options;
mod prefixes;
mod rate_limits;
mod raw;
mod round_trip;
mod schemas;
mod sessions;
mod shapes;
mod strings;
mod tags;
mod tags_of_value;
mod values;

use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cache_runtime::{Cache, CacheBuilder, Options};
use cache_tests::{EventLog, RedisServer, patient};

/// Runs each behaviour on each backend, as a test of its own.
///
/// A behaviour is an `async fn` of a [`Cache`]; of a [`Recorded`] cache, if it compares events; or
/// of a [`CacheBuilder`], if it needs settings of its own.
///
/// The events of a behaviour are the same on all backends, but for [`without_watches`].
///
/// A backend is one line of the list: the name of the module with its tests; what has to run for
/// as long as the test; and how a builder is pointed to it.
macro_rules! on_every_backend {
    ($($behaviour:ident)+) => {
        $crate::behaviour::on_backends! {
            [$($behaviour)+]
            in_process: (), |builder, ()| builder.url("memory:");
            on_redis: cache_tests::RedisServer::start(), |builder, server| builder.url(server.url());
            through_sentinels: cache_tests::Sentinels::shared(), |builder, set| {
                builder.url(set.url()).namespace($crate::behaviour::own_namespace())
            };
            over_tls: cache_tests::RedisServer::start_with_tls(), |builder, server| builder.url(server.url());
            in_a_cluster: cache_tests::RedisCluster::shared(), |builder, cluster| builder.url(cluster.url()).namespace(cluster.namespace());
            on_upstash: cache_tests::Upstash::start(), |builder, emulator| builder.url(emulator.url());
        }
    };
}
pub(crate) use on_every_backend;

macro_rules! on_backends {
    ($behaviours:tt $($backend:ident: $running:expr, $point:expr;)+) => {
        $($crate::behaviour::on_backend! { $behaviours $backend: $running, $point })+
    };
}
pub(crate) use on_backends;

macro_rules! on_backend {
    ([$($behaviour:ident)+] $backend:ident: $running:expr, $point:expr) => {
        mod $backend {
            $(#[test]
            fn $behaviour() {
                $crate::behaviour::run(Box::pin(async {
                    let running = $running;
                    let subject = $crate::behaviour::subject(&running, $point);
                    super::$behaviour(subject).await;
                }));
            })+
        }
    };
}
pub(crate) use on_backend;

/// Runs a test. It is compiled once, and not for each of thousands of tests.
pub(crate) fn run(test: Pin<Box<dyn Future<Output = ()>>>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(test);
}

/// What a behaviour is a function of.
pub(crate) trait Subject {
    fn new(builder: CacheBuilder) -> Self;
}

impl Subject for Cache {
    fn new(builder: CacheBuilder) -> Self {
        builder.build().unwrap()
    }
}

impl Subject for CacheBuilder {
    fn new(builder: CacheBuilder) -> Self {
        builder
    }
}

/// A cache without jitter, and what it did.
pub(crate) struct Recorded {
    pub(crate) cache: Cache,
    pub(crate) events: EventLog,
}

impl Subject for Recorded {
    fn new(builder: CacheBuilder) -> Self {
        let events = EventLog::default();
        let builder = events.record(builder.jitter(0.0));
        Self {
            // No invalidation is repeated while the test runs.
            cache: builder.settle(PATIENCE).build().unwrap(),
            events,
        }
    }
}

/// Events of callers that come after a load which failed or was dropped. On a server, its lease is
/// given back in the background: until then, the next caller takes it for another process's, and
/// may watch it for a moment.
pub(crate) fn without_watches(mut events: Vec<String>) -> Vec<String> {
    events.retain(|event| !event.starts_with("watch "));
    events
}

pub(crate) fn subject<Running, S: Subject>(
    running: &Running,
    point: impl FnOnce(CacheBuilder, &Running) -> CacheBuilder,
) -> S {
    S::new(point(builder(""), running))
}

/// A namespace that no other test of this process has, for a server that tests share.
pub(crate) fn own_namespace() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Longer than a test waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cache at `url` whose limits are longer than a test waits: a caller that is stranded makes its
/// test fail, and does not only make it slow.
pub(crate) fn builder(url: &str) -> CacheBuilder {
    patient(url)
        .lease(PATIENCE)
        .lease_wait(PATIENCE)
        .load_limit(PATIENCE)
}

/// Whether the cache keeps values in the process, as they are.
fn is_in_process(cache: &Cache) -> bool {
    format!("{cache:?}").contains("\"local\"")
}

/// Hits, misses and loads so far.
fn counts(cache: &Cache) -> [u64; 3] {
    let stats = cache.stats();
    [stats.hits, stats.misses, stats.loads]
}

#[tokio::test]
async fn a_cache_that_is_off_misses_each_time() {
    let Recorded { cache, events } = Subject::new(builder("off:"));
    let options = Options::new;
    cache.set("a", &1, options()).await.unwrap();
    assert_eq!(cache.get::<i32>("a").await.unwrap(), None);
    assert!(!cache.exists("a").await.unwrap());
    for _ in 0..2 {
        let load = async { Ok::<_, ()>(2) };
        assert_eq!(cache.get_or_load("a", options(), load).await, Ok(2));
    }
    cache.invalidate(["a"]).await.unwrap();
    let expected = [
        "not filled a: unstorable",
        "miss a",
        "miss a",
        "load a",
        "not filled a: unstorable",
        "miss a",
        "load a",
        "not filled a: unstorable",
        "invalidate a",
    ];
    assert_eq!(events.take(), expected);
}

#[tokio::test]
async fn namespaces_on_one_server_are_apart() {
    let server = RedisServer::start();
    let one = builder(&server.unix_url()).namespace("one");
    let two = builder(&server.url()).namespace("two");
    let [one, two] = [one, two].map(|builder| builder.build().unwrap());
    for cache in [&one, &two] {
        cache.set("a", &1, Options::new()).await.unwrap();
    }
    assert_eq!(server.keys(), ["one:e:a", "two:e:a"]);
    one.clear().await.unwrap();
    assert_eq!(server.keys(), ["two:e:a"]);
}
