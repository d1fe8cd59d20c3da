//! What a state is made of.

use std::fmt;

/// Readers there can be.
pub const READERS: usize = 3;
/// Writers there can be.
pub const WRITERS: usize = 2;
/// Tags there can be.
pub const TAGS: usize = 2;
/// Processes there can be.
pub const PROCESSES: usize = 2;

/// A random number: equal to no other that was ever drawn. 0 stands for none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Unique(pub u8);

/// The newest committed data, and how many commits made it.
pub type Data = u8;

/// Which incarnation of a server.
pub type Epoch = u8;

/// The servers: one, or in a cluster the slot's and the versions'.
pub type Epochs = [Epoch; 2];

/// Some writers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Writers(pub u8);

/// What is stored under a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum Slot {
    /// Nothing.
    #[default]
    Absent,
    /// Somebody loads.
    Lease(Unique),
    /// Somebody writes.
    Fence(Writers),
    /// Data.
    Entry(Entry),
}

/// A value with the header that says when it may be served.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Entry {
    /// Unlike that of any other entry.
    pub stamp: Unique,
    /// The payload.
    pub data: Data,
    /// The tags' versions from before the load.
    pub versions: Versions,
    /// The servers they were read from.
    pub epochs: Epochs,
}

/// How often a tag was invalidated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum Version {
    /// Lost, or never drawn.
    #[default]
    Absent,
    /// A number that was drawn, and how often it was incremented.
    Number(Unique, u8),
    /// Somebody writes.
    Fence(Writers),
}

/// One for each tag.
pub type Versions = [Version; TAGS];

/// What the servers hold in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Stored {
    /// The key's.
    pub slot: Slot,
    /// The tags'.
    pub versions: Versions,
    /// The lock beside the slot, under which one reader refreshes the entry.
    pub refreshing: bool,
}

/// What a look at the servers showed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Sight {
    /// The key's.
    pub slot: Slot,
    /// The tags'.
    pub versions: Versions,
    /// The servers that answered.
    pub epochs: Epochs,
    /// Which answers are there: bit 0 the slot's, then the tags'.
    pub have: Names,
}

/// Names: bit 0 is the key, the others are the tags.
pub type Names = u8;

/// What an invalidation would have changed; those who saw the same share a load.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Evidence {
    /// The lease.
    pub mark: Unique,
    /// The tags' versions.
    pub versions: Versions,
    /// The servers.
    pub epochs: Epochs,
}

/// One load of the key in one process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Flight {
    /// Where.
    pub process: u8,
    /// How far it is.
    pub phase: Phase,
    /// What the leader saw before the load began; none without a store.
    pub seen: Option<Evidence>,
    /// Whether the lease is this flight's, and not another process's.
    pub owns: bool,
}

/// How far a flight is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum Phase {
    /// The load has not begun.
    #[default]
    Gathering,
    /// The leader loads, or watches for another process's entry.
    Loading,
    /// The leader is gone; a waiter will lead.
    Leaderless,
    /// The value is there for the waiters.
    Landed(Data),
    /// The waiters load for themselves.
    Failed,
    /// The waiters look again.
    Dissolved,
}

/// A caller of the cached function.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Reader {
    /// What it does next.
    pub at: At,
    /// The oldest data that it may yield.
    pub floor: Data,
    /// What it saw.
    pub sight: Sight,
    /// The flight it boarded, or leads.
    pub flight: Option<u8>,
    /// What it loaded.
    pub data: Data,
    /// Whether it goes by without the store.
    pub degraded: bool,
}

/// What a reader does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum At {
    /// Begin.
    #[default]
    Idle,
    /// Read slot and versions.
    Looking,
    /// Act on what was seen.
    Deciding,
    /// Draw the versions that are absent.
    Drawing,
    /// Ask for the lease.
    Acquiring,
    /// Read the versions, or draw them.
    ReadingVersions,
    /// Let nobody board any more who saw less.
    Beginning,
    /// Ask the database.
    Loading,
    /// Hand the value to the waiters.
    Landing,
    /// Store it.
    Filling,
    /// End the flight and return.
    Finishing,
    /// Wait for another's load.
    Waiting,
    /// Look whether another process's lease has become an entry.
    Watching,
    /// Act on that look.
    Watched,
    /// Board a flight that has not begun, or start one, without the store.
    Gathering,
    /// Load for itself.
    Alone,
    /// Lock the entry, to refresh it.
    LockingRefresh,
    /// Read or draw the versions, to refresh the entry.
    RefreshVersions,
    /// Ask the database, to refresh the entry.
    RefreshLoading,
    /// Replace the entry.
    RefreshFilling,
    /// Nothing.
    Done,
}

