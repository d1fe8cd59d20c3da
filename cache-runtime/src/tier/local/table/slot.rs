//! One entry of the table, with its key.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Entry;
use crate::clock::{Moment, Now};
use crate::sync::AtomicU64;

/// How many uses of an entry are counted. Each spares it from eviction once.
pub(in crate::tier::local) const MAX_USES: u64 = 3;

/// An entry with its key, alone in its cache line, so that a hit reads one line.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Slot {
    pub(super) hash: u64,
    pub(super) key: Text,
    pub(super) entry: Entry,
    /// In the lower bits, how often the entry was used since the hand came by, up to
    /// [`MAX_USES`]. In the upper bits, when it expires. One field for both saves eight bytes.
    expiry_and_uses: AtomicU64,
}

/// The text of a key. Most are short: they lie in the slot itself, and comparing them touches
/// no other cache line.
#[derive(Debug)]
pub(super) enum Text {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Arc<[u8]>),
}

const SHORT: usize = 22;

impl Slot {
    #[inline]
    pub(super) fn new(hash: u64, key: &[u8], entry: Entry, expiry: Moment) -> Self {
        Self {
            hash,
            key: Text::new(key),
            entry,
            expiry_and_uses: AtomicU64::new(expiry * (MAX_USES + 1)),
        }
    }

    #[inline]
    pub(super) fn is_alive(&self, now: Now) -> bool {
        now.is_before(self.expiry()) && self.entry.basis.is_current(now)
    }

    #[inline]
    pub(super) fn expiry(&self) -> Moment {
        self.expiry_and_uses.load(Relaxed) / (MAX_USES + 1)
    }

    pub(super) fn uses(&self) -> u64 {
        self.expiry_and_uses.load(Relaxed) % (MAX_USES + 1)
    }

    /// This is not one atomic step: of two uses at the same moment, one may be lost. The expiry
    /// is never lost, since it does not change while the shard is locked for reading.
    #[inline]
    pub(super) fn note_use(&self) {
        let both = self.expiry_and_uses.load(Relaxed);
        if both % (MAX_USES + 1) < MAX_USES {
            self.expiry_and_uses.store(both + 1, Relaxed);
        }
    }

    pub(super) fn forget_use(&self) {
        let both = self.expiry_and_uses.load(Relaxed);
        if !both.is_multiple_of(MAX_USES + 1) {
            self.expiry_and_uses.store(both - 1, Relaxed);
        }
    }
}

impl Text {
    #[inline]
    pub(super) fn new(text: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(text);
                Self::Short { len, bytes }
            }
            _ => Self::Long(text.into()),
        }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Long(text) => text,
        }
    }
}
