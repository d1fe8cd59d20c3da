//! What the journal keeps: the state, without its lock.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backlog::{self, Buckets};
use crate::key::{Key, Pattern};
use crate::sabotage::{self, Rule};
use crate::tier::shared::announcement::{Announced, Origin};
use crate::tier::shared::keyspace::Scans;
use crate::tier::shared::selection::Selection;

/// The most names or buckets of one announcement.
pub(super) const ANNOUNCED_TOGETHER: usize = 500;

/// The most names that are chosen together for announcements: to choose, all names are looked at.
const CHOSEN_TOGETHER: usize = 20 * ANNOUNCED_TOGETHER;

/// So many of the announcements that were heard last are known by name.
pub(super) const RECENT: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) names: HashMap<Key, KeptName>,
    /// How many of the names are parked.
    pub(super) parked: usize,
    /// How often all names were unparked, and when they last were.
    pub(super) unparked: u64,
    unparked_at: Option<Instant>,
    /// What the names take of the room.
    bytes: usize,
    /// Patterns, and the buckets of the names for which there was no room.
    pub(super) selection: Selection,
    /// What a replay removes by scans, or has begun to.
    pub(super) replayed: Option<Arc<Selection>>,
    /// Where that replay has got to on each server.
    scans: Scans,
    /// Each time that something is kept has a number.
    pub(super) last_number: u64,
    /// How often another process has asked for what is kept here.
    pub(super) asked: u64,
    /// The number of the last time that something was added to what is selected.
    selection_number: u64,
    /// The value of `asked` at which what is selected was last announced, and one more.
    selection_told: u64,
    /// The announcements that were heard last, the newest last.
    pub(super) recent: VecDeque<Announced>,
}

/// A name that is kept.
#[derive(Debug)]
pub(super) struct KeptName {
    pub(super) number: u64,
    /// The announcement that it was heard in. `None` if its invalidation failed here.
    pub(super) origin: Option<Origin>,
    /// The value of `asked` at which it was last announced or heard, and one more.
    told: u64,
    /// Whether a replay has sent it in vain, while it could invalidate others. It is left out until all
    /// names are unparked.
    pub(super) is_parked: bool,
}

/// A name that a replay sends, as it was when it was chosen.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) name: Key,
    pub(super) number: u64,
    pub(super) origin: Option<Origin>,
}

/// What is announced next.
pub(super) struct Untold {
    pub(super) names: Vec<Key>,
    pub(super) buckets: Vec<u32>,
    /// The texts of patterns.
    pub(super) patterns: Vec<Key>,
    /// The last number when it was chosen.
    pub(super) number: u64,
    /// The value of `told` once it was announced.
    told: u64,
}

impl Kept {
    pub(super) fn add(&mut self, names: &[Key], origin: Option<Origin>, room: usize) {
        self.last_number += 1;
        for name in names {
            let entry = KeptName {
                number: self.last_number,
                origin,
                told: origin.map_or(0, |_| self.asked + 1),
                is_parked: false,
            };
            match self.names.get_mut(name) {
                // What failed here stays, until it was carried out after that, or was announced
                // from here. Another process need not be told of it once more.
                Some(known) if known.origin.is_none() && origin.is_some() => {
                    // The other process may have failed after what is under way for this name now.
                    known.number = entry.number;
                    if known.told > 0 {
                        known.told = known.told.max(entry.told);
                    }
                    continue;
                }
                Some(known) => {
                    self.parked -= usize::from(known.is_parked);
                    *known = entry;
                    continue;
                }
                None => {}
            }
            let bytes = self.bytes + backlog::cost(name);
            if bytes <= room {
                self.bytes = bytes;
                self.names.insert(name.clone(), entry);
            } else if sabotage::keeps(Rule::Overflow) {
                self.selection.buckets.mark(name.bytes());
                self.selection_number = self.last_number;
                self.selection_told = 0;
            }
        }
    }

    pub(super) fn add_buckets(&mut self, buckets: Buckets) {
        if !buckets.are_none() {
            self.last_number += 1;
            self.selection.buckets.merge(buckets);
            self.selection_number = self.last_number;
            self.selection_told = 0;
        }
    }

    pub(super) fn add_pattern(&mut self, pattern: &Pattern) {
        self.last_number += 1;
        self.selection.add(pattern);
        self.selection_number = self.last_number;
        self.selection_told = 0;
    }

    /// Adds what another process has announced. Other processes need not be told of it once more.
    pub(super) fn hear_selection(&mut self, announced: &Announced) {
        if announced.buckets.is_empty() && announced.patterns.is_empty() {
            return;
        }
        if self.selection.is_none() && self.replayed.is_none() {
            self.selection_told = self.asked + 1;
        }
        for &number in &announced.buckets {
            self.selection.buckets.mark_number(number);
        }
        for pattern in &announced.patterns {
            self.selection.add(pattern);
        }
    }

