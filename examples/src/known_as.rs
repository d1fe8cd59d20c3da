//! The code of the page "What you know it as". Each line of it runs in this process and on a server.
//!
//! What stands between `ANCHOR` and `ANCHOR_END` is on the page, in this order. A test compares the two.

#![expect(
    clippy::duration_suboptimal_units,
    reason = "`from_mins` needs a newer Rust than the library"
)]
#![expect(clippy::unused_async, reason = "its loads stand for queries")]

use std::error::Error;
use std::fmt::Write as _;
use std::fs;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use cache_runtime::with_cache;
use cache_tests::{RedisServer, patient};
use tower::ServiceExt as _;

// ANCHOR: user
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use cache_dashboard::{Dashboard, loopback_only};
use cache_runtime::raw::{Command, FromReply as _, Script};
use cache_runtime::{Cache, Options, Rate, Stats, bypass, cache_invalidate, cached, key, warm};
use futures_util::stream;
use tower_sessions::cookie::time;
use tower_sessions::{Expiry, SessionManagerLayer};

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct User {
    id: u64,
    name: String,
}

async fn load_user(id: u64) -> Result<User, std::io::Error> {
    // A query.
    let name = format!("user {id}");
    Ok(User { id, name })
}
// ANCHOR_END: user

fn is_on(cache: &Cache) {
    // ANCHOR: is_on
    let is_on: bool = cache.is_on();
    let has_server: bool = cache.has_server();
    // ANCHOR_END: is_on
    assert!(is_on);
    assert_eq!(has_server, cache.raw().is_some());
}

async fn values(cache: &Cache) -> Result<(), Box<dyn Error>> {
    let ada = load_user(7).await?;
    // ANCHOR: values
    let minute = Options::new().ttl(Duration::from_secs(60));
    cache.set("user:7", &ada, minute).await?;
    let user: Option<User> = cache.get("user:7").await?;
    let left: Option<Duration> = cache.ttl("user:7").await?;
    let was_there: bool = cache.delete("user:7").await?;

    // If a failure is to look like a miss:
    let no_user: Option<User> = cache.get("user:7").await.unwrap_or_default();
    cache.set("user:7", &ada, Options::new()).await.ok();
    // ANCHOR_END: values
    assert_eq!(user.as_ref(), Some(&ada));
    assert!(left.is_some_and(|left| left <= Duration::from_secs(60)));
    assert!(was_there);
    assert_eq!(no_user, None);
    assert_eq!(cache.get("user:7").await?, Some(ada));
    Ok(())
}

async fn texts(cache: &Cache) -> Result<(), Box<dyn Error>> {
    // ANCHOR: texts
    if let Some(storage) = cache.strings("auth") {
        storage
            .set("token", "8f14e45f", Duration::from_secs(3600))
            .await?;
        storage.set("key", "c9f0f895", None).await?; // without an end
        let text: Option<String> = storage.get("token").await?;
        let was_there: bool = storage.delete("token").await?;
        assert_eq!((text.as_deref(), was_there), (Some("8f14e45f"), true));
    }
    // ANCHOR_END: texts
    let storage = cache.strings("auth").expect("the cache is on");
    assert_eq!(storage.get("key").await?.as_deref(), Some("c9f0f895"));
    Ok(())
}

async fn connects(cache: &Cache) -> Result<(), Box<dyn Error>> {
    // ANCHOR: connect
    cache.connect(Duration::from_secs(10)).await?;
    // ANCHOR_END: connect
    Ok(())
}

// ANCHOR: cached
#[cached(key = "user:<id>", ttl = 60, invalidate_on = "users")]
async fn find_user(id: u64) -> Result<User, std::io::Error> {
    load_user(id).await
}
// ANCHOR_END: cached

async fn loads(cache: &Cache) -> Result<(), Box<dyn Error>> {
    // ANCHOR: get_or_load
    let found = find_user(7).await?;

    // The same by hand:
    let id = 7;
    let options = Options::new().ttl(Duration::from_secs(60)).tag("users");
    let user = cache
        .get_or_load(key!("user:<id>"), options, load_user(id))
        .await?;
    // ANCHOR_END: get_or_load
    assert_eq!(user, found);
    assert!(cache.exists("user:7").await?);
    Ok(())
}

