//! A scope that ends with a commit: names that are invalidated within it are invalidated at its
//! end.
//!
//! They are not invalidated at the end of each function as well. Until the commit, all other
//! callers read the old rows, so the old entries are right. A caller that loaded after an early
//! invalidation would only store the same old rows again.

use std::future::poll_fn;

use super::due::{self, Due, DuePatterns};
use super::scope::{self, OpenScope};
use crate::key::Key;
use crate::sabotage::{self, Rule};

/// Runs a future that ends with a commit. The names that annotated functions and
/// [`Cache::invalidate`](crate::Cache::invalidate) invalidate within it are invalidated once, when
/// the future has ended and before its output is returned.
///
/// An update inside a transaction becomes visible to others when the transaction commits. If its
/// names were invalidated before that, at the end of the function, a caller that reads in between
/// would cache the old rows, for as long as the ttl. [Transactions](crate::transactions) has the pattern
/// for `sqlx`, `sea-orm` and `diesel-async`.
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
/// * The names are invalidated whatever the future returns, an error too: an invalidation too many
///   costs a miss. `Ok` means that the commit has happened. After an error they are invalidated once
///   more, after [`settle`](crate::CacheBuilder::settle): an error of the commit itself, such as a
///   broken connection, leaves open whether the commit is still under way. So return that error. An
///   update that failed within the scope is invalidated once more even after `Ok`: it may not be
///   part of the transaction.
///   Names that a function leaves out, by `on = ok` or `condition`, are left out here too.
/// * Within the scope, calls leave the cache alone, whatever their names: they load, and neither share
///   nor store what they loaded, which may be rolled back. So no caller is ever served a row of a
///   transaction that was rolled back.
/// * In a scope within a scope, the names are held until the outermost scope ends.
/// * A [fence](macro@crate::cache_invalidate#fence) is left when the scope has ended with `Ok` and its
///   names are invalidated. After an error it is left to expire.
/// * An error of the server's, which `Cache::invalidate` would have returned, is logged instead:
///   the invalidation comes after that method has returned.
///
/// # Limits
///
/// A spawned task is not part of the scope: its functions invalidate when they end. Await functions
/// that change data within the scope itself. (`tokio::join!` is within.)
///
/// An executor that is driven within the scope, such as a `LocalSet`, polls its tasks within it,
/// tasks that were spawned outside too. Drive it outside.
///
/// `Cache::delete` removes its entry at once, and once more when the scope ends. `Cache::clear` acts at
/// once only. `Cache::invalidate_matching` acts when the scope ends, and not once more after an error.
///
/// Each call within the scope loads. If a transaction needs a row often, keep it in a variable.
///
/// # Cancellation
///
/// If the scope is dropped or panics before it has ended, the names that its functions have left to
/// it so far are invalidated in the background, now and after `settle`. Their fences are left to
/// expire. The commit may or may not have happened. If it is dropped while it invalidates, the
/// invalidation goes on in the background.
pub async fn after_commit<F, T, E>(future: F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let commit = Commit {
        scope: OpenScope::new(),
        is_committed: false,
    };
    // Pinned in place, the future would take its room twice. A box is cheap beside a transaction.
    let mut future = Box::pin(future);
    let output = poll_fn(|context| {
        let _entered = commit.scope.enter();
        future.as_mut().poll(context)
    })
    .await;
    commit.invalidate(output.is_ok()).await;
    output
}

/// Invalidates what a scope holds, when the scope ends or is dropped.
struct Commit {
    scope: OpenScope,
    is_committed: bool,
}

impl Commit {
    /// What is due for each cache, and the names that are due once more even after a commit. A
    /// [`Due`] that is dropped invalidates in the background.
    fn take(&self) -> Vec<(Due, Vec<Key>, DuePatterns)> {
        let held = self.scope.take().into_iter();
        held.filter(|held| !held.due.is_empty() || !held.patterns.is_empty())
            .map(|held| {
                let mut names: Vec<_> = held.due.into_iter().collect();
                // In an order that does not change from run to run.
                names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
                let unsettled = held.unsettled.into_iter().collect();
                let patterns = DuePatterns::new(&held.core, held.patterns);
                (
                    Due::new(&held.core, names, held.fences),
                    unsettled,
                    patterns,
                )
            })
            .collect()
    }

    async fn invalidate(mut self, is_committed: bool) {
        self.is_committed = is_committed;
        for (mut due, unsettled, patterns) in self.take() {
            if !is_committed {
                // The commit may still be under way, so the fences stand until their deadline.
                due.fences.clear();
                due.repeat();
            } else if sabotage::keeps(Rule::OkIsSettled) {
                due::repeat(&due.core, &unsettled);
            } else {
                due.repeat();
            }
            due.invalidate().await;
            patterns.invalidate().await;
        }
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        // Within an outer scope, each `Due` leaves its names to that scope.
        drop(self.take());
        if !self.is_committed {
            scope::repeat_what_is_held();
        }
    }
}
