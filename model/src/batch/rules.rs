//! The rules. Each can be left out.

use super::Config;

rules! {
    /// A call loads what it leads before it waits for others.
    LoadsBeforeItWaits => |it| it.task(&[0, 1]).task(&[0, 1]),
    /// A call that comes to lead a key waits no longer for its other keys.
    LeadingEndsItsWaits => |it| {
        it.task(&[0, 1]).task(&[0, 1]).task(&[0, 1]).faults(|f| f.cancels = 1)
    },
    /// A call does not watch another process's lease while it loads.
    NoWatchWhileItLoads => |it| {
        it.task(&[0, 1]).task(&[1]).task(&[1]).elsewhere().faults(|f| f.hangs = 1)
    },
    /// A call that is dropped hands over each of its loads.
    EachLoadIsHandedOver => |it| it.task(&[0, 1]).task(&[1]).faults(|f| f.cancels = 1),
    /// A watch that is dropped is handed over.
    WatchesAreHandedOver => |it| {
        it.task(&[0, 1]).task(&[1]).task(&[1]).elsewhere().faults(|f| f.cancels = 1)
    },
    /// A call that is set aside, or whose load hangs, does not move for any of its keys.
    EachLoadIsSetAside => |it| it.task(&[0, 1]).task(&[1]).faults(|f| f.stops = 1),
    /// A call that looks at further keys shows whether it moves, to those that wait for what it leads.
    LooksAreFollowed => |it| {
        it.task(&[0, 1]).task(&[0, 1]).task(&[0, 1]).faults(|f| {
            f.cancels = 1;
            f.stops = 1;
        })
    },
    /// A wait of a call for several keys may end with this call leading.
    AnyWaiterMayLead => |it| it.task(&[0]).task(&[0, 1]).faults(|f| f.stops = 1),
    /// A load ends once others have landed all of its keys.
    NeedlessLoadsEnd => |it| {
        it.task(&[0, 1]).task(&[0]).task(&[1]).faults(|f| f.hangs = 1)
    },
    /// Another process's lease is watched for a limited time only.
    WatchingIsBounded => |it| it.task(&[0, 1]).task(&[1]).elsewhere().faults(|f| f.stops = 1),
    /// A call boards the loads of others.
    LoadsAreBoarded => |it| it.task(&[0, 1]).task(&[1, 2]).one_load(),
    /// A call has the lease of each key that it loads.
    EachLeaseIsTaken => |it| it.task(&[0, 1]).task(&[1]).elsewhere().one_load(),
    /// A call stores each key that it has loaded.
    EachKeyIsStored => |it| it.task(&[0, 1]).task(&[1]).one_load(),
}
