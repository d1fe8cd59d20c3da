//! Calls that leave the cache alone.

use crate::call::order;

/// Runs a future whose calls of [`#[cached]`](macro@crate::cached) functions, and of
/// [`Cache::get_or_load`](crate::Cache::get_or_load), leave the cache alone: each of them runs its body, and
/// neither reads an entry nor stores one.
///
/// ```
/// use cache_runtime::{bypass, cached};
/// # use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
/// # static PRICE: AtomicU64 = AtomicU64::new(100);
///
/// #[cached(key = "price:<item>", ttl = 60)]
/// async fn price(item: u64) -> u64 {
///     # let _ = item;
///     PRICE.load(SeqCst)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert_eq!(price(7).await, 100);
/// PRICE.store(90, SeqCst); // By something that invalidates nothing.
/// let sum = bypass(async { price(7).await + price(8).await });
/// assert_eq!(sum.await, 180);
/// assert_eq!(price(7).await, 100);
/// # }
/// ```
///
/// * Within, a call shares no load either: it neither waits for another caller's, nor does another caller
///   wait for it. It counts as neither a hit nor a miss, as one whose `condition` is false.
/// * Calls that the bodies make are within, too.
/// * Invalidations are made as always. So are the other methods of a [`Cache`](crate::Cache), such as
///   `get` and `set`, and [`prime`](crate::prime).
/// * Of scopes within each other, the innermost decides, be it this or
///   [`refresh_all`](crate::refresh_all). In `bypass(refresh(find(7)))` that one call is refreshed; in
///   `refresh(bypass(find(7)))` it is not.
///
/// # Limits
///
/// A call is within the scope if its future is first polled there. A task that is spawned within the
/// future is not part of it: its calls use the cache as always. Wrap its future as well:
/// `spawn(bypass(…))`. An executor that is driven within the future, such as a `LocalSet`, polls all of its
/// tasks within the scope.
///
/// # Cancellation
///
/// To drop the future is to drop the one within.
pub fn bypass<F: Future>(future: F) -> impl Future<Output = F::Output> {
    // Without a box, the future would take its room four times.
    order::bypass(Box::pin(future))
}
