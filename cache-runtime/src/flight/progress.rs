//! Whether the work of a call moves: when it was last woken, and whether it was polled since.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::clock::{self, Moment};
use crate::sync::{AtomicBool, AtomicU64, Mutex};

/// What a call's work is polled with in the place of the task's own waker. It notes each wake, and
/// passes it on.
#[derive(Debug)]
pub(super) struct Progress {
    began: Moment,
    /// When the work began, or when it was last woken.
    woken_at: AtomicU64,
    /// Since when the work waits to be polled: it was woken, or its last poll has ended, whichever is
    /// later. 0 if it was not woken since it was polled.
    due_since: AtomicU64,
    /// Whether a thread polls it now.
    is_polled: AtomicBool,
    /// The waker of the task that polled it last.
    task: Mutex<Option<Waker>>,
}

impl Progress {
    pub(super) fn new() -> Self {
        let began = clock::real();
        Self {
            began,
            woken_at: AtomicU64::new(began),
            due_since: AtomicU64::new(0),
            is_polled: AtomicBool::new(false),
            task: Mutex::new(None),
        }
    }

    /// Polls the work, which from now on wakes this.
    pub(super) fn poll<T>(
        self: &Arc<Self>,
        context: &Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let _polled = self.begin_poll(context.waker());
        poll(&mut Context::from_waker(&Waker::from(self.clone())))
    }

    fn begin_poll(&self, waker: &Waker) -> Polled<'_> {
        self.is_polled.store(true, SeqCst);
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = if task.as_ref().is_some_and(|task| task.will_wake(waker)) {
            None
        } else {
            task.replace(waker.clone())
        };
        drop(task);
        drop(replaced);
        // After the waker: a wake in between wakes the task that polls now, which sees what it is
        // about.
        self.due_since.store(0, SeqCst);
        Polled(self)
    }

    /// Whether the work was woken and not polled for this long: its future was set aside.
    pub(super) fn is_set_aside(&self, now: Moment, patience: Duration) -> bool {
        let due_since = self.due_since.load(SeqCst);
        due_since != 0
            && !self.is_polled.load(SeqCst)
            && now.saturating_sub(due_since) >= clock::millis(patience)
    }

    /// How long ago the work began.
    pub(super) fn age(&self) -> Duration {
        Duration::from_millis(clock::real().saturating_sub(self.began))
    }

    /// Whether the work began, or was last woken, at least this long ago.
    pub(super) fn was_woken_before(&self, now: Moment, patience: Duration) -> bool {
        now.saturating_sub(self.woken_at.load(SeqCst)) >= clock::millis(patience)
    }
}

impl Wake for Progress {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let now = clock::real().max(1);
        self.woken_at.store(now, SeqCst);
        let _ = self.due_since.compare_exchange(0, now, SeqCst, SeqCst);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        let task = task.clone();
        // After the lock: a waker may run any code.
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// While it lives, a thread polls the work. A panic of the work ends it too.
struct Polled<'a>(&'a Progress);

impl Drop for Polled<'_> {
    fn drop(&mut self) {
        // What woke it during the poll is due from now on.
        if self.0.due_since.load(SeqCst) != 0 {
            self.0.due_since.store(clock::real().max(1), SeqCst);
        }
        self.0.is_polled.store(false, SeqCst);
    }
}