// ANCHOR: cache_invalidate
#[cache_invalidate("user:<id>")]
async fn rename_user(id: u64, name: &str) -> Result<(), std::io::Error> {
    println!("UPDATE user SET name = {name:?} WHERE id = {id}");
    Ok(())
}
// ANCHOR_END: cache_invalidate

async fn invalidates(cache: &Cache) -> Result<(), Box<dyn Error>> {
    find_user(7).await?;
    rename_user(7, "Ada").await?;
    assert!(!cache.exists("user:7").await?);
    find_user(7).await?;
    find_user(8).await?;
    find_user(9).await?;
    // ANCHOR: invalidate
    cache.invalidate(["user:7", "user:70"]).await?; // by key
    let gone: u64 = cache.invalidate_matching("*user*:8*").await?; // by pattern
    cache.invalidate(["users"]).await?; // by tag, as by a version
    // ANCHOR_END: invalidate
    assert_eq!(gone, 1);
    for id in 7..=9 {
        assert!(!cache.exists(key!("user:<id>")).await?);
    }
    Ok(())
}

async fn commands(cache: &Cache) -> Result<(), Box<dyn Error>> {
    // ANCHOR: raw
    static MOST: Script = Script::new("return math.max(unpack(redis.call('HVALS', KEYS[1])))");

    if let Some(raw) = cache.raw() {
        let (once, ages, board) = (raw.name("once"), raw.name("ages"), raw.name("board"));
        let is_first: bool = raw
            .query(Command::new("SETNX").key(&once).arg("ada"))
            .await?;
        raw.query::<()>(Command::new("EXPIRE").key(&once).arg(60))
            .await?;
        raw.query::<()>(Command::new("HSET").key(&ages).arg("ada").arg(36))
            .await?;
        let most: u64 = raw.script(&MOST).key(&ages).run().await?;

        let scores = [("ada", 12), ("grace", 9)];
        let add = |(name, score)| Command::new("ZADD").key(&board).arg(score).arg(name);
        for added in raw.pipeline(scores.map(add)).await? {
            assert!(bool::from_reply(added?)?);
        }
        assert_eq!((is_first, most), (true, 36));
    }
    // ANCHOR_END: raw
    Ok(())
}

fn by_environment() -> Result<(), Box<dyn Error>> {
    // ANCHOR: from_env
    let cache = Cache::from_env()?;
    // ANCHOR_END: from_env
    assert_eq!(cache.stats().hits, 0);
    Ok(())
}

async fn load_report(id: u64) -> Result<String, std::io::Error> {
    Ok(format!("sales of region {id}"))
}

async fn service(cache: &Cache) -> Result<(), Box<dyn Error>> {
    let sales = load_report(7).await?;
    // ANCHOR: service
    let reports = cache.scope("reports"); // namespace: "reports"
    let options = Options::new().ttl(Duration::from_secs(300));
    reports.set("7", &sales, options.clone()).await?;
    let report: Option<String> = reports.get("7").await?;
    let report_8 = reports
        .get_or_load("8", options.clone(), load_report(8))
        .await?;
    let skipped = bypass(reports.get_or_load("9", options, load_report(9))).await?; // skipCache
    let has: bool = reports.exists("7").await?;
    let deleted: bool = reports.delete("7").await?;
    let keys: u64 = reports.count().await?;
    let keys_of_all: u64 = cache.count_matching("*").await?;
    let invalidated: u64 = cache.invalidate_matching("reports:8*").await?;
    let cleared: u64 = reports.clear().await?;

    let Stats { hits, misses, .. } = cache.stats();
    let hit_rate: Option<f64> = cache.stats().hit_rate();
    // ANCHOR_END: service
    assert_eq!(report, Some(sales));
    assert_eq!(report_8, load_report(8).await?);
    assert_eq!(skipped, load_report(9).await?);
    assert!(has && deleted);
    assert_eq!((keys, invalidated, cleared), (1, 1, 0));
    assert!(keys_of_all >= keys);
    assert!(hits > 0 && misses > 0);
    assert!(hit_rate.is_some_and(|rate| rate > 0.0 && rate < 1.0));
    Ok(())
}

#[expect(
    unreachable_pub,
    reason = "on the page, the module may be one of a library"
)]
// ANCHOR: keys
mod cache_keys {
    use std::net::IpAddr;

    use cache_runtime::{Key, Pattern, key};

    pub fn user(id: u64) -> Key {
        key!("user:<id>")
    }

    pub fn all_of_user(id: u64) -> Pattern {
        key!("user:<id>:*").into()
    }

