//! The atomic steps of a server: a command or a script each.

use super::Shared;
use super::config::{KEY, tag};
use super::rules::Without;
use super::state::{
    Entry, Evidence, Lease, Names, Prepared, Sight, Slot, State, Unique, Version, Versions, Writers,
};

/// The process of a lease for a value that is set by hand: no process takes it for its own.
const BY_HAND: u8 = u8::MAX - 1;

impl Shared {
    /// `lease.lua`: puts a lease into a slot that still holds what was seen.
    pub(super) fn take_lease(&self, state: &mut State, process: u8, seen: &Slot) -> Option<Lease> {
        let unchanged = match (seen, &state.stored.slot) {
            (Slot::Absent, _) if self.lacks(Without::LeaseIsExclusive) => true,
            (Slot::Entry(_), _) if self.lacks(Without::TakeoverComparesStamp) => true,
            (Slot::Lease(_), _) if self.lacks(Without::TakeoverComparesLease) => true,
            (Slot::Fence(_), Slot::Fence(_)) => self.lacks(Without::NothingIsStoredUnderFence),
            (Slot::Absent, Slot::Absent) => true,
            (Slot::Entry(seen), Slot::Entry(is)) => seen.stamp == is.stamp,
            (Slot::Lease(seen), Slot::Lease(is)) => seen.mark == is.mark,
            _ => false,
        };
        unchanged.then(|| {
            let lease = Lease {
                mark: state.draw(),
                process,
                epoch: state.epochs[0],
            };
            state.stored.slot = Slot::Lease(lease);
            lease
        })
    }

    /// `version.lua`: reads a version, drawing one if it is absent.
    pub(super) fn read_or_draw(&self, state: &mut State, index: usize) -> Version {
        if state.stored.versions[index] == Version::Absent {
            let first = if self.lacks(Without::FirstVersionIsRandom) {
                Unique(0)
            } else {
                state.draw()
            };
            state.stored.versions[index] = Version::Number(first, 0);
        }
        state.stored.versions[index]
    }

    /// `fill.lua`: replaces a lease by the entry that was loaded under it.
    pub(super) fn fill(&self, state: &mut State, evidence: &Evidence, data: u8) {
        let same_server = state.epochs[0] == evidence.epochs[0];
        let mut epochs = evidence.epochs;
        if self.lacks(Without::FillUsesItsConnection) {
            epochs = state.epochs;
        } else if !same_server {
            return;
        }
        let stands = matches!(state.stored.slot, Slot::Lease(is) if is.mark == evidence.mark);
        if stands || self.lacks(Without::FillComparesLease) {
            self.store(state, evidence.versions, epochs, data);
        }
    }

    /// Replaces the entry that was refreshed, and only that one.
    pub(super) fn refill(&self, state: &mut State, sight: &Sight, data: u8) {
        let Slot::Entry(seen) = sight.slot else {
            return;
        };
        let stands = matches!(state.stored.slot, Slot::Entry(is) if is.stamp == seen.stamp);
        let same_server = state.epochs[0] == sight.epochs[0];
        if same_server && (stands || self.lacks(Without::RefreshComparesStamp)) {
            self.store(state, sight.versions, sight.epochs, data);
        }
    }

    /// `seize.lua`: leaves an entry in the slot, puts a lease over anything else but a fence, and
    /// tells which of the two is there. `None` behind a fence.
    pub(super) fn seize(&self, state: &mut State) -> Option<Unique> {
        match state.stored.slot {
            Slot::Fence(_) => None,
            Slot::Entry(entry) => Some(entry.stamp),
            Slot::Absent | Slot::Lease(_) => {
                let lease = Lease {
                    mark: state.draw(),
                    process: BY_HAND,
                    epoch: state.epochs[0],
                };
                state.stored.slot = Slot::Lease(lease);
                Some(lease.mark)
            }
        }
    }

