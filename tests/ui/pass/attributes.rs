//! Other attributes, above and below ours; several of ours; `macro_rules!` around them.
#![forbid(unsafe_code)]
#![deny(
    warnings,
    clippy::all,
    clippy::pedantic,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    rust_2018_idioms
)]

use std::marker::PhantomData;
use std::pin::Pin;

use cache_runtime::{Cache, CacheTag, Options, cache_invalidate, cached};
use tracing::instrument;

/// Above.
#[instrument]
#[cached(key = "above:<id>")]
pub async fn above(id: String) -> String {
    id
}

/// Below.
#[cached(key = "below:<id>", skip(note))]
#[instrument(err, skip(note))]
#[cfg(not(any()))]
pub async fn below(id: String, #[allow(unused)] note: Vec<u8>) -> Result<String, String>
where
    String: Clone,
{
    Ok(id)
}

/// Not there.
#[cfg(any())]
#[cached(key = "below:<id>", nonsense)]
pub async fn below(id: String) {}

/// Not for long.
#[deprecated = "ask another"]
#[must_use]
#[cached(key = "deprecated:<id>")]
pub(crate) async fn deprecated(id: u64) -> u64 {
    id
}

/// Several.
#[cache_invalidate("above:<id>")]
#[cache_invalidate("below:<result>", on = ok)]
#[instrument]
pub async fn change(id: String) -> Result<String, String> {
    Ok(id)
}

/// Several.
#[instrument]
#[cache_invalidate("above:<id>")]
#[cache_invalidate("below:<result>")]
pub fn change_boxed(id: String) -> Pin<Box<dyn Future<Output = String> + Send>> {
    Box::pin(async move { id })
}

/// A team's users.
#[derive(CacheTag)]
#[cache_tag("team:<0>")]
pub struct Team(u64);

/// A team's users, with fields that are not in the tag.
#[derive(CacheTag)]
#[cache_tag("team:<id>:users")]
pub struct TeamUsers<T> {
    id: u64,
    #[cache_tag(skip)]
    page: u32,
    of: PhantomData<T>,
}

macro_rules! functions {
    (
        $(#[$attr:meta])* $vis:vis fn $name:ident($id:ident: $type:ty) -> $output:ty,
        $key:literal, $ttl:expr, $tags:expr, $unless:expr
    ) => {
        $(#[$attr])*
        #[cached(key = $key, ttl = $ttl, invalidate_on = $tags, unless = $unless)]
        $vis fn $name($id: $type) -> $output {
            Box::pin(async move { $id })
        }
    };
}

functions!(
    /// From a macro.
    #[must_use]
    pub fn generated(team: u64) -> Pin<Box<dyn Future<Output = u64>>>,
    "generated:<team>",
    |team| std::time::Duration::from_secs(*team),
    ["teams", Team(team)],
    |team| *team == 0
);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let id = || "a".to_owned();
    assert_eq!(above(id()).await, "a");
    assert_eq!(below(id(), Vec::new()).await, Ok(id()));
    #[expect(deprecated)]
    let deprecated = deprecated(1).await;
    assert_eq!(deprecated, 1);
    assert_eq!(change(id()).await, Ok(id()));
    assert_eq!(change_boxed(id()).await, "a");
    assert_eq!(generated(1).await, 1);
    let users = TeamUsers::<Team> {
        id: 1,
        page: 2,
        of: PhantomData,
    };
    let cache = Cache::builder().url("memory:").build().unwrap();
    cache
        .set("key", &users.page, Options::new().tag(&users))
        .await
        .unwrap();
    cache.invalidate(["team:1:users"]).await.unwrap();
    assert!(!cache.exists("key").await.unwrap());
}
