//! A lock that is held, and renewed.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::SHORTEST;
use super::claim::{Claim, Holder};
use super::held;
use crate::clock::{self, Moment};
use crate::core::Core;
use crate::error::Error;
use crate::fallback;
use crate::sabotage::{self, Rule};
use crate::tier::Room;

/// How long a wait is at most until it looks again: a timer stands still while the machine is asleep, and a renewal
/// that no task runs is not told that its guard was dropped.
const LOOK: Duration = Duration::from_secs(1);

/// A lock that is held, from [`Lock::try_lock`](super::Lock::try_lock). A task of the runtime on which it was taken
/// renews it each third of its ttl; outside of a runtime, a thread does. A runtime that does not run renews
/// nothing: then the lock is lost.
///
/// When the guard is dropped, the lock is given back: on a server, in the background. A program that ends at once
/// has no background, and the lock then ends with its ttl: call [`release`](Self::release) there. In a forked
/// process, a guard of its parent holds nothing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
/// # async fn write_report(_: u64) {}
/// use std::time::Duration;
/// use cache_runtime::Cache;
///
/// let cache = Cache::builder().url("memory:").build()?;
/// let lock = cache.lock("report", Duration::from_secs(10));
/// if let Some(held) = lock.try_lock().await? {
///     // `None` if the lock was lost before the work was done: then the work is dropped.
///     let done = held.while_held(write_report(held.token())).await;
///     assert!(done.is_some());
///     held.release().await?;
/// }
/// # Ok(()) }
/// ```
#[must_use = "the lock is given back when this is dropped"]
pub struct LockGuard {
    // First, so that what is given back is not renewed any more.
    renewal: Renewal,
    holding: Arc<Holding>,
    claim: Claim,
}

/// The task that renews a lock; none if a thread does. It ends when this is dropped.
struct Renewal(Option<AbortHandle>);

/// What this process knows of a lock that it holds.
struct Holding {
    core: Arc<Core>,
    place: String,
    owner: String,
    token: u64,
    ttl: Duration,
    /// After this, it is not renewed.
    renewed_until: Moment,
    /// Until then it is held for sure; zero if it is lost. It never comes back once it has passed.
    held_until: AtomicU64,
    changed: Notify,
    holder: Holder,
}

/// What became of a renewal.
enum Renewed {
    Yes,
    /// The server failed.
    Unknown,
    /// It is lost, or held for long enough.
    No,
}

impl LockGuard {
    /// Of a lock that was taken by a request that was sent at the moment `asked`.
    pub(super) fn new(
        core: &Arc<Core>,
        place: &str,
        claim: Claim,
        token: u64,
        asked: Moment,
        ttl: Duration,
        held_at_most: Duration,
    ) -> Self {
        let holding = Arc::new(Holding {
            core: core.clone(),
            place: place.to_owned(),
            owner: claim.name().to_owned(),
            token,
            ttl,
            renewed_until: asked + clock::millis(held_at_most),
            held_until: AtomicU64::new(sure_end(asked, ttl)),
            changed: Notify::new(),
            holder: Holder::here(),
        });
        let renewal = keep_renewing(Arc::downgrade(&holding), ttl / 3);
        let runtime = Handle::try_current().ok().filter(|_| !fallback::is_here());
        let task = if let Some(runtime) = runtime {
            Some(runtime.spawn(renewal).abort_handle())
        } else {
            // If there is no thread to be had, it is lost when its ttl ends.
            fallback::run(renewal);
            None
        };
        Self {
            renewal: Renewal(task),
            holding,
            claim,
        }
    }

    /// The fencing token: greater than that of each earlier holder. Send it with what is written under the
    /// lock, and let the place that is written to refuse a token below the greatest that it has seen. Then
    /// a holder that has lost its lock and does not know it yet changes nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let lock = cache.lock("report", std::time::Duration::from_secs(10));
    /// let first = lock.try_lock().await?.unwrap().token();
    /// let second = lock.try_lock().await?.unwrap().token();
    /// assert!(second > first);
    /// # Ok(()) }
    /// ```
    pub fn token(&self) -> u64 {
        self.holding.token
    }

    /// Whether the lock is held, as far as this process can know. Once this is false, it stays so.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let lock = cache.lock("report", std::time::Duration::from_secs(10));
    /// assert!(lock.try_lock().await?.unwrap().is_held());
    /// # Ok(()) }
    /// ```
    pub fn is_held(&self) -> bool {
        self.holding.is_held()
    }

    /// Returns once the lock is not held any more: when a renewal finds it gone, or when it could not be
    /// renewed and a tenth of its ttl is left. So it returns before another caller can take the lock, unless
    /// the server lost it. After the machine was asleep, it returns up to a second late;
    /// [`is_held`](Self::is_held) does not.
    ///
    /// # Cancellation
    ///
    /// This future may be dropped, and asked for again.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # async fn work() {}
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let lock = cache.lock("report", std::time::Duration::from_secs(10));
    /// let held = lock.try_lock().await?.unwrap();
    /// tokio::select! {
    ///     () = work() => println!("done"),
    ///     () = held.lost() => println!("another process may hold the lock now"),
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn lost(&self) {
        self.holding.lost().await;
    }