    /// `fill.lua`, for a value that is set by hand.
    pub(super) fn set_by_hand(&self, state: &mut State, value: &Prepared) {
        if state.epochs != value.epochs {
            return;
        }
        let stands = match state.stored.slot {
            Slot::Lease(is) => is.mark == value.seen,
            Slot::Entry(is) => is.stamp == value.seen,
            Slot::Fence(_) => false,
            Slot::Absent => self.lacks(Without::SetComparesWhatItSaw),
        };
        if stands {
            self.store(state, value.versions, value.epochs, value.data);
        }
    }

    fn store(&self, state: &mut State, versions: Versions, epochs: [u8; 2], data: u8) {
        let stamp = state.draw();
        state.stored.slot = Slot::Entry(Entry {
            stamp,
            data,
            versions,
            epochs,
        });
    }

    /// `release.lua`: gives a lease back, if it still stands. `time_steps` does this: as for a
    /// lease that expires, it may happen at any time once no flight and no reader holds it.
    pub(super) fn release(&self, state: &mut State) {
        if self.lacks(Without::ReleaseComparesLease) {
            state.blind_releases += 1;
        }
    }

    /// One name of an invalidation: `unlink.lua` for the slot, `bump.lua` for a version.
    pub(super) fn invalidate_name(&self, state: &mut State, name: Names) {
        let blunt = self.lacks(Without::InvalidationKeepsFences);
        if name == KEY {
            let fenced = matches!(state.stored.slot, Slot::Fence(_));
            if !self.lacks(Without::SlotIsUnlinked) && (blunt || !fenced) {
                state.stored.slot = Slot::Absent;
            }
            return;
        }
        for index in self.config.tag_indices() {
            if name != tag(index) || self.lacks(Without::VersionIsMovedOn) {
                continue;
            }
            match &mut state.stored.versions[index] {
                Version::Number(_, incremented) => *incremented += 1,
                fence @ Version::Fence(_) if blunt => *fence = Version::Absent,
                Version::Absent | Version::Fence(_) => {}
            }
        }
    }

    /// Invalidates a name while the server has no memory left for an increment.
    pub(super) fn invalidate_without_memory(&self, state: &mut State, name: Names) {
        if !self.lacks(Without::RefusedVersionIsUnlinked) {
            for index in self.config.tag_indices() {
                if name == tag(index) {
                    state.stored.versions[index] = Version::Absent;
                }
            }
        }
    }

    /// Joins the fence that is there, or writes one over anything else.
    pub(super) fn place_fence(&self, state: &mut State, name: Names, writer: usize) {
        let others = match fence_of(state, name) {
            Some(others) if !self.lacks(Without::FenceIsJoined) => others,
            _ => Writers::default(),
        };
        set_fence(state, name, others.and(writer));
    }

    /// Takes a writer out of a fence. When the last writer leaves, the fence is removed.
    pub(super) fn leave_fence(&self, state: &mut State, name: Names, writer: usize) {
        if let Some(writers) = fence_of(state, name) {
            let left = if self.lacks(Without::LastOneOutRemovesFence) && writers.has(writer) {
                Writers::default()
            } else {
                writers.without(writer)
            };
            set_fence(state, name, left);
        }
    }
}

/// The fence that stands under a name.
pub(super) fn fence_of(state: &State, name: Names) -> Option<Writers> {
    match (name, state.stored.slot) {
        (KEY, Slot::Fence(writers)) => Some(writers),
        (KEY, _) => None,
        _ => match state.stored.versions[name.trailing_zeros() as usize - 1] {
            Version::Fence(writers) => Some(writers),
            _ => None,
        },
    }
}

fn set_fence(state: &mut State, name: Names, writers: Writers) {
    if name == KEY {
        state.stored.slot = if writers.is_empty() {
            Slot::Absent
        } else {
            Slot::Fence(writers)
        };
    } else {
        state.stored.versions[name.trailing_zeros() as usize - 1] = if writers.is_empty() {
            Version::Absent
        } else {
            Version::Fence(writers)
        };
    }
}
