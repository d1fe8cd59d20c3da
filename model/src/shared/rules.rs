//! The rules, each of which can be left out.

use super::config::{Config, KEY, TAG};

rules! {
    /// An invalidation removes what is in the slot.
    SlotIsUnlinked => |it| it.tags(0).readers([0]).writer(KEY),
    /// An invalidation moves the version on.
    VersionIsMovedOn => |it| it.readers([0]).writer(TAG),
    /// An invalidation follows the commit.
    InvalidationFollowsTheCommit => |it| it.tags(0).readers([0]).writer(KEY),
    /// After an error, or a caller that gave up, the invalidation is repeated once all is settled.
    ErrorsAreSettled => |it| it.tags(0).readers([0]).failing_writer(KEY),
    /// Where there is no memory for an increment, the version is unlinked.
    RefusedVersionIsUnlinked => |it| it.readers([0]).writer(TAG).faults(|f| f.refusals = 1),

    /// A fill replaces the lease it was loaded under, and nothing else.
    FillComparesLease => |it| it.tags(0).readers([0]).writer(KEY),
    /// A fill goes over the connection that the lease was taken on.
    FillUsesItsConnection => |it| it.readers([0]).writer(TAG).faults(|f| {
        f.snapshots = 1;
        f.restarts = 1;
    }),
    /// The versions are read before the load begins.
    VersionsAreReadBeforeTheLoad => |it| it.readers([0]).writer(TAG),
    /// The first version of a tag is a random number.
    FirstVersionIsRandom => |it| it.readers([0, 0]).writer(TAG).faults(|f| f.losses = 1),
    /// An absent version makes an entry invalid.
    AbsentIsInvalid => |it| it.readers([0]).writer(TAG).faults(|f| f.losses = 1),
    /// An entry names its server, and is served through no other.
    EntryNamesItsServer => |it| it.readers([0]).writer(TAG).faults(|f| {
        f.snapshots = 1;
        f.restarts = 1;
    }),
    /// In a cluster, an entry names the servers of its versions too.
    EntryNamesEveryServer => |it| it.cluster().readers([0]).writer(TAG).faults(|f| {
        f.snapshots = 1;
        f.restarts = 1;
    }),
    /// A lease is put over a dead entry only if that is still the one seen.
    TakeoverComparesStamp => |it| {
        it.readers([0, 0])
            .writer(TAG)
            .fenced_writer(KEY)
            .faults(|f| f.crashes = 1)
    },
    /// A lease is given back only if it still stands.
    ReleaseComparesLease => |it| {
        it.tags(0).readers([0, 0]).fenced_writer(KEY).faults(|f| {
            f.crashes = 1;
            f.cancels = 1;
        })
    },
    /// A lease is put into a slot only if that is still empty.
    LeaseIsExclusive => |it| it.tags(0).readers([0, 1]).one_load(),

    /// A caller boards a load that has begun only if it saw what the leader saw.
    BoardingAsksForEvidence => |it| it.readers([0, 0]).writer(TAG),
    /// A caller boards only a load under the lease that it saw.
    BoardingComparesLease => |it| it.tags(0).readers([0, 0, 1]).writer(KEY),
    /// A caller boards only a load with the versions that it saw.
    BoardingComparesVersions => |it| it.readers([0, 0]).writer(TAG),
    /// A caller boards only a load on the server that it saw.
    BoardingComparesEpoch => |it| it.readers([0, 0]).writer(TAG).faults(|f| {
        f.snapshots = 1;
        f.restarts = 1;
    }),
    /// Two callers who saw that a version is absent have nothing in common.
    AbsentIsNoEvidence => |it| it.readers([0, 0, 1]).writer(TAG).faults(|f| f.patience = 1),
    /// Without the store, callers share only a load that has not begun.
    DegradedShareUnbegunOnly => |it| it.tags(0).readers([0, 0]).writer(KEY).faults(|f| {
        f.outages = 2;
    }),
    /// A leader that is dropped hands its flight to a waiter.
    DroppedLeaderHandsOver => |it| it.tags(0).readers([0, 0]).faults(|f| f.cancels = 1),

    /// A fence joins the one that is there.
    FenceIsJoined => |it| {
        it.tags(0).readers([0]).fenced_writer(KEY).fenced_writer(KEY).faults(|f| f.crashes = 1)
    },
    /// A fence goes when the last writer leaves it.
    LastOneOutRemovesFence => |it| {
        it.tags(0).readers([0]).fenced_writer(KEY).fenced_writer(KEY).faults(|f| f.crashes = 1)
    },
    /// After an error, or a caller that gave up, a fence is left to expire.
    FenceOutlastsAnError => |it| {
        it.tags(0).readers([0]).failing_fenced_writer(KEY).faults(|f| f.crashes = 1)
    },
    /// An invalidation leaves fences alone.
    InvalidationKeepsFences => |it| {
        it.tags(0).readers([0]).writer(KEY).fenced_writer(KEY).faults(|f| f.crashes = 1)
    },
    /// Under a fence, nothing is stored.
    NothingIsStoredUnderFence => |it| {
        it.tags(0).readers([0]).fenced_writer(KEY).faults(|f| f.crashes = 1)
    },

    /// A refresh replaces the entry that was seen, and nothing else.
    RefreshComparesStamp => |it| it.tags(0).readers([0, 0]).refreshing().writer(KEY),
    /// A refresh reads the versions before its load begins.
    RefreshReadsVersionsBeforeTheLoad => |it| it.readers([0, 0]).refreshing().writer(TAG),

    /// An invalidation that failed is kept, and replayed.
    FailedInvalidationIsKept => |it| it.tags(0).readers([0]).writer(KEY).faults(|f| f.outages = 1),
    /// Until it is replayed, its names are distrusted in its process.
    FailedNameIsDistrusted => |it| it.tags(0).readers([0, 0]).writer(KEY).faults(|f| f.outages = 1),
    /// Whether a name is distrusted is asked before the look, not after it.
    DistrustIsAskedBeforeTheLook => |it| {
        it.tags(0).readers([0, 0]).writer(KEY).faults(|f| f.outages = 1)
    },
}
