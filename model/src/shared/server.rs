//! The atomic steps of a server: a command or a script each.

use super::Shared;
use super::config::{KEY, tag};
use super::rules::Without;
use super::state::{
    Entry, Epoch, Evidence, Lease, Moving, Names, Prepared, Sight, Slot, State, Unique, Version,
    Versions, Writers,
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
            refer(state, KEY);
            let lease = Lease {
                mark: state.draw(),
                process,
                epoch: self.slot_epoch(state),
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
        let mut epochs = evidence.epochs;
        if self.lacks(Without::FillUsesItsConnection) {
            epochs = state.epochs;
        } else if !self.reaches_slot(state, epochs[0]) {
            return;
        }
        let stands = matches!(state.stored.slot, Slot::Lease(is) if is.mark == evidence.mark);
        if stands || self.lacks(Without::FillComparesLease) {
            let seen = Evidence {
                epochs,
                ..*evidence
            };
            self.store_loaded(state, &seen, data);
        }
    }

    /// Replaces the entry that was refreshed, and only that one.
    pub(super) fn refill(&self, state: &mut State, sight: &Sight, data: u8) {
        let Slot::Entry(seen) = sight.slot else {
            return;
        };
        let stands = matches!(state.stored.slot, Slot::Entry(is) if is.stamp == seen.stamp);
        let reaches = self.reaches_slot(state, sight.epochs[0]);
        if reaches && (stands || self.lacks(Without::RefreshComparesStamp)) {
            let seen = Evidence {
                mark: seen.stamp,
                versions: sight.versions,
                epochs: sight.epochs,
                tags: sight.asked,
            };
            self.store_loaded(state, &seen, data);
        }
    }

    /// Stores what was loaded. If only the value tells its tags, and the version of one of them was not
    /// read before the load, stores which tags the value has, and not the value.
    fn store_loaded(&self, state: &mut State, seen: &Evidence, data: u8) {
        let mut versions = seen.versions;
        let tags = self.config.tags_of(data);
        if !self.config.learns_tags() {
            return self.store(state, versions, seen.epochs, data);
        }
        let remembers = tags & !seen.tags != 0 && !self.lacks(Without::TagsAreReadBeforeTheLoad);
        for index in self.config.tag_indices() {
            if remembers || tags & tag(index) == 0 {
                versions[index] = Version::Absent;
            } else if seen.tags & tag(index) == 0 {
                versions[index] = self.read_or_draw(state, index);
            }
        }
        let stamp = state.draw();
        state.stored.slot = Slot::Entry(Entry {
            stamp,
            data: if remembers { 0 } else { data },
            versions,
            epochs: if remembers { [0; 2] } else { seen.epochs },
            tags,
            remembers,
        });
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
        if !self.reaches_slot(state, value.epochs[0]) {
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
            ..Entry::default()
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
        self.invalidate_left(state, name);
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

    /// What an invalidation does on the other server, to which its request is referred while the owner
    /// does not have the key.
    fn invalidate_left(&self, state: &mut State, name: Names) {
        if name == KEY {
            if self.is_referred(state, 0) && state.moving[0] == Moving::Begun {
                state.left.slot = Slot::Absent;
            }
            return;
        }
        for index in self
            .config
            .tag_indices()
            .filter(|&index| name == tag(index))
        {
            if self.is_referred(state, 1)
                && state.moving[1] == Moving::Begun
                && let Version::Number(_, incremented) = &mut state.left.versions[index]
            {
                *incremented += 1;
            }
        }
    }

    /// Whether the owner of the slot (0) or of the versions (1) refers requests to another server, to
    /// which it moves.
    pub(super) fn is_referred(&self, state: &State, server: usize) -> bool {
        let has_keys = match server {
            0 => state.stored.slot != Slot::Absent,
            _ => state.stored.versions != Versions::default(),
        };
        match state.moving[server] {
            Moving::No => false,
            Moving::Begun => !has_keys,
            Moving::Moved => true,
        }
    }

    /// Whether a reader's request for the slot is referred to another server, where it goes no further.
    pub(super) fn slot_is_away(&self, state: &State) -> bool {
        self.is_referred(state, 0) && !self.lacks(Without::ReferredStoresNothing)
    }

    /// The epoch of the server that answers for the slot.
    pub(super) fn slot_epoch(&self, state: &State) -> Epoch {
        if self.is_referred(state, 0) {
            state.others[0]
        } else {
            state.epochs[0]
        }
    }

    /// Whether a request for the slot, over a connection to the server with this epoch, reaches the
    /// slot: also if the slot has moved between this server and the other one.
    pub(super) fn reaches_slot(&self, state: &State, epoch: Epoch) -> bool {
        let known = [state.epochs[0], state.others[0]];
        let has_moved = self.config.faults.moves > 0 && known.contains(&epoch);
        !self.slot_is_away(state) && (epoch == self.slot_epoch(state) || has_moved)
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

/// What is stored now is stored on the other server, if the owner of a moving part has nothing.
fn refer(state: &mut State, name: Names) {
    let no_slot = state.stored.slot == Slot::Absent;
    if name == KEY && state.moving[0] == Moving::Begun && no_slot {
        state.moving[0] = Moving::Moved;
        state.left.slot = Slot::Absent;
    }
    let no_versions = state.stored.versions == Versions::default();
    if name != KEY && state.moving[1] == Moving::Begun && no_versions {
        state.moving[1] = Moving::Moved;
        state.left.versions = Versions::default();
    }
}

fn set_fence(state: &mut State, name: Names, writers: Writers) {
    refer(state, name);
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
