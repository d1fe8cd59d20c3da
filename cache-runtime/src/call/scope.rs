//! What is held until a commit: the names and fences of a scope of `after_commit`.
//!
//! Within the scope, changes are visible, and the entries that they replace are not true. So from the
//! moment that a function begins its body, its names are *distrusted* here: calls within the
//! scope load, and neither store nor share what they loaded, which may be rolled back.
//!
//! The scope is known to a thread while that thread polls the scope's future, and at no other
//! time. So the future may move between threads, on any executor, and no other task is taken to be
//! in the scope.

use std::cell::RefCell;
use std::collections::HashSet;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fence::Fence;
use crate::core::Core;
use crate::key::Key;
use crate::sabotage::{self, Rule};

/// How many scopes there are in the process. While there is none, calls look no further.
static OPEN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The outermost scope of what this thread polls.
    static CURRENT: RefCell<Option<Arc<CommitScope>>> = const { RefCell::new(None) };
}

/// The names and fences that are held until a commit.
#[derive(Debug, Default)]
struct CommitScope(Mutex<Vec<Held>>);

/// A scope, for as long as its future lives.
pub(super) struct OpenScope(Arc<CommitScope>);

/// What is held of one cache. A scope rarely has more than one.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) core: Arc<Core>,
    /// Names that a body within the scope changes.
    distrusted: HashSet<Key>,
    /// Names to invalidate when the scope ends.
    pub(super) due: HashSet<Key>,
    /// Names of updates within the scope whose outcome is not known. They may not be part of the
    /// transaction, so they are repeated whatever the scope returns.
    pub(super) unsettled: HashSet<Key>,
    pub(super) fences: Vec<Fence>,
}

/// Whether there is a scope anywhere in the process: a cheap check before the precise one.
#[inline]
pub(crate) fn is_open() -> bool {
    // A future that is polled within a scope sees it: it was counted before the first poll.
    OPEN.load(Ordering::Relaxed) != 0
}

/// Whether a call with these names is in a scope that changes one of them.
pub(crate) fn distrusts<'a>(core: &Arc<Core>, mut names: impl Iterator<Item = &'a Key>) -> bool {
    let Some(scope) = current() else {
        return false;
    };
    let mut held = scope.lock();
    let distrusted = &of(&mut held, core).distrusted;
    names.any(|name| distrusted.contains(name))
}

/// Whether the caller is polled within a scope.
pub(crate) fn is_within() -> bool {
    current().is_some()
}

/// A body begins to change these names.
pub(super) fn distrust(core: &Arc<Core>, names: &[Key]) {
    if let Some(scope) = current() {
        let mut held = scope.lock();
        let distrusted = &mut of(&mut held, core).distrusted;
        distrusted.extend(names.iter().cloned());
    }
}

/// Holds names, and the fences around them, until the scope ends; false if there is no scope.
pub(super) fn hold(core: &Arc<Core>, names: &[Key], fences: &mut Vec<Fence>) -> bool {
    let Some(scope) = current() else {
        return false;
    };
    let mut held = scope.lock();
    let held = of(&mut held, core);
    held.distrusted.extend(names.iter().cloned());
    held.due.extend(names.iter().cloned());
    held.fences.append(fences);
    true
}

/// Holds names until the scope ends; false if there is no scope.
pub(crate) fn hold_names(core: &Arc<Core>, names: &[Key]) -> bool {
    hold(core, names, &mut Vec::new())
}

/// Leaves it to the end of the scope to invalidate names once more; false if there is no scope.
pub(super) fn hold_repeat(core: &Arc<Core>, names: &[Key]) -> bool {
    let Some(scope) = current() else {
        return false;
    };
    let mut held = scope.lock();
    of(&mut held, core).unsettled.extend(names.iter().cloned());
    true
}

/// Leaves it to the end of the scope around this one, if there is one, to invalidate once more what
/// it holds so far. The names of this scope are among that.
pub(super) fn repeat_what_is_held() {
    let Some(scope) = current() else {
        return;
    };
    for held in &mut *scope.lock() {
        held.unsettled.extend(held.due.iter().cloned());
    }
}

fn current() -> Option<Arc<CommitScope>> {
    if !is_open() || !sabotage::keeps(Rule::AfterCommit) {
        return None;
    }
    // A thread that is ending has no thread-local values any more, and polls no scope.
    CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten()
}

fn of<'a>(held: &'a mut Vec<Held>, core: &Arc<Core>) -> &'a mut Held {
    let known = held.iter().position(|held| held.core.is(core));
    let at = known.unwrap_or_else(|| {
        held.push(Held {
            core: core.clone(),
            distrusted: HashSet::new(),
            due: HashSet::new(),
            unsettled: HashSet::new(),
            fences: Vec::new(),
        });
        held.len() - 1
    });
    &mut held[at]
}

impl OpenScope {
    pub(super) fn new() -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self(Arc::default())
    }

    /// Takes out what is held.
    pub(super) fn take(&self) -> Vec<Held> {
        mem::take(&mut self.0.lock())
    }

    /// Makes the scope known on this thread until the guard is dropped, by a panic as well. A scope
    /// around it stays the one that is known.
    pub(super) fn enter(&self) -> Entered {
        Entered(CURRENT.with(|current| {
            let mut current = current.borrow_mut();
            let is_outermost = current.is_none();
            if is_outermost {
                *current = Some(self.0.clone());
            }
            is_outermost
        }))
    }
}

impl Drop for OpenScope {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

impl CommitScope {
    fn lock(&self) -> MutexGuard<'_, Vec<Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the scope is known on this thread because of this guard.
pub(super) struct Entered(bool);

impl Drop for Entered {
    fn drop(&mut self) {
        if self.0 {
            let _ = CURRENT.try_with(RefCell::take);
        }
    }
}