    /// Runs `work` for as long as the lock is held. `None` if it was lost: then `work` is dropped where it
    /// awaits. What it had begun elsewhere goes on, so send the [token](Self::token) with it.
    ///
    /// # Cancellation
    ///
    /// If this future is dropped, so is `work`. The lock is held until the guard is dropped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let lock = cache.lock("report", std::time::Duration::from_secs(10));
    /// let held = lock.try_lock().await?.unwrap();
    /// assert_eq!(held.while_held(async { 6 * 7 }).await, Some(42));
    /// # Ok(()) }
    /// ```
    pub async fn while_held<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let (mut work, mut lost) = (pin!(work), pin!(self.lost()));
        poll_fn(|context| match lost.as_mut().poll(context) {
            Poll::Pending if self.is_held() => work.as_mut().poll(context).map(Some),
            _ => Poll::Ready(None),
        })
        .await
    }

    /// Gives the lock back, and returns whether it was held until now. If the guard is dropped instead, the
    /// lock is given back too, on a server in the background.
    ///
    /// # Errors
    ///
    /// If the server fails. It is then given back in the background, or ends with its ttl.
    ///
    /// # Cancellation
    ///
    /// If this future is dropped, the lock is given back in the background.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let lock = cache.lock("report", std::time::Duration::from_secs(10));
    /// let held = lock.try_lock().await?.unwrap();
    /// assert!(held.release().await?);
    /// assert!(lock.try_lock().await?.is_some());
    /// # Ok(()) }
    /// ```
    pub async fn release(self) -> Result<bool, Error> {
        drop(self.renewal);
        self.holding.core.failed(self.claim.give_back().await)
    }
}

impl LockGuard {
    /// Leaves the lock taken for so long, with no holder.
    pub(in crate::toolkit) async fn leave(self, rest: Duration) {
        drop(self.renewal);
        let Holding {
            core, place, owner, ..
        } = &*self.holding;
        if rest >= SHORTEST && held::extend(core, place, owner, rest).await.is_ok() {
            self.claim.settle();
        }
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Holding {
    fn is_held(&self) -> bool {
        if !self.holder.is_here() {
            return false;
        }
        now(&self.core) < self.held_until.load(Ordering::Acquire)
            || !sabotage::keeps(Rule::LockLost)
    }

    async fn lost(&self) {
        loop {
            // Enabled before the look, so that no change is missed between the two.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let until = self.held_until.load(Ordering::Acquire);
            let left = until.saturating_sub(now(&self.core));
            if !self.is_held() {
                return;
            }
            let left = Duration::from_millis(left.max(1)).min(LOOK);
            clock::within(left, changed).await;
        }
    }

    async fn renew(&self) -> Renewed {
        let asked = now(&self.core);
        let rest = Duration::from_millis(self.renewed_until.saturating_sub(asked));
        let ttl = self.ttl.min(rest);
        let until = sure_end(asked, ttl);
        if !self.is_held() || until <= self.held_until.load(Ordering::Acquire) {
            return Renewed::No;
        }
        match held::extend(&self.core, &self.place, &self.owner, ttl).await {
            Ok(true) => {
                // What has passed is lost, and stays so.
                let now = now(&self.core);
                let longer = |held_until| (now < held_until).then_some(until);
                let held =
                    self.held_until
                        .fetch_update(Ordering::AcqRel, Ordering::Acquire, longer);
                held.map_or(Renewed::No, |_| Renewed::Yes)
            }
            Ok(false) => {
                self.held_until.store(0, Ordering::Release);
                self.changed.notify_waiters();
                Renewed::No
            }
            Err(_) => Renewed::Unknown,
        }
    }
}

/// Ends when the guard is dropped, or the lock is lost.
async fn keep_renewing(holding: Weak<Holding>, between: Duration) {
    let mut pause = between;
    loop {
        let mut left = pause;
        while !left.is_zero() && holding.strong_count() > 0 {
            let step = left.min(LOOK);
            clock::pause(step).await;
            left -= step;
        }
        let Some(holding) = holding.upgrade() else {
            return;
        };
        pause = match holding.renew().await {
            Renewed::Yes => between,
            // Several times before a third of the ttl has passed.
            Renewed::Unknown => between / 4,
            Renewed::No => return,
        };
    }
}

/// Until when a lock is held for sure that ends on a server at most `ttl` after the moment `asked`: the two
/// clocks may run at different speeds, and what is told then takes its time.
fn sure_end(asked: Moment, ttl: Duration) -> Moment {
    asked + clock::millis(ttl * 9 / 10)
}

/// The present, by the clock that such a lock ends by.
pub(super) fn now(core: &Core) -> Moment {
    match core.tier.room() {
        Room::InProcess(_) => core.memory.moment(),
        Room::Server(_) | Room::None => clock::monotonic(),
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("place", &self.holding.place)
            .field("token", &self.holding.token)
            .field("is_held", &self.is_held())
            .finish_non_exhaustive()
    }
}
