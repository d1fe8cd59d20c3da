//! Which slots hold large values.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hashbrown::DefaultHashBuilder;

/// A value of so many bytes is read by a command of its own: on a slow network it takes as long
/// as several round trips.
pub(super) const LARGE: usize = 32 * 1024;

/// At most so many large slots are remembered. Each takes eight bytes.
const MAX_REMEMBERED: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Small,
    Large,
}

/// The slots that were large when they were last read, by the hash of their key.
///
/// Each hash has one place, and another large slot may take it. Then the slot that was there is
/// forgotten, which makes one batch take longer.
pub(super) struct Sizes {
    hasher: DefaultHashBuilder,
    large: Box<[AtomicU64]>,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            large: (0..MAX_REMEMBERED).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Sizes {
    pub(super) fn hash(&self, slot: &[u8]) -> u64 {
        // Zero marks an empty place.
        self.hasher.hash_one(slot).max(1)
    }

    fn place(&self, slot_hash: u64) -> &AtomicU64 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "any bits of a hash will do"
        )]
        let at = slot_hash as usize % MAX_REMEMBERED;
        &self.large[at]
    }

    pub(super) fn of(&self, slot_hash: u64) -> Size {
        if self.place(slot_hash).load(Ordering::Relaxed) == slot_hash {
            Size::Large
        } else {
            Size::Small
        }
    }

    pub(super) fn remember(&self, slot_hash: u64, value: Option<&Bytes>) {
        let is_large = value.is_some_and(|value| value.len() >= LARGE);
        if is_large != (self.of(slot_hash) == Size::Large) {
            let content = if is_large { slot_hash } else { 0 };
            self.place(slot_hash).store(content, Ordering::Relaxed);
        }
    }
}
