//! The rules. Each can be left out.

use super::Config;

rules! {
    /// A value is inserted with the generation from before it was read.
    GenerationIsTakenBeforeTheRead => |it| it.readers([1, 1]),
    /// A process that invalidates the shared tier invalidates its own local tier, and waits for no message.
    OwnTierIsInvalidated => |it| it.readers([0, 0]),
    /// A process invalidates its own local tier after the shared one.
    OwnTierFollowsTheShared => |it| it.readers([0, 0]),
    /// An invalidation is published by the script that invalidates.
    PublishedInTheSameScript => |it| it.readers([1, 1]).faults(|f| f.crashes = 1),
    /// After a break, a process clears its local tier.
    ReconnectingClears => |it| it.readers([1, 1]).faults(|f| f.breaks = 1),
    /// A process listens again before it clears.
    ListeningComesBeforeClearing => |it| it.readers([1, 1]).faults(|f| f.breaks = 1),
    /// Clearing also invalidates what is about to be inserted.
    ClearingMovesTheGenerationOn => |it| it.readers([1, 1]).faults(|f| f.breaks = 1),
    /// The local tier is trusted only while pings are answered.
    TrustNeedsPings => |it| it.readers([1, 1]).faults(|f| f.breaks = 1),
    /// Trust counts from the moment the ping was sent, not from its answer.
    TrustCountsFromThePing => |it| it.readers([1, 1]),
}
