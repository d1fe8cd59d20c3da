//! The rules. Each can be left out.

use super::Config;

rules! {
    /// A call does not wait for a load that it is inside of.
    NoCallWaitsForItself => |it| it.task(&[0, 0]),
    /// A call does not wait if that closes a circle of loads that wait for each other.
    NoWaitClosesACircle => |it| it.task(&[0, 1]).task(&[1, 0]),
    /// The search for a circle, and the note that its task waits, are one step.
    SearchAndNoteAreOneStep => |it| it.task(&[0, 1]).task(&[1, 0]),
    /// Of a call that waits, all loads that it is inside of wait.
    OuterLoadsWaitToo => |it| it.task(&[0, 1, 2]).task(&[2, 0]),
    /// A circle closes at any of the loads that the call is inside of.
    CircleClosesAtAnyLoad => |it| it.task(&[0, 1, 2]).task(&[2, 0]),
    /// A call inside of a transaction leaves the cache alone. So it does not wait for a load, which may
    /// wait for the transaction.
    NoTransactionWaits => |it| it.task(&[0]).task(&[0]).in_transaction(0),
    /// A task that is set aside sets aside all loads that it is inside of.
    OuterLoadsAreSetAsideToo => |it| it.task(&[0, 1]).task(&[0]).faults(|f| f.stops = 1),
    /// A load that another lands is dropped, with the loads inside of it: waiters of those go on.
    DroppedLoadHandsOver => |it| {
        it.task(&[0, 1]).task(&[0, 2]).task(&[1]).faults(|f| f.stops = 1)
    },
    /// Another process's lease is watched for a limited time only.
    WatchingIsBounded => |it| it.task(&[0, 1]).task(&[1, 0]).elsewhere(),
}
