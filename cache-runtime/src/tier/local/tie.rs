//! What an entry is tied to that never leaves the process, of a cache in front of a server.
//!
//! The server is asked first whether writers are at work (a fence), and then the load begins. What the process
//! hears in between would end an entry that was there already, and the load does not know of it. So a caller
//! notes before it asks what was heard so far, and boards a load only if that is still so.

use std::sync::atomic::Ordering::Acquire;

use super::basis::Basis;
use crate::sabotage::{self, Rule};
use crate::sync::AtomicU64;

/// What was heard of a call's names when the server was asked, with the connections that tell it.
pub(crate) struct Tie<'a> {
    basis: Basis,
    /// How often the key was invalidated here.
    of_key: &'a AtomicU64,
    seen: u64,
}

impl<'a> Tie<'a> {
    pub(crate) fn new(basis: Basis, of_key: &'a AtomicU64, seen: u64) -> Self {
        Self {
            basis,
            of_key,
            seen,
        }
    }

    /// Under which the load begins.
    pub(super) fn basis(&self) -> Basis {
        self.basis.clone()
    }

    /// Whether one of the names was invalidated or fenced since the server was asked. To be asked under the lock
    /// under which the key is invalidated: what comes later then finds the load.
    pub(super) fn is_outdated(&self) -> bool {
        let is_same = self.of_key.load(Acquire) == self.seen && self.basis.has_current_tags();
        !is_same && sabotage::keeps(Rule::CopyGeneration)
    }
}
