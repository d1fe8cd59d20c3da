//! Locks: of all processes on one server, one works at a time.
//!
//! ```text
//! take ──> Claim ──> LockGuard ──> renew, renew, … ──> give back
//!   └────> held by another owner: Wait, and take again
//! ```
//!
//! A [`Claim`] gives back what may have been taken, whatever becomes of its caller. A [`LockGuard`] is a claim
//! that is renewed. [`held`] has the verbs that change a lock.

mod claim;
mod guard;
mod held;
mod waits;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::claim::Claim;
pub use self::guard::LockGuard;
use self::held::{Owner, Taken};
pub(crate) use self::waits::Waits;
use crate::Cache;
use crate::clock;
use crate::core::Core;
use crate::error::Error;
use crate::tier::Room;
use crate::unique;

/// The shortest ttl of a lock.
const SHORTEST: Duration = Duration::from_millis(10);

/// The pause between two attempts of a waiter: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// A lock that one holder has at a time, of all processes on the same server, from [`Cache::lock`]. Clones are the
/// same lock.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
/// use std::time::Duration;
/// use cache_runtime::Cache;
///
/// let cache = Cache::builder().url("memory:").build()?;
/// let import = cache.lock("import", Duration::from_secs(30));
/// let held = import.try_lock().await?.expect("nothing else imports");
/// assert!(import.try_lock().await?.is_none());
/// drop(held);
/// # Ok(()) }
/// ```
///
/// # What it does not promise
///
/// It is exclusive as long as the server keeps what it was told, and the holder looks at
/// [`lost`](LockGuard::lost). A lock on one server with a ttl cannot promise more:
///
/// * **A server that loses the lock gives it away again:** one that restarts without its data, fails over to a
///   replica that had not heard of it, or evicts it. The first holder hears of that with its next renewal,
///   after a third of the ttl.
/// * **A holder that is stopped for longer than the ttl** does not know it until it goes on. If it had begun to
///   write, it goes on writing.
/// * **A lock ends by the server's clock.** If that is set forward, or a replica whose clock is ahead takes over,
///   the next caller may have the lock before the first one hears of it. If it is set back, a lock whose holder has
///   died is held for longer by as much.
///
/// Where that matters, send the [token](LockGuard::token) with each write, and refuse the smaller of two. Tokens
/// grow, also where a server has lost the lock, as long as no clock goes back: they are the microseconds of the
/// server's clock, or one more than the last. The last one is remembered for an hour.
///
/// # Cancellation
///
/// If a future of it is dropped, what it may have taken is given back in the background. Where a request arrives
/// later than that, the lock ends with its ttl.
#[derive(Clone)]
pub struct Lock {
    core: Arc<Core>,
    place: String,
    ttl: Duration,
    held_at_most: Duration,
}

impl Cache {
    /// A lock of this name. Within `ttl` after its holder has died, it is free again: a holder that lives
    /// renews it. The ttl is to the millisecond, and at least ten of them; some seconds are usual. Locks of other
    /// names are other locks, and so are those of other [namespaces](crate::CacheBuilder::namespace).
    ///
    /// Without a server, it is a lock among the tasks of this process. On a server, it lies at
    /// `<namespace>:l:<name>`, and the clock is the server's.
    ///
    /// ```
    /// # fn main() -> Result<(), cache_runtime::Error> {
    /// use std::time::Duration;
    ///
    /// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let report = cache.lock("report", Duration::from_secs(10));
    /// # let _ = report;
    /// # Ok(()) }
    /// ```
    pub fn lock(&self, name: &str, ttl: Duration) -> Lock {
        Lock::at(self.core(), format!("l:{name}"), ttl)
    }
}

impl Lock {
    pub(super) fn at(core: &Arc<Core>, place: String, ttl: Duration) -> Self {
        Self {
            core: core.clone(),
            place,
            ttl: ttl.min(clock::FOREVER),
            held_at_most: clock::FOREVER,
        }
    }