    pub fn visits(ip: IpAddr, route: &str) -> Key {
        key!("visits:<ip>:<route>")
    }
}
// ANCHOR_END: keys

async fn key_helpers(cache: &Cache) -> Result<(), Box<dyn Error>> {
    let ip = std::net::IpAddr::from([203, 0, 113, 7]);
    // ANCHOR: use_of_keys
    let user: Option<User> = cache.get(cache_keys::user(7)).await?;
    let gone: u64 = cache
        .invalidate_matching(cache_keys::all_of_user(7))
        .await?;
    let limit = cache.rate_limit("visits", Rate::per_minute(100));
    let decision = limit
        .check(cache_keys::visits(ip, "/users").as_str())
        .await?;
    // ANCHOR_END: use_of_keys
    assert_eq!((user, gone, decision.remaining), (None, 0, 99));
    Ok(())
}

// ANCHOR: stats_handler
async fn stats(State(cache): State<Cache>) -> Json<Stats> {
    Json(cache.stats())
}
// ANCHOR_END: stats_handler

async fn statistics(cache: &Cache, url: &str) -> Result<(), Box<dyn Error>> {
    // ANCHOR: stats
    let dashboard = Dashboard::new(cache.clone(), loopback_only());
    let app = Router::new()
        .route("/api/cache/stats", get(stats))
        .with_state(cache.clone())
        .nest("/cache", dashboard.router());
    // ANCHOR_END: stats
    let answer = app
        .oneshot(Request::get("/api/cache/stats").body(Body::empty())?)
        .await?;
    let body = to_bytes(answer.into_body(), usize::MAX).await?;
    let stats: serde_json::Value = serde_json::from_slice(&body)?;
    assert_eq!(stats["hits"], cache.stats().hits);

    // ANCHOR: log
    let cache = Cache::builder()
        .url(url)
        .on_event(|event| tracing::debug!("{event}")) // such as `hit user:7`
        .build()?;
    // ANCHOR_END: log
    assert!(cache.get::<User>("user:0").await?.is_none());
    Ok(())
}

async fn by_value(cache: &Cache) -> Result<(), Box<dyn Error>> {
    let ada = load_user(7).await?;
    // ANCHOR: by_value
    let options = Options::new().ttl(Duration::from_millis(90_500));
    cache.set("user:7", &ada, options).await?;
    cache.set("user:7", &ada, Options::new().forever()).await?;
    let holds_ada: bool = cache.exists_with("user:7", &ada).await?;
    let was_there: bool = cache.delete("user:7").await?;
    // ANCHOR_END: by_value
    assert!(holds_ada && was_there);
    Ok(())
}

async fn import(token: u64) -> u64 {
    token
}

async fn locks(cache: &Cache) -> Result<(), Box<dyn Error>> {
    // ANCHOR: lock
    let lock = cache.lock("import", Duration::from_secs(30));
    let token: Option<u64> = lock.acquire("worker 7").await?;
    let released: bool = lock.release("worker 7").await?;

    // Without a value of your own: renewed while it is held, and given back when it is dropped.
    if let Some(held) = lock.try_lock().await? {
        let imported = held.while_held(import(held.token())).await;
        assert!(imported > token);
    }
    // ANCHOR_END: lock
    assert!(token.is_some() && released);
    Ok(())
}

async fn budgets(cache: &Cache) -> Result<(), Box<dyn Error>> {
    cache
        .scope("users")
        .set("7", &load_user(7).await?, Options::new())
        .await?;
    // ANCHOR: budget
    let budget = cache.scope("users").budget(30_000_000);
    let swept = budget.sweep().await?; // once
    let keeper = tokio::spawn(budget.keep(Duration::from_secs(10))); // every ten seconds
    // ANCHOR_END: budget
    assert!(swept.is_some_and(|swept| swept.entries == 1 && swept.removed == 0));
    keeper.abort();
    Ok(())
}

async fn rate_limits(cache: &Cache) -> Result<(), Box<dyn Error>> {
    // ANCHOR: rate_limit
    let limit = cache.rate_limit("user", Rate::new(20, Duration::from_secs(60)).sliding());
    let decision = limit.check("ada").await?;
    let (allowed, remaining) = (decision.allowed, decision.remaining);
    let retry_after: Option<Duration> = decision.retry_after;
    // ANCHOR_END: rate_limit
    assert_eq!((allowed, remaining, retry_after), (true, 19, None));
    Ok(())
}

