//! A second process on the same server.
//!
//! It says `ready` when it is connected, waits for a line, does what it was told
//! and prints one line of JSON.

use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use cache_runtime::{Cache, cache_invalidate};
use cache_tests::{SlowDatabase, stampede};

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
    Cache::builder()
        .url(arguments.text("url"))
        .namespace(arguments.text("namespace"))
        // A busy machine is not to look like an outage.
        .op_timeout(Duration::from_secs(60))
        .build()
        .expect("a cache")
}

/// `--callers` callers of one key, whose load takes `--load-ms` milliseconds.
async fn load(arguments: &Arguments) {
    let cache = cache(arguments);
    cache.exists("connect").await.expect("the server answers");
    let load = Duration::from_millis(arguments.number("load-ms"));
    let database = Arc::new(SlowDatabase::new(cache, load));
    let callers = usize::try_from(arguments.number("callers")).expect("a number of callers");
    wait_for_the_word();
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
    println!("committed");
    std::io::stdout().flush().expect("somebody reads");
    std::future::pending().await
}

fn wait_for_the_word() {
    println!("ready");
    std::io::stdout().flush().expect("somebody reads");
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .expect("somebody writes");
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
            .unwrap_or_else(|_| panic!("--{name} is no number"))
    }
}
