//! Fences of the local tier: the names that writers are updating.
//!
//! A fence stands while its writer's call runs, without a limit: if the process dies, its
//! entries die with it. If the call ends and the outcome of its commit is unknown, the fence
//! stands until a deadline.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::clock::{Clock, Moment, Now};
use crate::key::Key;
use crate::sync::{AtomicUsize, Mutex, MutexGuard};

#[derive(Debug)]
pub(super) struct Fences {
    clock: Clock,
    /// How many names are in the map. While it is zero, a miss does not take the lock.
    fenced: AtomicUsize,
    writers: Mutex<WriterMap>,
}

#[derive(Debug, Default)]
struct WriterMap {
    names: HashMap<Key, Vec<Writer>>,
    /// The number of names at which those whose deadlines have passed are swept out.
    sweep_at: usize,
}

#[derive(Debug)]
struct Writer {
    id: u64,
    /// `None` while the writer's call runs.
    deadline: Option<Moment>,
}

impl Fences {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            fenced: AtomicUsize::new(0),
            writers: Mutex::default(),
        }
    }

    /// Whether a fence stands around one of these names.
    pub(super) fn stand<'a>(&self, mut names: impl Iterator<Item = &'a Key>) -> bool {
        if self.fenced.load(Ordering::SeqCst) == 0 {
            return false;
        }
        self.change(|map| {
            let now = self.clock.now();
            names.any(|name| {
                let Some(writers) = map.names.get_mut(name) else {
                    return false;
                };
                writers.retain(|writer| writer.is_fencing(now));
                if writers.is_empty() {
                    map.names.remove(name);
                    return false;
                }
                true
            })
        })
    }

    /// Puts a fence around each of these names, or joins the fence that stands there.
    pub(super) fn join(&self, names: &[Key], id: u64) {
        self.change(|map| {
            map.sweep(&self.clock);
            for name in names {
                let writers = map.names.entry(name.clone()).or_default();
                writers.push(Writer { id, deadline: None });
            }
        });
    }

    /// Takes the writer out of these fences. Without writers, a fence is gone.
    pub(super) fn leave(&self, names: &[Key], id: u64) {
        self.change(|map| {
            for name in names {
                if let Some(writers) = map.names.get_mut(name) {
                    writers.retain(|writer| writer.id != id);
                    if writers.is_empty() {
                        map.names.remove(name);
                    }
                }
            }
        });
    }

    /// Gives the writer's fences a deadline. Its call is over, and its commit may still land.
    pub(super) fn abandon(&self, names: &[Key], id: u64, left: Duration) {
        let deadline = Some(self.clock.expiry(left));
        self.change(|map| {
            for name in names {
                let writers = map.names.get_mut(name).into_iter().flatten();
                for writer in writers.filter(|writer| writer.id == id) {
                    writer.deadline = deadline;
                }
            }
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut WriterMap) -> T) -> T {
        let mut map: MutexGuard<'_, _> =
            self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut map);
        self.fenced.store(map.names.len(), Ordering::SeqCst);
        changed
    }
}

impl Writer {
    fn is_fencing(&self, now: Now) -> bool {
        self.deadline.is_none_or(|deadline| now.is_before(deadline))
    }
}

impl WriterMap {
    /// Removes writers whose deadlines have passed, each time the map has doubled.
    fn sweep(&mut self, clock: &Clock) {
        if self.names.len() < self.sweep_at {
            return;
        }
        let now = clock.now();
        self.names.retain(|_, writers| {
            writers.retain(|writer| writer.is_fencing(now));
            !writers.is_empty()
        });
        self.sweep_at = (self.names.len() * 2).max(1024);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_stands_until_its_last_writer_leaves() {
        let fences = Fences::new(Clock::SYSTEM);
        let names = [Key::from("user:1")];
        fences.join(&names, 1);
        fences.join(&names, 2);
        fences.leave(&names, 1);
        assert!(fences.stand(names.iter()));
        fences.leave(&names, 2);
        assert!(!fences.stand(names.iter()));
        assert_eq!(fences.fenced.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn abandoned_fences_end_at_their_deadline_and_are_swept_out() {
        let fences = Fences::new(Clock::SYSTEM);
        for i in 0..5_000 {
            let names = [Key::from(format!("user:{i}"))];
            fences.join(&names, i);
            fences.abandon(&names, i, Duration::ZERO);
        }
        assert!(fences.fenced.load(Ordering::SeqCst) <= 1024);
        let last = [Key::from("user:4999")];
        assert!(!fences.stand(last.iter()));
    }
}
