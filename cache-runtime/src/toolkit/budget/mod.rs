//! Budgets: how much memory the entries of a cache, or of a part of it, are to take together.
//!
//! One sweep measures all entries, and if they take too much, goes through them once more and gives up those
//! that were used the least recently. [`at_server`] does this by commands, [`ages`] decides which entries those are.
//! In process, the table of the local tier does it.

mod ages;
mod at_server;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::locks::Lock;
use crate::Cache;
use crate::clock;
use crate::core::Core;
use crate::error::Error;
use crate::key::Pattern;
use crate::tier::{Room, Store as _};

/// Where a sweep stops, as a share of the budget: else the next entry would bring the next sweep.
const FILLED: (u64, u64) = (9, 10);

/// The lock under which one process sweeps lives for so long without being renewed.
const SWEEPER: Duration = Duration::from_secs(10);

/// How much memory entries are to take together, from [`Cache::budget`] or [`Scope::budget`](crate::Scope::budget).
///
/// The budget is a soft one: entries may take more between two sweeps. A sweep that finds too much gives up those
/// that were used the least recently, until nine tenths of the budget are left. Which those are is known to the
/// second; among equals, chance decides. Only entries go. A lease or a fence in the place of an entry counts, and
/// stays; versions of tags and what the tools keep stay, and do not count.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
/// use std::time::Duration;
///
/// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
/// // The reports take 30 MB at most, whatever else is in the cache.
/// let budget = cache.scope("reports").budget(30_000_000);
/// tokio::spawn(budget.keep(Duration::from_secs(10)));
/// # Ok(()) }
/// ```
///
/// # On a server
///
/// An entry takes what `MEMORY USAGE` tells, with its key. Recency is what `OBJECT IDLETIME` tells; with a
/// `maxmemory-policy` of the kind `lfu`, the least frequently used entries go, by `OBJECT FREQ`. Of all processes, one
/// sweeps at a time. A sweep looks at each key of the server's database, a few at a time, and pauses between
/// them as long as the server has worked. A hit on a copy in a process is not known to the server. Over Upstash's
/// HTTP interface there are no such commands, so a sweep is an error there.
///
/// # In process
///
/// Entries take what they weigh: see [`CacheBuilder::max_bytes`](crate::CacheBuilder::max_bytes). They are weighed
/// when they are stored, from when the first budget of the cache was made; those that are older count with
/// their key only. Each process has its own.
#[derive(Clone)]
pub struct Budget {
    core: Arc<Core>,
    /// With which the keys of its entries begin.
    prefix: String,
    most: u64,
}

/// What a sweep has found and done.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
/// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
/// let swept = cache.budget(30_000_000).sweep().await?.expect("no other process sweeps");
/// assert_eq!((swept.entries, swept.removed), (0, 0));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// How many entries there were.
    pub entries: u64,
    /// How many bytes they took.
    pub bytes: u64,
    /// How many of them are removed.
    pub removed: u64,
    /// How many bytes those took.
    pub freed: u64,
}

impl Cache {
    /// A budget for all entries of this cache: so many bytes. See [`Budget`] for what it does. It does nothing until
    /// it is [kept](Budget::keep) or [swept](Budget::sweep).
    ///
    /// ```
    /// # fn main() -> Result<(), cache_runtime::Error> {
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let budget = cache.budget(200_000_000);
    /// # let _ = budget;
    /// # Ok(()) }
    /// ```
    pub fn budget(&self, bytes: u64) -> Budget {
        Budget::new(self.core(), "", bytes)
    }
}

impl Budget {
    pub(crate) fn new(core: &Arc<Core>, prefix: &str, most: u64) -> Self {
        if let Room::InProcess(local) = core.tier.room() {
            local.weigh_from_now_on();
        }
        Self {
            core: core.clone(),
            prefix: prefix.to_owned(),
            most,
        }
    }

    /// Sweeps once. `None` if another process does.
    ///
    /// # Errors
    ///
    /// If the server fails, or does not know the commands that it takes. Some entries may be removed then.
    ///
    /// # Cancellation
    ///
    /// If this future is dropped, some entries may be removed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::{Cache, Options};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// let budget = cache.budget(10_000);
    /// for id in 0..100 {
    ///     cache.set(format!("report:{id}"), &"x".repeat(1_000), Options::new()).await?;
    /// }
    /// let swept = budget.sweep().await?.expect("no other process sweeps");
    /// assert_eq!(swept.entries, 100);
    /// assert!(swept.bytes - swept.freed <= 10_000);
    /// # Ok(()) }
    /// ```
    pub async fn sweep(&self) -> Result<Option<Swept>, Error> {
        self.sweep_and_rest(Duration::ZERO).await
    }

    /// Sweeps again and again, with a pause of `every` in between; spawn it. Of all processes that do so, one
    /// sweeps in that time. A sweep that fails is observed as [`Event::Fail`](crate::Event::Fail), and tried again
    /// after the next pause.
    ///
    /// # Cancellation
    ///
    /// It ends when it is dropped, or its task is aborted. It keeps the cache alive.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let keeper = tokio::spawn(cache.budget(200_000_000).keep(std::time::Duration::from_secs(10)));
    /// // When the program ends:
    /// keeper.abort();
    /// # Ok(()) }
    /// ```
    pub async fn keep(self, every: Duration) -> Infallible {
        loop {
            // An error is observed.
            let _ = self.sweep_and_rest(every).await;
            clock::pause(every.max(Duration::from_millis(1))).await;
        }
    }

    /// Sweeps once. After that, no process is to sweep for a while.
    async fn sweep_and_rest(&self, rest: Duration) -> Result<Option<Swept>, Error> {
        match self.core.tier.room() {
            Room::None => Ok(Some(Swept::default())),
            Room::InProcess(local) => {
                let too_much = |bytes| self.too_much(bytes);
                let swept = local.sweep_to_budget(&self.prefix, too_much).await;
                Ok(Some(swept))
            }
            Room::Server(_) => self.sweep_alone(rest).await,
        }
    }

    /// Sweeps under the lock of all processes, and leaves it taken for a while.
    async fn sweep_alone(&self, rest: Duration) -> Result<Option<Swept>, Error> {
        let lock = Lock::at(&self.core, format!("b:{}", self.prefix), SWEEPER);
        let Some(guard) = lock.try_lock().await? else {
            return Ok(None);
        };
        let swept = guard.while_held(at_server::sweep(self)).await;
        let swept = swept.unwrap_or_else(|| {
            let reason = "the lock of the process that sweeps was lost";
            let lost = Error::unavailable(self.core.tier.name(), &reason);
            self.core.failed(Err(lost))
        });
        // The sweep counts, whatever becomes of the lock.
        if swept.is_ok() && !rest.is_zero() {
            guard.leave(rest.min(clock::FOREVER) * 9 / 10).await;
        } else {
            let _ = guard.release().await;
        }
        swept.map(Some)
    }

    /// What the slots of its entries match on a server.
    fn glob(&self) -> String {
        let pattern = Pattern::from(format!("{}*", self.prefix));
        match self.core.tier.room() {
            Room::Server(server) => server.slots_glob(&pattern),
            Room::InProcess(_) | Room::None => pattern.glob(),
        }
    }

    /// How many bytes are to go, if entries take so many.
    fn too_much(&self, bytes: u64) -> u64 {
        if bytes <= self.most {
            return 0;
        }
        let (part, whole) = FILLED;
        bytes - self.most / whole * part
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("prefix", &self.prefix)
            .field("bytes", &self.most)
            .finish_non_exhaustive()
    }
}
