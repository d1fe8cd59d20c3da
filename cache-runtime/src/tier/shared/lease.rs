//! The right to fill one slot, once: by replacing a lease or, for a refresh, the entry that is served
//! until then.

use std::convert::Infallible;
use std::process;
use std::time::Duration;

use tokio::runtime::Handle;

use super::entry::{Entry, Mark};
use super::hold::Hold;
use super::witness::Witness;
use crate::clock;
use crate::join;
use crate::key::Key;
use crate::sabotage::{self, Rule};
use crate::tier::Evidence;
use crate::unique;

/// Whose leases are this cache's: a number that was drawn at random for the cache, and the process.
#[derive(Debug)]
pub(super) struct Owner(u64);

impl Owner {
    pub(super) fn new() -> Self {
        Self(unique::number())
    }

    /// The owner that this process writes into its leases. A forked process has a copy of the cache
    /// and none of its loads, so it must not take a lease of its parent for one that no load holds.
    ///
    /// The copies of a virtual machine cannot be told apart: one may replace the lease of another.
    /// That costs a load, and the fill of the other is refused.
    pub(super) fn here(&self) -> u64 {
        if sabotage::keeps(Rule::Forks) {
            self.0 ^ u64::from(process::id())
        } else {
            self.0
        }
    }
}

/// The right to fill one slot, once.
#[derive(Debug)]
pub(crate) struct Lease {
    /// With which bytes it, or the entry that it stands for, begins.
    pub(super) mark: Mark,
    pub(super) hold: Hold,
    /// The lock under which an entry that is served meanwhile is refreshed.
    pub(super) lock: Option<Hold>,
    /// The connection over which it was taken. The entry names the server behind it.
    pub(super) witness: Witness,
    /// The tags, with the versions that they had before the load.
    pub(super) tags: Vec<Key>,
    pub(super) versions: Vec<u64>,
    /// The same tags, where only the value tells all of them: as those of a look.
    pub(super) asked: Option<Vec<Key>>,
}

/// What a caller saw with a lease.
#[derive(Debug)]
pub(crate) struct LeaseEvidence {
    pub(super) seen: LeaseSeen,
    /// The lease itself, if it is this process's.
    pub(super) lease: Option<Lease>,
}

/// What an invalidation would have changed. No version is absent: invalidating a tag without a
/// version changes nothing.
#[derive(Debug, PartialEq)]
pub(super) struct LeaseSeen {
    pub(super) mark: Mark,
    pub(super) epoch: u64,
    /// As those of a look.
    pub(super) tags: Option<Vec<Key>>,
    pub(super) versions: Vec<u64>,
}

impl PartialEq for LeaseEvidence {
    fn eq(&self, other: &Self) -> bool {
        self.seen == other.seen
    }
}

impl Lease {
    /// The slot that it is the right to fill.
    pub(super) fn slot(&self) -> &str {
        &self.hold.slot
    }

    /// What its caller saw, with the lease.
    pub(super) fn into_evidence(self) -> Evidence {
        let seen = LeaseSeen {
            mark: self.mark,
            epoch: self.witness.epoch(),
            tags: self.asked.clone(),
            versions: self.versions.clone(),
        };
        let lease = Some(self);
        Evidence::Shared(Box::new(LeaseEvidence { seen, lease }))
    }
}

impl Evidence {
    /// Whether each tag of an entry is among those that this evidence has the versions of.
    pub(crate) fn covers(&self, entry: &Entry) -> bool {
        let tags = match self {
            Self::Shared(evidence) => evidence.seen.tags.as_deref(),
            Self::Local(_) => None,
        };
        let has = |tags: &[Key], tag| tags.iter().any(|it| it.as_str() == tag);
        tags.is_none_or(|tags| entry.has_tags(tags) || entry.tags().all(|(tag, _)| has(tags, tag)))
    }

    pub(super) fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Shared(evidence) => evidence.lease.as_ref(),
            Self::Local(_) => None,
        }
    }
}

/// Renews leases for as long as it is polled, up to `limit`.
pub(super) async fn renew(leases: &[&Lease], limit: Duration) -> Infallible {
    let mut groups: Vec<(Witness, Vec<&Hold>)> = Vec::new();
    let mut shortest = None::<Duration>;
    for lease in leases {
        for hold in std::iter::once(&lease.hold).chain(&lease.lock) {
            if !hold.is_entry() {
                shortest = Some(shortest.map_or(hold.duration, |it| it.min(hold.duration)));
                Witness::group(&mut groups, &lease.witness, hold);
            }
        }
    }
    let pause = (shortest.unwrap_or_default() / 3).max(Duration::from_millis(1));
    let mut renewed = Duration::ZERO;
    // Without a runtime there is no server.
    while !groups.is_empty() && renewed < limit && Handle::try_current().is_ok() {
        clock::pause(pause).await;
        renewed += pause;
        let requests = groups.iter().map(|(witness, holds)| async move {
            let renewals = holds.iter().map(|hold| hold.renewal());
            // A renewal that fails is followed by another, or the lease expires.
            let connector = holds.first().map(|hold| &hold.connector)?;
            connector.run_over(witness, renewals.collect()).await.ok()
        });
        join::all(requests).await;
    }
    std::future::pending().await
}
