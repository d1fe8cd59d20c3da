//! A second process on the same server, as [`cache_tests::Peer`] talks to it.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use cache_runtime::{Cache, CacheBuilder, Rate, cache_invalidate, cached, key_name};
use cache_tests::{Cat, Dog, Pet as _, Pets, SlowDatabase, Upstash, patient, stampede};
use serde::{Deserialize, Serialize};

#[tokio::main(worker_threads = 2)]
async fn main() {
    let mut words = std::env::args().skip(1);
    let command = words.next().expect("a command");
    let arguments = Arguments::read(words);
    match command.as_str() {
        "load" => load(&arguments).await,
        "write" => write(&arguments).await,
        "limit" => limit(&arguments).await,
        "types" => types(&arguments).await,
        "ping" => ping(&arguments).await,
        "environment" => environment().await,
        "emulator" => emulator(),
        other => panic!("no such command: {other}"),
    }
}

fn cache(arguments: &Arguments) -> Cache {
    patient(arguments.text("url"))
        .namespace(arguments.text("namespace"))
        .build()
        .expect("a cache")
}

/// Connects, says `ready` and waits for a line. Then `--callers` callers ask for one key, whose
/// load takes `--load-ms` milliseconds; the answer is a [`Stampede`](cache_tests::Stampede).
async fn load(arguments: &Arguments) {
    let cache = cache(arguments);
    cache.exists("connect").await.expect("the server answers");
    let load = Duration::from_millis(arguments.number("load-ms"));
    let database = Arc::new(SlowDatabase::new(cache, load));
    let callers = usize::try_from(arguments.number("callers")).expect("a number of callers");
    say("ready");
    let mut go = String::new();
    std::io::stdin().read_line(&mut go).expect("an order");
    let seen = stampede(&database, arguments.number("key"), callers).await;
    println!("{}", serde_json::to_string(&seen).expect("plain numbers"));
}

/// Connects, says `ready` and waits for a line. Then `--callers` callers each ask `--asks` times whether one
/// more is allowed, by the rate of `--count` in `--window-ms` milliseconds, sliding if `--sliding` is 1. The
/// answer is how often it was.
async fn limit(arguments: &Arguments) {
    let cache = cache(arguments);
    cache.ping().await.expect("the server answers");
    let count = u32::try_from(arguments.number("count")).expect("a count");
    let rate = Rate::new(count, Duration::from_millis(arguments.number("window-ms")));
    let is_sliding = arguments.number("sliding") == 1;
    let limit = cache.rate_limit("all", if is_sliding { rate.sliding() } else { rate });
    say("ready");
    let mut go = String::new();
    std::io::stdin().read_line(&mut go).expect("an order");
    let asks = arguments.number("asks");
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..arguments.number("callers") {
        let limit = limit.clone();
        callers.spawn(async move {
            let mut allowed = 0;
            for _ in 0..asks {
                let decision = limit.check("subject").await.expect("the server answers");
                allowed += u64::from(decision.allowed);
            }
            allowed
        });
    }
    let allowed: u64 = callers.join_all().await.into_iter().sum();
    say(&allowed.to_string());
}

/// Writes behind a fence of `--fence-ms` milliseconds, says `committed`, and waits to be killed.
async fn write(arguments: &Arguments) {
    let cache = cache(arguments);
    let fence = Duration::from_millis(arguments.number("fence-ms"));
    commit(&cache, fence).await;
}

#[cache_invalidate("doc", fence = fence, cache = cache)]
async fn commit(cache: &Cache, fence: Duration) {
    say("committed");
    std::future::pending().await
}

/// Starts an emulator of Upstash's HTTP interface, says its URL, and ends when its standard input does:
/// for a person who tries a program with it.
fn emulator() {
    let emulator = Upstash::start();
    say(&emulator.url());
    let _ = std::io::stdin().lines().count();
}

/// Asks the server for any answer, and says `ok`, or the error.
async fn ping(arguments: &Arguments) {
    match cache(arguments).ping().await {
        Ok(()) => say("ok"),
        Err(error) => say(&error.to_string()),
    }
}

/// Builds two caches by what the environment says, and asks their servers for any answer. Says what is
/// logged meanwhile, then `ok` or the error.
async fn environment() {
    let _ = tracing::subscriber::set_global_default(Log);
    for _ in 0..2 {
        let cache = CacheBuilder::from_env().and_then(|builder| {
            let minute = Duration::from_secs(60);
            builder.op_timeout(minute).connect_timeout(minute).build()
        });
        let cache = match cache {
            Ok(cache) => cache,
            Err(error) => return say(&error.to_string()),
        };
        if let Err(error) = cache.ping().await {
            return say(&error.to_string());
        }
    }
    say("ok");
}

/// Says what is logged: the level, and the fields in their order.
struct Log;

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("cache_runtime")
    }

    fn event(&self, event: &tracing::Event<'_>) {
        use std::fmt::Write as _;
        struct Fields(String);
        impl tracing::field::Visit for Fields {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                let _ = write!(self.0, " {field}={value:?}");
            }
        }
        let mut fields = Fields(event.metadata().level().to_string());
        event.record(&mut fields);
        say(&fields.0);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// The type `types::moved::Moved` of the tests, where another version of the program has it.
#[key_name("tests.moved")]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Moved(String);

#[cached(key = "moved:<id>", ttl = 60, cache = cache, skip(cache))]
async fn moved(cache: &Cache, id: u64) -> Moved {
    Moved(format!("peer {id}"))
}

#[cached(key = "moved:<T>:<id>", ttl = 60, cache = cache, skip(cache))]
async fn moved_by_type<T>(cache: &Cache, id: u64) -> String {
    format!("peer {id}")
}

/// Answers each line, `dog`, `cat`, `moved` or `key`, with what a cached function returned.
async fn types(arguments: &Arguments) {
    let cache = cache(arguments);
    say("ready");
    for line in std::io::stdin().lines() {
        let answer = match line.expect("an order").as_str() {
            "dog" => Pets::<Dog>::new(&cache)
                .get(1)
                .await
                .map(|dog| dog.sound().to_owned()),
            "cat" => Pets::<Cat>::new(&cache)
                .get(1)
                .await
                .map(|cat| cat.sound().to_owned()),
            "sound of dogs" => Some(Pets::<Dog>::new(&cache).sound().await),
            "moved" => Some(moved(&cache, 1).await.0),
            "key" => Some(moved_by_type::<Vec<Moved>>(&cache, 1).await),
            other => panic!("no such order: {other}"),
        };
        say(&answer.expect("each of them is there"));
    }
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().expect("the test reads it");
}

/// `--name value` pairs.
struct Arguments(HashMap<String, String>);

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> Self {
        let mut pairs = HashMap::new();
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            pairs.insert(name.trim_start_matches("--").to_owned(), value);
        }
        Self(pairs)
    }

    fn text(&self, name: &str) -> &str {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("--{name} is missing"))
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name)
            .parse()
            .unwrap_or_else(|_| panic!("--{name} is not a number"))
    }
}
