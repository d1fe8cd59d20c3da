//! Which slots are large.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hashbrown::DefaultHashBuilder;

/// A value of so many bytes is read on its own: on a slow network it takes as long as
/// some round trips.
pub(super) const LARGE: usize = 32 * 1024;

/// How many large values are remembered, at most. Each takes eight bytes.
const MOST_LARGE: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Small,
    Large,
}

/// Which slots were large when they were last read. One that is forgotten, for another that
/// falls on its place, costs a batch that takes longer.
pub(super) struct Sizes {
    hasher: DefaultHashBuilder,
    large: Box<[AtomicU64]>,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            large: (0..MOST_LARGE).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Sizes {
    pub(super) fn hash(&self, slot: &[u8]) -> u64 {
        // A zero is no slot.
        self.hasher.hash_one(slot).max(1)
    }

    fn place(&self, slot: u64) -> &AtomicU64 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "any bits of a hash will do"
        )]
        let at = slot as usize % MOST_LARGE;
        &self.large[at]
    }

    pub(super) fn of(&self, slot: u64) -> Size {
        if self.place(slot).load(Ordering::Relaxed) == slot {
            Size::Large
        } else {
            Size::Small
        }
    }

    pub(super) fn remember(&self, slot: u64, value: Option<&Bytes>) {
        let is_large = value.is_some_and(|value| value.len() >= LARGE);
        if is_large != (self.of(slot) == Size::Large) {
            let content = if is_large { slot } else { 0 };
            self.place(slot).store(content, Ordering::Relaxed);
        }
    }
}
