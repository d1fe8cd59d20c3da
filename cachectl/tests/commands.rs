//! Each command, as it is typed, at a real server.

use std::net::Ipv4Addr;
use std::process::{Command, Output};

use axum::Router;
use cache_dashboard::{Dashboard, bearer};
use cache_runtime::{Cache, Options, cached};
use cache_tests::RedisServer;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What was printed, and how it ended.
struct Told {
    end: i32,
    out: String,
    errors: String,
}

impl Told {
    fn of(output: Output) -> Self {
        Self {
            end: output.status.code().expect("it ends by itself"),
            out: String::from_utf8(output.stdout).expect("text"),
            errors: String::from_utf8(output.stderr).expect("text"),
        }
    }

    fn json(&self) -> Value {
        assert_eq!(self.errors, "");
        serde_json::from_str(&self.out).expect("JSON")
    }
}

/// Without what the environment of the test has.
fn cachectl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cachectl"));
    command.env_clear();
    command
}

fn tell(command: &mut Command) -> Told {
    Told::of(command.output().expect("it starts"))
}

/// A server, and a cache of a program on it.
fn shop() -> (RedisServer, Cache) {
    let server = RedisServer::start();
    server.configure("maxmemory", "100mb");
    server.configure("maxmemory-policy", "allkeys-lru");
    let cache = Cache::builder().url(server.url()).namespace("shop");
    (server, cache.build().expect("a cache"))
}

fn at(server: &RedisServer, arguments: &[&str]) -> Told {
    let mut command = cachectl();
    command
        .env("CACHE_URL", server.url())
        .env("CACHE_NAMESPACE", "shop")
        .args(arguments);
    tell(&mut command)
}

async fn set(cache: &Cache, key: &str, tag: &str) {
    let options = Options::new().tag(tag);
    let stored = cache.set(key, &json!({ "name": "Ada" }), options).await;
    stored.expect("the server runs");
}

async fn is_there(cache: &Cache, key: &str) -> bool {
    cache.exists(key).await.expect("the server runs")
}

#[test]
fn doctor_says_what_is_fine_and_what_is_not() {
    let (server, _) = shop();
    let well = at(&server, &["doctor"]);
    assert_eq!((well.end, &*well.errors), (0, ""), "{}", well.out);
    assert!(
        well.out
            .starts_with("fine    namespace: its keys begin with `shop:`\n")
    );
    server.configure("maxmemory-policy", "noeviction");
    server.configure("maxmemory", "1mb");
    let full = at(&server, &["doctor", "--json"]);
    assert_eq!(full.end, 1, "{}", full.out);
    assert_eq!(full.json()["worst"], "problem");
    let checks = &full.json()["checks"];
    let memory = checks
        .as_array()
        .expect("a list")
        .iter()
        .find(|it| it["subject"] == "memory");
    assert_eq!(memory.expect("a check")["severity"], "problem");
    let gone = tell(cachectl().args(["--url", "redis://:s3cret@127.0.0.1:1", "doctor"]));
    assert_eq!(gone.end, 1);
    assert!(
        gone.out.contains("problem connection") && !gone.out.contains("s3cret"),
        "{}",
        gone.out
    );
}

#[tokio::test]
async fn inspect_shows_a_value_and_why_it_is_served_or_not() {
    let (server, cache) = shop();
    set(&cache, "user:42", "users").await;
    let shown = at(&server, &["inspect", "user:42"]);
    assert_eq!(shown.end, 0, "{}", shown.errors);
    for part in [
        "user:42\n  It would be served",
        "\"name\": \"Ada\"",
        "users (valid",
        "remaining",
    ] {
        assert!(shown.out.contains(part), "{part}: {}", shown.out);
    }
    cache.invalidate(["users"]).await.expect("the server runs");
    let invalidated = at(&server, &["inspect", "user:42", "--json"]);
    assert_eq!(invalidated.end, 1);
    assert_eq!(invalidated.json()[0]["would_be_served"], false);
    // A tag is no entry, and is as it should be.
    let tag = at(&server, &["inspect", "users"]);
    assert_eq!(tag.end, 0, "{}", tag.out);
    assert_eq!(at(&server, &["inspect", "nothing"]).end, 1);
}

/// What is refused is refused again, so it is not tried again.
#[test]
fn what_a_server_refuses_is_an_error_at_once() {
    let (server, _) = shop();
    let rules = ["on", ">right", "~*", "&*", "+@all", "-eval"];
    server.set_user("reader", &rules);
    let url = format!("redis://reader:right@127.0.0.1:{}", server.port());
    let refused = tell(cachectl().args(["--url", &url, "invalidate", "user:1"]));
    assert_eq!(refused.end, 2);
    assert!(
        refused.errors.contains("no permissions"),
        "{}",
        refused.errors
    );
    assert!(
        !refused.errors.contains("tried again"),
        "{}",
        refused.errors
    );
    let away = tell(cachectl().args(["--url", "redis://127.0.0.1:1", "expire", "user:1"]));
    assert_eq!(away.end, 2);
}

#[cfg(unix)]
#[test]
fn output_that_cannot_be_written_is_an_error_and_one_that_is_not_wanted_is_none() {
    let (server, _) = shop();
    let into = |shell: &str| {
        let mut command = Command::new("sh");
        let program = env!("CARGO_BIN_EXE_cachectl");
        command.args(["-c", &shell.replace("cachectl", program)]);
        command.env("CACHE_URL", server.url());
        tell(&mut command)
    };
    let full = into("cachectl count > /dev/full");
    assert_eq!(full.end, 2);
    assert!(full.errors.contains("No space left"), "{}", full.errors);
    let unwanted = into("{ cachectl doctor; echo $? >&2; } | true");
    assert_eq!(unwanted.errors, "0\n");
}

