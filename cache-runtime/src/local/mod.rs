//! The in-process tier: typed values, no serialization, and the same protocol
//! as the shared tier, with a lock in place of the server.
//!
//! A flight that is current in [`Flights`] is what a lease is there. An
//! invalidation removes the flight and the entry under the flight's lock, so a
//! load that was under way can neither be boarded nor store what it read. A
//! tag's version is a counter that its entries hold, so invalidating a tag takes
//! the same time however many entries carry it.

mod fence;
mod table;

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;

use self::fence::Fences;
use self::table::Table;
use crate::clock::{self, Now};
use crate::flight::{Flights, Leader, Seat};
use crate::key::{Key, Name, Names, Parts};
use crate::sabotage::{self, Rule};
use crate::sync::{AtomicU64, Mutex, MutexGuard};
use crate::value::SharedValue;

#[derive(Debug)]
pub(crate) struct Local {
    entries: Table,
    tags: Tags,
    fences: Fences,
    flights: Flights<Observed>,
}

/// An entry: an outcome of a type that only its reader knows, and when it was one.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) value: SharedValue,
    pub(crate) observed: Observed,
}

/// What was so before the load began, and must be so still. Nothing at all of most entries.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Observed(Option<Arc<Observations>>);

#[derive(Debug, PartialEq)]
struct Observations {
    /// Which meaning the value has.
    version: u32,
    /// Each with the version it had.
    tags: Box<[Observation]>,
}

#[derive(Debug)]
struct Observation {
    tag: Key,
    current: Arc<AtomicU64>,
    version: u64,
}

/// What a look at the local tier, with a miss, leads to.
#[derive(Debug)]
pub(crate) enum Look<'a> {
    Hit(Entry),
    Board(Seat<'a, Observed>),
    /// Writers are at work: load, store nothing, and share only what has not begun.
    Fenced,
}

impl Local {
    pub(crate) fn new(max_entries: usize) -> Self {
        Self {
            entries: Table::new(max_entries),
            tags: Tags::default(),
            fences: Fences::default(),
            flights: Flights::default(),
        }
    }

