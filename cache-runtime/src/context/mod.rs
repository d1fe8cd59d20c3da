//! What a thread knows of the future that it polls, such as the scope of `after_commit` around it.
//!
//! A thread knows it while it polls that future, and at no other time. So the future may move
//! between threads, on any executor, and no other task is taken to be in its context. A task that
//! the future spawns is not.

pub(crate) mod default_cache;
pub(crate) mod mode;

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::LocalKey;

/// How many contexts there are in the process. While there is none, calls look no further.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// Where a thread keeps one kind of knowledge.
pub(crate) type Slot<T> = LocalKey<RefCell<Option<T>>>;

/// A context, for as long as its future lives.
#[derive(Debug)]
pub(crate) struct Open(());

/// Whether there is a context anywhere in the process: a cheap check before the precise one.
#[inline]
pub(crate) fn is_open() -> bool {
    // A future that is polled in a context sees it: it was counted before the first poll.
    OPEN.load(Ordering::Relaxed) != 0
}

/// What this thread knows of the future that it polls.
#[inline]
pub(crate) fn current<T: Clone>(slot: &'static Slot<T>) -> Option<T> {
    if !is_open() {
        return None;
    }
    look_up(slot)
}

#[cold]
fn look_up<T: Clone>(slot: &'static Slot<T>) -> Option<T> {
    // A thread that is ending has no thread-local values any more, and polls no future.
    let known = slot.try_with(|known| known.borrow().clone());
    known.ok().flatten()
}

/// Polls `future` in a context in which `value` is known. It hides what is known around it.
pub(crate) async fn within<T: Clone, F: Future>(
    slot: &'static Slot<T>,
    value: T,
    future: F,
) -> F::Output {
    let open = Open::new();
    let mut future = pin!(future);
    poll_fn(|context| {
        let _entered = open.enter(slot, value.clone());
        future.as_mut().poll(context)
    })
    .await
}

/// Has a task know what its caller knows.
pub(crate) fn carried<T: Clone, F: Future>(
    slot: &'static Slot<T>,
    future: F,
) -> impl Future<Output = F::Output> {
    let caller = current(slot);
    async move {
        match caller {
            None => future.await,
            Some(value) => within(slot, value, future).await,
        }
    }
}

impl Open {
    pub(crate) fn new() -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self(())
    }

    /// Makes `value` known on this thread until the guard is dropped, by a panic as well.
    #[expect(clippy::unused_self, reason = "the context is counted")]
    pub(crate) fn enter<T>(&self, slot: &'static Slot<T>, value: T) -> Entered<T> {
        let around = slot.with(|known| known.replace(Some(value)));
        Entered { slot, around }
    }

    /// Makes nothing known on this thread until the guard is dropped.
    #[expect(clippy::unused_self, reason = "the context is counted")]
    pub(crate) fn hide<T>(&self, slot: &'static Slot<T>) -> Entered<T> {
        let around = slot.with(RefCell::take);
        Entered { slot, around }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Restores what was known before, once it is dropped.
#[must_use]
pub(crate) struct Entered<T: 'static> {
    slot: &'static Slot<T>,
    around: Option<T>,
}

impl<T> Drop for Entered<T> {
    fn drop(&mut self) {
        let around = self.around.take();
        let _ = self.slot.try_with(|known| known.replace(around));
    }
}
