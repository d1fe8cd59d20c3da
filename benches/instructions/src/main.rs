//! The operations that `cargo xtask instructions` counts: runs one of them a given number of times.
//!
//! Two runs with different numbers are counted. Their difference is that of the operation alone,
//! without the start and the end of the process.

use std::convert::Infallible;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};

use cache_runtime::__private::{decode_entry, encode_entry};
use cache_runtime::{Cache, Key, cached, key};

static CACHE: LazyLock<Cache> = LazyLock::new(|| {
    let cache = Cache::builder().url("memory:").build();
    cache.expect("a cache")
});

#[cached(key = "user:<id>", ttl = 60, cache = CACHE)]
async fn by_number(id: u64) -> Result<Arc<u64>, Infallible> {
    Ok(Arc::new(id))
}

#[cached(key = "login:<login>", ttl = 60, cache = CACHE)]
async fn by_text(login: &str) -> Result<Arc<u64>, Infallible> {
    Ok(Arc::new(login.len() as u64))
}

#[cached(key = "tagged:<id>", ttl = 60, cache = CACHE, invalidate_on = ["users", "user:<id>:all"])]
async fn tagged(id: u64) -> Result<Arc<u64>, Infallible> {
    Ok(Arc::new(id))
}

#[cached(key = "owned:<id>", ttl = 60, cache = CACHE)]
async fn owned(id: u64) -> u64 {
    id
}

/// The number of different ids. All but their first calls are hits.
const IDS: u64 = 64;

// Functions of their own: one that is called in two places is not inlined where hits are counted.

#[cached(key = "missed:<id>", ttl = 60, cache = CACHE)]
async fn missed(id: u64) -> Result<Arc<u64>, Infallible> {
    Ok(Arc::new(id))
}

#[cached(key = "missed:<id>:tagged", ttl = 60, cache = CACHE, invalidate_on = ["users", "user:<id>:all"])]
async fn missed_tagged(id: u64) -> Result<Arc<u64>, Infallible> {
    Ok(Arc::new(id))
}

async fn times<T>(count: u64, call: impl AsyncFn(u64) -> T) {
    for id in 0..count {
        black_box(call(black_box(10_000 + id % IDS)).await);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let operation = arguments.next().unwrap_or_default();
    let count = arguments.next().and_then(|count| count.parse().ok());
    let count: u64 = count.unwrap_or(1000);
    let tags = [Key::from("users"), Key::from("user:42:all")];
    let entry = encode_entry(&tags, &[1, 2], b"{}");
    match operation.as_str() {
        "hit" => times(count, async |id| by_number(id).await).await,
        "hit-text" => times(count, async |_| by_text(black_box("octocat")).await).await,
        "hit-tags" => times(count, async |id| tagged(id).await).await,
        "hit-owned" => times(count, async |id| owned(id).await).await,
        // Each with a new id, so that it loads and stores.
        "miss" => {
            for id in 0..count {
                black_box(missed(black_box(1_000_000 + id)).await).ok();
            }
        }
        "miss-tags" => {
            for id in 0..count {
                black_box(missed_tagged(black_box(1_000_000 + id)).await).ok();
            }
        }
        "invalidate" => {
            let invalidate = async |id| CACHE.invalidate([key!("user:<id>")]).await;
            times(count, invalidate).await;
        }
        "key" => times(count, async |id| key!("user:<id>:posts:<id>")).await,
        "encode" => {
            let encode = async |_| encode_entry(black_box(&tags), &[1, 2], b"{}");
            times(count, encode).await;
        }
        "decode" => times(count, async |_| decode_entry(black_box(entry.clone()))).await,
        other => {
            eprintln!("error: no such operation: `{other}`");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
