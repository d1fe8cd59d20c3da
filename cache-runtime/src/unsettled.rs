//! Names of updates of unknown outcome, until they are invalidated once more.
//!
//! They are kept in slots, in the order in which they are due. Names go into the newest slot, and
//! a slot is due when the last name that went into it is. So a task that waits looks at the
//! oldest slot only, however many names there are. A slot takes names for an eighth of `settle`:
//! names are due at most that much later than they could be, and are put off no further, while
//! updates keep failing.

use std::collections::{HashSet, VecDeque};
use std::mem;
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::backlog::{self, Buckets};
use crate::key::Key;
use crate::observe::{Event, Observer};
use crate::sabotage::{self, Rule};

/// The part of `settle` for which a slot takes names. So there are at most so many slots, and two.
const SLOTS: u32 = 8;

/// Names that are to be invalidated again.
#[derive(Debug)]
pub(crate) struct Unsettled {
    settle: Duration,
    /// How many bytes the names may take. Of further names, the buckets are marked.
    room: usize,
    queue: Mutex<Queue>,
    observer: Observer,
}

#[derive(Debug, Default)]
struct Queue {
    /// By the time at which they are due.
    slots: VecDeque<Slot>,
    /// What the names in all slots take.
    bytes: usize,
    /// The process in which a task or a thread waits until they are due. A forked process has none of
    /// its parent's.
    attended_in: Option<u32>,
}

#[derive(Debug)]
struct Slot {
    opened: Instant,
    due: Instant,
    names: HashSet<Key>,
    /// Where the names belong for which there was no room.
    buckets: Buckets,
}

/// What is due now.
pub(crate) enum Next {
    Due(Names),
    /// Nothing, and nothing will be: the task that waits may end.
    Nothing,
}

/// Names, and buckets of names.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) names: Vec<Key>,
    pub(crate) buckets: Buckets,
}

impl Unsettled {
    pub(crate) fn new(settle: Duration, room: usize, observer: Observer) -> Self {
        Self {
            settle,
            room: sabotage::backlog_room(room),
            queue: Mutex::default(),
            observer,
        }
    }

    /// Whether names are invalidated again at all.
    pub(crate) fn is_enabled(&self) -> bool {
        !self.settle.is_zero()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().slots.iter().map(|slot| slot.names.len()).sum()
    }

    /// Whether there were more names than the room holds.
    pub(crate) fn has_overflowed(&self) -> bool {
        self.lock().has_overflowed()
    }

    /// Adds names `now`. True if the caller is to start a task that waits until they are due.
    pub(crate) fn add(&self, names: &[Key], now: Instant) -> bool {
        if names.is_empty() {
            return false;
        }
        let mut queue = self.lock();
        let had_overflowed = queue.has_overflowed();
        queue.add(names, now, self.settle, self.room);
        let overflows = !had_overflowed && queue.has_overflowed();
        let here = Some(process::id());
        let starts = mem::replace(&mut queue.attended_in, here) != here;
        drop(queue);
        if overflows {
            let room = self.room;
            self.observer.observe(None, Event::RepeatsOverflow { room });
        }
        starts
    }

    /// Takes out what is due `now`; else says how long until something is.
    pub(crate) fn next(&self, now: Instant) -> Result<Next, Duration> {
        let mut queue = self.lock();
        match queue.slots.front() {
            Some(slot) if slot.due > now => Err(slot.due - now),
            Some(_) => Ok(Next::Due(queue.take_first())),
            None => {
                queue.attended_in = None;
                Ok(Next::Nothing)
            }
        }
    }

    /// Takes out everything, due or not.
    pub(crate) fn take(&self) -> Names {
        let mut queue = self.lock();
        let mut all = Names::default();
        while !queue.slots.is_empty() {
            let Names { names, buckets } = queue.take_first();
            all.names.extend(names);
            all.buckets.merge(buckets);
        }
        all
    }

    /// Notes that the task that waited was dropped. Returns whether something is left to wait for.
    /// With `is_last`, nothing replaces the task.
    pub(crate) fn unattended(&self, is_last: bool) -> bool {
        let mut queue = self.lock();
        let is_left = !queue.slots.is_empty();
        if is_last || !is_left {
            // The next update that fails starts a task.
            queue.attended_in = None;
        }
        is_left
    }

