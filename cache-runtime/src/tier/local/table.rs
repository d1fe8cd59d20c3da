//! The map under the local tier: bounded, in shards, and swept of what is dead.
//!
//! A hit takes one shard's lock for reading and writes nothing but a note that
//! the entry was used. Nobody else's code runs under a lock: keys come as text, or as
//! the hash of arguments, which are compared with what was found by it after the lock;
//! and what leaves the table is handed to the caller, who drops it.

use std::mem;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use hashbrown::HashTable;

use super::Entry;
use crate::clock::{Moment, Now};
use crate::key::{Key, Name, NameHashes, Parts};
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
    hashes: NameHashes,
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

/// Alone in its cache line, so that a hit reads one.
#[derive(Debug)]
#[repr(align(64))]
struct Slot {
    hash: u64,
    key: Text,
    entry: Entry,
    /// How often it was used since the hand came by, up to [`MAX_USES`]. In the upper bits,
    /// when it expires: beside each other to save eight bytes.
    expiry_and_uses: AtomicU64,
}

/// A key; most are short enough to be copied, and compared without another cache miss.
#[derive(Debug)]
enum Text {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Arc<[u8]>),
}

const SHORT: usize = 22;

impl Table {
    pub(super) fn new(max_entries: usize) -> Self {
        let shards = (max_entries / MIN_ENTRIES).clamp(1, MAX_SHARDS);
        let shards = 1 << shards.ilog2();
        let shard = || Shard::new(max_entries / shards);
        Self {
            shards: (0..shards).map(|_| Padded(RwLock::new(shard()))).collect(),
            hashes: NameHashes::default(),
        }
    }

    /// The entry of a name, if it is alive. Of two whose hashes are the same, it may find neither.
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
                // With the zeros behind it: to compare eight bytes at once takes no loop.
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
    pub(super) fn get(&self, key: &Key, now: Now) -> Option<Entry> {
        let hash = self.hash(key);
        let shard = read(self.shard(hash));
        let at = shard.find(hash, key.bytes())?;
        Some(shard.use_slot(at, now)?.entry.clone())
    }

    /// When the entry of `key` expires, if it is alive.
    pub(super) fn expiry(&self, key: &Key, now: Now) -> Option<Moment> {
        let hash = self.hash(key);
        let shard = read(self.shard(hash));
        let slot = shard.slot(shard.find(hash, key.bytes())?)?;
        slot.is_alive(now).then(|| slot.expiry())
    }

    /// Puts an entry in, and hands out what has to go for it.
    pub(super) fn insert(&self, key: &Key, entry: Entry, expiry: Moment, now: Now) -> Vec<Entry> {
        let hash = self.hash(key);
        let slot = Slot::new(hash, key.bytes(), entry, expiry);
        let mut gone = Vec::new();
        let mut shard = write(self.shard(hash));
        shard.sweep(now, &mut gone);
        shard.insert(slot, now, &mut gone);
        gone
    }

