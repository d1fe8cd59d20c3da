//! The map under the local tier: bounded, sharded, and swept of dead entries.
//!
//! A hit takes the lock of one shard for reading, and writes only a note that the entry was
//! used.
//!
//! No code of the user's runs under a lock. A key comes as text, or as the hash of a function's
//! arguments. The arguments themselves are compared with the found key after the lock is
//! released. Entries that leave the table are returned to the caller, which drops them.

mod slot;
#[cfg(test)]
mod tests;

use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, Weak};

use hashbrown::HashTable;

pub(super) use self::slot::MAX_USES;
use self::slot::{Slot, Text};
use super::Entry;
use super::sweeper::{self, NEVER, Place, Swept};
use crate::clock::{Moment, Now};
use crate::key::{Key, Name, NameHashes, Parts};
use crate::sync::{AtomicU64, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The most shards that a table has.
const MAX_SHARDS: usize = 64;
/// The fewest entries that each of several shards has room for. Keys do not spread evenly, so a
/// full shard evicts while others have room. The smaller the shards, the sooner this happens.
const MIN_ENTRIES: usize = 256;

/// The most entries that one eviction looks at. It bounds the time of the insertion that evicts.
const CANDIDATES: usize = 64;
/// How many entries each insertion looks at, to remove dead ones.
const SWEPT: usize = 4;
/// How many slots the sweeper looks at while it holds a lock.
const SWEPT_AT_A_TIME: usize = 128;

#[derive(Debug)]
pub(super) struct Table {
    /// The sweeper holds them weakly.
    shards: Arc<[Padded]>,
    hashes: NameHashes,
    /// The most entries of each shard.
    max_entries: usize,
    bytes: Bytes,
    /// Held for its `Drop`.
    _place: Place,
}

/// What all entries weigh together, where they are weighed.
#[derive(Debug)]
struct Bytes {
    /// The most that they may.
    max: Option<u64>,
    /// What the entries weigh that are in the table, and those that are just being inserted.
    total: Arc<AtomicU64>,
    /// The shard that gives up an entry next.
    next: AtomicUsize,
}

/// The table, for the sweeper.
struct Shards {
    shards: Weak<[Padded]>,
    /// The shard at which the next sweep begins, in case one does not get to all of them.
    first: AtomicUsize,
}

/// A shard alone in its cache lines, so that readers of one shard do not slow readers of the
/// next.
#[derive(Debug)]
#[repr(align(128))]
struct Padded(RwLock<Shard>);

#[derive(Debug)]
struct Shard {
    /// The place of each key in `slots`.
    index: HashTable<u32>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    /// Boxed to keep a shard within its cache lines. Only where entries are weighed.
    weights: Option<Box<Weights>>,
    /// The slot at which the next search for an entry to evict begins.
    hand: usize,
    /// The slot at which the last search for dead entries ended.
    broom: usize,
    /// No entry expires before this, except by a clock that a test moves.
    next_expiry: Moment,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            index: HashTable::default(),
            slots: Vec::new(),
            free: Vec::new(),
            weights: None,
            hand: 0,
            broom: 0,
            next_expiry: NEVER,
        }
    }
}

/// What the entries of a shard weigh.
#[derive(Debug)]
struct Weights {
    /// By slot. A free slot weighs nothing.
    of_slots: Vec<u32>,
    /// That of the table.
    total: Arc<AtomicU64>,
}

/// A key, and its hash in one table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hashed<'a> {
    pub(super) key: &'a Key,
    pub(super) hash: u64,
}

impl Table {
    pub(super) fn new(max_entries: usize, max_bytes: Option<u64>) -> Self {
        let shards = (max_entries / MIN_ENTRIES).clamp(1, MAX_SHARDS);
        let shards = 1 << shards.ilog2();
        let bytes = Bytes {
            max: max_bytes,
            total: Arc::new(AtomicU64::new(0)),
            next: AtomicUsize::new(0),
        };
        let shard = || Padded(RwLock::new(Shard::default()));
        // A slot's number has 32 bits.
        let max_entries = (max_entries / shards).min(u32::MAX as usize);
        let shards: Arc<[Padded]> = (0..shards).map(|_| shard()).collect();
        Self {
            max_entries,
            bytes,
            _place: sweeper::add(Arc::new(Shards {
                shards: Arc::downgrade(&shards),
                first: AtomicUsize::new(0),
            })),
            shards,
            hashes: NameHashes::default(),
        }
    }

