//! Fences in the process: the names that writers are at work on.
//!
//! A fence here lasts as long as its writer's call runs, however long that is: a
//! process that dies takes its entries along. After an end that leaves open
//! whether something was committed, it lasts until its deadline.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::clock::{self, Moment, Now};
use crate::key::Key;
use crate::sync::{AtomicUsize, Mutex, MutexGuard};

#[derive(Debug, Default)]
pub(super) struct Fences {
    /// How many names are in the map, so that most misses need not ask for the lock.
    fenced: AtomicUsize,
    writers: Mutex<WriterMap>,
}

#[derive(Debug, Default)]
struct WriterMap {
    names: HashMap<Key, Vec<Writer>>,
    /// How many names there may be before those whose deadlines passed are swept out.
    sweep_at: usize,
}

#[derive(Debug)]
struct Writer {
    id: u64,
    /// `None` while its call runs.
    deadline: Option<Moment>,
}

impl Fences {
    /// Whether somebody is at work on one of these names.
    pub(super) fn stand<'a>(&self, mut names: impl Iterator<Item = &'a Key>) -> bool {
        if self.fenced.load(Ordering::SeqCst) == 0 {
            return false;
        }
        self.change(|map| {
            let now = Now::read();
            names.any(|name| {
                let Some(writers) = map.names.get_mut(name) else {
                    return false;
                };
                writers.retain(|writer| writer.is_at_work(now));
                if writers.is_empty() {
                    map.names.remove(name);
                    return false;
                }
                true
            })
        })
    }

    pub(super) fn join(&self, names: &[Key], id: u64) {
        self.change(|map| {
            map.sweep();
            for name in names {
                let writers = map.names.entry(name.clone()).or_default();
                writers.push(Writer { id, deadline: None });
            }
        });
    }

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

    /// The writer's call is over, and what it wrote may not be there yet.
    pub(super) fn abandon(&self, names: &[Key], id: u64, left: Duration) {
        let deadline = Some(clock::expiry(left));
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
    fn is_at_work(&self, now: Now) -> bool {
        self.deadline.is_none_or(|deadline| now.is_before(deadline))
    }
}

impl WriterMap {
    /// Forgets writers whose deadline passed, each time the map has doubled.
    fn sweep(&mut self) {
        if self.names.len() < self.sweep_at {
            return;
        }
        let now = Now::read();
        self.names.retain(|_, writers| {
            writers.retain(|writer| writer.is_at_work(now));
            !writers.is_empty()
        });
        self.sweep_at = (self.names.len() * 2).max(1024);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_writer_out_takes_the_fence_along() {
        let fences = Fences::default();
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
    fn abandoned_fences_end_and_are_forgotten() {
        let fences = Fences::default();
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
