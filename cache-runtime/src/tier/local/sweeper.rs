//! Removes expired entries where nothing is inserted, so that idle memory is given back.
//!
//! Insertions remove dead entries as they go. Where there are none, a thread does, the sweeper: one
//! for all tables of the process.
//!
//! * **It runs only while entries expire.** Each shard knows a moment before which none of its
//!   entries expires. At the earliest one, an alarm starts the thread. It ends when nothing expires
//!   soon. So a cache full of long-lived entries has neither a thread nor a tick.
//! * **A tick is bounded:** it looks at [`SLOTS`] slots, and at no more than the rest of one shard
//!   beyond them. A shard is locked for a few of its slots at a time.
//! * **Values are dropped by this thread, outside of every lock.** A `Drop` that panics costs no
//!   other value. One that blocks also blocks the sweeper, until it is [late](LATE) and an insertion
//!   starts another.
//! * **Tables are held weakly.** A table that is dropped takes its entries along at once.
//! * **It goes by the real time.** Entries whose clock a test has moved are left alone.
//!
//! An entry whose tag was invalidated stays until it expires, or until an insertion finds it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};
use std::{mem, thread};

use super::Entry;
use crate::clock::{self, Alarm, Clock, Moment, Now};

static SWEEPER: Sweeper = Sweeper {
    clock: Clock::SYSTEM,
    looks_at: AtomicU64::new(NEVER),
    state: Mutex::new(State {
        tables: Vec::new(),
        added: 0,
        thread: None,
        started: 0,
        alarm: None,
    }),
};

/// How often the thread looks while entries expire. So an expired entry stays in memory for about
/// this long, and longer in a table of more than [`SLOTS`].
const TICK: Duration = Duration::from_millis(250);

/// How many slots a tick looks at. Each takes some nanoseconds, or some dozen if it has tags.
const SLOTS: usize = 16_384;

/// In milliseconds: if the sweeper has not looked this long after its time, it is taken to be lost.
const LATE: Moment = 10_000;

/// Later than any entry expires.
pub(super) const NEVER: Moment = Moment::MAX;

/// A table, held weakly.
pub(super) trait Swept: Send + Sync {
    /// A moment before which none of its entries expires; [`NEVER`] if none expires at all.
    fn next_expiry(&self) -> Moment;

    /// Removes expired entries and gives them to `discard`, outside of its locks. Ends after about
    /// as many slots as `slots`, and returns how many there were.
    fn sweep(&self, now: Now, slots: usize, discard: fn(Vec<Entry>)) -> usize;
}

/// A table's place in the sweeper's list.
#[derive(Debug)]
pub(super) struct Place(u64);

/// Adds a table, until its place is dropped.
pub(super) fn add(table: Arc<dyn Swept>) -> Place {
    let mut state = SWEEPER.lock();
    state.added += 1;
    let place = state.added;
    state.tables.push((place, table));
    Place(place)
}

/// To be called after an entry was inserted, outside of the locks of its table.
#[inline]
pub(super) fn note_expiry(expiry: Moment, now: Now) {
    let Some(now) = now.real() else {
        return;
    };
    if SWEEPER.is_to_plan(expiry, now) {
        SWEEPER.plan(expiry, now);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        SWEEPER.lock().tables.retain(|(place, _)| *place != self.0);
    }
}

struct Sweeper {
    clock: Clock,
    /// When the sweeper looks next. Only an entry that expires earlier asks it for anything. While
    /// its thread runs, the moment of its last look.
    looks_at: AtomicU64,
    state: Mutex<State>,
}

struct State {
    tables: Vec<(u64, Arc<dyn Swept>)>,
    /// How many tables there have been.
    added: u64,
    /// The thread that runs now, if any.
    thread: Option<u64>,
    /// How many threads there have been.
    started: u64,
    /// Starts the thread when the sweeper looks next.
    alarm: Option<Alarm>,
}

