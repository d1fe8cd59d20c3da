//! The global cache: that of functions without `cache = …`.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use once_cell::sync::OnceCell;

use super::Cache;
use crate::error::Error;

static GLOBAL: OnceCell<Cache> = OnceCell::new();

/// The cache of all annotated functions without `cache = …`. It is the one that was
/// [`install`]ed. If there is none, the first call makes one with the settings of the environment
/// ([`Cache::from_env`]).
///
/// # Errors
///
/// If the environment holds an invalid setting. Annotated functions then run as if they were not
/// annotated, and log a `tracing` error once. To find out at start-up, call this function there.
///
/// ```
/// let cache = cache_runtime::global()?;
/// # let _ = cache;
/// # Ok::<_, cache_runtime::Error>(())
/// ```
pub fn global() -> Result<&'static Cache, Error> {
    GLOBAL.get_or_try_init(Cache::from_env)
}

/// Makes `cache` the [global](global) one. Call it before the first cached call.
///
/// # Errors
///
/// If there is a global cache already: one was installed, or a call has made one.
///
/// ```
/// use cache_runtime::Cache;
///
/// cache_runtime::install(Cache::builder().namespace("shop").build()?)?;
/// # Ok::<_, cache_runtime::Error>(())
/// ```
pub fn install(cache: Cache) -> Result<(), Error> {
    GLOBAL.set(cache).map_err(|_| {
        Error::config("there is a global cache already; install one before the first cached call")
    })
}

/// The global cache, or one that stores nothing if the settings of the environment are invalid.
pub(crate) fn global_or_off() -> &'static Cache {
    static OFF: LazyLock<Cache> = LazyLock::new(Cache::off);
    static FAILED: AtomicBool = AtomicBool::new(false);
    if FAILED.load(Ordering::Relaxed) {
        // The environment is not read again: from now on, only `install` makes a global cache.
        return GLOBAL.get().unwrap_or(&OFF);
    }
    global().unwrap_or_else(|error| {
        if !FAILED.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "nothing is cached until this is mended");
        }
        &OFF
    })
}
