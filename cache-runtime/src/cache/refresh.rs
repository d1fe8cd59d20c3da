//! Calls that load, whatever is stored: one, or all that a future makes.

use std::panic::Location;

use crate::call::order;
use crate::context::mode::{self, Mode};

/// Runs the body of a [`#[cached]`](macro@crate::cached) function whatever is cached, stores what it
/// yields as the function does, and returns what the function returns.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
/// use cache_runtime::{cached, refresh};
///
/// static PRICE: AtomicU64 = AtomicU64::new(100);
///
/// #[cached(key = "price:<item>", ttl = 60)]
/// async fn price(item: u64) -> u64 {
///     # let _ = item;
///     PRICE.load(SeqCst)
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert_eq!(price(7).await, 100);
/// PRICE.store(90, SeqCst); // By something that invalidates nothing.
/// assert_eq!(price(7).await, 100);
/// assert_eq!(refresh(price(7)).await, 90);
/// assert_eq!(price(7).await, 90);
/// # }
/// ```
///
/// * The body begins after this future is first polled. Meanwhile, other callers are served the entry that
///   is there. Where there is none, they wait for this load.
/// * An error is returned, and leaves the entry that is there.
/// * A value that the function does not cache (`unless`, a ttl of zero, a `None` without `none_ttl`)
///   removes the entry that is there: it is older.
/// * A value that tells [tags](macro@crate::cached#invalidate_on) that the one before did not have is
///   returned, and not stored. It removes the entry that is there: that is older.
/// * An invalidation that comes while the body runs keeps the value from being stored, as for any load.
///   So does an entry that is set by hand.
/// * With [`detach`](macro@crate::cached#detach), the body runs in a task of its own, and goes on if the
///   caller gives up. Where the function's `condition` is false, the call leaves the cache alone, and so
///   does one within [`after_commit`](crate::after_commit) whose value would not be stored there.
///
/// Only one call is refreshed: the first annotated one that the future makes. Functions that its body
/// calls, and calls that come after it, use the cache as they always do. To refresh them all, use
/// [`refresh_all`]. A future that makes no such call, or makes it within [`bypass`](crate::bypass), is
/// awaited, and a warning in the log says so.
///
/// # Concurrent calls
///
/// Each refresh runs the body, since a load that began before it may have read older data. It shares
/// another caller's load only if that load has not begun. Of two that overlap, in all processes, the one
/// that began later is stored. To update data and reload it, invalidate and call the function instead:
/// then all callers share one load.
///
/// # Limits
///
/// On a server, an entry that would end within a second, or within twice the time that the function's
/// loads usually take, is given up for a lease, as an expired one is: other callers wait. If an entry
/// ends while the body runs all the same, the value is returned and not stored.
///
/// # Cancellation
///
/// If this future is dropped, the entry that was there stays, unless the function has `detach`.
#[track_caller]
pub fn refresh<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = Location::caller();
    // Without a box, the future would take its room three times. A box is cheap beside a load.
    let future = Box::pin(future);
    async move {
        let (output, has_call) = order::refresh(future).await;
        if !has_call {
            tracing::warn!(
                "`refresh` at {caller} was given a future that makes no call of a `#[cached]` function, or \
                 makes it within `bypass`, so nothing was refreshed; give it the call itself: \
                 `refresh(find(7))`"
            );
        }
        output
    }
}

/// Runs a future whose calls of [`#[cached]`](macro@crate::cached) functions, and of
/// [`Cache::get_or_load`](crate::Cache::get_or_load), are refreshed: each of them runs its body whatever is
/// stored, and stores what it yields, as [`refresh`] does for one call.
///
/// ```
/// use cache_runtime::{cached, refresh_all};
/// # use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
/// # static PRICE: AtomicU64 = AtomicU64::new(100);
///
/// #[cached(key = "price:<item>", ttl = 60)]
/// async fn price(item: u64) -> u64 {
///     # let _ = item;
///     PRICE.load(SeqCst)
/// }
///
/// #[cached(key = "offer:<item>", ttl = 60)]
/// async fn offer(item: u64) -> u64 {
///     price(item).await * 9 / 10
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert_eq!(offer(7).await, 90);
/// PRICE.store(200, SeqCst); // By something that invalidates nothing.
/// assert_eq!(offer(7).await, 90);
/// let page = refresh_all(async { (offer(7).await, price(8).await) });
/// assert_eq!(page.await, (180, 200));
/// assert_eq!((offer(7).await, price(7).await), (180, 200));
/// # }
/// ```
///
/// * Calls that the bodies make are within, too, as `price` is above. But if a call shares the load of
///   another caller, which must begin later than the call, the body runs in the scope of that caller.
/// * A function that is called twice loads twice.
/// * Invalidations are made as always, and keep what is loaded meanwhile from being stored. So are the other
///   methods of a [`Cache`](crate::Cache), such as `get` and `set`.
/// * Of scopes within each other, the innermost decides, be it this or [`bypass`](crate::bypass).
/// * Within [`after_commit`](crate::after_commit), calls load and store nothing, here too.
///
/// # Concurrent calls, Limits
///
/// As of [`refresh`]. A call is within the scope if its future is first polled there. A task that is
/// spawned within the future is not part of it: its calls use the cache as always. Wrap its future as well:
/// `spawn(refresh_all(…))`. A load with [`detach`](macro@crate::cached#detach) runs in a task of its own, and
/// takes the scope along. An executor that is driven within the future, such as a `LocalSet`, polls all of
/// its tasks within the scope.
///
/// # Cancellation
///
/// To drop the future is to drop the one within. The entry of a call that has not ended stays, unless its
/// function has `detach`.
pub fn refresh_all<F: Future>(future: F) -> impl Future<Output = F::Output> {
    // A box, as above.
    mode::within(Mode::Refresh, Box::pin(future))
}
