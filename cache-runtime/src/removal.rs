//! How far the removal of what matches a pattern has got.

use std::fmt;
use std::sync::{Mutex, PoisonError};

/// How far [`Cache::invalidate_matching_with`](crate::Cache::invalidate_matching_with) has got.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
/// use cache_runtime::{Cache, Options, Removed};
///
/// let cache = Cache::builder().url("memory:").build()?;
/// cache.set("user:7", &"Ada".to_owned(), Options::new()).await?;
/// let mut last = Removed::default();
/// cache.invalidate_matching_with("user:*", |removed| last = removed).await?;
/// assert_eq!((last.entries, last.looked_at), (1, 1));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// How many entries were removed whose keys match.
    pub entries: u64,
    /// How many keys were looked at: in process, those of all entries; on a server, about as many as its
    /// database has, and in a cluster twice as many.
    pub looked_at: u64,
}

/// Counts what a removal does, and tells its caller.
pub(crate) struct Removal<'a>(Mutex<Told<'a>>);

struct Told<'a> {
    removed: Removed,
    tell: &'a mut (dyn FnMut(Removed) + Send),
}

impl<'a> Removal<'a> {
    pub(crate) fn new(tell: &'a mut (dyn FnMut(Removed) + Send)) -> Self {
        Self(Mutex::new(Told {
            removed: Removed::default(),
            tell,
        }))
    }

    /// So many more keys were looked at, and so many more entries removed. The caller's function runs
    /// under the lock: only the servers of this removal wait for it.
    pub(crate) fn add(&self, looked_at: u64, entries: u64) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.removed.looked_at += looked_at;
        told.removed.entries += entries;
        let removed = told.removed;
        (told.tell)(removed);
    }

    /// What was removed so far.
    pub(crate) fn removed(&self) -> Removed {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .removed
    }
}

impl fmt::Debug for Removal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Removal").field(&self.removed()).finish()
    }
}
