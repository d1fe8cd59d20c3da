//! `crate = …` says where the runtime is, for a crate that only has it from
//! another crate: here, `::cache_runtime` is something else.
#![forbid(unsafe_code)]
#![deny(warnings, clippy::all, clippy::pedantic)]

pub extern crate cache_runtime as renamed;
extern crate self as cache_runtime;

/// A framework, with a cache in it.
pub mod framework {
    pub use renamed as cache;

    /// Its own attribute, in the form of a macro.
    #[macro_export]
    macro_rules! cached_in_framework {
        ($name:ident, $key:literal, $id:ident) => {
            #[$crate::framework::cache::cached(key = $key, crate = $crate::framework::cache)]
            async fn $name($id: u64) -> u64 {
                $id
            }
        };
    }
}

use framework::cache::{Cache, CacheTag, KeyPart, cache_invalidate, cached, key};

static CACHE: std::sync::LazyLock<Cache> =
    std::sync::LazyLock::new(|| Cache::builder().url("memory:").build().unwrap());

#[derive(Clone, Copy, KeyPart)]
#[key_part(crate = framework::cache)]
struct UserId(u64);

#[derive(KeyPart)]
#[key_part(crate = crate::framework::cache)]
enum Order<T> {
    Ascending,
    By { field: T, name: &'static str },
}

#[derive(CacheTag)]
#[cache_tag("team:<id>:<order>:<name.trim()>", crate = crate::framework::cache)]
struct Team<T> {
    id: UserId,
    order: Order<T>,
    name: &'static str,
}

fn team(id: UserId) -> Team<u8> {
    let order = if id.0 == 0 {
        Order::Ascending
    } else {
        Order::By {
            field: 1,
            name: "a",
        }
    };
    Team {
        id,
        order,
        name: "b",
    }
}

#[cached(
    key = "user:<T>:<id>",
    ttl = |name| std::time::Duration::from_secs(name.len() as u64),
    unless = String::is_empty,
    condition = id.0 > 0,
    invalidate_on = ["users", team(id)],
    cache = CACHE,
    crate = framework::cache,
)]
async fn user<T>(id: UserId) -> Result<Option<String>, T> {
    Ok(Some(format!("user {}", id.0)))
}

#[cached(key = "future:<id>", crate = renamed)]
fn future(id: UserId) -> std::pin::Pin<Box<dyn Future<Output = u64>>> {
    Box::pin(async move { id.0 })
}

#[cache_invalidate("user:<id>:<result>", team(UserId(*result)), on = ok, crate = framework::cache, cache = CACHE)]
async fn change(id: UserId) -> u64 {
    id.0
}

#[cache_invalidate("user:<id>", crate = ::cache_runtime::framework::cache)]
fn change_future(id: UserId) -> impl Future<Output = u64> {
    async move { id.0 }
}

cached_in_framework!(generated, "generated:<id>", id);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let id = UserId(7);
    for _ in 0..2 {
        assert_eq!(user::<()>(id).await, Ok(Some("user 7".to_owned())));
    }
    assert_eq!(CACHE.stats().hits, 1);
    assert_eq!(future(id).await, 7);
    assert_eq!(change(id).await, 7);
    assert_eq!(change_future(id).await, 7);
    assert_eq!(generated(7).await, 7);
    assert_eq!(
        key!("user:<id>", crate = framework::cache).as_str(),
        "user:7"
    );
    assert!(CACHE.invalidate([team(UserId(0))]).await.is_ok());
}
