//! A second process on the same server, as [`cache_tests::Peer`] talks to it.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use cache_runtime::{Cache, cache_invalidate};
use cache_tests::{SlowDatabase, patient, stampede};

#[tokio::main(worker_threads = 2)]
async fn main() {
    let mut words = std::env::args().skip(1);
    let command = words.next().expect("a command");
    let arguments = Arguments::read(words);
    match command.as_str() {
        "load" => load(&arguments).await,
        "write" => write(&arguments).await,
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
