//! What happened at each call site, counted without a lock.
//!
//! A thread counts in a stripe of its own, so that a count is a plain addition. When all of those
//! stripes are taken, further threads share the last stripe, and there a count is an atomic
//! addition.
//!
//! What a hit counts has a table of its own, so that the counters of several functions share a cache
//! line. What happens only on colder paths is in a second table, and the times of loads, which all
//! threads record at one place, in a third. A part of a table is allocated when it is first used.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::call::site::{BY_HAND, CHUNKS, CallSite, FIRST_CHUNK, Place};
use crate::load_times::{Histogram, Times};
use crate::missed::{MissReason, Misses};

/// How many stripes there are. The last is shared.
const STRIPES: usize = 32;

/// The counters of one cache. Clones are the same counters.
#[derive(Debug, Clone)]
pub(crate) struct CounterTable {
    stripes: Arc<[Chunks<Tally>]>,
    /// In each stripe below this one, one thread counts.
    first_shared: usize,
    rare: Arc<Rare>,
}

/// What no local hit counts.
#[derive(Debug)]
struct Rare {
    stripes: Box<[Chunks<Details>]>,
    load_times: Chunks<OnceLock<Box<Histogram>>>,
}

/// Chunks that double in size and never move.
type Chunks<T> = [OnceLock<Box<[T]>>; CHUNKS];

/// What a call may do besides what is in a [`Tally`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Detail {
    /// A hit that a server answered.
    HitAtServer,
    /// An old value was served while it is refreshed.
    StaleRevalidating,
    /// An old value was served in the place of an error.
    StaleError,
    /// An old value was served since its load takes long.
    StaleSlow,
    LoadFailed,
    /// A miss was answered by another caller's load.
    Shared,
    Refresh,
    RefreshFailed,
    RefreshDiscarded,
    RefreshSkipped,
}

/// How many there are.
const DETAILS: usize = Detail::RefreshSkipped as usize + 1;

/// What happened at one call site with one cache, in one stripe, on colder paths.
#[derive(Debug)]
struct Details {
    /// By [`Detail`].
    counts: [AtomicU64; DETAILS],
    /// By [`MissReason`].
    missed: [AtomicU64; MissReason::COUNT],
}

impl Default for Details {
    fn default() -> Self {
        Self {
            counts: array::from_fn(|_| AtomicU64::new(0)),
            missed: array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

/// The details of one call site, or of several.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct DetailCounts {
    counts: [u64; DETAILS],
    missed: [u64; MissReason::COUNT],
}

impl DetailCounts {
    pub(crate) fn of(&self, detail: Detail) -> u64 {
        self.counts[detail as usize]
    }

    pub(crate) fn missed(&self) -> Misses {
        Misses::of(self.missed)
    }

    /// Misses are counted by their reasons only.
    pub(crate) fn misses(&self) -> u64 {
        self.missed.iter().sum()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let counts = self.counts.iter_mut().zip(&other.counts);
        let missed = self.missed.iter_mut().zip(&other.missed);
        for (sum, count) in counts.chain(missed) {
            *sum += count;
        }
    }
}

/// What happened at one call site with one cache, in one stripe.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) hits: AtomicU64,
    pub(crate) loads: AtomicU64,
    pub(crate) stored: AtomicU64,
    pub(crate) errors: AtomicU64,
}

/// The counts of one call site, or of several.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) hits: u64,
    pub(crate) loads: u64,
    pub(crate) stored: u64,
    pub(crate) errors: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.loads += other.loads;
        self.stored += other.stored;
        self.errors += other.errors;
    }
}

/// Where this thread counts what happens at one call site.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counters<'a> {
    pub(crate) tally: &'a Tally,
    /// Whether this thread is the only one to count there.
    pub(crate) is_alone: bool,
}

impl Counters<'_> {
    #[inline]
    pub(crate) fn count(self, counter: &AtomicU64) {
        count(counter, self.is_alone);
    }
}

#[inline]
fn count(counter: &AtomicU64, is_alone: bool) {
    if is_alone {
        // A tenth of what an atomic addition costs.
        counter.store(counter.load(Relaxed) + 1, Relaxed);
    } else {
        counter.fetch_add(1, Relaxed);
    }
}

impl CounterTable {
    /// With `alone` false, no thread counts alone: each count takes the branch that a hit
    /// otherwise avoids.
    pub(crate) fn new(alone: bool) -> Self {
        Self {
            stripes: (0..STRIPES)
                .map(|_| [const { OnceLock::new() }; CHUNKS])
                .collect(),
            first_shared: if alone { Stripe::SHARED } else { 0 },
            rare: Arc::new(Rare {
                stripes: (0..STRIPES)
                    .map(|_| [const { OnceLock::new() }; CHUNKS])
                    .collect(),
                load_times: [const { OnceLock::new() }; CHUNKS],
            }),
        }
    }

    /// Counts what no local hit does.
    pub(crate) fn count(&self, site: Option<&'static CallSite>, detail: Detail) {
        self.count_details(site, |details| &details.counts[detail as usize]);
    }

    /// Counts a miss by its reason.
    pub(crate) fn count_miss(&self, site: Option<&'static CallSite>, why: MissReason) {
        self.count_details(site, |details| &details.missed[why.index()]);
    }

