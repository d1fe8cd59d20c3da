//! What the callers of this process share that wait for one lock.
//!
//! Each of them asks by itself, so none waits for another one to be polled. They ask by turns: together about as
//! often as one of them would. The release of a lock in this process wakes one of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::clock::{self, Moment};

/// Two attempts of this process to take one lock are so many milliseconds apart, unless a release wakes.
const BETWEEN: Moment = 10;

/// So few locks are not worth a search for those that nothing waits for.
const FEW: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Waits(Mutex<Waited>);

#[derive(Debug, Default)]
struct Waited {
    locks: HashMap<String, Weak<Wait>>,
    /// The number of locks at which those are removed that nothing waits for.
    sweep_at: usize,
}

/// The wait for one lock.
#[derive(Debug, Default)]
pub(super) struct Wait {
    pub(super) released: Notify,
    /// When one of those that wait has asked last.
    asked: AtomicU64,
}

impl Waits {
    /// The wait for the lock at this place.
    pub(super) fn at(&self, place: &str) -> Arc<Wait> {
        let mut waited = self.lock();
        if let Some(wait) = waited.locks.get(place).and_then(Weak::upgrade) {
            return wait;
        }
        if waited.locks.len() >= waited.sweep_at {
            waited.locks.retain(|_, wait| wait.strong_count() > 0);
            waited.sweep_at = (waited.locks.len() * 2).max(FEW);
        }
        let wait = Arc::default();
        waited.locks.insert(place.to_owned(), Arc::downgrade(&wait));
        wait
    }

    /// The lock at this place was released in this process.
    pub(super) fn released(&self, place: &str) {
        let wait = self.lock().locks.get(place).and_then(Weak::upgrade);
        if let Some(wait) = wait {
            wait.released.notify_one();
        }
    }

    /// Nothing is awaited or woken under this lock.
    fn lock(&self) -> MutexGuard<'_, Waited> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wait {
    /// Whether it is time to ask again. Of those that ask this at one moment, one is told so.
    pub(super) fn is_time(&self) -> bool {
        let now = clock::monotonic();
        let asked = self.asked.load(Ordering::Relaxed);
        now >= asked + BETWEEN
            && self
                .asked
                .compare_exchange(asked, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}
