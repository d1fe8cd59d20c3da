//! Copies of a server's entries in a process: what is served from them, and what ends them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use cache_runtime::{
    Cache, CacheBuilder, CachedEntry, Key, Options, cached, prime, refresh, refresh_all,
};
use cache_tests::{EventLog, Proxy, RedisServer, Upstash, Way, patient, until};

const LONG: Duration = Duration::from_secs(60);
/// The longest that an old copy may be served in another process.
const LAG: Duration = Duration::from_millis(500);

/// A row that one process changes, and all read.
#[derive(Clone)]
struct Rows {
    cache: Cache,
    row: Arc<AtomicU64>,
}

impl Rows {
    fn new(builder: CacheBuilder, row: &Arc<AtomicU64>) -> Self {
        Self {
            cache: builder.local_ttl(LONG).build().unwrap(),
            row: row.clone(),
        }
    }

    #[cached(key = "row:<id>", ttl = 60, invalidate_on = "rows", cache = self.cache)]
    async fn read(&self, id: u64) -> u64 {
        let row = self.row.load(SeqCst);
        tokio::task::yield_now().await;
        row
    }

    /// Of this one, no copies are kept.
    #[cached(
        key = "elsewhere:<id>", ttl = 60, invalidate_on = "rows", local_ttl = 0, cache = self.cache
    )]
    async fn read_from_server(&self, id: u64) -> u64 {
        self.row.load(SeqCst) + id
    }

    #[cached(key = "row:<id>", ttl = 60, invalidate_on = "rows", each(id in ids), cache = self.cache)]
    async fn read_many(&self, ids: &[u64]) -> Vec<(u64, u64)> {
        let row = self.row.load(SeqCst);
        tokio::task::yield_now().await;
        ids.iter().map(|id| (*id, row)).collect()
    }

    fn change(&self) -> u64 {
        self.row.fetch_add(1, SeqCst) + 1
    }

    /// Reads until the answer is a copy.
    async fn read_copy(&self, server: &RedisServer, id: u64) -> u64 {
        let mut read = 0;
        until(async || {
            let before = gets(server);
            read = self.read(id).await;
            gets(server) == before
        })
        .await;
        read
    }
}

fn gets(server: &RedisServer) -> u64 {
    server.calls("mget")
}

fn rows(server: &RedisServer) -> [Rows; 2] {
    let row = Arc::new(AtomicU64::new(0));
    [(); 2].map(|()| Rows::new(patient(&server.url()), &row))
}

#[tokio::test]
async fn a_hit_on_a_copy_takes_no_request() {
    let server = RedisServer::start();
    let [rows, _] = rows(&server);
    rows.read_copy(&server, 7).await;
    let before = gets(&server);
    for _ in 0..100 {
        rows.read(7).await;
    }
    assert_eq!(gets(&server), before);
    assert_eq!(rows.cache.stats().loads, 1);
    assert_eq!(rows.cache.stats().entries, 1);
}

/// Nine of ten calls are for rows of which there are copies; each tenth is for one that keeps none.
#[tokio::test]
async fn where_nine_of_ten_hits_are_copies_the_server_gets_a_tenth_of_the_commands() {
    let server = RedisServer::start();
    let row = Arc::new(AtomicU64::new(0));
    let mut commands = Vec::new();
    for local_ttl in [Duration::ZERO, LONG] {
        let caches = [(); 2].map(|()| {
            let builder = patient(&server.url()).local_ttl(local_ttl);
            Rows {
                cache: builder.build().unwrap(),
                row: row.clone(),
            }
        });
        for rows in &caches {
            for id in 0..10 {
                rows.read(id).await;
                rows.read(id).await;
                rows.read_from_server(id).await;
            }
        }
        let before = server.commands_processed();
        for round in 0..1_000 {
            for rows in &caches {
                for id in 0..9 {
                    rows.read(id).await;
                }
                rows.read_from_server(round % 10).await;
            }
        }
        commands.push(server.commands_processed() - before);
        let stats = caches[0].cache.stats();
        let in_front = stats.hits_in_front * 10 / stats.hits;
        assert_eq!(
            in_front,
            if local_ttl.is_zero() { 0 } else { 8 },
            "{stats:?}"
        );
    }
    let [without, with] = commands[..] else {
        unreachable!()
    };
    assert!(without >= 20_000, "{without}");
    // Now and then, an answer shows that the connection hears.
    assert!(with <= without / 10 + 200, "{with} of {without}");
}

#[tokio::test]
async fn an_invalidation_ends_copies_by_key_tag_pattern_and_all() {
    let server = RedisServer::start();
    let [one, other] = rows(&server);
    for way in 0..4 {
        for rows in [&one, &other] {
            rows.read_copy(&server, 7).await;
        }
        let row = one.change();
        match way {
            0 => one.cache.invalidate(["row:7"]).await.unwrap(),
            1 => one.cache.invalidate(["rows"]).await.unwrap(),
            2 => drop(one.cache.invalidate_matching("row:*").await.unwrap()),
            _ => one.cache.clear().await.unwrap(),
        }
        assert_eq!(one.read(7).await, row, "{way}");
        until(async || other.read(7).await == row).await;
    }
}

