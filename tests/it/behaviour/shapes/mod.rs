//! Whatever an annotated function looks like, its calls are a miss, a hit and,
//! after an invalidation, a miss again.

mod attributes;
mod futures;
mod generated;
mod receivers;
mod returns;
mod rewritten;
mod signatures;
mod traits;

use super::{counts, on_both_tiers};

/// Calls three times, with an invalidation before the last.
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
