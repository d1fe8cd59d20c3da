//! Invalidations, and what the journal keeps of them.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::connector::Connector;
use super::selection::Selection;
use crate::clock;
use crate::error::Error;
use crate::key::{Key, Pattern, on_server};
use crate::removal::Removal;
use crate::sabotage::{self, Rule};
use crate::tier::{Store as _, Waiting};

/// How often a flush makes sure that a keeper runs.
const FLUSH_PAUSE: Duration = Duration::from_millis(100);

impl Shared {
    /// Invalidates names. What fails, or is dropped half-way, is kept in the journal.
    pub(super) async fn invalidate_names(&self, names: &[Key]) -> Result<(), Error> {
        // Declared first, and so dropped last: the names are in the journal by then.
        let _kept = EnsureKeeper(&self.connector);
        let names = on_server(names);
        let mut under_way = self.connector.journal.begin(&names);
        let span = self.span("invalidate", "EVAL", None);
        let invalidated = self.connector.invalidate(&mut under_way);
        let invalidated = Self::in_span(span, invalidated).await;
        if !sabotage::keeps(Rule::Journal) {
            under_way.carried_out(names.len());
        }
        drop(under_way);
        if let Err(error) = &invalidated
            && error.is_refused()
            && sabotage::keeps(Rule::Publish)
        {
            self.connector.announce().await;
        }
        invalidated
    }

    /// Invalidates all names that match a pattern. If it fails, or is dropped half-way, the pattern is kept
    /// in the journal.
    pub(super) async fn remove_matching(
        &self,
        pattern: &Pattern,
        removal: &Removal<'_>,
    ) -> Result<(), Error> {
        // Declared first, and so dropped last: the pattern is in the journal by then.
        let _kept = EnsureKeeper(&self.connector);
        let under_way = self.connector.journal.begin_pattern(pattern);
        let selection = Selection::of(pattern.clone());
        let span = self.span("invalidate", "SCAN", None);
        let removed = self.connector.remove(&selection, removal);
        let removed = Self::in_span(span, removed).await;
        if removed.is_ok() || !sabotage::keeps(Rule::Journal) {
            under_way.carried_out();
        } else {
            drop(under_way);
        }
        if let Err(error) = &removed
            && error.is_refused()
            && sabotage::keeps(Rule::Publish)
        {
            self.connector.announce().await;
        }
        removed
    }

    /// Waits until the journal is empty, at most for `limit`.
    pub(super) async fn flush_journal(&self, limit: Duration) -> Result<(), Error> {
        let emptied = async {
            self.connector.ensure_keeper();
            // The keeper may die with the runtime that it was spawned on.
            while clock::within(FLUSH_PAUSE, self.connector.journal.emptied())
                .await
                .is_none()
            {
                self.connector.ensure_keeper();
            }
        };
        if clock::within(limit, emptied).await.is_some() {
            return Ok(());
        }
        let reason = match self.status().error() {
            Some(error) => error.to_string(),
            None => format!("not all were carried out within {limit:?}"),
        };
        Err(self.still_kept(&reason))
    }

    fn still_kept(&self, reason: &dyn std::fmt::Display) -> Error {
        let waiting = self.waiting();
        let names = match waiting {
            Waiting {
                names,
                has_overflowed: true,
                ..
            } => format!("more than {names}"),
            Waiting { names, .. } => names.to_string(),
        };
        Error::kept(self.connector.address(), &names, reason)
    }
}

/// When dropped, starts a keeper for what an invalidation left in the journal.
struct EnsureKeeper<'a>(&'a Arc<Connector>);

impl Drop for EnsureKeeper<'_> {
    fn drop(&mut self) {
        if !self.0.journal.is_empty() {
            self.0.ensure_keeper();
        }
    }
}