#[tokio::test]
async fn what_is_set_or_deleted_by_hand_ends_copies() {
    let server = RedisServer::start();
    let [one, other] = rows(&server);
    for rows in [&one, &other] {
        rows.read_copy(&server, 7).await;
    }
    let options = || Options::new().tag("rows");
    one.cache.set("row:7", &70_u64, options()).await.unwrap();
    assert_eq!(one.read(7).await, 70);
    until(async || other.read(7).await == 70).await;
    let row = one.change();
    assert!(one.cache.delete("row:7").await.unwrap());
    assert_eq!(one.read(7).await, row);
    until(async || other.read(7).await == row).await;
}

#[tokio::test]
async fn a_call_for_several_keys_is_served_copies_and_replaces_them() {
    let server = RedisServer::start();
    let [one, other] = rows(&server);
    let ids = [1, 2, 3];
    for rows in [&one, &other] {
        for id in ids {
            rows.read_copy(&server, id).await;
        }
    }
    let before = gets(&server);
    assert_eq!(other.read_many(&ids).await, [(1, 0), (2, 0), (3, 0)]);
    assert_eq!(gets(&server), before);
    // What is not there is asked for, and kept.
    until(async || {
        let before = gets(&server);
        other.read_many(&[1, 4]).await;
        gets(&server) == before
    })
    .await;
    let row = one.change();
    refresh_all(one.read_many(&ids)).await;
    for rows in [&one, &other] {
        until(async || rows.read_many(&ids).await == ids.map(|id| (id, row))).await;
    }
}

#[tokio::test]
async fn a_function_may_keep_its_entries_out() {
    #[cached(key = "strict", ttl = 60, local_ttl = 0, cache = cache, skip(cache))]
    async fn strict(cache: &Cache) -> u64 {
        7
    }
    let server = RedisServer::start();
    let [rows, _] = rows(&server);
    rows.read_copy(&server, 7).await;
    strict(&rows.cache).await;
    let before = gets(&server);
    for _ in 0..10 {
        strict(&rows.cache).await;
    }
    assert_eq!(gets(&server), before + 10);
}

/// On a server, and in the entry, the tag has a short form.
#[tokio::test]
async fn an_invalidation_ends_copies_by_a_long_tag_that_their_value_told() {
    #[cached(
        key = "page", ttl = 60, invalidate_on = |page: &(u64, String)| [Key::from(page.1.clone())],
        cache = cache, skip(cache, row, tag)
    )]
    async fn page(cache: &Cache, row: &AtomicU64, tag: &str) -> (u64, String) {
        (row.load(SeqCst), tag.to_owned())
    }
    let emulator = Upstash::start();
    let cache = patient(&emulator.url())
        .local_ttl_unheard(LONG)
        .build()
        .unwrap();
    let row = AtomicU64::new(1);
    let tag = "t".repeat(9_000);
    until(async || {
        let loads = cache.stats().loads;
        page(&cache, &row, &tag).await.0 == 1 && cache.stats().loads == loads
    })
    .await;
    row.store(2, SeqCst);
    cache.invalidate([&*tag]).await.unwrap();
    assert_eq!(page(&cache, &row, &tag).await.0, 2);
}

#[tokio::test]
async fn a_copy_ends_with_its_entry() {
    const TTL: Duration = Duration::from_millis(300);
    static LOADS: AtomicU64 = AtomicU64::new(0);
    #[cached(key = "short", ttl = "300ms", cache = cache, skip(cache))]
    async fn short(cache: &Cache) -> u64 {
        LOADS.fetch_add(1, SeqCst) + 1
    }
    let server = RedisServer::start();
    let [rows, _] = rows(&server);
    for load in 1..5 {
        while short(&rows.cache).await < load {}
        let loaded = std::time::Instant::now();
        loop {
            // The age is read first: the thread may be stopped between the two.
            let age = loaded.elapsed();
            let read = short(&rows.cache).await;
            assert!(read > load || age <= TTL, "served after {age:?}");
            if read > load {
                break;
            }
        }
    }
}

#[tokio::test]
async fn without_answers_copies_are_served_for_no_longer_than_the_lag() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    let row = Arc::new(AtomicU64::new(0));
    let one = Rows::new(patient(&server.url()), &row);
    let other = Rows::new(
        patient(&proxy.url()).op_timeout(Duration::from_millis(50)),
        &row,
    );
    one.read_copy(&server, 7).await;
    other.read_copy(&server, 7).await;
    // Messages and answers are held back.
    proxy.hold(Way::ToClient);
    let row = one.change();
    one.cache.invalidate(["row:7"]).await.unwrap();
    let returned = std::time::Instant::now();
    while returned.elapsed() < LAG {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(other.read(7).await, row);
}

/// It has no serde.
#[derive(Clone)]
struct Rules(Arc<dyn Fn(u64) -> bool + Send + Sync>);

/// Rules that one process changes, and all compile.
#[derive(Clone)]
struct Policy {
    cache: Cache,
    limit: Arc<AtomicU64>,
    /// How often they were compiled in this process.
    compiled: Arc<AtomicU64>,
}

