//! The cache of functions that name none, where it is not the global one.

use std::cell::RefCell;
use std::sync::Arc;

use super::Slot;
use crate::core::Core;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Core>>> = const { RefCell::new(None) };
}

const SLOT: &Slot<Arc<Core>> = &CURRENT;

/// The cache of the innermost `with_cache` of what this thread polls.
#[inline]
pub(crate) fn current() -> Option<Arc<Core>> {
    super::current(SLOT)
}

/// Polls `future` with this cache.
pub(crate) fn within<F: Future>(core: Arc<Core>, future: F) -> impl Future<Output = F::Output> {
    super::within(SLOT, core, future)
}

/// Has a task use the cache that its caller uses.
pub(crate) fn carried<F: Future>(future: F) -> impl Future<Output = F::Output> {
    super::carried(SLOT, future)
}
