//! A scope that ends with a commit: what is invalidated within is invalidated at its end.
//!
//! Not at the end of each function as well: until the commit, everybody else reads the old
//! rows, so the old entries are true, and whoever loaded after an early invalidation would
//! store the same old rows again. What ends them is the invalidation after the commit.
//!
//! Within the scope the changes are visible, and the entries are not true. So from the
//! moment that a function begins its body, its names are *distrusted* here: calls within the
//! scope load, and neither store nor share what they loaded, which may be rolled back.
//!
//! The scope is known to a thread while it polls the scope's future, and at no other time: the
//! future may move between threads, on any executor, and no other task is taken for it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fence::Fence;
use super::invalidate::Due;
use crate::cache::Cache;
use crate::key::Key;
use crate::sabotage::{self, Rule};

/// How many scopes there are in the process, so that nobody asks where there is none.
static OPEN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The outermost scope of what this thread polls.
    static CURRENT: RefCell<Option<Arc<Scope>>> = const { RefCell::new(None) };
}

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
    let scope = Open::new();
    // Pinned in place, it would be kept twice; and a transaction costs more than a box.
    let mut future = Box::pin(future);
    let output = poll_fn(|context| {
        let _entered = Entered::new(&scope.0);
        future.as_mut().poll(context)
    })
    .await;
    scope.close().await;
    output
}

/// Whether there is a scope anywhere, perhaps this one.
#[inline]
pub(crate) fn is_open() -> bool {
    // Whoever is polled within a scope knows of it: it was counted before the first poll.
    OPEN.load(Ordering::Relaxed) != 0
}

/// Whether a call with these names is in a scope that changes one of them.
pub(crate) fn distrusts<'a>(cache: &Cache, mut names: impl Iterator<Item = &'a Key>) -> bool {
    let Some(scope) = current() else {
        return false;
    };
    let mut held = scope.lock();
    let distrusted = &held.of(cache).distrusted;
    names.any(|name| distrusted.contains(name))
}

/// Whether this is within a scope.
pub(super) fn is_within() -> bool {
    current().is_some()
}

/// A body begins to change these names.
pub(crate) fn distrust(cache: &Cache, names: &[Key]) {
    if let Some(scope) = current() {
        scope
            .lock()
            .of(cache)
            .distrusted
            .extend(names.iter().cloned());
    }
}

/// Keeps names until the scope ends, and their fences; false if there is no scope.
pub(super) fn hold(cache: &Cache, names: &[Key], fences: &mut Vec<Fence>) -> bool {
    let Some(scope) = current() else {
        return false;
    };
    let mut held = scope.lock();
    let held = held.of(cache);
    held.distrusted.extend(names.iter().cloned());
    held.due.extend(names.iter().cloned());
    held.fences.append(fences);
    true
}

/// The same without fences.
pub(crate) fn hold_names(cache: &Cache, names: &[Key]) -> bool {
    hold(cache, names, &mut Vec::new())
}

fn current() -> Option<Arc<Scope>> {
    if !is_open() || !sabotage::keeps(Rule::AfterCommit) {
        return None;
    }
    // There is none in a thread that is coming to its end.
    CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten()
}

#[derive(Debug, Default)]
struct Scope(Mutex<Held>);

#[derive(Debug, Default)]
struct Held(Vec<HeldOf>);

/// What is held of one cache; there is rarely another.
#[derive(Debug)]
struct HeldOf {
    cache: Cache,
    distrusted: HashSet<Key>,
    due: HashSet<Key>,
    fences: Vec<Fence>,
}

impl Scope {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn of(&mut self, cache: &Cache) -> &mut HeldOf {
        let known = self.0.iter().position(|held| held.cache.is(cache));
        let at = known.unwrap_or_else(|| {
            self.0.push(HeldOf {
                cache: cache.clone(),
                distrusted: HashSet::new(),
                due: HashSet::new(),
                fences: Vec::new(),
            });
            self.0.len() - 1
        });
        &mut self.0[at]
    }
}

/// A scope, for as long as its future lives.
struct Open(Arc<Scope>);

impl Open {
    fn new() -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self(Arc::default())
    }

    /// Each of them, dropped before it has run, runs in the background.
    fn take(&self) -> Vec<Due> {
        let held = std::mem::take(&mut self.0.lock().0);
        held.into_iter()
            .filter(|held| !held.due.is_empty())
            .map(|held| Due::new(&held.cache, held.due.into_iter().collect(), held.fences))
            .collect()
    }

    async fn close(self) {
        for due in self.take() {
            // What the output says of the commit is not known: it may be under way still.
            due.repeat();
            due.invalidate().await;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Before the count: within an outer scope, they are held there.
        drop(self.take());
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The scope is known on this thread, unless one around it is.
struct Entered(bool);

impl Entered {
    fn new(scope: &Arc<Scope>) -> Self {
        Self(CURRENT.with(|current| {
            let mut current = current.borrow_mut();
            let outermost = current.is_none();
            if outermost {
                *current = Some(scope.clone());
            }
            outermost
        }))
    }
}

/// By a panic as well.
impl Drop for Entered {
    fn drop(&mut self) {
        if self.0 {
            let _ = CURRENT.try_with(RefCell::take);
        }
    }
}
