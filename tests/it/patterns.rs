//! A pattern that cannot be invalidated is kept and repeated; until then nothing that matches it is
//! served. And: how many commands several keys take.

use std::time::Duration;

use cache_runtime::{Cache, CacheBuilder, Options, key};
use cache_tests::{
    EventLog, LIMIT, Proxy, RedisCluster, RedisServer, Way, patient, slot_of, until,
};

fn builder(url: &str) -> CacheBuilder {
    const SOON: Duration = Duration::from_secs(2);
    let builder = Cache::builder().url(url).namespace("test").jitter(0.0);
    builder.op_timeout(SOON).connect_timeout(SOON)
}

fn recorded(url: &str) -> (Cache, EventLog) {
    let events = EventLog::default();
    (events.record(builder(url)).build().unwrap(), events)
}

const KEYS: [&str; 3] = ["user:1", "user:2", "post:1"];

async fn fill(cache: &Cache) {
    for key in KEYS {
        let options = Options::new().tag(format!("tag:{key}"));
        cache.set(key, &1, options).await.unwrap();
    }
}

async fn served(cache: &Cache) -> Vec<bool> {
    let got = cache.get_many::<i32>(KEYS).await.unwrap();
    got.iter().map(Option::is_some).collect()
}

/// Waits until a cache serves these of the keys.
async fn until_served(cache: &Cache, expected: [bool; 3]) {
    until(async || {
        let got = cache.get_many::<i32>(KEYS).await;
        got.is_ok_and(|got| got.iter().map(Option::is_some).eq(expected))
    })
    .await;
}

#[tokio::test]
async fn a_lost_pattern_is_replayed_and_nothing_that_matches_it_is_served_until_then() {
    for pattern in ["user:*", "tag:user:*"] {
        let server = RedisServer::start();
        let mut proxy = Proxy::start(server.port()).await;
        let (elsewhere, _) = recorded(&server.url());
        let (here, events) = recorded(&proxy.url());
        fill(&here).await;
        assert_eq!(served(&elsewhere).await, [true; 3]);
        events.take();

        proxy.cut().await;
        let error = here.invalidate_matching(pattern).await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
        let lost = format!("not invalidated matching {pattern}");
        let expected = ["server away", "journal keeps", &lost];
        assert_eq!(events.take_without_reasons(), expected);
        assert_eq!(here.health().waiting, 1);
        assert!(!here.health().overflowed);
        for key in ["user:1", "user:2"] {
            let load = async { Ok::<_, ()>(2) };
            let options = Options::new().tag(format!("tag:{key}"));
            assert_eq!(here.get_or_load(key, options, load).await, Ok(2));
        }
        let distrusted = events.take();
        assert_eq!(distrusted[0], "distrust user:1");

        proxy.heal().await;
        here.flush(LIMIT).await.unwrap();
        assert_eq!(here.health().waiting, 0);
        assert_eq!(served(&elsewhere).await, [false, false, true]);
        until_served(&here, [false, false, true]).await;
    }
}

