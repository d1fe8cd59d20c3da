//! Functions that a `macro_rules!` macro writes.

use std::sync::LazyLock;
use std::time::Duration;

use cache_runtime::{Cache, CacheTag, Options, cache_invalidate, cached};

use super::{miss_hit_invalidate, on_every_backend};

on_every_backend! {
    a_macro_may_pass_literals
    a_macro_may_pass_expressions
    a_macro_may_pass_types
}

macro_rules! from_literals {
    ($name:ident, $change:ident, $key:literal, $ttl:literal, $parameter:ident: $type:ty) => {
        #[cached(key = $key, ttl = $ttl, cache = cache, skip(cache))]
        async fn $name(cache: &Cache, $parameter: $type) -> $type {
            $parameter
        }

        #[cache_invalidate($key, cache = cache)]
        async fn $change(cache: &Cache, $parameter: $type) {}
    };
}

from_literals!(literals, change_literals, "literals:<id>", "5m", id: u64);

async fn a_macro_may_pass_literals(cache: Cache) {
    miss_hit_invalidate!(cache, literals(&cache, 1), 1, change_literals(&cache, 1));
}

#[derive(CacheTag)]
#[cache_tag("team:<0>")]
struct Team(u64);

macro_rules! from_expressions {
    ($name:ident, $cache:ident, $id:ident, $key:expr, $ttl:expr, $none_ttl:expr, $version:expr) => {
        #[cached(key = $key, ttl = $ttl, none_ttl = $none_ttl, version = $version, cache = $cache, skip($cache))]
        async fn $name($cache: &Cache, $id: u64) -> Option<u64> {
            Some($id)
        }
    };
    ($name:ident, $cache:ident, $id:ident, $tag:expr, on = $ok:ident) => {
        #[cache_invalidate($tag, on = $ok, cache = $cache)]
        async fn $name($cache: &Cache, $id: u64) -> Option<u64> {
            Some($id)
        }
    };
    ($name:ident, $cache:expr, $tags:expr, $unless:expr, $condition:expr) => {
        #[cached(key = "tagged", invalidate_on = $tags, unless = $unless, condition = $condition, cache = $cache)]
        async fn $name() -> u64 {
            1
        }
    };
}

from_expressions!(optional, cache, id, "optional:<id>", "1m", 5, 2);
from_expressions!(
    lasting,
    cache,
    id,
    "lasting:<id>",
    |id| SECOND * u32::try_from(*id).unwrap(),
    "5s",
    2
);
from_expressions!(change_team, cache, id, Team(*result), on = ok);

const SECOND: Duration = Duration::from_secs(1);
static CACHE: LazyLock<Cache> = LazyLock::new(|| Cache::builder().url("memory:").build().unwrap());

from_expressions!(tagged, CACHE, ["teams", Team(1)], |value| *value == 0, true);

async fn a_macro_may_pass_expressions(cache: Cache) {
    let forget = async |key| cache.invalidate([key]).await.unwrap();
    miss_hit_invalidate!(cache, optional(&cache, 1), Some(1), forget("optional:1"));
    miss_hit_invalidate!(cache, lasting(&cache, 9), Some(9), async {
        let left = cache.ttl("lasting:9").await.unwrap().unwrap();
        assert!(left <= SECOND * 9, "{left:?}");
        cache.invalidate(["lasting:9"]).await.unwrap();
    });
    cache
        .set("tagged", &1, Options::new().tag(Team(1)))
        .await
        .unwrap();
    assert_eq!(change_team(&cache, 1).await, Some(1));
    assert!(!cache.exists("tagged").await.unwrap());
}

#[tokio::test]
async fn a_macro_may_pass_lists_and_closures() {
    miss_hit_invalidate!(CACHE, tagged(), 1, async {
        CACHE.invalidate([Team(1)]).await.unwrap();
    });
}

type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

macro_rules! from_types {
    ($name:ident, $change:ident, $template:literal, $id:ty, $boxed:ty, $future:ty, $value:expr) => {
        #[cached(key = $template, cache = cache, skip(cache))]
        fn $name(cache: &Cache, id: $id) -> $boxed {
            Box::pin(async move { $value })
        }

        #[cache_invalidate($template, cache = cache)]
        fn $change(cache: &Cache, id: $id) -> $future {
            async move { $value }
        }
    };
}

from_types!(
    types,
    change_types,
    "types:<id>",
    u64,
    BoxFuture<'_, Result<u64, String>>,
    impl Future<Output = Result<u64, String>> + Send,
    Ok(7)
);

async fn a_macro_may_pass_types(cache: Cache) {
    miss_hit_invalidate!(cache, types(&cache, 1), Ok(7), change_types(&cache, 1));
}
