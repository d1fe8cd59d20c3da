//! What a state is made of.

use std::fmt;

/// Names: of the key, of the tag, or of everything.
pub type Names = u8;
/// The key.
pub const KEY: Names = 1;
/// The tag.
pub const TAG: Names = 1 << 1;
/// Everything: the cache is cleared.
pub const ALL: Names = 1 << 2;

/// A tag's counter, as it was: which one, and at what.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Observed {
    /// Which counter. A swept one is replaced by another.
    pub counter: u8,
    /// How often the tag was invalidated.
    pub value: u8,
}

/// A value, and what its tag's counter was before its load.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Entry {
    /// The value.
    pub data: u8,
    /// The counter.
    pub observed: Observed,
}

/// One load.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Flight {
    /// How far it is.
    pub phase: Phase,
    /// The tag's counter before it began.
    pub observed: Observed,
}

/// How far a flight is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Phase {
    /// The leader loads.
    #[default]
    Loading,
    /// The leader is gone; a waiter will lead.
    Leaderless,
    /// The value is there for the waiters.
    Landed(u8),
    /// The waiters load for themselves.
    Failed,
    /// The waiters look again.
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
    /// The flight it boarded, or leads.
    pub flight: Option<u8>,
    /// What it loaded.
    pub data: u8,
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
    /// Wait for another's load.
    Waiting,
    /// Ask the database.
    Loading,
    /// Observe the tag's counter too late: only with that rule left out.
    ObservingLate,
    /// Hand the value to the waiters.
    Landing,
    /// Store it, under the lock of the flights.
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
    /// What is still to be invalidated.
    pub left: Names,
    /// What was committed when its invalidation began.
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
}

/// Everything that the next step may depend on.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    /// What the database holds.
    pub row: u8,
    /// What a read that begins now must yield at least.
    pub floor: u8,
    /// What is stored.
    pub entry: Option<Entry>,
    /// The tag's counter.
    pub counter: Observed,
    /// One that was swept out: it does not count any more.
    pub swept: Option<Observed>,
    /// The flight that callers find.
    pub current: Option<u8>,
    /// The flights; that of reader n begins at place n.
    pub flights: [Flight; 3],
    /// The readers.
    pub readers: [Reader; 3],
    /// The writers.
    pub writers: [Writer; 2],
    /// The faults to come.
    pub budget: Budget,
    /// How often the database was asked, where that is of interest.
    pub loads: u8,
    /// What a reader returned that was too old, and what it had to yield at least.
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
