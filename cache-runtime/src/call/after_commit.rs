//! A scope that ends with a commit: what is invalidated within is invalidated at its end.
//!
//! Not at the end of each function as well: until the commit, all other callers read the old
//! rows, so the old entries are true, and a caller that loaded after an early invalidation would
//! store the same old rows again. The invalidation after the commit ends them.

use std::future::poll_fn;

use super::due::Due;
use super::scope::OpenScope;

/// Runs a future that ends with a commit: what annotated functions invalidate within, and
/// [`Cache::invalidate`], is invalidated once, when it has ended, before its output is returned.
///
/// An update inside of a transaction is visible to others only when the transaction commits.
/// Invalidated at the end of the function, before that, its entry would be loaded again by
/// whoever comes meanwhile: with the old rows, for as long as the ttl.
///
/// ```
/// use cache_runtime::{after_commit, cache_invalidate, cached};
/// # use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
/// # struct Transaction(u64);
/// # static BALANCE: AtomicU64 = AtomicU64::new(100);
/// # impl Transaction {
/// #     fn begin() -> Self { Self(BALANCE.load(SeqCst)) }
/// #     async fn commit(self) -> Result<(), String> { BALANCE.store(self.0, SeqCst); Ok(()) }
/// # }
///
/// #[cached(key = "balance:<account>", ttl = 60)]
/// async fn balance(account: u64) -> u64 {
///     # let _ = account;
///     BALANCE.load(SeqCst)
/// }
///
/// #[cache_invalidate("balance:<account>")]
/// async fn withdraw(tx: &mut Transaction, account: u64, amount: u64) -> Result<(), String> {
///     # let _ = account;
///     tx.0 = tx.0.checked_sub(amount).ok_or("too much")?;
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), String> {
/// assert_eq!(balance(1).await, 100);
/// after_commit(async {
///     let mut tx = Transaction::begin();
///     withdraw(&mut tx, 1, 10).await?;
///     withdraw(&mut tx, 1, 20).await?;
///     tx.commit().await
/// })
/// .await?;
/// assert_eq!(balance(1).await, 70);
/// # Ok(()) }
/// ```
///
/// * Whatever the future returns, an error too, its names are invalidated: an
///   invalidation too many costs a miss. And they are once more, after
///   [`settle`](crate::CacheBuilder::settle): an error of the commit itself, such as a connection
///   that broke, leaves open whether it is under way. What a function leaves out, by `on = ok` or
///   `condition`, is left out here as well.
/// * Within the scope, from the moment that a function's body begins, calls that read its
///   names load: they are not served what it replaced, and do not store what is not
///   committed yet. So they do until the scope ends. ([Names of the result](macro@crate::cache_invalidate#names)
///   are known when the body has ended.)
/// * A scope within a scope passes on its names to the outermost.
/// * A [fence](macro@crate::cache_invalidate#fence) is left when the scope has ended.
/// * What `Cache::invalidate` could have reported is logged instead: the scope ends later.
///
/// # Limits
///
/// A spawned task is not part of the scope: it invalidates at the end of each function. Await
/// within the scope what changes data for it (`tokio::join!` is within).
///
/// An executor that is driven within the scope, such as a `LocalSet`, polls its tasks within it: those
/// that were spawned outside are then taken into the scope. Drive it outside.
///
/// `Cache::delete` and `Cache::clear` act at once.
///
/// A scope cannot tell from its output whether the commit failed half-way. It repeats its
/// invalidations after [`settle`](crate::CacheBuilder::settle), and leaves the fences of its functions at
/// its end: if the commit is still under way then, and the program dies before `settle` is
/// over, what it changes may be served as it was until its ttl ends.
///
/// A load within the scope that reads through a transaction, of data that no function within
/// changed, is stored: of an isolation level at which it reads an older state of the
/// database (`REPEATABLE READ`), it had better not be cached.
///
/// # Cancellation
///
/// Dropped before it has ended, or when it panics, it invalidates what its functions left behind so far, in
/// the background, as a function that is dropped does, and fences are left to expire: the commit may or may not have happened.
/// Dropped while it invalidates, the invalidation goes on in the background.
pub async fn after_commit<F: Future>(future: F) -> F::Output {
    let commit = Commit(OpenScope::new());
    // Pinned in place, it would be kept twice; and a transaction costs more than a box.
    let mut future = Box::pin(future);
    let output = poll_fn(|context| {
        let _entered = commit.0.enter();
        future.as_mut().poll(context)
    })
    .await;
    commit.invalidate().await;
    output
}

/// The end of a scope: what it holds is invalidated.
struct Commit(OpenScope);

impl Commit {
    /// Each of them, dropped before it has invalidated, does so in the background.
    fn take(&self) -> Vec<Due> {
        let held = self.0.take().into_iter();
        held.filter(|held| !held.due.is_empty())
            .map(|held| Due::new(&held.core, held.due.into_iter().collect(), held.fences))
            .collect()
    }

    async fn invalidate(self) {
        for due in self.take() {
            // The output does not tell whether the commit failed: it may still be under way.
            due.repeat();
            due.invalidate().await;
        }
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        // Before the scope is closed: within an outer scope, they are held there.
        drop(self.take());
    }
}
