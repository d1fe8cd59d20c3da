//! Call sites, and what each of them did with a cache.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::registry::Function;

/// What is known of a `#[cached]` function at compile time.
#[derive(Debug)]
pub struct CallSite {
    pub(crate) function: Function,
    pub(crate) ttl: Option<Duration>,
    pub(crate) none_ttl: Option<Duration>,
    pub(crate) schema: u32,
    /// Where its counters are: a [`Place`]; 0 until its first call.
    place: AtomicU32,
}

impl CallSite {
    /// A function that caches with the default ttl, and no `None`.
    pub const fn new(function: Function) -> Self {
        Self {
            function,
            ttl: None,
            none_ttl: None,
            schema: 0,
            place: AtomicU32::new(0),
        }
    }

    /// Sets how long its values are cached.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets how long its `None`s are cached.
    #[must_use]
    pub const fn none_ttl(mut self, none_ttl: Duration) -> Self {
        self.none_ttl = Some(none_ttl);
        self
    }

    /// Sets the schema version of its values: values of another one are not served.
    #[must_use]
    pub const fn schema(mut self, schema: u32) -> Self {
        self.schema = schema;
        self
    }

    #[inline]
    fn place(&'static self) -> Place {
        match self.place.load(Relaxed) {
            0 => self.register(),
            place => Place(place),
        }
    }

    #[cold]
    fn register(&'static self) -> Place {
        let mut sites = SITES.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been first.
        if self.place.load(Relaxed) == 0 {
            sites.push(self);
            self.place.store(Place::of(sites.len()).0, Relaxed);
        }
        Place(self.place.load(Relaxed))
    }
}

/// Every call site that was called so far; the first has index 1, since 0 is the manual API.
static SITES: Mutex<Vec<&'static CallSite>> = Mutex::new(Vec::new());

/// What happened at one call site with one cache, in one stripe.
#[derive(Debug, Default)]
struct Tally {
    hits: AtomicU64,
    misses: AtomicU64,
    loads: AtomicU64,
    errors: AtomicU64,
}

/// Where this thread counts what happens at one call site.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counters<'a> {
    tally: &'a Tally,
    /// Whether no other thread counts there.
    alone: bool,
}

impl Counters<'_> {
    #[inline]
    pub(crate) fn hit(self) {
        self.count(&self.tally.hits);
    }

    pub(crate) fn miss(self) {
        self.count(&self.tally.misses);
    }

    pub(crate) fn load(self) {
        self.count(&self.tally.loads);
    }

    pub(crate) fn error(self) {
        self.count(&self.tally.errors);
    }

    #[inline]
    fn count(self, counter: &AtomicU64) {
        if self.alone {
            // A tenth of what an atomic addition costs.
            counter.store(counter.load(Relaxed) + 1, Relaxed);
        } else {
            counter.fetch_add(1, Relaxed);
        }
    }
}

/// So many threads count each for itself; the others share the last stripe.
const STRIPES: usize = 32;

/// The stripe of a thread, for as long as it lives.
#[derive(Debug)]
struct Stripe(usize);

/// Those that no thread has.
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
        // A thread that ends has none any more.
        STRIPE.try_with(|stripe| stripe.0).unwrap_or(Self::SHARED)
    }
}

/// The next thread sees what this one counted: both took this lock.
impl Drop for Stripe {
    fn drop(&mut self) {
        if self.0 != Self::SHARED {
            *FREE_STRIPES.lock().unwrap_or_else(PoisonError::into_inner) |= 1 << self.0;
        }
    }
}

/// The counters of one cache, found by index without a lock.
#[derive(Debug)]
pub(crate) struct CounterTable {
    stripes: Box<[Tallies]>,
}

/// Chunks that double in size and never move.
type Tallies = [OnceLock<Box<[Tally]>>; CHUNKS];

