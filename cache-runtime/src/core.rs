//! What all handles of a cache share: its tier, its settings, and what it observes.

use std::sync::Arc;
use std::time::Duration;

use crate::codec::Codec;
use crate::error::Error;
use crate::key::{Key, Pattern};
use crate::observe::{Event, Observer};
use crate::refreshes::Refreshes;
use crate::removal::{Removal, Removed};
use crate::tier::{Store as _, Tier};
use crate::toolkit::{Memory, Waits};
use crate::unsettled::Unsettled;

/// What all handles of a cache share.
#[derive(Debug)]
pub struct Core {
    pub(crate) tier: Tier,
    pub(crate) settings: Settings,
    pub(crate) observer: Observer,
    /// Names of updates of unknown outcome.
    pub(crate) unsettled: Unsettled,
    /// Refreshes that are under way, and keys that are not refreshed for a while.
    pub(crate) refreshes: Refreshes,
    /// What the toolkit keeps, without a server.
    pub(crate) memory: Memory,
    /// What waits for locks.
    pub(crate) lock_waits: Waits,
}

/// The settings that calls ask for.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) default_ttl: Duration,
    /// How long this process keeps copies of what a server holds, where a function does not say; zero for
    /// not at all.
    pub(crate) local_ttl: Duration,
    pub(crate) codec: Codec,
    /// Whether what is stored on a server is decoded once more, and compared.
    pub(crate) check_values: bool,
    pub(crate) jitter: f64,
    pub(crate) op_timeout: Duration,
    pub(crate) lease_wait: Duration,
    pub(crate) load_limit: Duration,
    /// For how long callers wait for a load that is not woken; without it, that depends on how long
    /// the loads of a function usually take.
    pub(crate) hedge: Option<Duration>,
    /// For how long a refresh that failed is not tried again, where its function does not say it.
    pub(crate) retry_after: Duration,
}

impl Settings {
    /// How long a caller that cannot use the store waits for others to share a load with.
    pub(crate) fn share_wait(&self) -> Duration {
        self.op_timeout / 2
    }
}

impl Core {
    /// Invalidates names. If that fails, the names are kept, and their invalidation is repeated.
    pub(crate) async fn invalidate(&self, names: &[Key]) -> Result<(), Error> {
        if names.is_empty() {
            return Ok(());
        }
        let invalidated = self.tier.invalidate(names).await;
        let event = match &invalidated {
            Ok(()) => Event::Invalidate { names },
            Err(error) => Event::NotInvalidated { names, error },
        };
        self.observer.observe(None, event);
        invalidated
    }

    /// Invalidates all names that match a valid pattern, and returns how many entries were removed. If that
    /// fails, the pattern is kept, and this is repeated.
    pub(crate) async fn invalidate_matching(
        &self,
        pattern: &Pattern,
        tell: &mut (dyn FnMut(Removed) + Send),
    ) -> Result<u64, Error> {
        let removal = Removal::new(tell);
        let invalidated = self.tier.invalidate_matching(pattern, &removal).await;
        let entries = removal.removed().entries;
        let event = match &invalidated {
            Ok(()) => Event::InvalidateMatching { pattern, entries },
            Err(error) => Event::NotInvalidatedMatching { pattern, error },
        };
        self.observer.observe(None, event);
        invalidated.map(|()| entries)
    }

    /// As [`invalidate_valid`](Self::invalidate_valid), for an annotated function, whose caller does not see
    /// the cache's errors. Returns whether the invalidation was carried out.
    pub(crate) async fn invalidate_or_report(&self, names: &[Key]) -> bool {
        self.invalidate_valid(names).await.is_ok()
    }

    /// Invalidates those of the names that are valid.
    pub(crate) async fn invalidate_valid(&self, names: &[Key]) -> Result<(), Error> {
        self.invalidate(&valid(names)).await
    }

    /// Invalidates names if that takes no waiting; whether it did.
    pub(crate) fn invalidate_now(&self, names: &[Key]) -> bool {
        let names = &valid(names);
        let invalidated = self.tier.invalidate_now(names);
        if invalidated && !names.is_empty() {
            self.observer.observe(None, Event::Invalidate { names });
        }
        invalidated
    }

    /// Invalidates names as soon as that can be done, for a caller that cannot wait.
    pub(crate) fn invalidate_later(&self, names: &[Key]) {
        let names = &valid(names);
        if !names.is_empty() && !self.invalidate_now(names) {
            self.observer
                .observe(None, Event::InvalidateLater { names });
            self.tier.invalidate_later(names);
        }
    }

    /// Reports a failed operation of the API by hand.
    pub(crate) fn failed<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            self.observer.observe(None, Event::Fail { error });
        }
        result
    }

    /// Whether this is the same cache.
    pub(crate) fn is(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(self, other)
    }
}

/// Under an invalid name there is no entry, and nothing to invalidate.
fn valid(names: &[Key]) -> Vec<Key> {
    let valid = names.iter().filter(|name| name.check().is_ok());
    valid.cloned().collect()
}
