//! Names of updates of unknown outcome, until they are invalidated once more.

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::key::Key;
use crate::observe::{Event, Observer};

/// Names that are to be invalidated again.
#[derive(Debug)]
pub(crate) struct Unsettled {
    settle: Duration,
    /// The most names that are kept. If there are more, the whole namespace is cleared when they
    /// are due.
    capacity: usize,
    queue: Mutex<Queue>,
    observer: Observer,
}

#[derive(Debug, Default)]
struct Queue {
    names: HashMap<Key, Instant>,
    everything: Option<Instant>,
    /// Whether a task or a thread waits until they are due.
    is_attended: bool,
}

/// What is due now.
pub(crate) enum Next {
    Names(Vec<Key>),
    Everything,
    /// Nothing, and nothing will be: the task that waits may end.
    Nothing,
}

/// Everything that is not due yet.
pub(crate) struct Undue {
    pub(crate) names: Vec<Key>,
    pub(crate) everything: bool,
}

impl Unsettled {
    pub(crate) fn new(settle: Duration, capacity: usize, observer: Observer) -> Self {
        Self {
            settle,
            capacity,
            queue: Mutex::default(),
            observer,
        }
    }

    /// Whether names are invalidated again at all.
    pub(crate) fn is_enabled(&self) -> bool {
        !self.settle.is_zero()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().names.len()
    }

    /// Adds names `now`. True if the caller is to start a task that waits until they are due.
    pub(crate) fn add(&self, names: &[Key], now: Instant) -> bool {
        if names.is_empty() {
            return false;
        }
        let at = now + self.settle;
        let mut queue = self.lock();
        for name in names {
            if queue.names.len() < self.capacity || queue.names.contains_key(name) {
                queue.names.insert(name.clone(), at);
            } else {
                // Later names do not put the clearing off: while updates keep failing, it would
                // never be due.
                queue.everything.get_or_insert(at);
            }
        }
        !mem::replace(&mut queue.is_attended, true)
    }

    /// Takes out what is due `now`; else says how long until something is.
    pub(crate) fn next(&self, now: Instant) -> Result<Next, Duration> {
        let mut queue = self.lock();
        if queue.everything.is_some_and(|at| at <= now) {
            queue.everything = None;
            queue.names.retain(|_, at| *at > now);
            return Ok(Next::Everything);
        }
        let due = queue.names.extract_if(|_, at| *at <= now);
        let names: Vec<Key> = due.map(|(name, _)| name).collect();
        if !names.is_empty() {
            return Ok(Next::Names(names));
        }
        if let Some(at) = queue.first_due() {
            return Err(at - now);
        }
        queue.is_attended = false;
        Ok(Next::Nothing)
    }

    /// Takes out everything, due or not.
    pub(crate) fn take(&self) -> Undue {
        let mut queue = self.lock();
        let names = mem::take(&mut queue.names);
        Undue {
            names: names.into_keys().collect(),
            everything: queue.everything.take().is_some(),
        }
    }

    /// Notes that the task that waited was dropped. Returns whether something is left to wait for.
    /// With `is_last`, nothing replaces the task.
    pub(crate) fn unattended(&self, is_last: bool) -> bool {
        let mut queue = self.lock();
        let is_left = queue.first_due().is_some();
        if is_last || !is_left {
            // The next update that fails starts a task.
            queue.is_attended = false;
        }
        is_left
    }

    /// Nothing panics under this lock.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn first_due(&self) -> Option<Instant> {
        self.names.values().copied().chain(self.everything).min()
    }
}

/// The cache was dropped before they were due.
impl Drop for Unsettled {
    fn drop(&mut self) {
        let count = self.len();
        if count > 0 {
            self.observer.observe(None, Event::RepeatLost { count });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(5);

    /// With names that are added at `start`.
    fn unsettled(names: &[&str], start: Instant) -> Unsettled {
        let unsettled = Unsettled::new(SETTLE, 2, Observer::default());
        let names: Vec<Key> = names.iter().map(|&name| name.into()).collect();
        assert!(unsettled.add(&names, start));
        unsettled
    }

    #[test]
    fn a_name_is_due_once_when_its_update_has_settled() {
        let start = Instant::now();
        let unsettled = unsettled(&["a", "b", "a"], start);
        assert!(matches!(unsettled.next(start), Err(pause) if pause == SETTLE));
        let now = start + SETTLE;
        assert!(matches!(unsettled.next(now), Ok(Next::Names(names)) if names.len() == 2));
        assert!(matches!(unsettled.next(now), Ok(Next::Nothing)));
    }

    #[test]
    fn a_name_is_due_after_its_last_update() {
        let start = Instant::now();
        let unsettled = unsettled(&["a"], start);
        assert!(!unsettled.add(&["a".into()], start + SETTLE / 2));
        let next = unsettled.next(start + SETTLE);
        assert!(matches!(next, Err(pause) if pause == SETTLE / 2));
        let next = unsettled.next(start + SETTLE * 3 / 2);
        assert!(matches!(next, Ok(Next::Names(_))));
    }

    #[test]
    fn more_names_than_are_kept_stand_for_all_names() {
        let start = Instant::now();
        let unsettled = unsettled(&["a", "b", "c"], start);
        assert_eq!(unsettled.len(), 2);
        let now = start + SETTLE;
        assert!(matches!(unsettled.next(now), Ok(Next::Everything)));
        assert!(matches!(unsettled.next(now), Ok(Next::Nothing)));
    }

    /// It was dropped with names that it had taken out, so nothing is due.
    #[test]
    fn a_task_that_was_dropped_is_started_again() {
        let start = Instant::now();
        let unsettled = unsettled(&["a"], start);
        let add = |name: &str| unsettled.add(&[name.into()], start);
        assert_eq!(unsettled.take().names.len(), 1);
        assert!(!unsettled.unattended(false));
        assert!(add("b"));
        assert!(unsettled.unattended(false) && !add("c"));
        assert!(unsettled.unattended(true) && add("d"));
    }
}