const CHUNKS: usize = 23;
/// The first chunk holds so many; later ones twice their predecessor.
const FIRST_CHUNK: usize = 16;
/// And all together.
const MAX_SITES: usize = FIRST_CHUNK * ((1 << CHUNKS) - 1);

impl CounterTable {
    pub(crate) fn new() -> Self {
        Self {
            stripes: (0..STRIPES)
                .map(|_| [const { OnceLock::new() }; CHUNKS])
                .collect(),
        }
    }

    /// The counters of `site`, or those of the manual API.
    #[expect(clippy::inline_always, reason = "most of it happens only once")]
    #[inline(always)]
    pub(crate) fn of(&self, site: Option<&'static CallSite>) -> Counters<'_> {
        let stripe = Stripe::mine();
        let place = site.map_or(Place::default(), CallSite::place);
        let tallies = self.stripes[stripe][place.chunk()].get_or_init(|| place.new_chunk());
        Counters {
            tally: &tallies[place.offset()],
            alone: stripe != Stripe::SHARED,
        }
    }

    /// What all threads counted at a site.
    fn sum(&self, place: Place) -> SiteStats {
        let stripes = self.stripes.iter();
        let tallies = stripes.filter_map(|stripe| stripe[place.chunk()].get());
        tallies.fold(SiteStats::default(), |mut sum, tallies| {
            let tally = &tallies[place.offset()];
            sum.hits += tally.hits.load(Relaxed);
            sum.misses += tally.misses.load(Relaxed);
            sum.loads += tally.loads.load(Relaxed);
            sum.errors += tally.errors.load(Relaxed);
            sum
        })
    }

    pub(crate) fn snapshot(&self, entries: u64) -> Stats {
        let sites = SITES.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stats = Stats {
            entries,
            ..Stats::default()
        };
        stats.add(&self.sum(Place::default()));
        for (i, site) in sites.iter().enumerate() {
            let Function {
                path, file, line, ..
            } = site.function;
            let of_site = SiteStats {
                function: path,
                file,
                line,
                template: site.function.key(),
                ..self.sum(Place::of(i + 1))
            };
            stats.add(&of_site);
            if of_site.hits + of_site.misses > 0 {
                stats.sites.push(of_site);
            }
        }
        stats
    }
}

/// Which chunk an index is in, and where in it: worked out once for each site.
#[derive(Debug, Clone, Copy, Default)]
struct Place(u32);

impl Place {
    /// In the lowest bits, the chunk.
    const CHUNK_BITS: u32 = 5;

    /// A hundred million sites have places of their own; the rest share the last.
    fn of(index: usize) -> Self {
        let from_first = index.min(MAX_SITES - 1) + FIRST_CHUNK;
        let chunk = from_first.ilog2() - FIRST_CHUNK.ilog2();
        let offset = from_first - (FIRST_CHUNK << chunk);
        Self(u32::try_from(offset << Self::CHUNK_BITS).unwrap_or_default() | chunk)
    }

    #[inline]
    fn chunk(self) -> usize {
        (self.0 % (1 << Self::CHUNK_BITS)) as usize
    }

    #[inline]
    fn offset(self) -> usize {
        (self.0 >> Self::CHUNK_BITS) as usize
    }