    /// Nothing panics under this lock.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn add(&mut self, names: &[Key], now: Instant, settle: Duration, room: usize) {
        let mut newest = match self.slots.pop_back() {
            Some(open) if now.duration_since(open.opened) < settle / SLOTS => open,
            closed => {
                self.slots.extend(closed);
                Slot::open(now)
            }
        };
        // A thread that read the clock earlier may get here later.
        newest.due = newest.due.max(now + settle);
        for name in names {
            // A name that waits already waits for its last update instead.
            for older in &mut self.slots {
                if older.names.remove(name) {
                    self.bytes -= backlog::cost(name);
                }
            }
            if newest.names.contains(name) {
                continue;
            }
            let bytes = self.bytes + backlog::cost(name);
            if bytes <= room {
                self.bytes = bytes;
                newest.names.insert(name.clone());
            } else if sabotage::keeps(Rule::Overflow) {
                newest.buckets.mark(name.bytes());
            }
        }
        for older in &mut self.slots {
            if older.names.len() < older.names.capacity() / 4 {
                older.names.shrink_to_fit();
            }
        }
        self.slots.push_back(newest);
    }

    /// Takes out the names of the oldest slot.
    fn take_first(&mut self) -> Names {
        let Some(Slot { names, buckets, .. }) = self.slots.pop_front() else {
            return Names::default();
        };
        let names: Vec<Key> = names.into_iter().collect();
        self.bytes -= names.iter().map(backlog::cost).sum::<usize>();
        Names { names, buckets }
    }

    fn has_overflowed(&self) -> bool {
        self.slots.iter().any(|slot| !slot.buckets.are_none())
    }
}

impl Slot {
    fn open(now: Instant) -> Self {
        Self {
            opened: now,
            due: now,
            names: HashSet::new(),
            buckets: Buckets::default(),
        }
    }
}

