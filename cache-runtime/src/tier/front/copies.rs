//! The copies of a server's entries that a process keeps, and how they are dropped.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::Duration;

use crate::clock::{self, Moment};
use crate::driver::Trusts;
use crate::key::Key;
use crate::sabotage::{self, Rule};
use crate::sync::{AtomicBool, AtomicU64};
use crate::tier::local::{Basis, Entry, Local, Tie};
use crate::tier::shared::Notice;
use crate::tier::{Query, Storable, Store as _};

/// How many numbers count the invalidations of keys. Where two keys share one, an invalidation of the one
/// keeps a copy of the other from being stored that is just being read.
const NUMBERS: usize = 256;

#[derive(Debug)]
pub(super) struct Copies {
    pub(super) local: Local,
    /// Whether there ever was one: until then, calls do not look for one.
    in_use: AtomicBool,
    /// How often keys were invalidated here.
    of_keys: Box<[AtomicU64]>,
    /// How often anything was.
    of_all: AtomicU64,
    hasher: RandomState,
}

/// What was invalidated here when a server was asked for an entry.
#[derive(Debug)]
pub(super) struct Asked {
    at: Moment,
    of_key: u64,
    of_all: u64,
    /// The versions of the tags; `None` where only the entry tells which tags those are.
    basis: Option<Basis>,
}

/// An entry that a call was served by a server, and that may be kept.
#[derive(Debug)]
pub(crate) struct Copying {
    of_key: u64,
    /// Where the versions of its tags were read after it: nothing at all was invalidated since it was asked for.
    of_all: Option<u64>,
    basis: Basis,
    ttl: Duration,
}

impl Copies {
    pub(super) fn new(local: Local) -> Self {
        Self {
            local,
            in_use: AtomicBool::new(false),
            of_keys: (0..NUMBERS).map(|_| AtomicU64::new(0)).collect(),
            of_all: AtomicU64::new(0),
            hasher: RandomState::new(),
        }
    }

    /// The copies, for a hit that is answered at once.
    #[inline]
    pub(super) fn in_use(&self) -> Option<&Local> {
        self.in_use.load(Relaxed).then_some(&self.local)
    }

    /// Where the entries of functions are kept whose values never leave the process.
    pub(super) fn for_local(&self) -> &Local {
        if !self.in_use.load(Relaxed) {
            self.in_use.store(true, Relaxed);
        }
        &self.local
    }

    /// The copy that a call may be served.
    pub(super) fn find(&self, query: &Query) -> Option<Entry> {
        self.in_use()?.find_copy(query)
    }

    /// To be taken before a server is asked.
    pub(super) fn asked(&self, query: &Query) -> Asked {
        Asked {
            at: clock::monotonic(),
            of_key: self.of_key(&query.key).load(Acquire),
            of_all: self.of_all.load(Acquire),
            basis: (!query.learns_tags).then(|| self.local.basis_of(query, &query.tags)),
        }
    }

    /// What is needed to keep a copy of the entry that was found; `None` if it cannot be kept.
    pub(super) fn copying(
        &self,
        asked: Asked,
        query: &Query,
        tags: impl Iterator<Item = Key>,
        trusts: Trusts,
        left: Duration,
    ) -> Option<Copying> {
        let ttl = query.local_ttl.min(left);
        // The server's ttl may end a millisecond later, and its clock is read to a millisecond.
        let ttl = ttl.saturating_sub(Duration::from_millis(1));
        if ttl.is_zero() || query.has_long_name() || !trusts.began_before(asked.at) {
            return None;
        }
        let of_all = asked.basis.is_none().then_some(asked.of_all);
        let basis = asked
            .basis
            .unwrap_or_else(|| self.local.basis_of(query, &tags.collect::<Vec<_>>()));
        let value_type = query.value_type.map_or(0, |value_type| value_type.hash);
        Some(Copying {
            of_key: asked.of_key,
            of_all,
            basis: basis.of_copy(value_type, trusts),
            ttl,
        })
    }

    /// What an entry is tied to whose value never leaves the process; `None` if the server was asked before one
    /// of its connections listened.
    pub(super) fn tie(&self, asked: Asked, query: &Query, trusts: &Trusts) -> Option<Tie<'_>> {
        if !trusts.began_before(asked.at) {
            return None;
        }
        let basis = asked
            .basis
            .unwrap_or_else(|| self.local.basis_of(query, &query.tags));
        let of_key = self.of_key(&query.key);
        Some(Tie::new(basis.tied_to(trusts), of_key, asked.of_key))
    }

    /// Keeps a copy, unless something of it was invalidated since the server was asked.
    pub(super) fn keep(&self, key: &Key, copying: Copying, value: &dyn Storable) {
        let Copying {
            of_key,
            of_all,
            basis,
            ttl,
        } = copying;
        let is_outdated = || {
            let is_same = self.of_key(key).load(Acquire) == of_key
                && of_all.is_none_or(|of_all| self.of_all.load(Acquire) == of_all);
            !is_same && sabotage::keeps(Rule::CopyGeneration)
        };
        self.for_local()
            .store_copy(key, value, basis, ttl, is_outdated);
    }

    /// Drops the copies of names, and keeps those that are just being read from being stored.
    pub(super) fn invalidate(&self, names: &[Key]) {
        self.of_all.fetch_add(1, AcqRel);
        for name in names {
            self.of_key(name).fetch_add(1, AcqRel);
        }
        self.local.invalidate_now(names);
        // An entry names its tags as they are known on servers.
        let long = names.iter().filter(|name| name.is_long());
        let long: Vec<Key> = long.map(|name| name.on_server().into_owned()).collect();
        self.local.invalidate_now(&long);
    }

    /// Drops the copies that any name may be of.
    pub(super) fn clear(&self) {
        self.count_all_up();
        self.local.remove_all();
    }

    /// Does what a server told.
    pub(super) fn hear(&self, notice: Notice) {
        match notice {
            Notice::Entry(key) => {
                self.of_all.fetch_add(1, AcqRel);
                self.of_key(&key).fetch_add(1, AcqRel);
                self.local.remove(&key);
            }
            Notice::Tag(tag) => {
                self.of_all.fetch_add(1, AcqRel);
                self.local.invalidate_tag(&tag);
            }
            Notice::Matching(pattern) => {
                self.count_all_up();
                self.local.invalidate_matching_now(&pattern);
            }
            Notice::Everything => self.clear(),
        }
    }

    fn count_all_up(&self) {
        self.of_all.fetch_add(1, AcqRel);
        for number in &self.of_keys {
            number.fetch_add(1, AcqRel);
        }
    }

    fn of_key(&self, key: &Key) -> &AtomicU64 {
        let hash = self.hasher.hash_one(key.bytes());
        let at = usize::try_from(hash % NUMBERS as u64).unwrap_or_default();
        &self.of_keys[at]
    }
}
