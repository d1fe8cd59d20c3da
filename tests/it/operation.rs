//! The page on operation says what the server must permit, and how to invalidate by hand.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use cache_runtime::{Cache, Options, Rate, cache_invalidate, cached};
use cache_tests::{EventLog, LIMIT, RedisServer, patient};

const PAGE: &str = include_str!("../../cache-runtime/docs/operation.md");

struct Rows {
    cache: Cache,
    value: AtomicU64,
}

impl Rows {
    fn new(cache: Cache) -> Self {
        let value = AtomicU64::new(1);
        Self { cache, value }
    }

    #[cached(key = "user:<id>", ttl = 60, invalidate_on = "users", cache = self.cache)]
    async fn user(&self, id: u64) -> u64 {
        let _ = id;
        self.value.load(SeqCst)
    }

    #[cache_invalidate("user:<id>", fence = "10s", cache = self.cache)]
    async fn set_user(&self, id: u64, value: u64) {
        let _ = id;
        self.value.store(value, SeqCst);
    }

    #[cache_invalidate("users", cache = self.cache)]
    async fn set_users(&self, value: u64) {
        self.value.store(value, SeqCst);
    }
}

/// The rules of the page's `ACL SETUSER`, without the user's name.
fn rules() -> Vec<&'static str> {
    let mut lines = PAGE.lines();
    let line = lines.find_map(|line| line.strip_prefix("ACL SETUSER shop "));
    line.unwrap().split(' ').collect()
}

/// Uses all that a cache has on its server.
async fn check_everything(cache: Cache, events: &EventLog) {
    let rows = Rows::new(cache.clone());
    cache.ping().await.unwrap();
    assert_eq!((rows.user(42).await, rows.user(42).await), (1, 1));
    rows.set_user(42, 2).await;
    assert_eq!((rows.user(42).await, rows.user(42).await), (2, 2));
    rows.set_users(3).await;
    assert_eq!((rows.user(42).await, rows.user(42).await), (3, 3));
    let options = Options::new().tag("users");
    cache.set("by hand", &5_u64, options).await.unwrap();
    assert_eq!(cache.get::<u64>("by hand").await.unwrap(), Some(5));
    assert!(cache.ttl("by hand").await.unwrap().is_some());
    assert!(cache.exists("by hand").await.unwrap());
    assert!(cache.delete("by hand").await.unwrap());
    cache.invalidate(["users"]).await.unwrap();
    cache.flush(LIMIT).await.unwrap();
    cache.clear().await.unwrap();
    assert_eq!(cache.stats().errors, 0);
    assert!(cache.health().status.is_working());
    let refused = ["refuses", "not announced", "unheard"];
    let mut events = events.take_without_reasons();
    events.retain(|event| refused.iter().any(|refused| event.contains(refused)));
    assert_eq!(events, [""; 0]);
}

#[tokio::test]
async fn the_rights_of_the_page_are_enough() {
    let server = RedisServer::start();
    server.set_user("shop", &rules());
    let url = format!("redis://shop:password@127.0.0.1:{}/1", server.port());
    let events = EventLog::default();
    let builder = events.record(patient(&url).namespace("shop"));
    check_everything(builder.build().unwrap(), &events).await;
}

/// The further rights that tools need, on the page.
fn rights_of_tools() -> Vec<&'static str> {
    let mut lines = PAGE.lines();
    let line = lines.find(|line| line.starts_with("For [`Cache::strings`]"));
    let code = line
        .unwrap()
        .split('`')
        .filter(|code| code.starts_with('+'));
    code.flat_map(|code| code.split(' ')).collect()
}

