//! Guards of invalidations that are on their way: what is not carried out when one is dropped is kept.

use std::sync::atomic::Ordering;

use super::Journal;
use crate::key::{Key, Pattern};

/// An invalidation on its way to the server. If it is dropped before it was carried out, its names
/// are kept.
#[derive(Debug)]
pub(crate) struct UnderWay<'a> {
    pub(super) journal: &'a Journal,
    pub(super) names: &'a [Key],
}

/// A pattern on its way to the servers. If this is dropped before all of them have carried it out, it is
/// kept.
#[derive(Debug)]
pub(crate) struct PatternUnderWay<'a> {
    pub(super) journal: &'a Journal,
    pub(super) pattern: Option<&'a Pattern>,
}

impl UnderWay<'_> {
    /// The first names were carried out.
    pub(crate) fn carried_out(&mut self, count: usize) {
        self.names = self.names.get(count..).unwrap_or_default();
    }

    /// Of the first names, these were carried out by some of their servers only: they are kept.
    pub(crate) fn keep(&mut self, names: &[Key]) {
        self.journal.keep(names);
    }

    /// The names that were not carried out yet.
    pub(crate) fn names(&self) -> &[Key] {
        self.names
    }
}

/// What is left failed, or was dropped: it may have been carried out or not.
impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.journal.keep(self.names);
        self.journal.under_way.fetch_sub(1, Ordering::Release);
        self.journal.less.notify_waiters();
    }
}

impl PatternUnderWay<'_> {
    /// All servers have carried it out.
    pub(crate) fn carried_out(mut self) {
        self.pattern = None;
    }
}

/// As with names: without the word of all servers, it is kept.
impl Drop for PatternUnderWay<'_> {
    fn drop(&mut self) {
        if let Some(pattern) = self.pattern {
            self.journal.keep_pattern(pattern);
        }
        self.journal.under_way.fetch_sub(1, Ordering::Release);
        self.journal.less.notify_waiters();
    }
}