/// The cache was dropped before they were due.
impl Drop for Unsettled {
    fn drop(&mut self) {
        let count = self.len();
        if count > 0 || self.has_overflowed() {
            self.observer.observe(None, Event::RepeatLost { count });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(8);
    /// For how long a slot takes names.
    const OPEN: Duration = Duration::from_secs(1);

    fn unsettled(room: usize) -> Unsettled {
        Unsettled::new(SETTLE, room, Observer::default())
    }

    fn keys(names: &[&str]) -> Vec<Key> {
        names.iter().map(|&name| name.into()).collect()
    }

    /// What is due `now`, in order; `None` if nothing is.
    fn due(unsettled: &Unsettled, now: Instant) -> Option<(Vec<String>, Buckets)> {
        let Ok(Next::Due(Names { names, buckets })) = unsettled.next(now) else {
            return None;
        };
        let mut names: Vec<_> = names.iter().map(ToString::to_string).collect();
        names.sort_unstable();
        Some((names, buckets))
    }

    fn names_due(unsettled: &Unsettled, now: Instant) -> Vec<String> {
        due(unsettled, now)
            .map(|(names, _)| names)
            .unwrap_or_default()
    }

    #[test]
    fn a_name_is_due_once_when_its_update_has_settled() {
        let start = Instant::now();
        let unsettled = unsettled(1_000);
        assert!(unsettled.add(&keys(&["a", "b", "a"]), start));
        assert!(matches!(unsettled.next(start), Err(pause) if pause == SETTLE));
        let now = start + SETTLE;
        assert_eq!(names_due(&unsettled, now), ["a", "b"]);
        assert!(matches!(unsettled.next(now), Ok(Next::Nothing)));
    }

    #[test]
    fn a_name_is_due_after_its_last_update() {
        let start = Instant::now();
        let unsettled = unsettled(1_000);
        unsettled.add(&keys(&["a", "b"]), start);
        assert!(!unsettled.add(&keys(&["a"]), start + SETTLE / 2));
        assert_eq!(names_due(&unsettled, start + SETTLE), ["b"]);
        assert!(matches!(unsettled.next(start + SETTLE), Err(pause) if pause == SETTLE / 2));
        assert_eq!(names_due(&unsettled, start + SETTLE * 3 / 2), ["a"]);
    }

    #[test]
    fn a_slot_is_due_when_its_last_name_is() {
        let start = Instant::now();
        let unsettled = unsettled(1_000);
        let last = start + OPEN / 2;
        unsettled.add(&keys(&["a"]), start);
        unsettled.add(&keys(&["b"]), last);
        assert!(matches!(unsettled.next(start + SETTLE), Err(pause) if pause == OPEN / 2));
        assert_eq!(names_due(&unsettled, last + SETTLE), ["a", "b"]);
    }

    /// Updates that keep failing, with no room for any name: what each of them changed is due
    /// `settle` after it or later, and hardly later.
    #[test]
    fn each_overflow_is_due_after_its_last_update_and_soon_after_it() {
        let start = Instant::now();
        let unsettled = unsettled(0);
        let step = OPEN / 4;
        let mut settled = 0;
        for i in 0..200 {
            let now = start + step * i;
            while let Some((names, buckets)) = due(&unsettled, now) {
                assert!(names.is_empty());
                while buckets.contain(settled.to_string().as_bytes()) {
                    let updated = start + step * settled;
                    assert!(now >= updated + SETTLE, "{settled} is due too early");
                    assert!(
                        now <= updated + SETTLE + OPEN + step,
                        "{settled} is due too late"
                    );
                    settled += 1;
                }
                assert!((settled..200).all(|later| !buckets.contain(later.to_string().as_bytes())));
            }
            unsettled.add(&[Key::from(i.to_string())], now);
            assert!(unsettled.has_overflowed());
            assert!(unsettled.lock().slots.len() <= SLOTS as usize + 2);
        }
        // 32 updates fit into `settle`.
        assert!(settled > 200 - 32 - 8);
    }

    #[test]
    fn names_for_which_there_is_no_room_mark_their_buckets_and_the_room_comes_back() {
        let start = Instant::now();
        let room = 2 * backlog::cost(&"a".into());
        let unsettled = unsettled(room);
        unsettled.add(&keys(&["a", "b", "c", "b"]), start);
        assert_eq!((unsettled.len(), unsettled.has_overflowed()), (2, true));
        let (names, buckets) = due(&unsettled, start + SETTLE).unwrap();
        assert_eq!(names, ["a", "b"]);
        assert!(buckets.contain(b"c") && !buckets.contain(b"a"));
        assert!(!unsettled.has_overflowed());
        unsettled.add(&keys(&["d", "e"]), start + SETTLE);
        assert!(!unsettled.has_overflowed());
        assert_eq!(unsettled.take().names.len(), 2);
        assert_eq!(unsettled.lock().bytes, 0);
    }

    /// It was dropped with names that it had taken out, so nothing is due.
    #[test]
    fn a_task_that_was_dropped_is_started_again() {
        let start = Instant::now();
        let unsettled = unsettled(1_000);
        let add = |name: &str| unsettled.add(&[name.into()], start);
        assert!(add("a"));
        assert_eq!(unsettled.take().names.len(), 1);
        assert!(!unsettled.unattended(false));
        assert!(add("b"));
        assert!(unsettled.unattended(false) && !add("c"));
        assert!(unsettled.unattended(true) && add("d"));
    }

    #[test]
    fn a_forked_process_starts_a_task_of_its_own() {
        let start = Instant::now();
        let unsettled = unsettled(1_000);
        assert!(unsettled.add(&keys(&["a"]), start));
        let parent = Some(process::id() ^ 1);
        unsettled.lock().attended_in = parent;
        assert!(unsettled.add(&keys(&["b"]), start));
        assert!(!unsettled.add(&keys(&["c"]), start));
        assert_eq!(names_due(&unsettled, start + SETTLE), ["a", "b", "c"]);
    }

    #[test]
    fn names_that_move_from_slot_to_slot_leave_no_memory_behind() {
        let start = Instant::now();
        let unsettled = unsettled(1 << 20);
        let names: Vec<Key> = (0..1_000).map(|i| i.to_string().into()).collect();
        for i in 0..SLOTS {
            unsettled.add(&names, start + OPEN * i);
        }
        let capacities = unsettled
            .lock()
            .slots
            .iter()
            .map(|slot| slot.names.capacity())
            .sum();
        assert!((1_000_usize..4_000).contains(&capacities), "{capacities}");
    }

    #[test]
    fn a_thread_that_is_late_makes_no_slot_due_earlier() {
        let start = Instant::now();
        let unsettled = unsettled(1_000);
        let last = start + OPEN / 2;
        unsettled.add(&keys(&["b"]), last);
        unsettled.add(&keys(&["a"]), start);
        assert!(
            names_due(&unsettled, start + SETTLE).is_empty(),
            "b is due before its settle"
        );
    }
}
