//! A cache for what runs within a future.

use std::ops::Deref;
use std::sync::Arc;

use super::{AsCache, global_or_off};
use crate::context::default_cache;
use crate::core::Core;

/// Runs a future in which `cache` takes the place of the [global](crate::global) one: annotated
/// functions without `cache = …` that are called within it use `cache`.
///
/// It gives each test a cache of its own, without `cache = …` on each function:
///
/// ```
/// use cache_runtime::{Cache, cached, with_cache};
/// # use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
/// # static LOADS: AtomicU64 = AtomicU64::new(0);
///
/// #[cached(key = "price:<item>", ttl = 60)]
/// async fn price(item: u64) -> u64 {
///     # LOADS.fetch_add(1, SeqCst);
///     item * 100
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cache_runtime::Error> {
/// // In each test: no other test sees its entries.
/// let cache = Cache::builder().build()?;
/// with_cache(&cache, async {
///     assert_eq!(price(1).await, 100);
///     assert_eq!(price(1).await, 100);
/// })
/// .await;
/// assert_eq!(cache.stats().hits, 1);
/// # assert_eq!(LOADS.load(SeqCst), 1);
/// # Ok(()) }
/// ```
///
/// * A function with `cache = …` uses the cache that it names. So does the API by hand:
///   [`global`](crate::global) returns the global cache, here too.
/// * Within another `with_cache`, the innermost decides.
/// * A load with [`detach`](macro@crate::cached#detach) runs in a task of its own, and takes the
///   cache along.
///
/// # Limits
///
/// A task that is spawned within the future is not part of it: its functions use the global cache.
/// Wrap its future as well: `spawn(with_cache(cache.clone(), …))`. An executor that is driven within
/// the future, such as a `LocalSet`, polls all of its tasks with this cache.
///
/// # Cancellation
///
/// To drop the future is to drop the one within.
pub fn with_cache<C: AsCache, F: Future>(
    cache: C,
    future: F,
) -> impl Future<Output = F::Output> + use<C, F> {
    default_cache::within(cache.as_cache().core().clone(), future)
}

/// The cache of a function that names none.
#[derive(Debug)]
pub enum DefaultCache {
    /// That of the process.
    Global(&'static Arc<Core>),
    /// That of [`with_cache`].
    Scoped(Arc<Core>),
}

impl Deref for DefaultCache {
    type Target = Arc<Core>;

    #[inline]
    fn deref(&self) -> &Arc<Core> {
        match self {
            Self::Global(core) => core,
            Self::Scoped(core) => core,
        }
    }
}

/// The cache of a function that names none.
#[inline]
pub fn default_cache() -> DefaultCache {
    match default_cache::current() {
        None => DefaultCache::Global(global_or_off().core()),
        Some(core) => DefaultCache::Scoped(core),
    }
}
