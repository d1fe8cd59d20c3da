//! The removal of all entries that match a pattern, and their number.

use std::future::poll_fn;
use std::task::Poll;

use super::Local;
use super::table::Table;
use crate::clock::Clock;
use crate::key::Pattern;
use crate::removal::Removal;

/// After so many entries, other tasks run.
const LOOKED_AT_A_TIME: u64 = 10_000;

/// Removes entries, shard by shard. What is left is removed when it is dropped: its caller may give up.
pub(super) struct Walk<'a> {
    table: &'a Table,
    clock: &'a Clock,
    pattern: &'a Pattern,
    /// The next shard.
    shard: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(table: &'a Table, clock: &'a Clock, pattern: &'a Pattern) -> Self {
        Self {
            table,
            clock,
            pattern,
            shard: 0,
        }
    }

    pub(super) async fn walk(mut self, removal: &Removal<'_>) {
        let mut since = 0;
        while let Some((looked_at, removed)) = self.next() {
            removal.add(looked_at, removed);
            since += looked_at;
            if since >= LOOKED_AT_A_TIME {
                since = 0;
                let_others_run().await;
            }
        }
    }

    /// Removes what matches in the next shard. Returns how many entries were there, and how many of those
    /// that were alive are removed.
    fn next(&mut self) -> Option<(u64, u64)> {
        let now = self.clock.now();
        let is_meant = |key: &[u8]| self.pattern.matches_bytes(key);
        let found = self.table.remove_in(self.shard, now, is_meant)?;
        self.shard += 1;
        Some(found)
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        while self.next().is_some() {}
    }
}

impl Local {
    /// How many entries there are that match a pattern.
    pub(crate) async fn count_matching(&self, pattern: &Pattern) -> u64 {
        let mut count = 0;
        for shard in 0..self.entries.shards() {
            let is_meant = |key: &[u8]| pattern.matches_bytes(key);
            count += self.entries.count_in(shard, self.clock.now(), is_meant);
            let_others_run().await;
        }
        count as u64
    }
}

async fn let_others_run() {
    let mut is_second = false;
    poll_fn(|context| {
        if is_second {
            return Poll::Ready(());
        }
        is_second = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