    pub(super) fn remove_if(&mut self, name: &Key, is_meant: impl FnOnce(&KeptName) -> bool) {
        if self.names.get(name).is_some_and(is_meant)
            && let Some(entry) = self.names.remove(name)
        {
            self.parked -= usize::from(entry.is_parked);
            self.bytes -= backlog::cost(name);
        }
    }

    /// Parks names that were sent, unless they were kept once more, or a server was connected to, since.
    pub(super) fn park(&mut self, sent: impl Iterator<Item = Sent>, unparked: u64) {
        for Sent { name, number, .. } in sent {
            if self.unparked == unparked
                && let Some(entry) = self.names.get_mut(&name)
                && entry.number == number
                && !entry.is_parked
            {
                entry.is_parked = true;
                self.parked += 1;
            }
        }
    }

    pub(super) fn unpark_after(&mut self, pause: Duration, now: Instant) {
        let is_due = |at: Instant| now.duration_since(at) >= pause;
        if !self.unparked_at.is_none_or(is_due) {
            return;
        }
        self.unparked_at = Some(now);
        self.unparked += 1;
        if mem::take(&mut self.parked) > 0 {
            for entry in self.names.values_mut() {
                entry.is_parked = false;
            }
        }
    }

    pub(super) fn has_overflowed(&self) -> bool {
        let mut selections = self.selections();
        selections.any(|selection| !selection.buckets.are_none())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.selection.is_none() && self.replayed.is_none()
    }

    /// What is selected, whether or not a replay has begun to remove it.
    fn selections(&self) -> impl Iterator<Item = &Selection> {
        std::iter::once(&self.selection).chain(self.replayed.as_deref())
    }

    pub(super) fn distrusts(&self, key: &Key, tags: &[Key]) -> bool {
        let is_in = |name: &Key| {
            let name = &*name.on_server();
            let mut selections = self.selections();
            self.names.contains_key(name)
                || selections.any(|selection| selection.contains(name.bytes()))
        };
        is_in(key) || tags.iter().any(is_in)
    }

    /// Whether one of the last announcements was about one of these names.
    pub(super) fn has_heard(&self, since: usize, key: &Key, tags: &[Key]) -> bool {
        let mut recent = self.recent.iter().rev().take(since);
        since > RECENT || recent.any(|announced| announced.is_about(key, tags))
    }

    /// What a scan is to remove, and where it goes on. What is added from here on waits for the
    /// next scan.
    pub(super) fn begin_scans(&mut self) -> Option<(Arc<Selection>, Scans)> {
        if self.replayed.is_none() && !self.selection.is_none() {
            self.replayed = Some(Arc::new(mem::take(&mut self.selection)));
            self.scans = Scans::default();
        }
        let replayed = self.replayed.clone()?;
        Some((replayed, mem::take(&mut self.scans)))
    }

    pub(super) fn end_scans(&mut self, selection: &Arc<Selection>, scans: Scans) {
        let current = self.replayed.as_ref();
        if !current.is_some_and(|current| Arc::ptr_eq(current, selection)) {
            return;
        }
        if scans.is_done() {
            self.replayed = None;
        } else {
            self.scans = scans;
        }
    }

    /// Some of what was not announced since another process asked: names, or all that is selected.
    pub(super) fn untold(&self) -> Untold {
        let told = self.asked + 1;
        let names = self.names.iter().filter(|(_, entry)| entry.told < told);
        let names: Vec<Key> = names
            .map(|(name, _)| name.clone())
            .take(CHOSEN_TOGETHER)
            .collect();
        let (mut buckets, mut patterns) = (Vec::new(), Vec::new());
        if names.is_empty() && self.selection_told < told {
            for selection in self.selections() {
                buckets.extend(selection.buckets.numbers());
                patterns.extend(selection.texts());
            }
        }
        Untold {
            names,
            buckets,
            patterns,
            number: self.last_number,
            told,
        }
    }

    /// What was kept once more meanwhile is still untold.
    pub(super) fn has_told(&mut self, names: &[Key], untold: &Untold) {
        for name in names {
            if let Some(entry) = self.names.get_mut(name)
                && entry.number <= untold.number
            {
                entry.told = entry.told.max(untold.told);
            }
        }
        let has_selection = !untold.buckets.is_empty() || !untold.patterns.is_empty();
        if has_selection && self.selection_number <= untold.number {
            self.selection_told = untold.told;
        }
    }
}