    /// The entry of a name that is not rendered, if it may be served at all. At worst,
    /// there is one and it is not found: then [`look`](Self::look) finds it.
    #[expect(
        clippy::inline_always,
        reason = "where it is called, the name is known"
    )]
    #[inline(always)]
    pub(crate) fn find(&self, name: &Name<impl Parts>) -> Option<Entry> {
        self.entries.find(name, Now::read())
    }

    /// The entry of `key`, if it may be served at all.
    pub(crate) fn peek(&self, key: &Key) -> Option<Entry> {
        self.entries.get(key, Now::read())
    }

    /// How long the entry of `key` will still be served, at most.
    pub(crate) fn remaining(&self, key: &Key) -> Option<Duration> {
        let expiry = self.entries.expiry(key, Now::read());
        expiry.map(clock::until)
    }

    /// Looks again, under the lock under which flights store: a hit, or a flight to board or lead.
    pub(crate) fn look(&self, key: &Key, tags: &[Key], version: u32) -> Look<'_> {
        let observed = self.tags.observe(tags, version);
        // Declared before the lock, and so dropped after it: `Drop` may be the user's.
        let found;
        let mut shard = self.flights.lock(key);
        found = self.peek(key);
        if let Some(entry) = &found
            && entry.observed.version() == version
            && entry.observed.tags().eq(tags)
        {
            return Look::Hit(entry.clone());
        }
        // Under the lock, and after the tags were observed: a fence that comes later forgets
        // the flight that begins here, and moves on the tags that it carries.
        if self.fences.stand(tags.iter().chain([key])) {
            return Look::Fenced;
        }
        let seat = shard
            .join(key, Some(&observed))
            .unwrap_or_else(|| Seat::Lead(shard.start(key, Some(observed))));
        Look::Board(seat)
    }

    /// Ends a flight and stores what it yields, unless it was invalidated meanwhile.
    pub(crate) fn fill(
        &self,
        key: &Key,
        leader: Leader<'_, Observed>,
        value: SharedValue,
        ttl: Duration,
    ) {
        let Some(observed) = leader.evidence() else {
            return leader.finish();
        };
        let observed = if sabotage::keeps(Rule::VersionsBeforeLoad) {
            (*observed).clone()
        } else {
            let tags: Vec<Key> = observed.tags().cloned().collect();
            self.tags.observe(&tags, observed.version())
        };
        let entry = Entry {
            value: value.clone(),
            observed,
        };
        leader.land(value);
        // What the entry replaces is dropped after the lock: `Drop` may be the user's.
        drop(leader.finish_storing(|| self.insert(key, entry, ttl)));
    }

    /// Boards, or starts, a flight that does not store, and that anybody may board until it begins.
    pub(crate) fn gather(&self, key: &Key) -> Seat<'_, Observed> {
        self.flights.board(key, None)
    }

    /// Puts a writer behind a fence around these names; nothing of them is stored until it is gone.
    pub(crate) fn fence(&self, names: &[Key], writer: u64) {
        self.fences.join(names, writer);
        self.invalidate(names);
    }

    /// Takes the writer away again.
    pub(crate) fn unfence(&self, names: &[Key], writer: u64) {
        self.fences.leave(names, writer);
    }

    /// Lets its fence stand for this long.
    pub(crate) fn abandon_fence(&self, names: &[Key], writer: u64, left: Duration) {
        self.fences.abandon(names, writer, left);
    }

    /// Stores a value that was not loaded by a flight; a flight under way does not store over
    /// it. Behind a fence nothing is stored, and what was there goes.
    pub(crate) fn set(&self, key: &Key, tags: &[Key], value: SharedValue, ttl: Duration) {
        let observed = self.tags.observe(tags, 0);
        let mut shard = self.flights.lock(key);
        shard.forget(key);
        if self.fences.stand(tags.iter().chain([key])) {
            let gone = self.entries.remove(key, Now::read());
            drop(shard);
            drop(gone);
            return;
        }
        let gone = self.insert(key, Entry { value, observed }, ttl);
        drop(shard);
        drop(gone);
    }

    /// Removes the entry of `key`; a load that is under way neither stores nor is boarded any more.
    pub(crate) fn delete(&self, key: &Key) -> bool {
        let mut shard = self.flights.lock(key);
        shard.forget(key);
        let removed = self.entries.remove(key, Now::read());
        drop(shard);
        removed.is_some_and(|(_, alive)| alive)
    }

    /// Invalidates names: each one's entry, and every entry that carries it as a tag.
    pub(crate) fn invalidate(&self, names: &[Key]) {
        for name in names {
            self.delete(name);
            self.tags.invalidate(name);
        }
    }

    pub(crate) fn clear(&self) {
        drop(self.flights.forget_all(|| self.entries.drain()));
    }

    /// Puts an entry into the table, and hands out what has to go for it.
    fn insert(&self, key: &Key, entry: Entry, ttl: Duration) -> Vec<Entry> {
        let (expiry, now) = (clock::expiry(ttl), Now::read());
        self.entries.insert(key, entry, expiry, now)
    }

    /// How many entries there are, dead ones that were not reclaimed yet among them.
    pub(crate) fn len(&self) -> u64 {
        self.entries.len() as u64
    }
}

impl Observed {
    fn is_current(&self) -> bool {
        let is_current = |observation: &Observation| {
            observation.current.load(Ordering::Acquire) == observation.version
        };
        self.observations().iter().all(is_current)
    }

    /// Whether an entry may be served to a caller with these tags and this version.
    #[inline]
    pub(crate) fn suits(&self, tags: &impl Names, version: u32) -> bool {
        if self.0.is_none() {
            return version == 0 && tags.are(std::iter::empty());
        }
        self.version() == version && tags.are(self.tags())
    }

    fn version(&self) -> u32 {
        self.0.as_ref().map_or(0, |observed| observed.version)
    }

    pub(crate) fn tags(&self) -> impl Iterator<Item = &Key> {
        self.observations()
            .iter()
            .map(|observation| &observation.tag)
    }

    fn observations(&self) -> &[Observation] {
        self.0.as_ref().map_or(&[], |observed| &observed.tags)
    }
}

/// The same counters at the same versions.
impl PartialEq for Observation {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.current, &other.current) && self.version == other.version
    }
}