    #[cold]
    fn new_chunk(self) -> Box<[Tally]> {
        let tallies = (0..FIRST_CHUNK << self.chunk()).map(|_| Tally::default());
        tallies.collect()
    }
}

/// What a cache has done since it was built, from [`Cache::stats`](crate::Cache::stats).
///
/// Each call is a hit or a miss. A miss of an annotated function that shares another
/// caller's load adds no load, so `misses - loads` is the work that single-flight saved.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use cache_runtime::{Cache, cached};
///
/// #[cached(key = "square:<n>", ttl = 60, cache = cache, skip(cache))]
/// async fn square(n: u32, cache: &Cache) -> u32 { n * n }
///
/// let cache = Cache::builder().url("memory:").build().unwrap();
/// square(3, &cache).await;
/// square(3, &cache).await;
///
/// let stats = cache.stats();
/// assert_eq!((stats.hits, stats.misses, stats.loads), (1, 1, 1));
/// assert_eq!(stats.sites[0].template, "square:<n>");
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls that were answered from the cache.
    pub hits: u64,
    /// Calls that were not.
    pub misses: u64,
    /// Misses that ran the function's body.
    pub loads: u64,
    /// Failures of the cache itself: each cost a miss, or left an invalidation undone.
    pub errors: u64,
    /// Entries in the local tier now, expired ones that nobody read since among them.
    pub entries: u64,
    /// How often the server went away: calls then do not touch the network until it is back.
    pub outages: u64,
    /// How often the server began to refuse something: the credentials, a command, all writes.
    pub refusals: u64,
    /// The same for each `#[cached]` function that was called with this cache.
    pub sites: Vec<SiteStats>,
}

impl Stats {
    fn add(&mut self, site: &SiteStats) {
        self.hits += site.hits;
        self.misses += site.misses;
        self.loads += site.loads;
        self.errors += site.errors;
    }
}

/// What one `#[cached]` function did with a cache; the counters are those of [`Stats`].
///
/// ```
/// # fn show(stats: cache_runtime::Stats) {
/// for site in &stats.sites {
///     println!("{} ({}:{}): {} hits", site.function, site.file, site.line, site.hits);
/// }
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SiteStats {
    /// The function's path.
    pub function: &'static str,
    /// The file its attribute stands in.
    pub file: &'static str,
    /// The line of its attribute.
    pub line: u32,
    /// Its key template.
    pub template: &'static str,
    /// Calls that were answered from the cache.
    pub hits: u64,
    /// Calls that were not.
    pub misses: u64,
    /// Misses that ran the function's body.
    pub loads: u64,
    /// Failures of the cache itself.
    pub errors: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Role;
    use std::sync::Barrier;

    #[test]
    fn no_count_is_lost_with_more_threads_than_stripes() {
        let table = CounterTable::new();
        for _ in 0..2 {
            std::thread::scope(|scope| {
                for _ in 0..STRIPES + 8 {
                    scope.spawn(|| (0..1000).for_each(|_| table.of(None).hit()));
                }
            });
        }
        assert_eq!(table.snapshot(0).hits, 2 * 1000 * (STRIPES as u64 + 8));
    }

    #[test]
    fn threads_that_call_first_at_once_agree_on_a_place() {
        for _ in 0..100 {
            let function = Function::new("f", "f.rs", 1, Role::invalidates(&[]));
            let site: &'static CallSite = Box::leak(Box::new(CallSite::new(function)));
            let start = Barrier::new(4);
            let places = std::thread::scope(|scope| {
                let place = || {
                    start.wait();
                    site.place().0
                };
                let threads = [(); 4].map(|()| scope.spawn(place));
                threads.map(|thread| thread.join().unwrap())
            });
            let sites = SITES.lock().unwrap();
            let mut its = (0..sites.len()).filter(|&at| std::ptr::eq(sites[at], site));
            let index = its.next().map(|at| at + 1);
            assert_eq!(places, [Place::of(index.unwrap()).0; 4]);
            assert_eq!(its.next(), None);
        }
    }

    #[test]
    fn every_index_has_a_place_of_its_own() {
        let mut expected = (0, 0);
        for index in 0..100_000 {
            let place = Place::of(index);
            assert_eq!((place.chunk(), place.offset()), expected, "index {index}");
            expected.1 += 1;
            if expected.1 == FIRST_CHUNK << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
        let last = Place::of(usize::MAX);
        assert_eq!(last.chunk(), CHUNKS - 1);
        assert_eq!(last.offset(), (FIRST_CHUNK << (CHUNKS - 1)) - 1);
    }
}