impl Sweeper {
    fn is_to_plan(&self, expiry: Moment, now: Moment) -> bool {
        let looks_at = self.looks_at.load(Relaxed);
        expiry < looks_at || looks_at.saturating_add(LATE) < now
    }

    /// Plans a look at `expiry`.
    #[cold]
    fn plan(&'static self, expiry: Moment, now: Moment) {
        let mut state = self.lock();
        // Another entry may have planned meanwhile.
        if self.is_to_plan(expiry, now) {
            state.thread = None;
            self.set_alarm(&mut state, expiry);
        }
    }

    /// Sets the alarm, in the place of the one there is.
    fn set_alarm(&self, state: &mut State, at: Moment) {
        self.looks_at.store(at, Relaxed);
        let waker = Waker::from(Arc::new(Start));
        state.alarm = Some(Alarm::set(Instant::now() + self.clock.until(at), waker));
    }

    /// Starts the thread, if it is time. If there is no thread to be had, an insertion plans anew
    /// when the sweeper is late.
    fn start(&'static self) {
        let mut state = self.lock();
        let now = self.clock.now();
        // This may be the alarm of a plan that an earlier one has replaced.
        if state.thread.is_some() || now.is_before(self.looks_at.load(Relaxed)) {
            return;
        }
        let number = state.started;
        state.started += 1;
        let thread = thread::Builder::new().name("cache-sweeper".to_owned());
        let thread = thread.spawn(move || {
            while self.tick(number) {
                thread::sleep(TICK);
            }
        });
        state.thread = thread.is_ok().then_some(number);
    }

    /// Removes what has expired. Returns whether the thread goes on: entries expire soon, and no
    /// other thread has taken its place.
    fn tick(&self, thread: u64) -> bool {
        let Some((now, tables)) = self.begin_tick(thread) else {
            return false;
        };
        let mut slots = SLOTS;
        for table in &tables {
            if slots == 0 {
                break;
            }
            slots = slots.saturating_sub(table.sweep(now, slots, discard));
        }
        self.end_tick(thread)
    }

    fn begin_tick(&self, thread: u64) -> Option<(Now, Vec<Arc<dyn Swept>>)> {
        let mut state = self.lock();
        if state.thread != Some(thread) {
            return None;
        }
        let now = self.clock.now();
        self.looks_at.store(now.real()?, Relaxed);
        // Each tick begins with another table, in case it does not get to all of them.
        if !state.tables.is_empty() {
            state.tables.rotate_left(1);
        }
        let tables = state.tables.iter().map(|(_, table)| table.clone());
        Some((now, tables.collect()))
    }

    fn end_tick(&self, thread: u64) -> bool {
        let mut state = self.lock();
        if state.thread != Some(thread) {
            return false;
        }
        let Some(now) = self.clock.now().real() else {
            return false;
        };
        // From here on each insertion plans, and waits for this lock. So none is missed that comes
        // after its shard was asked.
        self.looks_at.store(NEVER, Relaxed);
        let next = state.tables.iter().map(|(_, table)| table.next_expiry());
        let next = next.min().unwrap_or(NEVER);
        if next <= now + clock::millis(TICK) {
            self.looks_at.store(now, Relaxed);
            return true;
        }
        state.thread = None;
        if next < NEVER {
            self.set_alarm(&mut state, next);
        }
        false
    }

    /// Nothing panics under this lock, and no value is dropped.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the sweeper. Called by the timer, whose thread sweeps nothing itself.
struct Start;

impl Wake for Start {
    fn wake(self: Arc<Self>) {
        SWEEPER.start();
    }
}

/// Drops values, each on its own: their `Drop` is the user's, and may panic.
fn discard(entries: Vec<Entry>) {
    for entry in entries {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(entry))) {
            // Its `Drop` may panic again.
            mem::forget(panic);
            tracing::error!("a value panicked when it was dropped from the cache");
        }
    }
}