    /// Sets for how long a guard holds the lock at most. A holder that does not come to an end then loses the
    /// lock. Default: as long as the guard lives. It says nothing of locks by [value](Self::acquire).
    ///
    /// ```
    /// # fn main() -> Result<(), cache_runtime::Error> {
    /// use std::time::Duration;
    ///
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let report = cache.lock("report", Duration::from_secs(10)).held_at_most(Duration::from_secs(600));
    /// # let _ = report;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn held_at_most(mut self, limit: Duration) -> Self {
        self.held_at_most = limit.min(clock::FOREVER);
        self
    }

    /// Takes the lock, unless it is held: `None` then.
    ///
    /// # Errors
    ///
    /// If the server fails, the cache is off, or the ttl is below 10 ms ([`Error::is_config`]). With a ttl that is
    /// shorter than a request may take, a guard may be lost when it is returned.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let report = cache.lock("report", std::time::Duration::from_secs(10));
    /// let Some(held) = report.try_lock().await? else {
    ///     return Ok(()); // Another process writes it.
    /// };
    /// # drop(held);
    /// # Ok(()) }
    /// ```
    pub async fn try_lock(&self) -> Result<Option<LockGuard>, Error> {
        self.check()?;
        let mut claim = self.claim();
        let attempt = self.attempt(&mut claim).await;
        Ok(self.core.failed(attempt)?.ok())
    }

    /// Takes the lock as soon as it is free, and waits for that at most for `limit`, and for the answer to one
    /// request more: `None` if it was not free in that time. A waiter asks again after 5 to 100 ms; many waiters
    /// of one process do so by turns, each 10 ms. A release in its own process wakes one of them. No waiter has a
    /// place in a queue.
    ///
    /// # Errors
    ///
    /// As [`try_lock`](Self::try_lock); if the server cannot be reached, only once `limit` has passed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use std::time::Duration;
    ///
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let report = cache.lock("report", Duration::from_secs(10));
    /// let held = report.try_lock().await?;
    /// assert!(report.lock_within(Duration::from_millis(20)).await?.is_none());
    /// drop(held);
    /// assert!(report.lock_within(Duration::from_secs(5)).await?.is_some());
    /// # Ok(()) }
    /// ```
    pub async fn lock_within(&self, limit: Duration) -> Result<Option<LockGuard>, Error> {
        self.check()?;
        let end = Instant::now() + limit.min(clock::FOREVER);
        let wait = self.core.lock_waits.at(&self.place);
        let (mut pause, mut is_time, mut last) = (FIRST_PAUSE, true, Ok(None));
        let mut claim = self.claim();
        loop {
            let mut longest = LONGEST_PAUSE;
            if is_time || wait.is_time() {
                match self.attempt(&mut claim).await {
                    Ok(Ok(guard)) => return Ok(Some(guard)),
                    Ok(Err(left)) => {
                        longest = longest.min(left);
                        last = Ok(None);
                    }
                    Err(error) if error.is_unavailable() => last = Err(error),
                    Err(error) => return self.core.failed(Err(error)),
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return self.core.failed(last);
            }
            let next = clock::around(pause).min(longest).min(left);
            is_time = clock::within(next, wait.released.notified())
                .await
                .is_some();
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Takes the lock in the name of `value`, unless it is held, by this value too. Returns the fencing
    /// [token](LockGuard::token). Nothing renews the lock: it ends with its ttl, unless it is
    /// [extended](Self::extend) or [released](Self::release), by this process or another that knows the value.
    ///
    /// # Errors
    ///
    /// As [`try_lock`](Self::try_lock). The lock may be held in the name of `value` then, until its ttl ends.
    ///
    /// # Cancellation
    ///
    /// If this future is dropped, the same.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let report = cache.lock("report", std::time::Duration::from_secs(10));
    /// assert!(report.acquire("worker 7").await?.is_some());
    /// assert!(report.acquire("worker 8").await?.is_none());
    /// assert!(!report.release("worker 8").await?);
    /// assert!(report.release("worker 7").await?);
    /// # Ok(()) }
    /// ```
    pub async fn acquire(&self, value: &str) -> Result<Option<u64>, Error> {
        self.check()?;
        let owner = Owner::Value(value);
        let attempt = held::take(&self.core, &self.place, owner, self.ttl).await;
        Ok(match self.core.failed(attempt)? {
            Taken::By(token) => Some(token),
            Taken::Not(_) => None,
        })
    }

    /// Lets the lock end a ttl from now, if it is held in the name of `value`; whether it is.
    ///
    /// # Errors
    ///
    /// As [`try_lock`](Self::try_lock). It may be extended then.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let report = cache.lock("report", std::time::Duration::from_secs(10));
    /// assert!(!report.extend("worker 7").await?);
    /// report.acquire("worker 7").await?;
    /// assert!(report.extend("worker 7").await?);
    /// # Ok(()) }
    /// ```
    pub async fn extend(&self, value: &str) -> Result<bool, Error> {
        self.check()?;
        let extended = held::extend(&self.core, &self.place, value, self.ttl).await;
        self.core.failed(extended)
    }

    /// Releases the lock, if it is held in the name of `value`; whether it was.
    ///
    /// # Errors
    ///
    /// If the server fails, or the cache is off. The lock may be released then.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let report = cache.lock("report", std::time::Duration::from_secs(10));
    /// assert!(!report.release("worker 7").await?);
    /// # Ok(()) }
    /// ```
    pub async fn release(&self, value: &str) -> Result<bool, Error> {
        let released = held::release(&self.core, &self.place, value).await;
        let released = self.core.failed(released)?;
        if released {
            self.core.lock_waits.released(&self.place);
        }
        Ok(released)
    }

    /// The claim of one caller, for all of its attempts.
    fn claim(&self) -> Claim {
        let owner = format!("{:016x}{:016x}", unique::number(), unique::number());
        Claim::new(
            &self.core,
            &self.place,
            owner,
            self.ttl.min(self.held_at_most),
        )
    }

    /// One attempt: the guard, or for how long another owner holds the lock at most. From here to its answer,
    /// the lock may be held by this claim.
    async fn attempt(&self, claim: &mut Claim) -> Result<Result<LockGuard, Duration>, Error> {
        let (core, place, ttl) = (&self.core, &self.place, self.ttl.min(self.held_at_most));
        let asked = guard::now(core);
        claim.begin();
        match held::take(core, place, claim.owner(), ttl).await? {
            Taken::By(token) => {
                let (claim, held_at_most) = (claim.take(), self.held_at_most);
                let guard = LockGuard::new(core, place, claim, token, asked, ttl, held_at_most);
                Ok(Ok(guard))
            }
            Taken::Not(left) => {
                claim.is_refused();
                Ok(Err(left))
            }
        }
    }

    fn check(&self) -> Result<(), Error> {
        if self.ttl.min(self.held_at_most) < SHORTEST {
            let message =
                "a lock is held for at least 10 ms: its ttl, or `held_at_most`, is shorter";
            return Err(Error::config(message));
        }
        if matches!(self.core.tier.room(), Room::None) {
            return Err(Error::config(held::OFF));
        }
        Ok(())
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("place", &self.place)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}
