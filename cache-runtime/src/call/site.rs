//! Call sites: what is known of an annotated function at compile time.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::registry::function::Function;

/// What is known of a `#[cached]` function at compile time.
#[derive(Debug)]
pub struct CallSite {
    pub(crate) function: Function,
    pub(crate) ttl: Option<Duration>,
    pub(crate) none_ttl: Option<Duration>,
    /// Entries of another schema version are not served.
    pub(crate) schema: u32,
    /// A packed [`Place`]; 0 until the first call.
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

    /// Sets the schema version of its values.
    #[must_use]
    pub const fn schema(mut self, schema: u32) -> Self {
        self.schema = schema;
        self
    }

    /// Where its counters are.
    #[inline]
    pub(crate) fn place(&'static self) -> Place {
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

/// The place of the manual API, which has index 0.
pub(crate) const MANUAL: Place = Place(0);

/// Every call site that was called so far. The first has index 1.
static SITES: Mutex<Vec<&'static CallSite>> = Mutex::new(Vec::new());

/// Every call site that was called so far, with its place.
pub(crate) fn called() -> Vec<(&'static CallSite, Place)> {
    let sites = SITES.lock().unwrap_or_else(PoisonError::into_inner);
    let places = (1..).map(Place::of);
    sites.iter().copied().zip(places).collect()
}

/// The first chunk of counters has so many; later ones twice as many as the one before.
pub(crate) const FIRST_CHUNK: usize = 16;

/// So many chunks there may be.
pub(crate) const CHUNKS: usize = 23;

/// And so many call sites with counters of their own.
const MAX_SITES: usize = FIRST_CHUNK * ((1 << CHUNKS) - 1);

/// In which chunk the counters of a site are, and where in it. Worked out once for each site.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Place(u32);

impl Place {
    /// The chunk is in the lowest bits.
    const CHUNK_BITS: u32 = 5;

    /// A hundred million sites have places of their own; the rest share the last one.
    fn of(index: usize) -> Self {
        let from_first = index.min(MAX_SITES - 1) + FIRST_CHUNK;
        let chunk = from_first.ilog2() - FIRST_CHUNK.ilog2();
        let offset = from_first - (FIRST_CHUNK << chunk);
        Self(u32::try_from(offset << Self::CHUNK_BITS).unwrap_or_default() | chunk)
    }

    #[inline]
    pub(crate) fn chunk(self) -> usize {
        (self.0 % (1 << Self::CHUNK_BITS)) as usize
    }

    #[inline]
    pub(crate) fn offset(self) -> usize {
        (self.0 >> Self::CHUNK_BITS) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::function::Role;
    use std::sync::Barrier;

    #[test]
    fn threads_that_call_first_at_once_agree_on_a_place() {
        for _ in 0..100 {
            let function = Function::new("f", "f.rs", 1, Role::invalidates(&[]));
            let site: &'static CallSite = Box::leak(Box::new(CallSite::new(function)));
            let start = Barrier::new(4);
            let places = std::thread::scope(|scope| {
                let place = || {
                    start.wait();
                    site.place()
                };
                let threads = [(); 4].map(|()| scope.spawn(place));
                threads.map(|thread| thread.join().unwrap())
            });
            let called = called();
            let mut its = called
                .iter()
                .filter(|(called, _)| std::ptr::eq(*called, site));
            let place = its.next().unwrap().1;
            assert_eq!(places, [place; 4]);
            assert!(its.next().is_none(), "registered once");
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
