//! The rules. Each can be left out.

use super::Config;
use super::state::{ALL, KEY, TAG};

rules! {
    /// An entry is valid while its tags' counters have not moved.
    EntriesAskTheirCounter => |it| it.readers(2).writer(TAG),
    /// The counters are observed before the load begins.
    CountersAreObservedBeforeTheLoad => |it| it.readers(2).writer(TAG),
    /// A flight that was forgotten stores nothing.
    ForgottenFlightsStoreNothing => |it| it.readers(2).writer(KEY),
    /// Invalidating a key forgets its flight.
    InvalidationForgetsTheFlight => |it| it.readers(2).writer(KEY),
    /// Clearing the cache forgets all flights.
    ClearingForgetsFlights => |it| it.readers(2).writer(ALL),
    /// A caller boards only a load with the counters that it observed.
    BoardingComparesCounters => |it| it.readers(2).writer(TAG),
    /// A counter that an entry, a load or a caller holds is not swept out.
    CountersThatAreHeldAreKept => |it| it.readers(2).writer(TAG).faults(|f| f.sweeps = 1),
    /// An attempt that ends after its flight is over stores nothing.
    SupersededAttemptsStoreNothing => |it| it.readers(2).writer(KEY).faults(|f| f.stops = 1),
    /// A value that lands is for the callers of the other attempts too.
    LandedValueIsForAllAttempts => |it| it.readers(2).faults(|f| f.hangs = 1),
    /// While the newest load of a flight is set aside, a waiter begins one more.
    SetAsideLoadIsSucceeded => |it| it.readers(2).faults(|f| f.stops = 1),
    /// While the newest load of a flight hangs, a waiter begins one more.
    HungLoadIsHedged => |it| it.readers(2).faults(|f| f.hangs = 1),
    /// Only one of the waiters begins one more load.
    OneWaiterSucceeds => |it| it.readers(3).one_load().faults(|f| f.stops = 1),
    /// After a load that failed, the waiters load in waves, and not all at once.
    FailingLoadsComeInWaves => |it| it.readers(3).one_load().faults(|f| f.errors = 1),
    /// A leader that is dropped hands its flight to a waiter.
    DroppedLeaderHandsOver => |it| it.readers(2).faults(|f| f.cancels = 1),
}