    /// The entry of a name, if it is alive. If two keys have the same hash, it may miss the
    /// entries of both.
    #[expect(
        clippy::inline_always,
        reason = "where it is called, the name is known"
    )]
    #[inline(always)]
    pub(super) fn find(&self, name: &Name<impl Parts>, now: Now) -> Option<Entry> {
        let hash = name.hash(&self.hashes);
        let shard = read(self.shard(hash));
        let slot = shard.use_hash(hash, now)?;
        let entry = slot.entry.clone();
        let same = match &slot.key {
            &Text::Short { len, bytes } => {
                drop(shard);
                // With the zeros behind the text: eight bytes are then compared at once, without
                // a loop.
                name.is(&bytes, usize::from(len))
            }
            Text::Long(text) => {
                let text = text.clone();
                drop(shard);
                name.is(&text, text.len())
            }
        };
        same.then_some(entry)
    }

    /// The entry of `key`, if it is alive.
    pub(super) fn get(&self, key: Hashed<'_>, now: Now) -> Option<Entry> {
        let Hashed { key, hash } = key;
        let shard = read(self.shard(hash));
        let at = shard.find(hash, key.bytes())?;
        Some(shard.use_slot(at, now)?.entry.clone())
    }

    /// The entry of `key`, alive or not, and when it expires. It does not count as a use.
    pub(super) fn peek(&self, key: &Key) -> Option<(Entry, Moment)> {
        let hash = self.hash(key);
        let shard = read(self.shard(hash));
        let slot = shard.slot(shard.find(hash, key.bytes())?)?;
        Some((slot.entry.clone(), slot.expiry()))
    }

    /// The schema version of the entry of `key`, if it is alive.
    pub(super) fn schema(&self, key: Hashed<'_>, now: Now) -> Option<u32> {
        let Hashed { key, hash } = key;
        let shard = read(self.shard(hash));
        let slot = shard.slot(shard.find(hash, key.bytes())?)?;
        slot.is_alive(now).then(|| slot.entry.basis.schema())
    }

    /// The number of the value of `key`, if it is alive; it has one from now on.
    pub(super) fn stamp(&self, key: &Key, now: Now) -> Option<u64> {
        let hash = self.hash(key);
        let mut shard = write(self.shard(hash));
        let at = shard.find(hash, key.bytes())?;
        let slot = shard.slots.get_mut(at as usize)?.as_mut()?;
        if !slot.is_alive(now) {
            return None;
        }
        let basis = &mut slot.entry.basis;
        if basis.stamp().is_none() {
            // No code of the user's runs when the old one is dropped.
            *basis = basis.stamped();
        }
        basis.stamp()
    }

    /// When the entry of `key` expires, if it is alive.
    pub(super) fn expiry(&self, key: &Key, now: Now) -> Option<Moment> {
        let hash = self.hash(key);
        let shard = read(self.shard(hash));
        let slot = shard.slot(shard.find(hash, key.bytes())?)?;
        slot.is_alive(now).then(|| slot.expiry())
    }

    /// Inserts an entry, and returns the entries that had to make room. What it weighs, zero if it was not
    /// weighed, must be [within](Self::holds) the bound.
    pub(super) fn insert(
        &self,
        key: Hashed<'_>,
        entry: Entry,
        weight: u64,
        expiry: Moment,
        now: Now,
    ) -> Vec<Entry> {
        let Hashed { key, hash } = key;
        let slot = Slot::new(hash, key.bytes(), entry, expiry);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let mut gone = Vec::new();
        let has_room = weight == 0 || self.make_room(weight, now, &mut gone);
        let mut shard = write(self.shard(hash));
        if !has_room {
            self.bytes.total.fetch_sub(weight.into(), Relaxed);
            let older = shard.find(hash, key.bytes());
            let older = older.and_then(|at| shard.remove(hash, at));
            drop(shard);
            gone.extend(older.into_iter().chain([slot]).map(|slot| slot.entry));
            return gone;
        }
        if weight > 0 {
            shard.begin_to_weigh(&self.bytes.total);
        }
        shard.sweep(now, &mut gone);
        shard.insert(slot, weight, self.max_entries, now, &mut gone);
        drop(shard);
        sweeper::note_expiry(expiry, now);
        gone
    }

    /// Whether the table has room for an entry of this weight, were it empty.
    pub(super) fn holds(&self, weight: u64) -> bool {
        self.bytes.max.is_none_or(|max| weight <= max)
    }

    /// What all entries weigh, where that is bounded.
    pub(super) fn weight(&self) -> Option<u64> {
        self.bytes.max?;
        Some(self.bytes.total.load(Relaxed))
    }

    /// Takes the room that an entry of this weight needs. While the entries weigh too much, one shard after
    /// the other gives up an entry.
    ///
    /// The room is taken before it is made: so two insertions at once make room for both. Where that is more than
    /// there is room for, this is false once all shards are empty: the entry is not inserted. So the bound holds at
    /// each moment.
    fn make_room(&self, weight: u32, now: Now, gone: &mut Vec<Entry>) -> bool {
        let bytes = &self.bytes;
        bytes.total.fetch_add(weight.into(), Relaxed);
        let max = bytes.max.unwrap_or(u64::MAX);
        let mut empty = 0;
        while bytes.total.load(Relaxed) > max && empty < self.shards.len() {
            let at = bytes.next.fetch_add(1, Relaxed) & (self.shards.len() - 1);
            let before = gone.len();
            write(&self.shards[at]).evict(now, gone);
            empty = if gone.len() > before { 0 } else { empty + 1 };
        }
        bytes.total.load(Relaxed) <= max
    }

    /// Removes the entry of `key`, and returns it and whether it was alive.
    pub(super) fn remove(&self, key: &Key, now: Now) -> Option<(Entry, bool)> {
        let hash = self.hash(key);
        let mut shard = write(self.shard(hash));
        let at = shard.find(hash, key.bytes())?;
        let slot = shard.remove(hash, at)?;
        let alive = slot.is_alive(now);
        Some((slot.entry, alive))
    }

    /// Removes the entries of some keys.
    pub(super) fn remove_where(&self, is_meant: impl Fn(&[u8]) -> bool) {
        for shard in &*self.shards {
            shard.remove_where(|slot, _| is_meant(slot.key.bytes()));
        }
    }

    /// Removes the entries of some keys in one shard; `None` if there is no such shard. Returns how many
    /// entries were there, and how many of those that were alive are removed.
    pub(super) fn remove_in(
        &self,
        shard: usize,
        now: Now,
        is_meant: impl Fn(&[u8]) -> bool,
    ) -> Option<(u64, u64)> {
        let mut removed = 0;
        let looked_at = self.shards.get(shard)?.remove_where(|slot, _| {
            let is_meant = is_meant(slot.key.bytes());
            removed += u64::from(is_meant && slot.is_alive(now));
            is_meant
        });
        Some((looked_at, removed))
    }

    pub(super) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// How many entries of some keys are alive in one shard.
    pub(super) fn count_in(
        &self,
        shard: usize,
        now: Now,
        is_meant: impl Fn(&[u8]) -> bool,
    ) -> usize {
        let shard = read(&self.shards[shard]);
        let is_counted = |slot: &&Slot| slot.is_alive(now) && is_meant(slot.key.bytes());
        shard.slots.iter().flatten().filter(is_counted).count()
    }

    /// Shows `visit` the key and the weight of each entry in one shard. It forgets a use of those for which that
    /// returns true.
    pub(super) fn visit_in(&self, shard: usize, mut visit: impl FnMut(&[u8], u64) -> bool) {
        let mut end = usize::MAX;
        while end > 0 {
            let shard = read(&self.shards[shard]);
            end = end.min(shard.slots.len());
            let first = end.saturating_sub(SWEPT_AT_A_TIME);
            for at in first..end {
                if let Some(slot) = &shard.slots[at]
                    && visit(slot.key.bytes(), shard.weight(at))
                {
                    slot.forget_use();
                }
            }
            end = first;
        }
    }

    /// Removes those entries in one shard that were used at most so often, and for which `goes` returns true.
    pub(super) fn give_up_in(
        &self,
        shard: usize,
        uses: u64,
        mut goes: impl FnMut(&[u8], u64) -> bool,
    ) {
        self.shards[shard]
            .remove_where(|slot, weight| slot.uses() <= uses && goes(slot.key.bytes(), weight));
    }

    /// Removes all entries, shard by shard.
    pub(super) fn drain(&self) -> Vec<Entry> {
        let mut gone = Vec::new();
        for shard in &*self.shards {
            let slots = shard.take_all();
            gone.extend(slots.into_iter().flatten().map(|slot| slot.entry));
        }
        gone
    }

    pub(super) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| read(shard).index.len())
            .sum()
    }

    /// A key with its hash. A miss uses the hash twice, to look and to insert, and computing it
    /// takes a measurable part of a miss.
    pub(super) fn hashed<'a>(&self, key: &'a Key) -> Hashed<'a> {
        Hashed {
            key,
            hash: self.hash(key),
        }
    }

    fn hash(&self, key: &Key) -> u64 {
        self.hashes.of(key.as_str())
    }

    #[inline]
    fn shard(&self, hash: u64) -> &Padded {
        // The shard's index uses other bits of the hash.
        &self.shards[(hash >> 48) as usize & (self.shards.len() - 1)]
    }
}

