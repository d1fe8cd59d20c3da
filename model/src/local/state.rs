//! The parts of a state.

use std::fmt;

/// A set of names: the key, the tag, everything.
pub type Names = u8;
/// The key.
pub const KEY: Names = 1;
/// The tag.
pub const TAG: Names = 1 << 1;
/// Everything: this clears the cache.
pub const ALL: Names = 1 << 2;

/// A tag's counter as a caller observed it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Observed {
    /// Which counter it is. A counter that is swept out is replaced by another.
    pub counter: u8,
    /// How often the tag was invalidated.
    pub value: u8,
}

/// A value, and its tag's counter before its load.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Entry {
    /// The value.
    pub data: u8,
    /// The counter.
    pub observed: Observed,
}

/// What readers share: a load, or several attempts at it. The attempts are the readers whose
/// [`Reader::attempt`] is not 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Flight {
    /// How far it is.
    pub phase: Phase,
    /// The tag's counter before the load.
    pub observed: Observed,
    /// How many attempts the waiters are to begin.
    pub wanted: u8,
    /// How many waves of attempts have failed.
    pub failed: u8,
}

/// How far a flight is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Phase {
    /// The attempts load. A waiter begins an attempt that is wanted.
    #[default]
    Loading,
    /// The waiters and the other attempts can take the value.
    Landed(u8),
    /// Each waiter loads for itself.
    Failed,
    /// Each waiter looks again.
    Dissolved,
}

/// A caller of the cached function.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Reader {
    /// What it does next.
    pub at: At,
    /// The oldest data that it may yield.
    pub floor: u8,
    /// The tag's counter.
    pub observed: Observed,
    /// The flight that it boarded or leads.
    pub flight: Option<u8>,
    /// 0 for a waiter; for an attempt at the flight's load, a higher number than those of the
    /// attempts that were there when it began.
    pub attempt: u8,
    /// What it loaded.
    pub data: u8,
    /// Whether its future is set aside: neither polled nor dropped.
    pub stopped: bool,
    /// Whether its load hangs: it is polled, and does not end.
    pub hung: bool,
}

impl Reader {
    /// Whether it waits for the attempts of this flight.
    pub fn waits_for(&self, flight: u8) -> bool {
        self.at == At::Waiting && self.flight == Some(flight)
    }

    /// Whether it is an attempt at the load of this flight.
    pub fn attempts(&self, flight: u8) -> bool {
        self.attempt > 0 && self.flight == Some(flight)
    }
}

impl Phase {
    /// Whether its waiters go on.
    pub fn is_over(self) -> bool {
        self != Self::Loading
    }
}

/// What a reader does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum At {
    /// Begin.
    #[default]
    Idle,
    /// Look without a lock.
    Peeking,
    /// Observe the tag's counter.
    Observing,
    /// Look again, and board, under the lock of the flights.
    Boarding,
    /// Wait for another reader's load.
    Waiting,
    /// Ask the database.
    Loading,
    /// Observe the tag's counter too late. Only with that rule left out.
    ObservingLate,
    /// Hand the value to the waiters.
    Landing,
    /// Store the value, under the lock of the flights.
    Storing,
    /// Load for itself.
    Alone,
    /// Nothing.
    Done,
}

/// A caller of a function that writes and invalidates.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Writer {
    /// What it does next.
    pub at: WriterAt,
    /// The names that are still to be invalidated.
    pub left: Names,
    /// The newest data that was committed when its invalidation began.
    pub covers: u8,
}

/// What a writer does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum WriterAt {
    /// Commit.
    #[default]
    Idle,
    /// Invalidate.
    Invalidating,
    /// Nothing.
    Done,
}

/// How many faults there may still be, of each kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Budget {
    /// The entry is evicted, or expires.
    pub losses: u8,
    /// Counters that only the map holds are swept out.
    pub sweeps: u8,
    /// A caller gives up.
    pub cancels: u8,
    /// A load fails.
    pub errors: u8,
    /// A reader's future is set aside.
    pub stops: u8,
    /// A load hangs.
    pub hangs: u8,
}

/// Everything that the next step may depend on.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    /// What the database holds.
    pub row: u8,
    /// The oldest data that a read may yield if it begins now.
    pub floor: u8,
    /// What is stored.
    pub entry: Option<Entry>,
    /// The tag's counter.
    pub counter: Observed,
    /// A counter that was swept out: no invalidation moves it any more.
    pub swept: Option<Observed>,
    /// The flight that callers find.
    pub current: Option<u8>,
    /// The flights.
    pub flights: [Flight; 3],
    /// The readers.
    pub readers: [Reader; 3],
    /// The writers.
    pub writers: [Writer; 2],
    /// The faults that may still happen.
    pub budget: Budget,
    /// How many loads there were, in configurations with the promise of one load.
    pub loads: u8,
    /// Data that a reader returned and that was too old, and the oldest that was allowed.
    pub stale: Option<(u8, u8)>,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} | ", self.row)?;
        match self.entry {
            Some(entry) => write!(
                f,
                "data {} at {}.{}",
                entry.data, entry.observed.counter, entry.observed.value
            )?,
            None => f.write_str("-")?,
        }
        write!(
            f,
            " | counter {}.{} |",
            self.counter.counter, self.counter.value
        )?;
        for reader in &self.readers {
            if reader.at != At::Idle {
                write!(f, " {:?}", reader.at)?;
            }
            if reader.stopped {
                f.write_str("(set aside)")?;
            }
            if reader.hung {
                f.write_str("(hangs)")?;
            }
        }
        f.write_str(" |")?;
        for writer in &self.writers {
            if writer.at != WriterAt::Idle {
                write!(f, " {:?}", writer.at)?;
            }
        }
        Ok(())
    }
}
