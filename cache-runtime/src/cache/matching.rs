//! Invalidation of all names that match a pattern, and the number of entries.

use futures_util::TryStreamExt as _;

use super::Cache;
use crate::call::scope;
use crate::error::Error;
use crate::key::Pattern;
use crate::removal::Removed;
use crate::tier::Room;
use crate::tier::shared::Shared;
use crate::toolkit::raw::Raw;

/// How many keys the server looks at for one page of a count.
const PAGE: usize = 500;

impl Cache {
    /// Invalidates all names that match a [`Pattern`]: the entries whose keys match, and every entry that
    /// carries a tag which matches. Once this has returned, no read that begins later gets data that was
    /// loaded before, not even from a load that is under way. [Fences](macro@crate::cache_invalidate#fence)
    /// stay.
    ///
    /// Returns how many entries were removed because their keys match. Entries of which only a tag
    /// matches are not counted: on a server, no list of them exists. As for [`delete`](Self::delete), an
    /// entry on a server counts also if it was not served any more, and so does a load that is under
    /// way.
    ///
    /// On a server, a name of more than [`Key::MAX_LEN`](crate::Key::MAX_LEN) bytes is known by its first
    /// 1,024 bytes, `…sha256:` and a hash, and a pattern is compared with that.
    ///
    /// This is for data that changed as a whole, such as an import. It looks at every key: on a server, at
    /// all keys of its database, those of other applications too, five hundred at a time, so that the
    /// server's other callers are not held up. Where the names can be told beforehand, a tag costs one
    /// command: see [`invalidate`](Self::invalidate).
    ///
    /// Within [`after_commit`](crate::after_commit), the names are invalidated when the scope ends, and
    /// this returns 0 at once.
    ///
    /// # Errors
    ///
    /// * If a server did not carry out all of it. Some entries may be removed by then. The pattern is kept,
    ///   and the invalidation is repeated from its beginning as soon as the server allows it. Until then,
    ///   reads of names that match it load, in this process, and store nothing. Other processes may
    ///   serve old data, unless the server refused the removal: then they hear of the pattern, too.
    ///   Room is for 64 patterns: of more than that, those that begin most alike become one that matches
    ///   all that begins so.
    /// * If the pattern is empty ([`Error::is_key`]).
    ///
    /// # Cancellation
    ///
    /// If this future is dropped after its first poll, the invalidation goes on in the background, as
    /// after an error.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::{Cache, Options, key};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// for key in ["user:1", "user:2", "tenant:'a*':7"] {
    ///     cache.set(key, &1, Options::new()).await?;
    /// }
    /// assert_eq!(cache.invalidate_matching("user:*").await?, 2);
    /// assert!(!cache.exists("user:1").await?);
    ///
    /// // Values are written as `key!` writes them, and stand for themselves.
    /// let tenant = "a*";
    /// assert_eq!(cache.invalidate_matching(key!("tenant:<tenant>:*")).await?, 1);
    /// # Ok(()) }
    /// ```
    pub async fn invalidate_matching(&self, pattern: impl Into<Pattern>) -> Result<u64, Error> {
        self.invalidate_matching_with(pattern, |_| {}).await
    }

    /// Does what [`invalidate_matching`](Self::invalidate_matching) does, and says how far it has got: calls
    /// `progress` after each 500 keys of a server, or less, and after each part of the entries in
    /// process. `progress` is to return soon: the removal waits for it.
    ///
    /// # Errors
    ///
    /// As [`invalidate_matching`](Self::invalidate_matching). What is repeated after an error is not
    /// reported.
    ///
    /// # Panics
    ///
    /// If `progress` panics. The rest is then removed in the background.
    ///
    /// # Cancellation
    ///
    /// As [`invalidate_matching`](Self::invalidate_matching).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let progress = |removed: cache_runtime::Removed| {
    ///     println!("{} entries of {} keys", removed.entries, removed.looked_at);
    /// };
    /// let entries = cache.invalidate_matching_with("user:*", progress).await?;
    /// assert_eq!(entries, 0);
    /// # Ok(()) }
    /// ```
    pub async fn invalidate_matching_with(
        &self,
        pattern: impl Into<Pattern>,
        mut progress: impl FnMut(Removed) + Send,
    ) -> Result<u64, Error> {
        let pattern = pattern.into();
        self.core.failed(pattern.check())?;
        if scope::hold_pattern(&self.core, &pattern) {
            return Ok(0);
        }
        self.core.invalidate_matching(&pattern, &mut progress).await
    }

    /// Returns how many entries there are whose keys match a [`Pattern`]: `"*"` for all of this cache. Nothing
    /// is changed, and it counts as neither hits nor misses. [`Stats::entries`](crate::Stats::entries) is
    /// the number in this process, at once.
    ///
    /// It looks at every key: on a server, at all keys of its database, those of other applications too,
    /// five hundred at a time. The number there is that of a moment that lasts: what is stored or removed
    /// meanwhile may be counted or not, and an entry may be counted twice if the server's table grows or
    /// shrinks. As for [`invalidate_matching`](Self::invalidate_matching), an entry there counts also if one of
    /// its tags was invalidated, and so does a load that is under way.
    ///
    /// # Errors
    ///
    /// If the pattern is empty ([`Error::is_key`]), or the server fails, also if it is restarted or replaced
    /// meanwhile.
    ///
    /// # Cancellation
    ///
    /// It may be dropped at any time.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::{Cache, Options};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// for key in ["user:1", "user:2", "post:1"] {
    ///     cache.set(key, &1, Options::new()).await?;
    /// }
    /// assert_eq!(cache.count_matching("user:*").await?, 2);
    /// assert_eq!(cache.count_matching("*").await?, 3);
    /// # Ok(()) }
    /// ```
    pub async fn count_matching(&self, pattern: impl Into<Pattern>) -> Result<u64, Error> {
        let pattern = pattern.into();
        self.core.failed(pattern.check())?;
        match self.core.tier.room() {
            Room::None => Ok(0),
            Room::InProcess(local) => Ok(local.count_matching(&pattern).await),
            Room::Server(server) => self.count_at_server(server, &pattern).await,
        }
    }

    async fn count_at_server(&self, server: &Shared, pattern: &Pattern) -> Result<u64, Error> {
        let raw = Raw::of(&self.core);
        let mut keys = raw.scan(&server.slots_glob(pattern)).bytes().count(PAGE);
        let mut count = 0;
        while let Some(key) = keys.try_next().await? {
            count += u64::from(server.is_slot_of(&key, pattern));
        }
        Ok(count)
    }
}
