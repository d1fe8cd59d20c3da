//! Annotated functions of each shape that Rust allows: the calls of each are a miss, then a hit,
//! and a miss again after an invalidation.

mod attributes;
mod futures;
mod generated;
mod receivers;
mod returns;
mod rewritten;
mod signatures;
mod traits;

use cache_runtime::Cache;

use super::{counts, on_every_backend};

/// What the methods of these tests are methods of.
#[derive(Clone)]
struct Users {
    cache: Cache,
    tenant: u64,
}

impl Users {
    fn new(cache: &Cache) -> Self {
        Self {
            cache: cache.clone(),
            tenant: 7,
        }
    }
}

/// Calls a function three times, with an invalidation before the last call.
macro_rules! miss_hit_invalidate {
    ($cache:expr, $call:expr, $value:expr, $invalidate:expr $(,)?) => {{
        let [hits, misses, loads] = $crate::behaviour::counts(&$cache);
        assert_eq!($call.await, $value, "a miss");
        assert_eq!(
            $crate::behaviour::counts(&$cache),
            [hits, misses + 1, loads + 1]
        );
        assert_eq!($call.await, $value, "a hit");
        assert_eq!(
            $crate::behaviour::counts(&$cache),
            [hits + 1, misses + 1, loads + 1]
        );
        let _ = $invalidate.await;
        assert_eq!($call.await, $value, "a miss again");
        assert_eq!(
            $crate::behaviour::counts(&$cache),
            [hits + 1, misses + 2, loads + 2]
        );
    }};
}
use miss_hit_invalidate;
