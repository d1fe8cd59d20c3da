//! The map under the local tier: bounded, in shards, and swept of what is dead.
//!
//! A hit takes one shard's lock for reading and writes nothing but a note that
//! the entry was used. Nobody else's code runs under a lock: keys come rendered,
//! and what leaves the table is handed to the caller, who drops it.

use std::hash::{BuildHasher, Hasher};
use std::mem;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::Entry;
use crate::clock::{Moment, Now};
use crate::sync::{AtomicU64, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// At most so many shards, and none smaller than [`MIN_ENTRIES`]: keys do not spread
/// evenly, and a shard that is full evicts while others have room.
const MAX_SHARDS: usize = 64;
const MIN_ENTRIES: usize = 256;

/// How often an entry is passed over for eviction after it was used as often.
const MAX_USES: u64 = 3;
/// How many entries are looked at for the one to evict: a bound, for the writer that does it.
const CANDIDATES: usize = 64;
/// How many entries each insertion looks at, to reclaim those that are dead.
const SWEPT: usize = 4;

#[derive(Debug)]
pub(super) struct Table {
    shards: Box<[Padded]>,
    hasher: DefaultHashBuilder,
}

/// Alone in its cache line, so that readers of one shard do not slow those of the next.
#[derive(Debug)]
#[repr(align(128))]
struct Padded(RwLock<Shard>);

#[derive(Debug, Default)]
struct Shard {
    /// Where in `slots` a key is.
    index: HashTable<u32>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    max_entries: usize,
    /// Where the search for an entry to evict goes on.
    hand: usize,
    /// Where the search for dead entries goes on.
    broom: usize,
}

#[derive(Debug)]
struct Slot {
    key: Text,
    entry: Entry,
    /// How often it was used since the hand came by, up to [`MAX_USES`]. In the upper bits,
    /// when it expires: beside each other to save eight bytes.
    expiry_and_uses: AtomicU64,
}

/// A key; most are short enough to be compared without another cache miss.
#[derive(Debug)]
enum Text {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

const SHORT: usize = 22;

impl Table {
    pub(super) fn new(max_entries: usize) -> Self {
        let shards = (max_entries / MIN_ENTRIES).clamp(1, MAX_SHARDS);
        let shards = 1 << shards.ilog2();
        let shard = || Shard::new(max_entries / shards);
        Self {
            shards: (0..shards).map(|_| Padded(RwLock::new(shard()))).collect(),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// The entry of `key`, if it is alive.
    pub(super) fn get(&self, key: &[u8], now: Now) -> Option<Entry> {
        let hash = hash(&self.hasher, key);
        let shard = read(self.shard(hash));
        let slot = shard.slot(shard.find(hash, key)?)?;
        if !slot.is_alive(now) {
            return None;
        }
        slot.note_use();
        Some(slot.entry.clone())
    }

    /// When the entry of `key` expires, if it is alive.
    pub(super) fn expiry(&self, key: &[u8], now: Now) -> Option<Moment> {
        let hash = hash(&self.hasher, key);
        let shard = read(self.shard(hash));
        let slot = shard.slot(shard.find(hash, key)?)?;
        slot.is_alive(now).then(|| slot.expiry())
    }

    /// Puts an entry in, and hands out what has to go for it.
    pub(super) fn insert(&self, key: &[u8], entry: Entry, expiry: Moment, now: Now) -> Vec<Entry> {
        let hash = hash(&self.hasher, key);
        let slot = Slot::new(key, entry, expiry);
        let mut gone = Vec::new();
        let mut shard = write(self.shard(hash));
        shard.sweep(&self.hasher, now, &mut gone);
        shard.insert(&self.hasher, hash, slot, now, &mut gone);
        gone
    }

    /// Takes the entry of `key` out; whether it was alive.
    pub(super) fn remove(&self, key: &[u8], now: Now) -> Option<(Entry, bool)> {
        let hash = hash(&self.hasher, key);
        let mut shard = write(self.shard(hash));
        let at = shard.find(hash, key)?;
        let slot = shard.remove(hash, at)?;
        let alive = slot.is_alive(now);
        Some((slot.entry, alive))
    }

    /// Takes out all there are, shard by shard.
    pub(super) fn drain(&self) -> Vec<Entry> {
        let mut gone = Vec::new();
        for shard in &self.shards {
            let mut shard = write(shard);
            let empty = Shard::new(shard.max_entries);
            let slots = mem::replace(&mut *shard, empty).slots;
            drop(shard);
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

    fn shard(&self, hash: u64) -> &Padded {
        // Another mix of it: single bits of a hash are uneven over numbered keys under some
        // seeds, and the index of the shard goes by this hash too.
        let bits = (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize;
        &self.shards[bits & (self.shards.len() - 1)]
    }
}

impl Shard {
    fn new(max_entries: usize) -> Self {
        Self {
            // A slot's number is 32 bits.
            max_entries: max_entries.min(u32::MAX as usize),
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

    fn insert(
        &mut self,
        hasher: &DefaultHashBuilder,
        hash: u64,
        slot: Slot,
        now: Now,
        gone: &mut Vec<Entry>,
    ) {
        if let Some(at) = self.find(hash, slot.key.bytes()) {
            let replaced = self.slots[at as usize].replace(slot);
            gone.extend(replaced.map(|slot| slot.entry));
            return;
        }
        if self.index.len() >= self.max_entries {
            self.evict(hasher, now, gone);
        }
        if self.max_entries == 0 {
            gone.push(slot.entry);
            return;
        }
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.slots[at as usize] = Some(slot);
        let Self { index, slots, .. } = self;
        index.insert_unique(hash, at, |&at| {
            let slot = slots[at as usize].as_ref();
            slot.map_or(0, |slot| self::hash(hasher, slot.key.bytes()))
        });
    }

    fn remove(&mut self, hash: u64, at: u32) -> Option<Slot> {
        if let Ok(found) = self.index.find_entry(hash, |&found| found == at) {
            found.remove();
        }
        self.free.push(at);
        self.slots[at as usize].take()
    }

    /// Makes room: takes the first entry from the hand on that is dead, or was not used since
    /// the hand last came by. (The `CLOCK` algorithm, with a few lives for what is used often:
    /// a scan through new keys takes the place of other new keys, and not of these.)
    fn evict(&mut self, hasher: &DefaultHashBuilder, now: Now, gone: &mut Vec<Entry>) {
        let mut least = None;
        let mut seen = 0;
        // Each turn passes a slot, and an entry to evict is among them.
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
            self.remove_at(hasher, at, gone);
        }
    }

    /// Looks at the next few entries, and takes out those that are dead.
    fn sweep(&mut self, hasher: &DefaultHashBuilder, now: Now, gone: &mut Vec<Entry>) {
        for _ in 0..SWEPT.min(self.slots.len()) {
            self.broom = (self.broom + 1) % self.slots.len();
            if let Some(slot) = &self.slots[self.broom]
                && !slot.is_alive(now)
            {
                self.remove_at(hasher, self.broom, gone);
            }
        }
    }

    fn remove_at(&mut self, hasher: &DefaultHashBuilder, at: usize, gone: &mut Vec<Entry>) {
        let Some(slot) = &self.slots[at] else {
            return;
        };
        let hash = hash(hasher, slot.key.bytes());
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        gone.extend(self.remove(hash, at).map(|slot| slot.entry));
    }
}

impl Slot {
    fn new(key: &[u8], entry: Entry, expiry: Moment) -> Self {
        Self {
            key: Text::new(key),
            entry,
            expiry_and_uses: AtomicU64::new(expiry * (MAX_USES + 1)),
        }
    }

    fn is_alive(&self, now: Now) -> bool {
        now.is_before(self.expiry()) && self.entry.observed.is_current()
    }

    fn expiry(&self) -> Moment {
        self.expiry_and_uses.load(Relaxed) / (MAX_USES + 1)
    }

    fn uses(&self) -> u64 {
        self.expiry_and_uses.load(Relaxed) % (MAX_USES + 1)
    }

    /// Not one atomic step: of two uses at once, one may be lost, and never the expiry,
    /// which changes under the shard's lock only.
    fn note_use(&self) {
        let both = self.expiry_and_uses.load(Relaxed);
        if both % (MAX_USES + 1) < MAX_USES {
            self.expiry_and_uses.store(both + 1, Relaxed);
        }
    }

    fn forget_use(&self) {
        let both = self.expiry_and_uses.load(Relaxed);
        if !both.is_multiple_of(MAX_USES + 1) {
            self.expiry_and_uses.store(both - 1, Relaxed);
        }
    }
}

impl Text {
    fn new(text: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(text);
                Self::Short { len, bytes }
            }
            _ => Self::Long(text.into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Long(text) => text,
        }
    }
}

fn hash(hasher: &DefaultHashBuilder, key: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(key);
    hasher.finish()
}

// Nothing that can panic runs under these locks, and nothing of the user's.

fn read(shard: &Padded) -> RwLockReadGuard<'_, Shard> {
    shard.0.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shard: &Padded) -> RwLockWriteGuard<'_, Shard> {
    shard.0.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::Observed;
    use std::sync::Arc;

    const NEVER: Moment = 1 << 40;

    fn entry() -> Entry {
        Entry {
            value: Arc::new(()),
            observed: Observed::default(),
        }
    }

    fn insert(table: &Table, key: &str, expiry: Moment, now: Moment) {
        drop(table.insert(key.as_bytes(), entry(), expiry, Now::at(now)));
    }

    #[test]
    fn a_slot_is_small() {
        assert_eq!(size_of::<Option<Slot>>(), 56);
    }

    #[test]
    fn texts_of_all_lengths_are_what_they_were() {
        for len in 0..100 {
            let text = vec![b'x'; len];
            assert_eq!(Text::new(&text).bytes(), text);
        }
    }

    #[test]
    fn no_more_entries_than_allowed() {
        for max_entries in [0, 1, 10, 1000] {
            let table = Table::new(max_entries);
            for i in 0..3000 {
                insert(&table, &i.to_string(), NEVER, 0);
                assert!(table.len() <= max_entries);
            }
            assert!(table.len() >= max_entries * 9 / 10);
        }
    }

    #[test]
    fn a_scan_does_not_evict_what_is_used() {
        let table = Table::new(1000);
        let hot: Vec<String> = (0..60).map(|i| format!("hot:{i}")).collect();
        for key in &hot {
            insert(&table, key, NEVER, 0);
        }
        for i in 0..10_000 {
            insert(&table, &format!("scan:{i}"), NEVER, 0);
            // Each hot key is used once while an eighth of the table is replaced.
            if i % 2 == 0 {
                table.get(hot[i / 2 % hot.len()].as_bytes(), Now::at(0));
            }
        }
        let kept = hot
            .iter()
            .filter(|key| table.get(key.as_bytes(), Now::at(0)).is_some());
        assert_eq!(kept.count(), hot.len());
    }

    #[test]
    fn what_expired_is_reclaimed_without_being_read() {
        let table = Table::new(10_000);
        for i in 0..5_000 {
            insert(&table, &format!("old:{i}"), 10, 0);
        }
        for i in 0..4_000 {
            insert(&table, &format!("new:{i}"), NEVER, 10);
        }
        assert_eq!(table.len(), 4_000);
    }

    #[test]
    fn what_was_removed_is_gone_and_its_place_is_used_again() {
        let table = Table::new(1000);
        for i in 0..500 {
            insert(&table, &i.to_string(), NEVER, 0);
        }
        for i in 0..500 {
            let removed = table.remove(i.to_string().as_bytes(), Now::at(0));
            assert!(matches!(removed, Some((_, true))));
            assert!(table.get(i.to_string().as_bytes(), Now::at(0)).is_none());
        }
        assert_eq!(table.len(), 0);
        for i in 0..500 {
            insert(&table, &i.to_string(), NEVER, 0);
        }
        let slots: usize = table
            .shards
            .iter()
            .map(|shard| read(shard).slots.len())
            .sum();
        assert!(slots <= 600, "{slots}");
        assert_eq!(table.drain().len(), 500);
        assert_eq!(table.len(), 0);
    }
}
