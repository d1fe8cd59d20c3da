//! What happened at each call site, counted without a lock.
//!
//! A thread counts in a stripe of its own, so that a count is a plain addition. When all of those
//! stripes are taken, further threads share the last stripe, and there a count is an atomic
//! addition.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::call::site::{BY_HAND, CHUNKS, CallSite, FIRST_CHUNK, Place};

/// How many stripes there are. The last is shared.
const STRIPES: usize = 32;

/// The counters of one cache. Clones are the same counters.
#[derive(Debug, Clone)]
pub(crate) struct CounterTable {
    stripes: Arc<[Chunks]>,
    /// In each stripe below this one, one thread counts.
    first_shared: usize,
}

/// Chunks that double in size and never move.
type Chunks = [OnceLock<Box<[Tally]>>; CHUNKS];

/// What happened at one call site with one cache, in one stripe.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) loads: AtomicU64,
    pub(crate) errors: AtomicU64,
}

/// The counts of one call site, or of several.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) loads: u64,
    pub(crate) errors: u64,
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
        if self.is_alone {
            // A tenth of what an atomic addition costs.
            counter.store(counter.load(Relaxed) + 1, Relaxed);
        } else {
            counter.fetch_add(1, Relaxed);
        }
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
            sum.misses += tally.misses.load(Relaxed);
            sum.loads += tally.loads.load(Relaxed);
            sum.errors += tally.errors.load(Relaxed);
            sum
        })
    }
}

#[cold]
fn new_chunk(place: Place) -> Box<[Tally]> {
    let tallies = (0..FIRST_CHUNK << place.chunk()).map(|_| Tally::default());
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
            };
            for _ in 0..2 {
                std::thread::scope(|scope| {
                    for _ in 0..STRIPES + 8 {
                        scope.spawn(|| (0..1000).for_each(|_| count()));
                    }
                });
            }
            let hits = table.sum(BY_HAND).hits;
            assert_eq!(hits, 2 * 1000 * (STRIPES as u64 + 8));
        }
    }
}
