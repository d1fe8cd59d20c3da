//! The cache of functions without `cache = …`.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use once_cell::sync::OnceCell;

use super::Cache;
use crate::error::Error;

static GLOBAL: OnceCell<Cache> = OnceCell::new();

/// The cache that annotated functions use unless they say `cache = …`: the one
/// that was [`install`]ed, else one with the settings of the environment
/// ([`Cache::from_env`]), made at the first call.
///
/// # Errors
///
/// If the environment holds an invalid setting. Annotated functions then run as if they
/// were not annotated, which is logged once, as a `tracing` error; call this at start-up to
/// know.
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
/// If there is a global cache already, installed or in use.
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

/// The global cache; one that is off if the settings of the environment are invalid.
pub(crate) fn global_or_off() -> &'static Cache {
    static OFF: LazyLock<Cache> = LazyLock::new(Cache::off);
    static FAILED: AtomicBool = AtomicBool::new(false);
    if FAILED.load(Ordering::Relaxed) {
        // The environment stays as it was; only `install` helps.
        return GLOBAL.get().unwrap_or(&OFF);
    }
    global().unwrap_or_else(|error| {
        if !FAILED.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "nothing is cached until this is mended");
        }
        &OFF
    })
}
