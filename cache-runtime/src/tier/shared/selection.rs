//! Names that a scan finds, since nothing lists them: those in some buckets, and those that match
//! patterns.
//!
//! # Why no read that begins after the scan gets data from before it
//!
//! A scan (`SCAN`) returns each key that is there from its beginning to its end, also if the key is written
//! meanwhile. It may leave out a key that is removed and comes back. All that it returns and that is
//! selected is removed, slots and versions, but for fences. So take what is in the slot or version of a
//! selected name when the scan begins:
//!
//! * *An entry.* If its slot is not emptied until the scan reaches it, it is removed then, or what has
//!   replaced it is.
//! * *A lease.* The same. Its load began before the scan, and fills by compare-and-set: if the scan came
//!   first, the lease is gone, and nothing is stored; if the fill came first, the slot held something all
//!   the time, and the scan removes the entry.
//! * *An entry that a refresh or a `set` is about to replace.* The same, with the entry's mark in the place
//!   of the lease.
//! * *A version.* If it is removed, by the scan or before, what carries it is not served any more: the
//!   next version is drawn at random. A load that read it before stores an entry that is not served.
//! * *Nothing.* What comes into the slot is a lease that was taken after the scan began, and its load began
//!   later still, so it read what was committed before the invalidation. A load without a lease stores
//!   nothing. A version that is drawn now is that of such a load. A command of a `set` that has given
//!   up and arrives late leaves a lease, and no fill follows it.
//! * *A fence.* Nothing is stored behind it.
//!
//! If a slot is emptied and filled again while the scan runs, so that the scan misses it, what is in it is
//! again of a load that began after the scan did.
//!
//! In a process, the flights of selected names are not forgotten. They need not be: a caller that comes
//! later looks at the server first, and boards only the load whose lease, with the same versions, it has
//! seen there.
//!
//! A server that was replaced by another one meanwhile lists its keys, too. So the last request of a scan
//! is a write, which a replica refuses. In a cluster, all nodes are scanned twice (a key on its way from
//! one node to another may be missed once), and the whole is begun anew if hash slots have moved
//! meanwhile.

use super::notice::Notice;
use crate::backlog::Buckets;
use crate::key::{Key, Pattern};

/// The most patterns that are kept. While some are, each read compares its names with all of them.
const MOST_PATTERNS: usize = 64;

#[derive(Debug, Default, Clone)]
pub(crate) struct Selection {
    pub(crate) buckets: Buckets,
    patterns: Vec<Pattern>,
}

impl Selection {
    pub(crate) fn of(pattern: Pattern) -> Self {
        Self {
            buckets: Buckets::default(),
            patterns: vec![pattern],
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        self.buckets.are_none() && self.patterns.is_empty()
    }

    /// Adds what a pattern matches. Where there is no room for it, the pattern that begins most like it
    /// is widened until it matches that too.
    pub(crate) fn add(&mut self, pattern: &Pattern) {
        if self.patterns.contains(pattern) {
            return;
        }
        if self.patterns.len() < MOST_PATTERNS {
            self.patterns.push(pattern.clone());
            return;
        }
        let like_it = |kept: &&mut Pattern| kept.shared_start(pattern);
        if let Some(kept) = self.patterns.iter_mut().max_by_key(like_it) {
            *kept = kept.widened(pattern);
        }
    }

    pub(crate) fn contains(&self, name: &[u8]) -> bool {
        self.buckets.contain(name) || self.matches(name)
    }

    /// Whether a pattern matches this name.
    fn matches(&self, name: &[u8]) -> bool {
        let mut patterns = self.patterns.iter();
        patterns.any(|pattern| pattern.matches_bytes(name))
    }

    pub(crate) fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// What processes that keep copies are told once it is removed.
    pub(super) fn notices(&self) -> Vec<Notice> {
        if self.buckets.are_none() {
            let matching = self.patterns.iter().cloned().map(Notice::Matching);
            matching.collect()
        } else {
            vec![Notice::Everything]
        }
    }

    /// The texts of the patterns, as they are announced.
    pub(super) fn texts(&self) -> impl Iterator<Item = Key> {
        self.patterns.iter().map(|pattern| pattern.text().clone())
    }

    /// A pattern in the language of Redis that matches at least these names.
    pub(crate) fn glob(&self) -> String {
        match &*self.patterns {
            [pattern] if self.buckets.are_none() => pattern.glob(),
            _ => "*".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_without_room_widens_the_one_that_is_most_like_it() {
        let mut selection = Selection::default();
        for i in 0..MOST_PATTERNS {
            for _ in 0..2 {
                selection.add(&format!("{i}:x:*").into());
            }
        }
        assert_eq!(selection.patterns.len(), MOST_PATTERNS);
        assert!(!selection.contains(b"7:y:1"));
        selection.add(&"7:y:*".into());
        assert_eq!(selection.patterns.len(), MOST_PATTERNS);
        assert!(selection.contains(b"7:y:1") && selection.contains(b"7:x:1"));
        assert!(selection.contains(b"8:x:1") && !selection.contains(b"8:y:1"));
    }

    #[test]
    fn one_pattern_is_looked_for_by_the_server() {
        let mut selection = Selection::of("user:*".into());
        assert_eq!(selection.glob(), "user:*");
        selection.add(&"post:*".into());
        assert_eq!(selection.glob(), "*");
        let mut selection = Selection::of("user:*".into());
        selection.buckets.mark(b"post:7");
        assert_eq!(selection.glob(), "*");
        assert!(selection.contains(b"post:7") && selection.contains(b"user:7"));
    }
}