/// The version counters of the tags that some entry or load carries.
#[derive(Debug, Default)]
struct Tags(Mutex<TagMap>);

#[derive(Debug, Default)]
struct TagMap {
    counters: HashMap<Key, Arc<AtomicU64>>,
    /// How many counters there may be before those without entries are swept out.
    sweep_at: usize,
}

impl Tags {
    fn observe(&self, tags: &[Key], version: u32) -> Observed {
        if tags.is_empty() && version == 0 {
            return Observed(None);
        }
        let mut map = self.lock();
        map.sweep();
        let observe = |tag: &Key| {
            let current = map.counters.entry(tag.clone()).or_default().clone();
            let version = current.load(Ordering::Acquire);
            Observation {
                tag: tag.clone(),
                current,
                version,
            }
        };
        let tags = tags.iter().map(observe).collect();
        Observed(Some(Arc::new(Observations { version, tags })))
    }

    fn invalidate(&self, tag: &Key) {
        // A tag without a counter is on no entry and no load.
        if let Some(counter) = self.lock().counters.get(tag) {
            counter.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn lock(&self) -> MutexGuard<'_, TagMap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TagMap {
    /// Forgets the counters that only this map holds, each time it has doubled.
    fn sweep(&mut self) {
        if self.counters.len() < self.sweep_at {
            return;
        }
        self.counters
            .retain(|_, counter| Arc::strong_count(counter) > 1);
        self.sweep_at = (self.counters.len() * 2).max(1024);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flight::Landing;
    use std::any::Any;

    const LONG: Duration = Duration::from_secs(60);

    fn lead<'a>(local: &'a Local, key: &Key, tags: &[Key]) -> Leader<'a, Observed> {
        match local.look(key, tags, 0) {
            Look::Board(Seat::Lead(leader)) => leader,
            other => panic!("expected to lead: {other:?}"),
        }
    }

    #[test]
    fn a_load_that_an_invalidation_overtook_is_not_stored() {
        let local = Local::new(10);
        let key = Key::from("user:1");
        let leader = lead(&local, &key, &[]);
        local.invalidate(std::slice::from_ref(&key));
        local.fill(&key, leader, Arc::new(1), LONG);
        assert!(local.peek(&key).is_none());
    }

    #[test]
    fn a_load_whose_tag_was_invalidated_is_never_served_nor_boarded() {
        let local = Local::new(10);
        let (key, tags) = (Key::from("user:1"), [Key::from("users")]);
        let first = lead(&local, &key, &tags);
        local.invalidate(&tags);
        // A caller who comes now does not share the first load.
        let second = lead(&local, &key, &tags);
        local.fill(&key, second, Arc::new(2), LONG);
        local.fill(&key, first, Arc::new(1), LONG);
        let entry = local.peek(&key).expect("the second load is stored");
        let value: &dyn Any = &*entry.value;
        assert_eq!(value.downcast_ref::<i32>(), Some(&2));
    }

    #[test]
    fn counters_without_entries_are_swept() {
        let local = Local::new(10);
        for i in 0..10_000 {
            let tags = [Key::from(format!("tag:{i}"))];
            let leader = lead(&local, &Key::from("one"), &tags);
            leader.finish();
        }
        assert!(local.tags.lock().counters.len() <= 1024);
    }

    #[tokio::test]
    async fn a_dropped_leader_hands_over_to_a_waiter() {
        let local = Local::new(10);
        let key = Key::from("user:1");
        let leader = lead(&local, &key, &[]);
        let Look::Board(Seat::Wait(waiter)) = local.look(&key, &[], 0) else {
            panic!("expected to wait");
        };
        drop(leader);
        let landing = waiter.wait(Duration::from_secs(5)).await;
        let Landing::Lead(leader) = landing else {
            panic!("expected to lead: {landing:?}");
        };
        local.fill(&key, leader, Arc::new(1), LONG);
        assert!(local.peek(&key).is_some());
    }

    #[tokio::test]
    async fn a_dropped_leader_without_waiters_leaves_nothing_behind() {
        let local = Local::new(10);
        let key = Key::from("user:1");
        drop(lead(&local, &key, &[]));
        drop(lead(&local, &key, &[]));
    }
}