/// At once, though the sweeper may look at the table at this moment.
impl Drop for Table {
    fn drop(&mut self) {
        for shard in &*self.shards {
            drop(shard.take_all());
        }
    }
}

impl Swept for Shards {
    fn next_expiry(&self) -> Moment {
        let Some(shards) = self.shards.upgrade() else {
            return NEVER;
        };
        let next = shards.iter().map(|shard| read(shard).next_expiry);
        next.min().unwrap_or(NEVER)
    }

    fn sweep(&self, now: Now, slots: usize, discard: fn(Vec<Entry>)) -> usize {
        let Some(shards) = self.shards.upgrade() else {
            return 0;
        };
        let mut seen = 0;
        let first = self.first.load(Relaxed);
        for at in (first..shards.len()).chain(0..first) {
            let next_expiry = read(&shards[at]).next_expiry;
            if !now.is_before(next_expiry) {
                if seen >= slots {
                    self.first.store(at, Relaxed);
                    break;
                }
                seen += shards[at].sweep(now, discard);
            }
        }
        seen
    }
}

impl Padded {
    /// Takes out all slots.
    fn take_all(&self) -> Vec<Option<Slot>> {
        let mut shard = write(self);
        let empty = shard.emptied();
        mem::replace(&mut *shard, empty).slots
    }