async fn use_tools(cache: &Cache) -> Vec<bool> {
    let minute = Duration::from_secs(60);
    let texts = cache.strings("sessions").unwrap();
    texts.set("8f14e45f", "Ada", minute).await.unwrap();
    assert!(
        texts
            .set_if_present("8f14e45f", "Grace", minute)
            .await
            .unwrap()
    );
    assert!(texts.compare_and_delete("8f14e45f", "Grace").await.unwrap());
    let held = cache
        .lock("report", minute)
        .try_lock()
        .await
        .unwrap()
        .unwrap();
    assert!(held.release().await.unwrap());
    let evenly = cache.rate_limit("login", Rate::per_minute(5));
    assert!(evenly.check("ada").await.unwrap().allowed);
    let sliding = cache.rate_limit("search", Rate::per_minute(5).sliding());
    cache.set("report:1", &1, Options::new()).await.unwrap();
    let results = [
        texts.increment("count", 1, minute).await.map(drop),
        sliding.check("ada").await.map(drop),
        cache.budget(1).sweep().await.map(drop),
    ];
    let refused =
        results.map(|result| result.map_err(|error| assert!(error.is_refused(), "{error}")));
    refused.iter().map(Result::is_ok).collect()
}

#[tokio::test]
async fn tools_need_the_rights_of_the_page_and_without_them_nothing_else_changes() {
    let server = RedisServer::start();
    server.set_user("shop", &rules());
    let url = format!("redis://shop:password@127.0.0.1:{}/1", server.port());
    let cache = patient(&url).namespace("shop").build().unwrap();
    assert_eq!(use_tools(&cache).await, [false; 3]);
    assert!(cache.health().status.is_working());
    let events = EventLog::default();
    let builder = events.record(patient(&url).namespace("shop"));
    check_everything(builder.build().unwrap(), &events).await;
    server.set_user("shop", &rights_of_tools());
    assert_eq!(use_tools(&cache).await, [true; 3]);
}

#[tokio::test]
async fn each_right_of_the_page_is_used() {
    let server = RedisServer::start();
    let (commands, others): (Vec<_>, Vec<_>) =
        rules().into_iter().partition(|rule| rule.starts_with('+'));
    assert!(commands.len() > 15);
    server.set_user("shop", &others);
    server.set_user("shop", &commands);
    let url = format!("redis://shop:password@127.0.0.1:{}/1", server.port());
    let events = EventLog::default();
    let builder = events.record(patient(&url).namespace("shop"));
    check_everything(builder.build().unwrap(), &events).await;
    let used: String = server.query(&["INFO", "commandstats"]);
    for command in commands {
        let name = format!("cmdstat_{}:", &command[1..]);
        assert!(used.contains(&name), "{command} is not used: {used}");
    }
}

#[tokio::test]
async fn a_name_is_invalidated_by_the_command_of_the_page() {
    let server = RedisServer::start();
    let rows = Rows::new(patient(&server.url()).namespace("shop").build().unwrap());
    let commands: Vec<Vec<&str>> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("redis-cli UNLINK "))
        .map(|keys| keys.split(' ').map(|key| key.trim_matches('"')).collect())
        .collect();
    assert_eq!(commands.len(), 2);
    for (expected, keys) in (2..).zip(commands) {
        assert_eq!(rows.user(42).await, expected - 1);
        rows.value.store(expected, SeqCst);
        assert_eq!(rows.user(42).await, expected - 1, "it is cached");
        let removed: u64 = server.query(&[&["UNLINK"], &keys[..]].concat());
        assert_eq!(removed, 1, "{keys:?}");
        assert_eq!(
            (rows.user(42).await, rows.user(42).await),
            (expected, expected)
        );
    }
}

/// The load has read the old value when the name is invalidated by hand.
#[tokio::test]
async fn a_load_that_is_under_way_stores_nothing_after_it() {
    for name in ["late:1", "late"] {
        let server = RedisServer::start();
        let cache = patient(&server.url()).namespace("shop").build().unwrap();
        let options = || Options::new().tag("late").ttl(Duration::from_secs(60));
        let load = async {
            let (entry, version) = (format!("shop:e:{name}"), format!("shop:v:{name}"));
            let removed: u64 = server.query(&["UNLINK", &entry, &version]);
            assert_eq!(removed, 1);
            Ok::<_, ()>("old")
        };
        let loaded =
            cache.get_or_load("late:1", options(), async { load.await.map(str::to_owned) });
        assert_eq!(loaded.await.unwrap(), "old");
        assert_eq!(cache.get::<String>("late:1").await.unwrap(), None, "{name}");
    }
}