impl Policy {
    fn new(builder: CacheBuilder, limit: &Arc<AtomicU64>) -> Self {
        Self {
            cache: builder.build().unwrap(),
            limit: limit.clone(),
            compiled: Arc::default(),
        }
    }

    #[cached(
        key = "rules:<tenant>", ttl = 60, local, invalidate_on = "rules", unless = |rules| rules.0(0),
        cache = self.cache
    )]
    async fn rules(&self, tenant: u64) -> Result<Rules, std::io::Error> {
        self.compiled.fetch_add(1, SeqCst);
        let limit = self.limit.load(SeqCst);
        tokio::task::yield_now().await;
        Ok(Rules(Arc::new(move |it| it > limit + tenant)))
    }

    async fn allows(&self, it: u64) -> bool {
        self.rules(0).await.unwrap().0(it)
    }

    fn compiled(&self) -> u64 {
        self.compiled.load(SeqCst)
    }
}

#[tokio::test]
async fn what_cannot_be_written_is_kept_until_any_process_invalidates_it() {
    let server = RedisServer::start();
    let limit = Arc::new(AtomicU64::new(10));
    let [one, other] = [(); 2].map(|()| Policy::new(patient(&server.url()), &limit));
    for (at, policy) in [&one, &other].into_iter().enumerate() {
        for _ in 0..10 {
            assert!(policy.allows(11).await && !policy.allows(10).await);
        }
        assert_eq!(policy.compiled(), 1, "{at}");
    }
    for (way, now) in [("key", 20), ("tag", 30), ("pattern", 40), ("all", 50)] {
        limit.store(now, SeqCst);
        match way {
            "key" => one.cache.invalidate(["rules:0"]).await.unwrap(),
            "tag" => one.cache.invalidate(["rules"]).await.unwrap(),
            "pattern" => drop(one.cache.invalidate_matching("rules:*").await.unwrap()),
            _ => one.cache.clear().await.unwrap(),
        }
        assert!(!one.allows(now).await, "{way}");
        until(async || !other.allows(now).await).await;
    }
    let keys = server.keys();
    assert!(!keys.iter().any(|key| key.contains(":e:rules")), "{keys:?}");
}

#[tokio::test]
async fn callers_share_one_load_of_what_cannot_be_written() {
    let server = RedisServer::start();
    for url in [server.url(), "memory:".to_owned()] {
        let policy = Policy::new(patient(&url), &Arc::default());
        let calls = (0..100).map(|_| {
            let policy = policy.clone();
            tokio::spawn(async move { policy.allows(1).await })
        });
        for call in calls.collect::<Vec<_>>() {
            assert!(call.await.unwrap());
        }
        assert_eq!(policy.compiled(), 1, "{url}");
    }
}

#[tokio::test]
async fn what_cannot_be_written_is_loaded_each_time_while_the_server_is_away() {
    let mut server = RedisServer::start();
    let builder = Cache::builder().url(server.url());
    let policy = Policy::new(
        builder.op_timeout(Duration::from_millis(50)),
        &Arc::default(),
    );
    assert!(policy.allows(1).await && policy.allows(1).await);
    assert_eq!(policy.compiled(), 1);
    server.kill();
    until(async || {
        let before = policy.compiled();
        policy.allows(1).await && policy.compiled() > before
    })
    .await;
    server.restart();
    until(async || {
        let before = policy.compiled();
        policy.allows(1).await && policy.compiled() == before
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_written_is_primed_and_refreshed() {
    let server = RedisServer::start();
    let policy = Policy::new(patient(&server.url()), &Arc::default());
    let primed = Rules(Arc::new(|it| it == 7));
    prime(policy.rules(0), primed).await.unwrap();
    assert!(policy.allows(7).await && !policy.allows(8).await);
    assert_eq!(policy.compiled(), 0);
    let entry = CachedEntry::of(policy.rules(0)).unwrap();
    assert!(entry.exists().await.unwrap() && entry.ttl().await.unwrap().is_some());
    assert!(refresh(policy.rules(0)).await.unwrap().0(8));
    assert!(policy.allows(8).await);
    assert_eq!(policy.compiled(), 1);
    entry.invalidate().await.unwrap();
    assert!(!entry.exists().await.unwrap());
}

#[tokio::test]
async fn where_nothing_is_heard_nothing_is_kept_and_that_is_told_once() {
    let server = RedisServer::start();
    server.set_user("ann", &["on", ">secret", "~*", "&*", "+@all", "-subscribe"]);
    let emulator = Upstash::start();
    let user = format!("redis://ann:secret@127.0.0.1:{}", server.port());
    for url in [user, emulator.url()] {
        let events = EventLog::default();
        let policy = Policy::new(events.record(patient(&url)), &Arc::default());
        for calls in 1..4 {
            assert!(policy.allows(1).await);
            assert_eq!(policy.compiled(), calls, "{url}");
        }
        let told = events.take().into_iter();
        let told = told.filter(|event| event.starts_with("copies unheard"));
        assert_eq!(told.count(), 1, "{url}");
    }
}