#[tokio::test]
async fn names_are_counted_invalidated_expired_and_cleared() {
    let (server, cache) = shop();
    for key in ["user:1", "user:2", "post:1", "post:2"] {
        set(&cache, key, "all").await;
    }
    assert_eq!(at(&server, &["count"]).out, "4\n");
    assert_eq!(
        at(&server, &["count", "user:*", "--json"]).json(),
        json!({ "entries": 2 })
    );

    let invalidated = at(&server, &["invalidate", "user:1"]);
    assert_eq!(
        (invalidated.end, &*invalidated.out),
        (0, "1 name is invalidated\n")
    );
    assert!(!is_there(&cache, "user:1").await && is_there(&cache, "user:2").await);
    let removed = at(&server, &["invalidate", "--matching", "post:*"]);
    assert_eq!(removed.out, "2 entries are removed\n");
    assert_eq!(at(&server, &["expire", "user:2"]).end, 0);
    assert!(!is_there(&cache, "user:2").await);

    set(&cache, "user:3", "all").await;
    let literal = at(&server, &["invalidate", "user:*"]);
    assert_eq!(literal.end, 0);
    assert!(
        literal.errors.contains("--matching 'user:*'"),
        "{}",
        literal.errors
    );
    assert!(is_there(&cache, "user:3").await);
    let asks = at(&server, &["clear"]);
    assert_eq!(asks.end, 2);
    assert!(
        asks.errors.contains("1 entry would be removed"),
        "{}",
        asks.errors
    );
    assert!(is_there(&cache, "user:3").await);
    assert_eq!(at(&server, &["clear", "--yes"]).out, "1 entry is removed\n");
    assert!(!is_there(&cache, "user:3").await);
}

#[test]
fn what_cannot_be_carried_out_is_an_error_that_says_why() {
    let typed = |arguments: &[&str]| tell(cachectl().args(arguments));
    for (arguments, says) in [
        (&["count"][..], "set CACHE_URL"),
        (&["--url", "memory:", "count"], "ask its dashboard"),
        (&["--url", "http://localhost", "count"], "`memory:`"),
        (
            &["--url", "redis://127.0.0.1:1", "count"],
            "127.0.0.1:1 cannot be reached",
        ),
        (&["--url", "redis://127.0.0.1:1", "inspect", ""], "empty"),
        (&["invalidate"], "required"),
        (
            &["functions", "http://ann:s3cret@127.0.0.1:1/cache"],
            "CACHECTL_USER",
        ),
        (&["functions", "http://127.0.0.1:1/cache?x=1"], "leave out"),
        (&["functions", "127.0.0.1:1"], "such as http://"),
        (
            &["functions", "http://127.0.0.1:1/cache"],
            "the dashboard at http://127.0.0.1:1/cache/api/functions",
        ),
        (&["docter"], "'doctor'"),
    ] {
        let told = typed(arguments);
        assert_eq!(told.end, 2, "{arguments:?}");
        assert!(told.errors.contains(says), "{arguments:?}: {}", told.errors);
        assert!(
            !told.errors.contains("s3cret"),
            "{arguments:?}: {}",
            told.errors
        );
    }
}

#[cached(key = "square:<number>", cache = cache, skip(cache))]
async fn square(cache: &Cache, number: u64) -> u64 {
    number * number
}

/// Serves the dashboard of a program, and returns its URL.
async fn dashboard(cache: Cache) -> String {
    let dashboard = Dashboard::new(cache, bearer("s3cret"));
    let app = Router::new().nest("/admin/cache", dashboard.router());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/admin/cache")
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_told_by_the_dashboard_of_a_program() {
    let cache = Cache::builder().url("memory:").build().expect("a cache");
    for _ in 0..4 {
        square(&cache, 3).await;
    }
    let url = dashboard(cache).await;
    let functions = |token: Option<&str>, path: &str, arguments: &[&str]| {
        let mut command = cachectl();
        command
            .arg("functions")
            .arg(url.clone() + path)
            .args(arguments);
        // On this machine, no proxy is asked.
        command.env("HTTP_PROXY", "http://127.0.0.1:1");
        if let Some(token) = token {
            command.env("CACHECTL_TOKEN", token);
        }
        tell(&mut command)
    };
    let told = functions(Some("s3cret"), "/", &[]);
    assert_eq!((told.end, &*told.errors), (0, ""));
    let row = told.out.lines().nth(1).expect("a row");
    let cells: Vec<_> = row.split_whitespace().collect();
    assert!(cells[0].ends_with("square"), "{}", told.out);
    assert_eq!(cells[1..6], ["square:<number>", "4", "75.0", "%", "1"]);
    // The median of the loads, and what the hits have saved.
    assert_eq!((cells[7], cells[9], cells[10]), ("ms", "ms", "0"), "{row}");
    let json = functions(Some("s3cret"), "", &["--json"]).json();
    // Functions of the fixtures are linked, too.
    let called = json
        .as_array()
        .expect("a list")
        .iter()
        .find(|it| it["called"] == true);
    assert_eq!(called.expect("it was called")["hits"], 3);
    assert!(
        told.out.contains("more functions were not called"),
        "{}",
        told.out
    );

    let denied = functions(None, "", &[]);
    assert_eq!(denied.end, 2);
    assert!(
        denied.errors.contains("CACHECTL_TOKEN"),
        "{}",
        denied.errors
    );
    assert!(
        functions(Some("wrong"), "", &[])
            .errors
            .contains("CACHECTL_TOKEN")
    );
    let elsewhere = functions(Some("s3cret"), "/../nowhere", &[]);
    assert_eq!(elsewhere.end, 2, "{}", elsewhere.errors);
}
