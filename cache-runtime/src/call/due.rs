//! Names that are to be invalidated, whatever becomes of the call.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::fence::Fence;
use super::{repeat, scope};
use crate::context::default_cache;
use crate::core::Core;
use crate::error::Error;
use crate::key::{Key, Pattern};
use crate::sabotage::{self, Rule};
use crate::tier::Store as _;

/// Names that are to be invalidated. If it is dropped before they were, because the caller gave up
/// or panicked, they are invalidated in the background.
#[derive(Debug)]
pub(crate) struct Due {
    pub(super) core: Arc<Core>,
    pub(crate) names: Vec<Key>,
    /// Left once the names are invalidated. If they are dropped before, they stand until their
    /// deadline.
    pub(super) fences: Vec<Fence>,
    /// Whether the call began before its future was polled, in the cache of a function that names none.
    /// The first poll decides which cache that is.
    is_default: bool,
    /// Whether this is the task that invalidates in the background.
    in_background: bool,
}

impl Due {
    pub(crate) fn unfenced(core: &Arc<Core>, names: Vec<Key>) -> Self {
        Self::new(core, names, Vec::new())
    }

    pub(super) fn new(core: &Arc<Core>, names: Vec<Key>, fences: Vec<Fence>) -> Self {
        Self {
            core: core.clone(),
            names,
            fences,
            is_default: false,
            in_background: false,
        }
    }

    /// Has the first poll decide which cache it is, since the function names none.
    pub(super) fn in_default_cache(&mut self) {
        self.is_default = true;
    }

    /// Is called when the call's future is first polled.
    pub(super) fn begin(&mut self) {
        if self.is_default
            && let Some(core) = default_cache::current()
        {
            self.core = core;
        }
    }

    /// Invalidates, or, within a scope of `after_commit`, leaves that to the end of the scope.
    pub(super) async fn invalidate(self) {
        // An error was reported, and the names are kept.
        drop(self.try_invalidate().await);
    }

    /// As [`invalidate`](Self::invalidate), for a caller that is told of an error.
    pub(crate) async fn try_invalidate(mut self) -> Result<(), Error> {
        if scope::hold(&self.core, &self.names, &mut self.fences) {
            self.names.clear();
            return Ok(());
        }
        // The names stay here until they are invalidated: this future may be dropped, too.
        let invalidated = self.core.invalidate_valid(&self.names).await;
        self.names.clear();
        if invalidated.is_ok() {
            for fence in std::mem::take(&mut self.fences) {
                fence.leave().await;
            }
        }
        invalidated
    }

    /// Invalidates once more, later: the commit may still be under way.
    pub(super) fn repeat(&self) {
        repeat(&self.core, &self.names);
    }
}

/// Patterns whose names are to be invalidated. If it is dropped before, they are in the background.
#[derive(Debug)]
pub(super) struct DuePatterns {
    core: Arc<Core>,
    patterns: Vec<Pattern>,
}

impl DuePatterns {
    pub(super) fn new(core: &Arc<Core>, patterns: Vec<Pattern>) -> Self {
        Self {
            core: core.clone(),
            patterns,
        }
    }

    /// An error is reported, and the pattern is kept.
    pub(super) async fn invalidate(mut self) {
        // Removed after it was begun: from then on, it is not lost if this is dropped.
        while let Some(pattern) = self.patterns.last().cloned() {
            let _ = self.core.invalidate_matching(&pattern, &mut |_| {}).await;
            self.patterns.pop();
        }
    }
}

impl Drop for DuePatterns {
    fn drop(&mut self) {
        for pattern in self.patterns.drain(..) {
            self.core.tier.invalidate_matching_later(&pattern);
        }
    }
}

/// Invalidates names once more, later. Within a scope of `after_commit`, `settle` begins at the end
/// of the scope.
pub(super) fn repeat(core: &Arc<Core>, names: &[Key]) {
    if !scope::hold_repeat(core, names) {
        repeat::invalidate_again(core, names);
    }
}

impl Drop for Due {
    fn drop(&mut self) {
        if self.names.is_empty() || !sabotage::keeps(Rule::RunOnDrop) {
            return;
        }
        if !self.in_background {
            self.repeat();
        }
        if scope::hold_names(&self.core, &self.names) || self.core.invalidate_now(&self.names) {
            return;
        }
        let names = std::mem::take(&mut self.names);
        match Handle::try_current() {
            Ok(runtime) if !self.in_background => {
                let mut due = Due::unfenced(&self.core, names);
                due.in_background = true;
                // If the runtime is shutting down, this drops `due` again, which keeps the names.
                runtime.spawn(due.invalidate());
            }
            _ => self.core.invalidate_later(&names),
        }
    }
}
