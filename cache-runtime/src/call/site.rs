//! Call sites: what is known of a `#[cached]` function at compile time.

use std::any::{self, TypeId};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::receiver::{FirstReceiver, Receiver};
use crate::clock;
use crate::freshness::Freshness;
use crate::registry::function::Function;

/// What is known of a `#[cached]` function at compile time.
#[derive(Debug)]
pub struct CallSite {
    pub(crate) function: Function,
    pub(crate) ttl: Option<Duration>,
    pub(crate) none_ttl: Option<Duration>,
    /// How long a process keeps copies of its entries on a server; zero for not at all.
    pub(crate) local_ttl: Option<Duration>,
    /// Whether its values never leave the process.
    pub(crate) is_local: bool,
    /// What it says of old values.
    pub(crate) fresh: Option<Freshness>,
    /// Entries of another schema version are not served.
    pub(crate) schema: u32,
    /// For how long callers wait for a load that is not woken.
    pub(crate) hedge: Option<Duration>,
    /// Whether its key names a type. Then values of several types have several keys.
    names_type: bool,
    /// The type of the first value, and its name. A function of a generic `impl` has one call site
    /// for all types.
    first_type: OnceLock<(TypeId, &'static str)>,
    first_receiver: FirstReceiver,
    /// How long its loads usually take, in milliseconds.
    usual_load: AtomicU32,
    /// The function's [`Place`]; 0 until the first call.
    place: AtomicU32,
}

impl CallSite {
    /// The call site of a function that caches values for the cache's default ttl, and no `None`.
    pub const fn new(function: Function) -> Self {
        Self {
            function,
            ttl: None,
            none_ttl: None,
            local_ttl: None,
            is_local: false,
            fresh: None,
            schema: 0,
            hedge: None,
            names_type: false,
            first_type: OnceLock::new(),
            first_receiver: FirstReceiver::new(),
            usual_load: AtomicU32::new(0),
            place: AtomicU32::new(0),
        }
    }

    /// Sets how long its values are cached.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets how long a process keeps copies of its entries on a server.
    #[must_use]
    pub const fn local_ttl(mut self, local_ttl: Duration) -> Self {
        self.local_ttl = Some(local_ttl);
        self
    }

    /// Says that its values never leave the process.
    #[must_use]
    pub const fn local(mut self) -> Self {
        self.is_local = true;
        self
    }

    /// Sets how long its `None`s are cached.
    #[must_use]
    pub const fn none_ttl(mut self, none_ttl: Duration) -> Self {
        self.none_ttl = Some(none_ttl);
        self
    }

    /// Sets what it says of old values.
    #[must_use]
    pub const fn fresh(mut self, fresh: Freshness) -> Self {
        self.fresh = Some(fresh);
        self
    }

    /// Sets for how long callers wait for a load that is not woken.
    #[must_use]
    pub const fn hedge(mut self, hedge: Duration) -> Self {
        self.hedge = Some(hedge);
        self
    }

    /// Sets the schema version of its values.
    #[must_use]
    pub const fn schema(mut self, schema: u32) -> Self {
        self.schema = schema;
        self
    }

    /// Says that its key names a type, by `<T>` or `<Self>`.
    #[must_use]
    pub const fn names_type(mut self) -> Self {
        self.names_type = true;
        self
    }

    /// The name of the type that the first value had, if that is not this type and the key names
    /// none.
    #[inline]
    pub(crate) fn other_type<V: 'static>(&self) -> Option<&'static str> {
        if self.names_type {
            return None;
        }
        let first = || (TypeId::of::<V>(), any::type_name::<V>());
        let (first, name) = self.first_type.get_or_init(first);
        (*first != TypeId::of::<V>()).then_some(name)
    }

    /// The name of the type that the first call's receiver had, if this one is of another.
    #[inline]
    pub(crate) fn other_receiver(&self, receiver: Receiver) -> Option<&'static str> {
        self.first_receiver.other_than(receiver)
    }

    /// How long its loads usually take: an average in which later loads count more.
    pub(crate) fn usual_load(&self) -> Duration {
        Duration::from_millis(self.usual_load.load(Relaxed).into())
    }

    /// Notes how long a load took.
    #[inline]
    pub(crate) fn note_load(&self, took: Duration) {
        let took = clock::millis(took);
        let usual = self.usual_load.load(Relaxed);
        if took == 0 && usual == 0 {
            return;
        }
        let took = u32::try_from(took).unwrap_or(u32::MAX);
        // Of two threads that note a load at once, one may be left out.
        let usual = if usual == 0 {
            took
        } else {
            usual - usual / 8 + took / 8
        };
        self.usual_load.store(usual, Relaxed);
    }

    /// The place of its counters. The first call takes one.
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
        // Of two threads that call first at once, the second finds the place of the first here.
        if self.place.load(Relaxed) == 0 {
            sites.push(self);
            self.place.store(Place::of(sites.len()).0, Relaxed);
        }
        Place(self.place.load(Relaxed))
    }
}

/// The place of the API by hand. It has index 0.
pub(crate) const BY_HAND: Place = Place(0);

/// Every call site that has been called. The first has index 1.
static SITES: Mutex<Vec<&'static CallSite>> = Mutex::new(Vec::new());

/// Every call site that has been called, with its place.
pub(crate) fn called() -> Vec<(&'static CallSite, Place)> {
    let sites = SITES.lock().unwrap_or_else(PoisonError::into_inner);
    let places = (1..).map(Place::of);
    sites.iter().copied().zip(places).collect()
}

/// How many counters the first chunk has. Each later chunk has twice as many as the one before.
pub(crate) const FIRST_CHUNK: usize = 16;

/// The most chunks that there are.
pub(crate) const CHUNKS: usize = 23;

/// How many counters all chunks have together.
const MAX_PLACES: usize = FIRST_CHUNK * ((1 << CHUNKS) - 1);

/// The chunk in which the counters of a call site are, and their offset in it, in one number. It is
/// worked out once for each call site.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Place(u32);

impl Place {
    /// How many of the lowest bits hold the chunk.
    const CHUNK_BITS: u32 = 5;

    /// Over a hundred million call sites have a place of their own. All others share the last.
    fn of(index: usize) -> Self {
        let from_first = index.min(MAX_PLACES - 1) + FIRST_CHUNK;
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
            let mut of_site = called
                .iter()
                .filter(|(called, _)| std::ptr::eq(*called, site));
            let place = of_site.next().unwrap().1;
            assert_eq!(places, [place; 4]);
            assert!(of_site.next().is_none(), "registered once");
        }
    }

    #[test]
    fn the_usual_load_follows_the_loads() {
        let site = CallSite::new(Function::new("f", "f.rs", 1, Role::invalidates(&[])));
        assert_eq!(site.usual_load(), Duration::ZERO);
        site.note_load(Duration::from_secs(8));
        assert_eq!(site.usual_load(), Duration::from_secs(8));
        site.note_load(Duration::from_secs(16));
        assert_eq!(site.usual_load(), Duration::from_secs(9));
        for _ in 0..100 {
            site.note_load(Duration::MAX);
            site.note_load(Duration::ZERO);
        }
        assert!(site.usual_load() > Duration::from_secs(16));
    }

    #[test]
    fn each_index_has_a_place_of_its_own() {
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