    /// Removes some slots, and returns how many it has looked at. Looks at a few at a time, from the last
    /// to the first: between two looks, entries that are there may move towards the first, and never
    /// past the place of the next look.
    fn remove_where(&self, mut is_meant: impl FnMut(&Slot, u64) -> bool) -> u64 {
        let mut looked_at = 0;
        let mut end = usize::MAX;
        while end > 0 {
            let mut gone = Vec::new();
            let mut shard = write(self);
            end = end.min(shard.slots.len());
            let first = end.saturating_sub(SWEPT_AT_A_TIME);
            for at in first..end {
                let Some(slot) = &shard.slots[at] else {
                    continue;
                };
                looked_at += 1;
                if is_meant(slot, shard.weight(at)) {
                    shard.remove_at(at, &mut gone);
                }
            }
            drop(shard);
            // After the lock: `Drop` may be the user's.
            drop(gone);
            end = first;
        }
        looked_at
    }

    /// Removes all dead entries, and finds out when the next one expires. Returns how many slots
    /// there were.
    fn sweep(&self, now: Now, discard: fn(Vec<Entry>)) -> usize {
        // What is inserted from here on lowers it, whether or not the sweep gets to see it.
        write(self).next_expiry = NEVER;
        let (mut at, mut next) = (0, NEVER);
        loop {
            let mut gone = Vec::new();
            let mut shard = write(self);
            let end = shard.slots.len().min(at + SWEPT_AT_A_TIME);
            while at < end {
                match &shard.slots[at] {
                    Some(slot) if slot.is_alive(now) => next = next.min(slot.expiry()),
                    _ => shard.remove_at(at, &mut gone),
                }
                at += 1;
            }
            let is_last = at >= shard.slots.len();
            if is_last {
                shard.next_expiry = shard.next_expiry.min(next);
                shard.shrink();
            }
            drop(shard);
            discard(gone);
            if is_last {
                return at;
            }
        }
    }
}

