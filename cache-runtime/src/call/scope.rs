//! What is held until a commit: the names and fences of a scope of `after_commit`.
//!
//! Within the scope, what a call loads may be rolled back, and what the cache holds may not show the
//! changes of the scope. So a call within it leaves the cache alone, whatever its names: a scope does
//! not know which rows a body reads.

use std::cell::RefCell;
use std::collections::HashSet;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fence::Fence;
use crate::context::{self, Entered, Open, Slot};
use crate::core::Core;
use crate::key::{Key, Pattern};
use crate::sabotage::{self, Rule};

thread_local! {
    /// The outermost scope of what this thread polls.
    static CURRENT: RefCell<Option<Arc<CommitScope>>> = const { RefCell::new(None) };
}

const SLOT: &Slot<Arc<CommitScope>> = &CURRENT;

/// The names and fences that are held until a commit.
#[derive(Debug, Default)]
pub(super) struct CommitScope(Mutex<Vec<Held>>);

/// A scope, for as long as its future lives.
pub(super) struct OpenScope {
    scope: Arc<CommitScope>,
    open: Open,
}

/// What is held of one cache. A scope rarely has more than one.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) core: Arc<Core>,
    /// Names to invalidate when the scope ends.
    pub(super) due: HashSet<Key>,
    /// Names of updates within the scope whose outcome is not known. They may not be part of the
    /// transaction, so they are repeated whatever the scope returns.
    pub(super) unsettled: HashSet<Key>,
    /// Patterns to invalidate when the scope ends.
    pub(super) patterns: Vec<Pattern>,
    pub(super) fences: Vec<Fence>,
}

/// Whether the caller is polled within a scope.
pub(super) fn is_within() -> bool {
    current().is_some()
}

/// Whether the caller is polled within a scope, so that what it reads may not be committed.
pub(crate) fn is_uncommitted() -> bool {
    is_within() && sabotage::keeps(Rule::Uncommitted)
}

/// Holds names, and the fences around them, until the scope ends; false if there is no scope.
pub(super) fn hold(core: &Arc<Core>, names: &[Key], fences: &mut Vec<Fence>) -> bool {
    let Some(scope) = current() else {
        return false;
    };
    let mut held = scope.lock();
    let held = of(&mut held, core);
    held.due.extend(names.iter().cloned());
    held.fences.append(fences);
    true
}

/// Holds names until the scope ends; false if there is no scope.
pub(crate) fn hold_names(core: &Arc<Core>, names: &[Key]) -> bool {
    hold(core, names, &mut Vec::new())
}

/// Holds a pattern until the scope ends; false if there is no scope.
pub(crate) fn hold_pattern(core: &Arc<Core>, pattern: &Pattern) -> bool {
    let Some(scope) = current() else {
        return false;
    };
    let mut held = scope.lock();
    let held = of(&mut held, core);
    if !held.patterns.contains(pattern) {
        held.patterns.push(pattern.clone());
    }
    true
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
    context::current(SLOT).filter(|_| sabotage::keeps(Rule::AfterCommit))
}

fn of<'a>(held: &'a mut Vec<Held>, core: &Arc<Core>) -> &'a mut Held {
    let known = held.iter().position(|held| held.core.is(core));
    let at = known.unwrap_or_else(|| {
        held.push(Held {
            core: core.clone(),
            due: HashSet::new(),
            unsettled: HashSet::new(),
            patterns: Vec::new(),
            fences: Vec::new(),
        });
        held.len() - 1
    });
    &mut held[at]
}

impl OpenScope {
    pub(super) fn new() -> Self {
        Self {
            scope: Arc::default(),
            open: Open::new(),
        }
    }

    /// Takes out what is held.
    pub(super) fn take(&self) -> Vec<Held> {
        mem::take(&mut self.scope.lock())
    }

    /// Makes the scope known on this thread until the guard is dropped. A scope around it stays the
    /// one that is known.
    pub(super) fn enter(&self) -> Entered<Arc<CommitScope>> {
        let outermost = context::current(SLOT).unwrap_or_else(|| self.scope.clone());
        self.open.enter(SLOT, outermost)
    }
}

impl CommitScope {
    fn lock(&self) -> MutexGuard<'_, Vec<Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