    fn count_details(
        &self,
        site: Option<&'static CallSite>,
        counter: impl FnOnce(&Details) -> &AtomicU64,
    ) {
        let stripe = Stripe::mine();
        let place = site.map_or(BY_HAND, CallSite::place);
        let details = self.rare.stripes[stripe][place.chunk()].get_or_init(|| new_chunk(place));
        count(
            counter(&details[place.offset()]),
            stripe < self.first_shared,
        );
    }

    /// The details that all threads counted at a place.
    pub(crate) fn details(&self, place: Place) -> DetailCounts {
        let stripes = self.rare.stripes.iter();
        let mut sum = DetailCounts::default();
        for chunk in stripes.filter_map(|stripe| stripe[place.chunk()].get()) {
            let details = &chunk[place.offset()];
            sum.add(&DetailCounts {
                counts: array::from_fn(|at| details.counts[at].load(Relaxed)),
                missed: array::from_fn(|at| details.missed[at].load(Relaxed)),
            });
        }
        sum
    }

    /// Records how long a load took, which was for so many keys.
    pub(crate) fn record_load(&self, site: Option<&'static CallSite>, took: Duration, keys: u64) {
        let place = site.map_or(BY_HAND, CallSite::place);
        let chunk = self.rare.load_times[place.chunk()].get_or_init(|| new_chunk(place));
        let histogram = chunk[place.offset()].get_or_init(Box::default);
        histogram.record(took, keys);
    }

    /// Adds the times of the loads at a place.
    pub(crate) fn add_load_times(&self, place: Place, times: &mut Times) {
        let chunk = self.rare.load_times[place.chunk()].get();
        if let Some(histogram) = chunk.and_then(|chunk| chunk[place.offset()].get()) {
            times.add(histogram);
        }
    }

    /// The counters of `site`, or those of the API by hand.
    #[expect(clippy::inline_always, reason = "most of it happens only once")]
    #[inline(always)]
    pub(crate) fn of(&self, site: Option<&'static CallSite>) -> Counters<'_> {
        let stripe = Stripe::mine();
        let place = site.map_or(BY_HAND, CallSite::place);
        let tallies = self.stripes[stripe][place.chunk()].get_or_init(|| new_chunk(place));
        Counters {
            tally: &tallies[place.offset()],
            is_alone: stripe < self.first_shared,
        }
    }

    /// What all threads counted at a place.
    pub(crate) fn sum(&self, place: Place) -> Counts {
        let stripes = self.stripes.iter();
        let tallies = stripes.filter_map(|stripe| stripe[place.chunk()].get());
        tallies.fold(Counts::default(), |mut sum, tallies| {
            let tally = &tallies[place.offset()];
            sum.hits += tally.hits.load(Relaxed);
            sum.loads += tally.loads.load(Relaxed);
            sum.stored += tally.stored.load(Relaxed);
            sum.errors += tally.errors.load(Relaxed);
            sum
        })
    }
}

#[cold]
fn new_chunk<T: Default>(place: Place) -> Box<[T]> {
    let tallies = (0..FIRST_CHUNK << place.chunk()).map(|_| T::default());
    tallies.collect()
}

/// The stripe of a thread, for as long as the thread lives.
#[derive(Debug)]
struct Stripe(usize);

/// One bit for each stripe that no thread has.
static FREE_STRIPES: Mutex<u32> = Mutex::new((1 << (STRIPES - 1)) - 1);

impl Stripe {
    const SHARED: usize = STRIPES - 1;

    fn take() -> Self {
        let mut free = FREE_STRIPES.lock().unwrap_or_else(PoisonError::into_inner);
        let first = free.trailing_zeros();
        *free &= !(1_u32.checked_shl(first).unwrap_or_default());
        Self((first as usize).min(Self::SHARED))
    }

    /// The calling thread's.
    #[inline]
    fn mine() -> usize {
        thread_local!(static STRIPE: Stripe = Stripe::take());
        // A thread that is ending has no stripe any more.
        STRIPE.try_with(|stripe| stripe.0).unwrap_or(Self::SHARED)
    }
}

/// The next thread of this stripe sees what this one counted: both took this lock.
impl Drop for Stripe {
    fn drop(&mut self) {
        if self.0 != Self::SHARED {
            *FREE_STRIPES.lock().unwrap_or_else(PoisonError::into_inner) |= 1 << self.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_count_is_lost_with_more_threads_than_stripes() {
        for alone in [true, false] {
            let table = CounterTable::new(alone);
            let count = || {
                let counters = table.of(None);
                counters.count(&counters.tally.hits);
                table.count(None, Detail::Shared);
                table.count_miss(None, MissReason::Loading);
            };
            for _ in 0..2 {
                std::thread::scope(|scope| {
                    for _ in 0..STRIPES + 8 {
                        scope.spawn(|| (0..1000).for_each(|_| count()));
                    }
                });
            }
            let expected = 2 * 1000 * (STRIPES as u64 + 8);
            assert_eq!(table.sum(BY_HAND).hits, expected);
            let details = table.details(BY_HAND);
            assert_eq!(details.of(Detail::Shared), expected);
            assert_eq!(details.of(Detail::LoadFailed), 0);
            assert_eq!(details.missed().loading, expected);
        }
    }
}
