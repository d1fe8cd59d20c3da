//! How calls use the cache, where they do not use it as they always do.

use std::cell::RefCell;

use super::Slot;

/// What each call within a scope does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// It loads whatever is stored, and stores what it loaded.
    Refresh,
    /// It leaves the cache alone.
    Bypass,
}

thread_local! {
    static CURRENT: RefCell<Option<Mode>> = const { RefCell::new(None) };
}

const SLOT: &Slot<Mode> = &CURRENT;

/// The mode of the innermost scope of what this thread polls.
#[inline]
pub(crate) fn current() -> Option<Mode> {
    super::current(SLOT)
}

/// Polls `future` in a scope of this mode.
pub(crate) fn within<F: Future>(mode: Mode, future: F) -> impl Future<Output = F::Output> {
    super::within(SLOT, mode, future)
}

/// Has a task use the cache as its caller does.
pub(crate) fn carried<F: Future>(future: F) -> impl Future<Output = F::Output> {
    super::carried(SLOT, future)
}
