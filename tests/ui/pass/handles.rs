//! What `handle` adds: nothing that a lint objects to, beside functions of every kind.
#![deny(warnings, missing_docs, unreachable_pub)]
#![allow(dead_code)]

use std::pin::Pin;

use cache_runtime::{Cache, cached};

mod renamed {
    pub(crate) use cache_runtime as cache;
}

/// Documented.
#[cached(key = "user:<id>", handle)]
pub async fn find(id: u64) -> Result<u64, std::io::Error> {
    Ok(id)
}

#[cached(key = "private:<id>", handle, crate = renamed::cache)]
async fn private(mut id: u64) -> Option<u64> {
    id += 1;
    Some(id)
}

#[cached(key = "pattern:<a>:<b>", handle, skip(_cache), cache = _cache)]
pub(crate) async fn pattern((a, b): (u64, &str), _cache: &Cache) -> u64 {
    a + b.len() as u64
}

#[cached(key = "lifetimes:<name>:<N>", handle, skip(T))]
fn lifetimes<'a, T, const N: usize>(
    name: &'a str,
) -> Pin<Box<dyn Future<Output = Result<usize, String>> + Send + 'a>>
where
    T: Sync + Send + 'a,
{
    Box::pin(async move { Ok(name.len() + N) })
}

#[cached(key = "value:<value>", handle)]
async fn of_value(value: u64) -> u64 {
    value
}

#[cfg(any())]
mod absent {}

#[cached(key = "absent", handle)]
#[cfg(any())]
async fn absent() -> Missing {}

fn main() {
    #[cached(key = "local:<id>", handle)]
    async fn local(id: u64) -> u64 {
        id
    }
    assert_eq!(local::key(7).as_str(), "local:7");
    assert_eq!(find::key(7).as_str(), "user:7");
    assert_eq!(private::key(7).as_str(), "private:7");
    assert_eq!(lifetimes::key::<u8, 3>("a").as_str(), "lifetimes:'a':3");
    let cache = Cache::builder().url("memory:").build().unwrap();
    assert_eq!(pattern::key((7, "a"), &cache).as_str(), "pattern:7:'a'");
    let entry = pattern::entry((7, "a"), &cache).unwrap();
    assert_eq!(entry.key().as_str(), "pattern:7:'a'");
}