#[tokio::test]
async fn nothing_is_served_between_the_reconnect_and_the_replay_of_a_pattern() {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let (cache, _) = recorded(&proxy.url());
    let numbers: Vec<u64> = (0..5_000).collect();
    let entries = numbers.iter().map(|number| (key!("user:<number>"), number));
    cache.set_many(entries, Options::new()).await.unwrap();
    proxy.cut().await;
    cache.invalidate_matching("user:*").await.unwrap_err();
    proxy.heal().await;
    let reads = async {
        while cache.health().waiting > 0 {
            for number in [0, 1_000, 4_999] {
                let got = cache.get::<u64>(key!("user:<number>")).await;
                assert_eq!(got.unwrap_or_default(), None);
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, reads)
        .await
        .expect("it is replayed");
    assert!(
        server
            .keys()
            .iter()
            .all(|key| !key.starts_with("test:e:user"))
    );
}

#[tokio::test]
async fn a_pattern_whose_removal_breaks_off_is_removed_from_its_beginning() {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.port()).await;
    let cache = builder(&proxy.url()).op_timeout(Duration::from_millis(200));
    let cache = cache.build().unwrap();
    let numbers: Vec<u64> = (0..5_000).collect();
    let entries = numbers.iter().map(|number| (key!("user:<number>"), number));
    cache.set_many(entries, Options::new()).await.unwrap();
    let mut pages = 0;
    let removed = cache.invalidate_matching_with("user:*", |_| {
        pages += 1;
        if pages == 2 {
            proxy.hold(Way::ToClient);
        }
    });
    removed.await.unwrap_err();
    assert_eq!(cache.health().waiting, 1);
    assert!(!cache.exists("user:4999").await.unwrap_or_default());
    proxy.heal().await;
    cache.flush(LIMIT).await.unwrap();
    assert!(
        server
            .keys()
            .iter()
            .all(|key| !key.starts_with("test:e:user"))
    );
}

#[tokio::test]
async fn a_pattern_that_the_server_refuses_is_served_by_no_process() {
    let server = RedisServer::start();
    let (here, _) = recorded(&server.url());
    let (elsewhere, events_elsewhere) = recorded(&server.url());
    fill(&here).await;
    assert_eq!(served(&elsewhere).await, [true; 3]);
    events_elsewhere.take();
    server.refuse_writes();
    assert!(
        here.invalidate_matching("user:*")
            .await
            .unwrap_err()
            .is_refused()
    );
    // It hears of the pattern before the invalidation returns.
    for cache in [&here, &elsewhere] {
        assert_eq!(served(cache).await, [false, false, true]);
    }
    assert_eq!(events_elsewhere.lines()[0], "journal keeps");
    server.accept_writes();
    for cache in [&here, &elsewhere] {
        until(async || cache.health().waiting == 0).await;
        until_served(cache, [false, false, true]).await;
    }
}

/// A replica lists keys, and may lack what its primary has.
#[tokio::test]
async fn a_server_that_takes_no_writes_has_not_removed_what_matches() {
    let server = RedisServer::start();
    let (cache, _) = recorded(&server.url());
    cache.ping().await.unwrap();
    server.refuse_writes();
    // Though nothing there matches.
    assert!(
        cache
            .invalidate_matching("user:*")
            .await
            .unwrap_err()
            .is_refused()
    );
    assert_eq!(cache.health().waiting, 1);
    server.accept_writes();
    until(async || cache.health().waiting == 0).await;
}

#[tokio::test]
async fn a_node_that_is_away_keeps_a_pattern_in_the_journal() {
    let cluster = RedisCluster::start();
    let builder = patient(&cluster.url()).op_timeout(Duration::from_millis(500));
    let cache = builder.build().unwrap();
    let numbers: Vec<u64> = (0..300).collect();
    let entries = || numbers.iter().map(|number| (key!("user:<number>"), number));
    cache.set_many(entries(), Options::new()).await.unwrap();
    cluster.freeze(0);
    cache.invalidate_matching("user:*").await.unwrap_err();
    assert_eq!(cache.health().waiting, 1);
    cluster.thaw(0);
    cache.flush(LIMIT).await.unwrap();
    let keys = cluster.keys();
    assert!(keys.iter().all(|key| !key.contains(":e:user")), "{keys:?}");
}

/// A node that scans lists keys of a hash slot that is on its way from it, or to it.
#[tokio::test]
async fn keys_that_are_on_their_way_to_another_node_are_removed() {
    let cluster = RedisCluster::start();
    let cache = patient(&cluster.url()).build().unwrap();
    let numbers: Vec<u64> = (0..20).collect();
    let group = cluster.numbers_on(0).next().unwrap();
    let entries = numbers
        .iter()
        .map(|number| (format!("user:{{{group}}}:{number}"), number));
    let entries = entries.map(|(key, number)| (cache_runtime::Key::from(key), number));
    cache.set_many(entries, Options::new()).await.unwrap();
    let moving = cluster.begin_move(slot_of(&group.to_string()), 1);
    assert_eq!(cluster.move_keys(moving, 10), 10);
    cache.invalidate_matching("user:*").await.unwrap();
    let keys = cluster.keys();
    assert!(keys.iter().all(|key| !key.contains(":e:user")), "{keys:?}");
    cluster.end_move(moving);
    for number in numbers {
        let key = format!("user:{{{group}}}:{number}");
        assert!(!cache.exists(key).await.unwrap());
    }
}

#[tokio::test]
async fn many_keys_take_few_commands() {
    let server = RedisServer::start();
    let (cache, _) = recorded(&server.url());
    let numbers: Vec<u64> = (0..100).collect();
    let entries = || numbers.iter().map(|number| (key!("user:<number>"), number));
    let keys = || numbers.iter().map(|number| key!("user:<number>"));
    cache
        .set_many(entries(), Options::new().tag("users"))
        .await
        .unwrap();
    cache.get_many::<u64>(keys()).await.unwrap();
    let before = server.calls("mget") + server.calls("get");
    let got = cache.get_many::<u64>(keys()).await.unwrap();
    assert!(got.iter().all(Option::is_some));
    let reads = server.calls("mget") + server.calls("get") - before;
    // Some are sent singly at once; one for the others, and one for the version.
    assert!(reads <= 10, "{reads}");
}