impl Shard {
    /// From now on, its entries are weighed: those that are there weigh nothing.
    fn begin_to_weigh(&mut self, total: &Arc<AtomicU64>) {
        self.weights
            .get_or_insert_with(|| Box::new(Weights::new(total.clone())));
    }

    /// The shard without its entries, which weigh nothing any more.
    fn emptied(&mut self) -> Self {
        let weights = self.weights.take();
        Self {
            weights: weights.map(|weights| Box::new(Weights::new(weights.total.clone()))),
            ..Self::default()
        }
    }

    fn slot(&self, at: u32) -> Option<&Slot> {
        self.slots.get(at as usize)?.as_ref()
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let is_key = |&at: &u32| self.slot(at).is_some_and(|slot| slot.key.bytes() == key);
        self.index.find(hash, is_key).copied()
    }

    /// The slot with this hash, if it is alive. Counts as a use.
    fn use_hash(&self, hash: u64, now: Now) -> Option<&Slot> {
        let has_hash = |&at: &u32| self.slot(at).is_some_and(|slot| slot.hash == hash);
        self.use_slot(*self.index.find(hash, has_hash)?, now)
    }

    /// The slot at this place, if it is alive. Counts as a use.
    #[inline]
    fn use_slot(&self, at: u32, now: Now) -> Option<&Slot> {
        let slot = self.slot(at).filter(|slot| slot.is_alive(now))?;
        slot.note_use();
        Some(slot)
    }

    /// The weight counts in the total already.
    fn insert(
        &mut self,
        slot: Slot,
        weight: u32,
        max_entries: usize,
        now: Now,
        gone: &mut Vec<Entry>,
    ) {
        let hash = slot.hash;
        if now.real().is_some() {
            self.next_expiry = self.next_expiry.min(slot.expiry());
        }
        if let Some(at) = self.find(hash, slot.key.bytes()) {
            let replaced = self.slots[at as usize].replace(slot);
            gone.extend(replaced.map(|slot| slot.entry));
            self.weigh_slot(at, weight);
            return;
        }
        if self.index.len() >= max_entries {
            self.evict(now, gone);
        }
        if max_entries == 0 {
            if let Some(weights) = &self.weights {
                weights.total.fetch_sub(weight.into(), Relaxed);
            }
            gone.push(slot.entry);
            return;
        }
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.slots[at as usize] = Some(slot);
        self.weigh_slot(at, weight);
        self.add_to_index(hash, at);
    }

    fn weigh_slot(&mut self, at: u32, weight: u32) {
        if let Some(weights) = &mut self.weights {
            weights.set(at as usize, weight);
        }
    }

    /// What the entry in a slot weighs; zero if it was not weighed.
    fn weight(&self, at: usize) -> u64 {
        let weights = self.weights.as_ref();
        let weight = weights.and_then(|weights| weights.of_slots.get(at));
        weight.copied().unwrap_or(0).into()
    }

    fn add_to_index(&mut self, hash: u64, at: u32) {
        let Self { index, slots, .. } = self;
        index.insert_unique(hash, at, |&at| {
            let slot = slots[at as usize].as_ref();
            slot.map_or(0, |slot| slot.hash)
        });
    }

    fn remove(&mut self, hash: u64, at: u32) -> Option<Slot> {
        if let Ok(found) = self.index.find_entry(hash, |&found| found == at) {
            found.remove();
        }
        self.free.push(at);
        self.weigh_slot(at, 0);
        self.slots[at as usize].take()
    }