    /// Takes the entry of `key` out; whether it was alive.
    pub(super) fn remove(&self, key: &Key, now: Now) -> Option<(Entry, bool)> {
        let hash = self.hash(key);
        let mut shard = write(self.shard(hash));
        let at = shard.find(hash, key.bytes())?;
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

    fn hash(&self, key: &Key) -> u64 {
        self.hashes.of(key.as_str())
    }

    #[inline]
    fn shard(&self, hash: u64) -> &Padded {
        // Other bits than those that the index of the shard goes by.
        &self.shards[(hash >> 48) as usize & (self.shards.len() - 1)]
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

    /// The slot with this hash, if it is alive, to be used.
    fn use_hash(&self, hash: u64, now: Now) -> Option<&Slot> {
        let has_hash = |&at: &u32| self.slot(at).is_some_and(|slot| slot.hash == hash);
        self.use_slot(*self.index.find(hash, has_hash)?, now)
    }

    #[inline]
    fn use_slot(&self, at: u32, now: Now) -> Option<&Slot> {
        let slot = self.slot(at).filter(|slot| slot.is_alive(now))?;
        slot.note_use();
        Some(slot)
    }

    fn insert(&mut self, slot: Slot, now: Now, gone: &mut Vec<Entry>) {
        let hash = slot.hash;
        if let Some(at) = self.find(hash, slot.key.bytes()) {
            let replaced = self.slots[at as usize].replace(slot);
            gone.extend(replaced.map(|slot| slot.entry));
            return;
        }
        if self.index.len() >= self.max_entries {
            self.evict(now, gone);
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
            slot.map_or(0, |slot| slot.hash)
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
    fn evict(&mut self, now: Now, gone: &mut Vec<Entry>) {
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
            self.remove_at(at, gone);
        }
    }

    /// Looks at the next few entries, and takes out those that are dead.
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

    fn remove_at(&mut self, at: usize, gone: &mut Vec<Entry>) {
        let Some(slot) = &self.slots[at] else {
            return;
        };
        let hash = slot.hash;
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        gone.extend(self.remove(hash, at).map(|slot| slot.entry));
    }
}

impl Slot {
    fn new(hash: u64, key: &[u8], entry: Entry, expiry: Moment) -> Self {
        Self {
            hash,
            key: Text::new(key),
            entry,
            expiry_and_uses: AtomicU64::new(expiry * (MAX_USES + 1)),
        }
    }

    fn is_alive(&self, now: Now) -> bool {
        now.is_before(self.expiry()) && self.entry.basis.is_current()
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

// Nothing that can panic runs under these locks, and nothing of the user's.

#[inline]
fn read(shard: &Padded) -> RwLockReadGuard<'_, Shard> {
    shard.0.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shard: &Padded) -> RwLockWriteGuard<'_, Shard> {
    shard.0.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::local::Basis;
    use std::sync::Arc;

    const NEVER: Moment = 1 << 40;

    fn entry() -> Entry {
        Entry {
            value: Arc::new(()),
            basis: Basis::default(),
        }
    }

    fn insert(table: &Table, key: &str, expiry: Moment, now: Moment) {
        drop(table.insert(&Key::from(key), entry(), expiry, Now::at(now)));
    }

    #[test]
    fn a_slot_is_small() {
        assert_eq!(size_of::<Option<Slot>>(), 64);
    }

    #[test]
    fn texts_of_all_lengths_are_what_they_were() {
        for len in 0..100 {
            let text = vec![b'x'; len];
            assert_eq!(Text::new(&text).bytes(), text);
        }
    }

    #[test]
    fn a_name_finds_the_entry_of_its_text_and_no_other() {
        let table = Table::new(1000);
        let find = |text: &str| {
            let name = Name::new(&["login:", ":a7"], (text, ()));
            let found = table.find(&name, Now::at(0)).is_some();
            (name.render(), found)
        };
        for len in 0..150 {
            let (key, found) = find(&"x".repeat(len));
            assert!(!found, "{key}");
            insert(&table, &format!("{key}\0"), NEVER, 0);
            insert(&table, key.as_str().strip_suffix('7').unwrap(), NEVER, 0);
            assert!(!find(&"x".repeat(len)).1, "{key}");
            insert(&table, key.as_str(), NEVER, 0);
            assert!(find(&"x".repeat(len)).1, "{key}");
            drop(table.remove(&key, Now::at(0)));
            assert!(!find(&"x".repeat(len)).1, "{key}");
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
                table.get(&Key::from(&*hot[i / 2 % hot.len()]), Now::at(0));
            }
        }
        let kept = hot
            .iter()
            .filter(|key| table.get(&Key::from(key.as_str()), Now::at(0)).is_some());
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
            let removed = table.remove(&Key::from(i.to_string()), Now::at(0));
            assert!(matches!(removed, Some((_, true))));
            assert!(table.get(&Key::from(i.to_string()), Now::at(0)).is_none());
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