async fn sessions(cache: &Cache) -> Result<(), Box<dyn Error>> {
    // ANCHOR: sessions
    let sessions = cache.sessions("web").ok_or("the cache is off")?;
    let layer = SessionManagerLayer::new(sessions)
        .with_expiry(Expiry::OnInactivity(time::Duration::days(7)));
    let app: Router = Router::new().layer(layer);
    // ANCHOR_END: sessions
    let answer = app.oneshot(Request::get("/").body(Body::empty())?).await?;
    assert_eq!(answer.status(), 404);
    Ok(())
}

async fn warms(cache: &Cache) -> Result<(), Box<dyn Error>> {
    // ANCHOR: warm
    let popular = stream::iter((1..=100).map(find_user));
    let warmed = warm(popular, 8).await; // eight at once
    println!("{} loaded, {} of them failed", warmed.done, warmed.failed);
    // ANCHOR_END: warm
    assert_eq!((warmed.done, warmed.failed), (100, 0));
    assert!(cache.exists("user:100").await?);
    Ok(())
}

async fn edits(cache: &Cache) -> Result<(), Box<dyn Error>> {
    // ANCHOR: edit
    let shown = cache.inspect("user:7").await?;
    println!("{}", shown.why); // It would be served: …
    if cache.has_server() {
        let json = r#"{ "id": 7, "name": "Ada" }"#;
        cache.set_json("user:7", json, Options::new()).await?;
    }
    // ANCHOR_END: edit
    assert!(shown.would_be_served);
    if cache.has_server() {
        assert_eq!(find_user(7).await?.name, "Ada");
    }
    Ok(())
}

async fn all_of_it(cache: &Cache, url: &str) -> Result<(), Box<dyn Error>> {
    is_on(cache);
    values(cache).await?;
    texts(cache).await?;
    connects(cache).await?;
    loads(cache).await?;
    invalidates(cache).await?;
    commands(cache).await?;
    by_environment()?;
    service(cache).await?;
    key_helpers(cache).await?;
    statistics(cache, url).await?;
    by_value(cache).await?;
    locks(cache).await?;
    budgets(cache).await?;
    rate_limits(cache).await?;
    sessions(cache).await?;
    warms(cache).await?;
    edits(cache).await
}

#[tokio::test]
async fn the_code_runs_in_the_process() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    with_cache(&cache, all_of_it(&cache, "memory:"))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_code_runs_on_a_server() {
    let server = RedisServer::start();
    let cache = patient(&server.url()).build().unwrap();
    with_cache(&cache, all_of_it(&cache, &server.url()))
        .await
        .unwrap();
}

/// What stands between the anchors of this file, without what it is indented by.
fn regions() -> Vec<String> {
    let mut regions = Vec::new();
    let mut region: Option<(usize, String)> = None;
    for line in include_str!("known_as.rs").lines() {
        let text = line.trim_start();
        if text.starts_with("// ANCHOR:") {
            region = Some((line.len() - text.len(), String::new()));
        } else if text.starts_with("// ANCHOR_END:") {
            regions.extend(region.take().map(|(_, code)| code));
        } else if let Some((indent, code)) = &mut region {
            writeln!(code, "{}", line.get(*indent..).unwrap_or_default()).unwrap();
        }
    }
    regions
}

/// The page with this code in its blocks.
fn page_with(page: &str, regions: &[String]) -> String {
    let mut regions = regions.iter();
    let mut blocks = page.split("```rust\n");
    let mut with = blocks.next().unwrap_or_default().to_owned();
    for block in blocks {
        let code = regions.next().expect("the page has more blocks than code");
        let (_, rest) = block.split_once("```").expect("a block has an end");
        write!(with, "```rust\n{code}```{rest}").unwrap();
    }
    assert_eq!(regions.len(), 0, "the page has fewer blocks than code");
    with
}

#[test]
fn the_page_has_this_code() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../cache-runtime/docs/known_as.md"
    );
    let page = fs::read_to_string(path).unwrap();
    let with = page_with(&page, &regions());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, with).unwrap();
        return;
    }
    assert!(
        page == with,
        "cache-runtime/docs/known_as.md differs from examples/src/known_as.rs; to write its code again:\n\n    \
         UPDATE=1 cargo test -p cache-examples --lib the_page_has_this_code\n"
    );
}