    /// Makes room: removes the first entry, from the hand on, that is dead or was not used since
    /// the hand last came by. Without one among [`CANDIDATES`], the least used of them goes.
    ///
    /// This is the `CLOCK` algorithm, with a few lives for an entry that is used often. So a scan
    /// through new keys evicts other new keys, and not the entries in use.
    fn evict(&mut self, now: Now, gone: &mut Vec<Entry>) {
        let mut least = None;
        let mut seen = 0;
        // One round over all slots is enough: one of them has an entry to evict.
        for _ in 0..self.slots.len() {
            let at = self.hand;
            self.hand = (at + 1) % self.slots.len();
            let Some(slot) = &self.slots[at] else {
                continue;
            };
            let uses = if slot.is_alive(now) { slot.uses() } else { 0 };
            if least.is_none_or(|(fewest, _)| uses < fewest) {
                least = Some((uses, at));
            }
            seen += 1;
            if uses == 0 || seen == CANDIDATES {
                break;
            }
            slot.forget_use();
        }
        if let Some((_, at)) = least {
            self.remove_at(at, gone);
        }
    }

    /// Looks at the next few entries, and removes the dead ones.
    fn sweep(&mut self, now: Now, gone: &mut Vec<Entry>) {
        for _ in 0..SWEPT.min(self.slots.len()) {
            self.broom = (self.broom + 1) % self.slots.len();
            if let Some(slot) = &self.slots[self.broom]
                && !slot.is_alive(now)
            {
                self.remove_at(self.broom, gone);
            }
        }
    }

    /// Gives memory back if most slots are empty.
    fn shrink(&mut self) {
        if self.index.len() >= self.slots.len() / 4 {
            return;
        }
        if let Some(weights) = &mut self.weights {
            weights.retain(&self.slots);
        }
        self.slots.retain(Option::is_some);
        self.slots.shrink_to_fit();
        self.index = HashTable::with_capacity(self.slots.len());
        self.free = Vec::new();
        (self.hand, self.broom) = (0, 0);
        for at in 0..self.slots.len() {
            if let (Some(slot), Ok(number)) = (&self.slots[at], u32::try_from(at)) {
                self.add_to_index(slot.hash, number);
            }
        }
    }

    fn remove_at(&mut self, at: usize, gone: &mut Vec<Entry>) {
        let Some(slot) = &self.slots[at] else {
            return;
        };
        let hash = slot.hash;
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        gone.extend(self.remove(hash, at).map(|slot| slot.entry));
    }
}

impl Weights {
    fn new(total: Arc<AtomicU64>) -> Self {
        Self {
            of_slots: Vec::new(),
            total,
        }
    }

    /// Sets what a slot weighs: its new entry, which counts in the total already, or nothing.
    fn set(&mut self, at: usize, weight: u32) {
        if at >= self.of_slots.len() {
            self.of_slots.resize(at + 1, 0);
        }
        let replaced = mem::replace(&mut self.of_slots[at], weight);
        self.total.fetch_sub(replaced.into(), Relaxed);
    }

    /// Leaves out the slots that are empty, as the shard does.
    fn retain(&mut self, slots: &[Option<Slot>]) {
        let mut slots = slots.iter();
        self.of_slots
            .retain(|_| slots.next().is_some_and(Option::is_some));
        self.of_slots.shrink_to_fit();
    }
}

/// What its entries weigh does not count any more.
impl Drop for Weights {
    fn drop(&mut self) {
        let weights = self.of_slots.iter().copied().map(u64::from);
        self.total.fetch_sub(weights.sum(), Relaxed);
    }
}

// A poisoned lock is used all the same: nothing that can panic, and no code of the user's, runs
// under these locks.

#[inline]
fn read(shard: &Padded) -> RwLockReadGuard<'_, Shard> {
    shard.0.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shard: &Padded) -> RwLockWriteGuard<'_, Shard> {
    shard.0.write().unwrap_or_else(PoisonError::into_inner)
}
