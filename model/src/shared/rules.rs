//! The rules. Each can be left out.

use super::config::{Config, KEY, TAG};

rules! {
    /// An invalidation removes what is in the slot.
    SlotIsUnlinked => |it| it.tags(0).readers([0]).writer(KEY),
    /// An invalidation moves the version on.
    VersionIsMovedOn => |it| it.readers([0]).writer(TAG),
    /// An invalidation follows the commit.
    InvalidationFollowsTheCommit => |it| it.tags(0).readers([0]).writer(KEY),
    /// After an error, or a caller that gave up, the invalidation is repeated once the commit has landed or failed.
    ErrorsAreSettled => |it| it.tags(0).readers([0]).failing_writer(KEY),
    /// If the server has no memory for an increment, the version is unlinked.
    RefusedVersionIsUnlinked => |it| it.readers([0]).writer(TAG).faults(|f| f.refusals = 1),

    /// A fill replaces the lease it was loaded under, and nothing else.
    FillComparesLease => |it| it.tags(0).readers([0]).writer(KEY),
    /// A value that is set by hand replaces what its first command saw or left, and nothing else.
    SetComparesWhatItSaw => |it| it.tags(0).readers([0]).writer(KEY).setter(),
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
    /// A request that the owner of a moving slot refers to another server stores nothing there.
    ReferredStoresNothing => |it| it.cluster().tags(0).readers([0]).writer(KEY).faults(|f| {
        f.moves = 2;
        f.aborts = 1;
    }),
    /// A lease replaces a dead entry only if it is still the entry that was seen.
    TakeoverComparesStamp => |it| {
        it.readers([0, 0])
            .writer(TAG)
            .fenced_writer(KEY)
            .faults(|f| f.crashes = 1)
    },
    /// A release removes its own lease only.
    ReleaseComparesLease => |it| {
        it.tags(0).readers([0, 0]).fenced_writer(KEY).faults(|f| {
            f.crashes = 1;
            f.cancels = 1;
        })
    },
    /// A lease is put only into a slot that is still empty.
    LeaseIsExclusive => |it| it.tags(0).readers([0, 1]).one_load(),

    /// A caller boards a load that has begun only with the evidence that the leader has.
    BoardingAsksForEvidence => |it| it.readers([0, 0]).writer(TAG),
    /// A caller boards only a load under the lease that it saw.
    BoardingComparesLease => |it| it.tags(0).readers([0, 0, 1]).writer(KEY),
    /// A caller boards only a load with the versions that it saw.
    BoardingComparesVersions => |it| it.readers([0, 0]).writer(TAG),
    /// A caller boards only a load on the server that it saw.
    BoardingComparesEpoch => |it| it.cluster().readers([0, 0]).writer(TAG).faults(|f| {
        f.snapshots = 1;
        f.restarts = 1;
    }),
    /// That a version is absent is no evidence.
    AbsentIsNoEvidence => |it| it.readers([0, 0, 1]).writer(TAG).faults(|f| f.patience = 1),
    /// A value that lands is for the callers of the other attempts too.
    LandedValueIsForAllAttempts => |it| it.tags(0).readers([0, 0]).faults(|f| f.hangs = 1),
    /// While the newest load of a flight is set aside, a waiter begins one more.
    SetAsideLoadIsSucceeded => |it| it.tags(0).readers([0, 0]).faults(|f| f.stops = 1),
    /// So does a waiter while a caller that stores the value is set aside.
    SetAsideWhileItStores => |it| it.tags(0).readers([0, 0]).faults(|f| f.stops = 1),
    /// While the newest load of a flight hangs, a waiter begins one more.
    HungLoadIsHedged => |it| it.tags(0).readers([0, 0]).faults(|f| f.hangs = 1),
    /// Only one of the waiters begins one more load.
    OneWaiterSucceeds => |it| it.tags(0).readers([0, 0, 0]).one_load().faults(|f| f.stops = 1),
    /// Each waiter may be the one that begins one more load: none is chosen, since it may be set aside.
    AnyWaiterSucceeds => |it| it.tags(0).readers([0, 0, 0]).faults(|f| {
        f.cancels = 1;
        f.stops = 1;
    }),
    /// A flight whose leader is set aside before its load has begun is dissolved.
    BoardingFlightIsDissolved => |it| it.tags(0).readers([0, 0]).faults(|f| f.stops = 1),
    /// After a load that failed, the waiters load in waves, and not all at once.
    FailingLoadsComeInWaves => |it| it.tags(0).readers([0, 0, 0]).one_load().faults(|f| f.errors = 1),
    /// A load that was taken over from does not hold back the error of the load that took over.
    StalledAttemptHoldsBackNoError => |it| {
        it.tags(0).readers([0, 0, 0]).sharing_errors().faults(|f| {
            f.hangs = 1;
            f.errors = 1;
        })
    },
    /// A flight that failed is not boarded: its error is only for those that waited.
    ErrorEndsItsFlight => |it| it.tags(0).readers([0, 0]).sharing_errors().faults(|f| f.errors = 1),

    /// A lease of this process is replaced at once if its load cannot be boarded.
    OwnLeaseIsReplaced => |it| it.tags(0).readers([0, 0]).faults(|f| f.stops = 1),
    /// A flight that ends before its load has begun puts back the flight that it replaced.
    FlightThatDidNotBeginPutsBackItsPrevious => |it| it.tags(0).readers([0, 0]).one_load(),
    /// A flight is forgotten and left in one step: between two, it could be put back.
    FlightEndsInOneStep => |it| it.tags(0).readers([0, 0]),
    /// A lease of another epoch is replaced at once.
    LeaseOfAnotherEpochIsReplaced => |it| it.tags(0).readers([0, 1]).faults(|f| {
        f.snapshots = 1;
        f.restarts = 1;
        f.stops = 1;
    }),
    /// A lease replaces a dead lease only if it is still the lease that was seen.
    TakeoverComparesLease => |it| {
        it.tags(0).readers([0, 0]).fenced_writer(KEY).faults(|f| {
            f.crashes = 1;
            f.cancels = 1;
        })
    },
    /// Another process's lease is watched for a limited time only.
    WatchingIsBounded => |it| it.tags(0).readers([0, 1]).faults(|f| f.stops = 1),

    /// Without the store, callers share only a load that has not begun.
    DegradedShareUnbegunOnly => |it| it.tags(0).readers([0, 0]).writer(KEY).faults(|f| {
        f.outages = 2;
    }),
    /// A leader that is dropped hands its flight to a waiter.
    DroppedLeaderHandsOver => |it| it.tags(0).readers([0, 0]).faults(|f| f.cancels = 1),

    /// A writer joins the fence that is there.
    FenceIsJoined => |it| {
        it.tags(0).readers([0]).fenced_writer(KEY).fenced_writer(KEY).faults(|f| f.crashes = 1)
    },
    /// A fence is removed when its last writer leaves.
    LastOneOutRemovesFence => |it| {
        it.tags(0).readers([0]).fenced_writer(KEY).fenced_writer(KEY).faults(|f| f.crashes = 1)
    },
    /// After an error, or a caller that gave up, the fence is left to expire.
    FenceOutlastsAnError => |it| {
        it.tags(0).readers([0]).failing_fenced_writer(KEY).faults(|f| f.crashes = 1)
    },
    /// An invalidation does not remove fences.
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

    /// Where only the value tells its tags, it is stored only if their versions were read before the load.
    TagsAreReadBeforeTheLoad => |it| {
        it.tags_from_the_value([TAG]).readers([0]).writer_of_value()
    },
    /// A look compares the versions of all tags that an entry carries, also those that it did not ask for.
    AllTagsOfAnEntryAreCompared => |it| {
        it.tags_from_the_value([TAG]).remembering(1, TAG).readers([0, 1]).writer_of_value()
    },
    /// A waiter that came after the load had begun takes its value only if it saw the versions of all
    /// tags of the value.
    LateWaiterAsksForTags => |it| {
        it.tags_from_the_value([TAG]).readers([0, 0]).writer_of_value()
    },
    /// So does a waiter that has begun a load of its own.
    LateAttemptAsksForTags => |it| {
        it.tags_from_the_value([TAG]).readers([0, 0]).writer_of_value().faults(|f| f.stops = 1)
    },
    /// A flight whose value is for no later caller is not boarded.
    UncoveredFlightIsNotBoarded => |it| {
        it.tags_from_the_value([TAG]).readers([0, 0]).faults(|f| {
            f.stops = 1;
            f.losses = 1;
        })
    },
    /// A caller boards only a load under the versions of the tags that it asked for.
    BoardingComparesTags => |it| {
        let it = it.tags_from_the_value([TAG]).remembering(0, TAG);
        it.readers([0, 0]).writer_of_value().faults(|f| f.losses = 1)
    },
    /// A caller that sees the lease of a load which it may join asks for the versions that the load has.
    LookAsksForTagsOfTheFlight => |it| {
        it.tags_from_the_value([TAG]).readers([0, 0, 0]).one_load()
    },
    /// A tag that a look learns from an entry is distrusted as those are that it knew.
    LearntTagIsDistrusted => |it| {
        let it = it.tags_from_the_value([TAG]).remembering(1, TAG);
        it.readers([0, 1]).writer_of_value().faults(|f| f.outages = 1)
    },

    /// An invalidation that failed is kept, and replayed.
    FailedInvalidationIsKept => |it| it.tags(0).readers([0]).writer(KEY).faults(|f| f.outages = 1),
    /// Until it is replayed, its process distrusts its names.
    FailedNameIsDistrusted => |it| it.tags(0).readers([0, 0]).writer(KEY).faults(|f| f.outages = 1),
    /// Whether a name is distrusted is checked before the look, not after it.
    DistrustIsAskedBeforeTheLook => |it| {
        it.tags(0).readers([0, 0]).writer(KEY).faults(|f| f.outages = 1)
    },
}
