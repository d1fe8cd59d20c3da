//! How large the slots are that will be read.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hashbrown::DefaultHashBuilder;

/// A value of so many bytes is read by a command of its own: on a slow network it takes as long
/// as several round trips.
pub(super) const LARGE: usize = 32 * 1024;

/// At most so many large slots are remembered. Each takes eight bytes.
const MAX_REMEMBERED: usize = 4096;

/// An unknown slot counts as so large before any was read, and after a read that failed: its answer
/// may have been too large. A value may be eight times as large, so unknown slots that fill the most
/// [room](super::room) take 16 MiB, which is half of what a server allows.
const UNKNOWN: usize = 512 * 1024;

/// Empty slots lower what an unknown one counts as to so much: a cold cache is looked at by many at
/// once. The most room then has 256 unknown slots, which may take 128 KiB each.
const AMONG_EMPTY: usize = 16 * 1024;

/// An unknown slot counts as at least so large.
const LEAST: usize = 512;

/// The sizes of large slots are remembered in units of so many bytes.
const UNIT: usize = 16 * 1024;

/// The bits of a place that hold a size, in [`UNIT`]s. The others are bits of a hash.
const SIZE_BITS: u64 = 0x1ff;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Small,
    Large,
}

impl Size {
    pub(super) fn of(bytes: usize) -> Self {
        if bytes >= LARGE {
            Self::Large
        } else {
            Self::Small
        }
    }
}

/// The slots that were large when they were last read or written, by the hash of their key, and how
/// large other slots were lately.
///
/// Each hash has one place, and another large slot may take it. Then the slot that was there is
/// forgotten, and counts as unknown: it is expected to be as large as those lately seen.
pub(super) struct Sizes {
    hasher: DefaultHashBuilder,
    large: Box<[AtomicU64]>,
    /// As large as an unknown slot is expected to be. A larger one raises it at once; a smaller one
    /// lowers it to a quarter, at most to its own size.
    unknown: AtomicUsize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            large: (0..MAX_REMEMBERED).map(|_| AtomicU64::new(0)).collect(),
            unknown: AtomicUsize::new(UNKNOWN),
        }
    }
}

impl Sizes {
    pub(super) fn hash(&self, slot: &[u8]) -> u64 {
        self.hasher.hash_one(slot)
    }

    fn place(&self, slot_hash: u64) -> &AtomicU64 {
        // Not the bits that a place holds sizes in.
        let at = (slot_hash >> 16) as usize % MAX_REMEMBERED;
        &self.large[at]
    }

    /// How large a slot is, if it is remembered as large.
    fn remembered(&self, slot_hash: u64) -> Option<usize> {
        let place = self.place(slot_hash).load(Ordering::Relaxed);
        let units = usize::try_from(place & SIZE_BITS).unwrap_or_default();
        (units > 0 && (place ^ slot_hash) & !SIZE_BITS == 0).then_some(units * UNIT)
    }

    /// How many bytes a slot is expected to take.
    pub(super) fn expected(&self, slot_hash: u64) -> usize {
        self.remembered(slot_hash)
            .unwrap_or_else(|| self.unknown.load(Ordering::Relaxed))
    }

    /// A slot was read or written, and has so many bytes. `None`: it was empty, which says little about
    /// other slots.
    pub(super) fn remember(&self, slot_hash: u64, bytes: Option<usize>) {
        let remembered = self.remembered(slot_hash);
        let large = bytes.filter(|bytes| *bytes >= LARGE);
        let units = large
            .map_or(0, |bytes| bytes.div_ceil(UNIT) as u64)
            .min(SIZE_BITS);
        let is_as_remembered = match remembered {
            Some(remembered) => remembered as u64 == units * UNIT as u64,
            None => units == 0,
        };
        if !is_as_remembered {
            let content = match units {
                0 => 0,
                units => slot_hash & !SIZE_BITS | units,
            };
            self.place(slot_hash).store(content, Ordering::Relaxed);
        }
        match (remembered, bytes) {
            (None, Some(bytes)) => self.expect_others_like(bytes),
            (_, None) => self.expect_others_less(),
            (Some(_), Some(_)) => {}
        }
    }

    fn expect_others_like(&self, bytes: usize) {
        let expected = self.unknown.load(Ordering::Relaxed);
        let next = bytes.max(expected / 4).max(LEAST);
        // Within a factor of two nothing is written, so that readers of small slots on several
        // threads do not take the line of memory from each other.
        if next > expected || next <= expected / 2 {
            self.unknown.store(next, Ordering::Relaxed);
        }
    }

    fn expect_others_less(&self) {
        let expected = self.unknown.load(Ordering::Relaxed);
        if expected > AMONG_EMPTY {
            let next = (expected / 4).max(AMONG_EMPTY);
            self.unknown.store(next, Ordering::Relaxed);
        }
    }

    /// A read failed, maybe because the slots that it asked for were larger than expected.
    pub(super) fn expect_large(&self) {
        self.unknown.fetch_max(UNKNOWN, Ordering::Relaxed);
    }

    /// From now on unknown slots are expected to be small.
    #[cfg(test)]
    pub(super) fn expect_small(&self) {
        self.unknown.store(LEAST, Ordering::Relaxed);
    }
}
