//! One invalidation: run the body, then invalidate, whatever became of it.
//!
//! `#[cache_invalidate]` expands to `InvalidateCall::start(…).run(async move { body }).await`.
//! An error may come after the change was committed, and so may a panic or a
//! caller that gives up; an invalidation too many costs one miss, one too few
//! costs stale data. So every way out invalidates, unless `on = ok` says otherwise. And after
//! any but a clean one the change may still come, so it invalidates once more, later.

use tokio::runtime::Handle;

use super::after_commit;
use super::fence::Fence;
use crate::cache::Cache;
use crate::key::{CacheTag, Key, Name, Names, Parts};
use crate::sabotage::{self, Rule};
use crate::value::{Shape, View};

/// A call of a `#[cache_invalidate]` function, before its body runs.
#[derive(Debug)]
pub struct InvalidateCall {
    due: Due,
}

/// The same, with names that are read from what the body returns.
#[derive(Debug)]
pub struct InvalidateCallWithResult<S, N> {
    due: Due,
    _shape: S,
    names: N,
    /// Names that are due once it is known that the body ended well.
    held: Option<Vec<Key>>,
}

/// Where a [`InvalidateCallWithResult`] puts the names it reads.
#[derive(Debug)]
pub struct ResultNames(Vec<Key>);

impl ResultNames {
    /// Adds a name.
    pub fn push<P: Parts>(&mut self, name: Name<P>) {
        self.0.push(name.render());
    }

    /// Adds a tag.
    pub fn push_tag<T: CacheTag + ?Sized>(&mut self, tag: &T) {
        self.push(tag.name());
    }
}

impl InvalidateCall {
    /// Renders the names that depend on the arguments, before the body takes them.
    pub fn start<N: Names>(cache: &Cache, names: N) -> Self {
        let mut rendered = Vec::new();
        names.render_into(&mut rendered);
        Self {
            due: Due::new(cache, rendered, Vec::new()),
        }
    }

    /// Invalidates nothing if `condition` is false.
    #[must_use]
    pub fn only_if(mut self, condition: bool) -> Self {
        self.due.names.retain(|_| condition);
        self.due.wanted = condition;
        self
    }

    /// Adds the names that depend on what the body returns.
    pub fn with_result<S, N>(self, shape: S, names: N) -> InvalidateCallWithResult<S, N>
    where
        S: Shape,
        N: FnOnce(&S::Value, &mut ResultNames),
    {
        InvalidateCallWithResult {
            due: self.due,
            _shape: shape,
            names,
            held: None,
        }
    }

    /// Runs the body, then invalidates.
    pub async fn run<F: Future>(self, is_failure: fn(&F::Output) -> bool, body: F) -> F::Output {
        let due = self.due;
        after_commit::distrust(&due.cache, &due.names);
        let returned = body.await;
        if is_failure(&returned) {
            due.repeat();
        }
        due.invalidate().await;
        returned
    }
}

impl<S, N> InvalidateCallWithResult<S, N>
where
    S: Shape,
    N: FnOnce(&S::Value, &mut ResultNames),
{
    /// Invalidates nothing after an error, a panic, or a caller that gave up.
    #[must_use]
    pub fn on_ok(mut self) -> Self {
        self.held = Some(std::mem::take(&mut self.due.names));
        self
    }

    /// Runs the body, then invalidates, the names of its value too if it returned one.
    pub async fn run<F: Future<Output = S::Return>>(self, body: F) -> F::Output {
        after_commit::distrust(self.cache(), self.names_from_arguments());
        let mut due = self.due;
        if !due.wanted {
            return body.await;
        }
        let returned = body.await;
        let outcome = S::view(&returned);
        if let Some(held) = self.held {
            if let View::Error = outcome {
                return returned;
            }
            due.names = held;
        }
        if let View::Error = outcome {
            // What is behind them may yet be committed.
            due.fences.clear();
            due.repeat();
        }
        if let View::Value(value) = outcome {
            // Apart from the others, which a panic in here must not take along.
            let mut names = ResultNames(Vec::new());
            (self.names)(value, &mut names);
            due.names.append(&mut names.0);
        }
        due.invalidate().await;
        returned
    }
}

impl<S, N> InvalidateCallWithResult<S, N> {
    pub(super) fn cache(&self) -> &Cache {
        &self.due.cache
    }

    pub(super) fn names_from_arguments(&self) -> &[Key] {
        self.held.as_deref().unwrap_or(&self.due.names)
    }

    /// Leaves the fence after a clean end.
    pub(super) fn leave_later(&mut self, fence: Fence) {
        self.due.fences.push(fence);
    }

    /// There is nothing to invalidate: the body does not run.
    pub(super) fn forget(mut self) {
        self.due.names.clear();
    }
}

/// Names that are to be invalidated. Dropped before they were, by a caller that
/// gave up or a panic, they are invalidated in the background.
#[derive(Debug)]
pub(super) struct Due {
    cache: Cache,
    names: Vec<Key>,
    /// To be left once the names are invalidated. Dropped before, they expire.
    fences: Vec<Fence>,
    /// Whether anything is to be invalidated at all.
    wanted: bool,
    in_background: bool,
}

impl Due {
    pub(super) fn new(cache: &Cache, names: Vec<Key>, fences: Vec<Fence>) -> Self {
        Self {
            cache: cache.clone(),
            names,
            fences,
            wanted: true,
            in_background: false,
        }
    }

    /// Within a scope that commits later, that is left to its end.
    pub(super) async fn invalidate(mut self) {
        if after_commit::hold(&self.cache, &self.names, &mut self.fences) {
            self.names.clear();
            return;
        }
        // The names stay here until they are invalidated: this future may be dropped too.
        let invalidated = self.cache.invalidate_or_report(&self.names).await;
        self.names.clear();
        if invalidated {
            for fence in std::mem::take(&mut self.fences) {
                fence.leave().await;
            }
        }
    }

    /// The commit may still be under way. Within a scope it is yet to come, and the scope
    /// repeats all that it invalidates.
    pub(super) fn repeat(&self) {
        if !after_commit::is_within() {
            self.cache.invalidate_again(&self.names);
        }
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
        if after_commit::hold_names(&self.cache, &self.names)
            || self.cache.invalidate_at_once(&self.names)
        {
            return;
        }
        let names = std::mem::take(&mut self.names);
        match Handle::try_current() {
            Ok(runtime) if !self.in_background => {
                let due = Due {
                    cache: self.cache.clone(),
                    names,
                    fences: Vec::new(),
                    wanted: true,
                    in_background: true,
                };
                // If the runtime is shutting down, this drops `due` again, which keeps the names.
                runtime.spawn(due.invalidate());
            }
            _ => self.cache.invalidate_later(&names),
        }
    }
}