/// A caller of a function that writes, and invalidates.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent")]
pub struct Writer {
    /// What it does next.
    pub at: WriterAt,
    /// For which names that is still to be done.
    pub left: Names,
    /// What was committed when its invalidation began.
    pub covers: Data,
    /// Whether the body neither failed, panicked nor was dropped.
    pub clean: bool,
    /// Whether its commit may still land, without the writer.
    pub pending: bool,
    /// Whether it has invalidated once, and does so for the second time.
    pub again: bool,
    /// Whether a fault took one of its fences before its commit. (A writer that dies
    /// then is not covered.)
    pub unprotected: bool,
}

/// What a writer does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum WriterAt {
    /// Begin.
    #[default]
    Idle,
    /// Place its fences.
    Fencing,
    /// Run the body.
    Body,
    /// Invalidate the names.
    Invalidating,
    /// Take itself out of its fences.
    Leaving,
    /// Wait until a commit that may be under way has landed.
    Settling,
    /// Nothing.
    Done,
    /// Nothing, ever: its process died.
    Dead,
}

/// What a process knows about the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Process {
    /// The flight that callers find.
    pub current: Option<u8>,
    /// Names whose invalidation failed: distrusted until they are replayed.
    pub journal: Names,
    /// What was committed when the invalidations in the journal began.
    pub covers: Data,
}

/// How many faults there may still be, of each kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Budget {
    /// A slot or a version is evicted, expires while somebody relies on it, or all are flushed.
    pub losses: u8,
    /// A snapshot is written, or a replica is left behind.
    pub snapshots: u8,
    /// A server restarts: empty, or from the snapshot, or the replica takes over.
    pub restarts: u8,
    /// A caller gives up.
    pub cancels: u8,
    /// A server does not answer.
    pub outages: u8,
    /// A load fails.
    pub errors: u8,
    /// A process has waited for another's lease as long as it may.
    pub patience: u8,
    /// A writer's process dies.
    pub crashes: u8,
    /// The server has no memory left for an increment.
    pub refusals: u8,
}

/// Everything that the next step may depend on.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct State {
    /// What the servers hold.
    pub stored: Stored,
    /// Which servers these are.
    pub epochs: Epochs,
    /// What a server that restarts may come back with.
    pub snapshot: Option<Stored>,
    /// What the database holds.
    pub row: Data,
    /// How often it was asked, where that is of interest.
    pub loads: u8,
    /// Per process, what a read that begins now must yield at least.
    pub floors: [Data; PROCESSES],
    /// The processes.
    pub processes: [Process; PROCESSES],
    /// The flights that somebody holds.
    pub flights: [Option<Flight>; READERS],
    /// The readers.
    pub readers: [Reader; READERS],
    /// The writers.
    pub writers: [Writer; WRITERS],
    /// The faults to come.
    pub budget: Budget,
    /// Releases under way that compare nothing: only with that rule left out.
    pub blind_releases: u8,
    /// What a reader returned that was too old, and what it had to yield at least.
    pub stale: Option<(Data, Data)>,
    /// How many random numbers were drawn.
    pub drawn: u8,
}

impl State {
    /// A number that nobody else draws.
    pub fn draw(&mut self) -> Unique {
        self.drawn += 1;
        Unique(self.drawn)
    }

    /// The flight of a reader that has one.
    pub(super) fn flight(&mut self, reader: usize) -> &mut Flight {
        let index = self.readers[reader].flight.expect("a flight");
        self.flights[usize::from(index)]
            .as_mut()
            .expect("it is kept while it is held")
    }
}

impl Writers {
    /// The same, with one more.
    #[must_use]
    pub fn and(self, writer: usize) -> Self {
        Self(self.0 | 1 << writer)
    }

    /// The same, without one.
    #[must_use]
    pub fn without(self, writer: usize) -> Self {
        Self(self.0 & !(1 << writer))
    }

    /// Whether this one is among them.
    pub fn has(self, writer: usize) -> bool {
        self.0 & 1 << writer != 0
    }

    /// Whether nobody is.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Phase {
    /// Whether nobody waits for it any longer.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Landed(_) | Self::Failed | Self::Dissolved)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("-"),
            Self::Lease(mark) => write!(f, "lease #{}", mark.0),
            Self::Fence(writers) => write!(f, "fence {:02b}", writers.0),
            Self::Entry(entry) => write!(
                f,
                "entry #{} of data {} at {}/{}, epoch {:?}",
                entry.stamp.0, entry.data, entry.versions[0], entry.versions[1], entry.epochs
            ),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("-"),
            Self::Number(drawn, incremented) => write!(f, "#{}+{incremented}", drawn.0),
            Self::Fence(writers) => write!(f, "fence {:02b}", writers.0),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.stored.versions;
        write!(f, "row {} | slot {}", self.row, self.stored.slot)?;
        write!(
            f,
            " | versions {first}/{second} | epoch {:?} |",
            self.epochs
        )?;
        for reader in &self.readers {
            if reader.at == At::Idle {
                continue;
            }
            write!(f, " {:?}", reader.at)?;
            if let Some(flight) = reader.flight {
                write!(f, "@{flight}")?;
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
