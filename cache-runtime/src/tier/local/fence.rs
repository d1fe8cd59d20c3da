//! Fences of the local tier: the names that writers are updating.
//!
//! A fence stands while its writer's call runs, without a limit: if the process dies, its
//! entries die with it. If the call ends and the outcome of its commit is unknown, the fence
//! stands until a deadline: the latest one, if several calls end so.

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
    names: HashMap<Key, Fence>,
    /// The number of names at which those whose deadlines have passed are swept out.
    sweep_at: usize,
}

#[derive(Debug, Default)]
struct Fence {
    /// The writers whose calls run.
    writers: Vec<u64>,
    /// The latest deadline of those that have abandoned it. They need no names: no call of theirs
    /// leaves it any more.
    abandoned_until: Option<Moment>,
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
                let Some(fence) = map.names.get(name) else {
                    return false;
                };
                let stands = fence.stands(now);
                if !stands {
                    map.names.remove(name);
                }
                stands
            })
        })
    }

    /// Around how many names fences stand; those whose deadline has passed count until they are swept out.
    pub(super) fn count(&self) -> usize {
        self.fenced.load(Ordering::SeqCst)
    }

    /// Puts a fence around each of these names, or joins the fence that stands there.
    pub(super) fn join(&self, names: &[Key], id: u64) {
        self.change(|map| {
            map.sweep(&self.clock);
            for name in names {
                let fence = map.names.entry(name.clone()).or_default();
                fence.writers.push(id);
            }
        });
    }

    /// Takes the writer out of these fences. Without writers, a fence is gone.
    pub(super) fn leave(&self, names: &[Key], id: u64) {
        self.change(|map| {
            for name in names {
                if let Some(fence) = map.names.get_mut(name) {
                    fence.remove(id);
                    if fence.writers.is_empty() && fence.abandoned_until.is_none() {
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
                if let Some(fence) = map.names.get_mut(name)
                    && fence.remove(id)
                {
                    fence.abandoned_until = fence.abandoned_until.max(deadline);
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

impl Fence {
    fn stands(&self, now: Now) -> bool {
        let is_before = |deadline| now.is_before(deadline);
        !self.writers.is_empty() || self.abandoned_until.is_some_and(is_before)
    }

    /// Whether this writer was in the fence.
    fn remove(&mut self, id: u64) -> bool {
        let place = self.writers.iter().position(|&writer| writer == id);
        place.map(|place| self.writers.swap_remove(place)).is_some()
    }
}

impl WriterMap {
    /// Removes fences whose deadlines have passed, each time the map has doubled.
    fn sweep(&mut self, clock: &Clock) {
        if self.names.len() < self.sweep_at {
            return;
        }
        let now = clock.now();
        self.names.retain(|_, fence| fence.stands(now));
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
    fn a_fence_that_many_abandon_stands_until_the_latest_deadline_and_stays_small() {
        let fences = Fences::new(Clock::SYSTEM);
        let names = [Key::from("user:1")];
        for (id, left) in [(1, 600), (2, 0)]
            .into_iter()
            .chain((3..1_000).map(|id| (id, 1)))
        {
            fences.join(&names, id);
            fences.abandon(&names, id, Duration::from_secs(left));
        }
        fences.join(&names, 1_000);
        fences.leave(&names, 1_000);
        assert!(fences.stand(names.iter()));
        fences.change(|map| {
            let fence = &map.names[&names[0]];
            assert!(fence.writers.is_empty());
            let until = fence.abandoned_until.expect("a deadline");
            assert!(fences.clock.until(until) > Duration::from_secs(500));
        });
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
