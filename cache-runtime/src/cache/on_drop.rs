//! Names that a body computes, and that are invalidated however it ends.

use std::fmt;

use super::Cache;
use crate::call::due::Due;
use crate::error::Error;
use crate::key::Keys;

/// Names that are invalidated however the function that holds this ends: awaited, with an error, by a
/// panic, or because the caller gave up. [`Cache::invalidate_on_drop`] makes it.
#[must_use = "dropped at once, it invalidates before the change"]
pub struct InvalidateOnDrop {
    due: Due,
    /// The error of a name that is invalid.
    invalid: Option<Error>,
}

impl Cache {
    /// Takes over the invalidation of names that the body of a function computes, such as one for each row
    /// that a query found: from now on they are invalidated however the body ends.
    ///
    /// An `invalidate(names).await` after the change would not run if the caller gave up between the
    /// two: an HTTP client that hung up, a `timeout`. What `#[cache_invalidate]` names by its arguments
    /// and result needs no such guard. The pattern: read the ids, make the guard, run the change, await.
    ///
    /// ```
    /// use cache_runtime::{Cache, Error, key};
    /// # async fn ids_of_team(_team: u64) -> Vec<u64> { vec![1, 2] }
    /// # async fn delete_team_in_database(_team: u64) -> Result<(), Error> { Ok(()) }
    ///
    /// async fn delete_team(cache: &Cache, team: u64) -> Result<(), Error> {
    ///     let ids = ids_of_team(team).await;
    ///     let due = cache.invalidate_on_drop(ids.iter().map(|id| key!("user:<id>")));
    ///     delete_team_in_database(team).await?;
    ///     due.invalidate().await
    /// }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Error> {
    /// # let cache = Cache::builder().url("memory:").build()?;
    /// # cache.set("user:1", &7, cache_runtime::Options::new()).await?;
    /// # delete_team(&cache, 7).await?;
    /// # assert!(!cache.exists("user:1").await?);
    /// # Ok(()) }
    /// ```
    ///
    /// The keys of cached functions need no template here: `CachedEntry::of(users.find(id))?.key()` is one
    /// ([`CachedEntry`](crate::CachedEntry)).
    ///
    /// If it is dropped before [`invalidate`](InvalidateOnDrop::invalidate) has ended, the names are
    /// invalidated in the background, and once more after [`settle`](crate::CacheBuilder::settle): the
    /// change may still be under way. So end with an error before that where it is not known whether
    /// the change was made, as `?` does above.
    ///
    /// Within [`after_commit`](crate::after_commit), the names are invalidated when the scope ends.
    ///
    /// The names are not kept from being loaded and stored while the change runs: what is stored
    /// meanwhile is invalidated after it. A process that dies with the guard invalidates nothing: for
    /// that, see [`fence`](macro@crate::cache_invalidate#fence).
    pub fn invalidate_on_drop(&self, names: impl Keys) -> InvalidateOnDrop {
        let mut guard = InvalidateOnDrop {
            due: Due::unfenced(&self.core, Vec::new()),
            invalid: None,
        };
        guard.add(names);
        guard
    }
}

impl InvalidateOnDrop {
    /// Adds names.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let mut due = cache.invalidate_on_drop(["users"]);
    /// for id in [7, 8] {
    ///     due.add([cache_runtime::key!("user:<id>")]);
    /// }
    /// due.invalidate().await?;
    /// # Ok(()) }
    /// ```
    pub fn add(&mut self, names: impl Keys) {
        for name in names {
            let name = name.into();
            match name.check() {
                Ok(()) => self.due.names.push(name),
                Err(error) => self.invalid = Some(error),
            }
        }
    }

    /// Invalidates the names, once: the change was made, or was not. It is
    /// [`Cache::invalidate`], except that its cancellation counts as a drop of the guard.
    ///
    /// # Errors
    ///
    /// As [`Cache::invalidate`].
    ///
    /// # Cancellation
    ///
    /// If this future is dropped, also before its first poll, the names are invalidated in the
    /// background.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// cache.invalidate_on_drop(["users"]).invalidate().await?;
    /// # Ok(()) }
    /// ```
    pub async fn invalidate(self) -> Result<(), Error> {
        self.due.try_invalidate().await?;
        self.invalid.map_or(Ok(()), Err)
    }

    /// Invalidates nothing: it is certain that nothing was changed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # async fn delete_in_database(_id: u64) -> u64 { 0 }
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let due = cache.invalidate_on_drop(["user:7"]);
    /// match delete_in_database(7).await {
    ///     0 => due.cancel(),
    ///     _ => due.invalidate().await?,
    /// }
    /// # Ok(()) }
    /// ```
    pub fn cancel(mut self) {
        self.due.names.clear();
    }
}

impl fmt::Debug for InvalidateOnDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvalidateOnDrop")
            .field("names", &self.due.names)
            .finish_non_exhaustive()
    }
}
