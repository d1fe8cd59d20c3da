//! The parts of a state.

use std::fmt;

/// The most readers.
pub const READERS: usize = 3;
/// The most writers.
pub const WRITERS: usize = 2;
/// The most tags.
pub const TAGS: usize = 2;
/// The most processes.
pub const PROCESSES: usize = 2;

/// A random number, different from every other that was drawn. 0 stands for none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Unique(pub u8);

/// The number of commits up to this data: a higher number is newer data.
pub type Data = u8;

/// A set of data: bit 0 is the data before all commits.
pub type Outdated = u8;

/// How often a server has restarted.
pub type Epoch = u8;

/// The epoch of each server: the one that has the slot, and in a cluster the one that has the
/// versions.
pub type Epochs = [Epoch; 2];

/// A set of writers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Writers(pub u8);

/// What is stored under a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum Slot {
    /// Nothing.
    #[default]
    Absent,
    /// A reader loads.
    Lease(Lease),
    /// Writers are at work.
    Fence(Writers),
    /// A value.
    Entry(Entry),
}

/// The right of one reader to fill the slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Lease {
    /// Different from the mark of every other lease.
    pub mark: Unique,
    /// The process that took it.
    pub process: u8,
    /// The epoch of the server that it was taken on.
    pub epoch: Epoch,
}

/// A value with the header that says when it may be served.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Entry {
    /// Different from the stamp of every other entry.
    pub stamp: Unique,
    /// The payload.
    pub data: Data,
    /// The tags' versions, read before the load.
    pub versions: Versions,
    /// The epochs of the servers that the versions were read from.
    pub epochs: Epochs,
    /// The tags that it carries, where only the value tells them.
    pub tags: Names,
    /// Whether it has no payload: the value carries tags whose versions were not read before its load.
    pub remembers: bool,
}

/// How often a tag was invalidated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum Version {
    /// Lost, or never drawn.
    #[default]
    Absent,
    /// A number that was drawn, and how often it was incremented since.
    Number(Unique, u8),
    /// Writers are at work.
    Fence(Writers),
}

/// The version of each tag.
pub type Versions = [Version; TAGS];

/// What the servers hold in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Stored {
    /// The key's slot.
    pub slot: Slot,
    /// The tags' versions.
    pub versions: Versions,
    /// The lock beside the slot, under which one reader refreshes the entry.
    pub refreshing: bool,
}

/// How far a part of a cluster is on its way from the server that owns it to another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum Moving {
    /// It does not move.
    #[default]
    No,
    /// The owner refers requests for keys that it does not have to the other server.
    Begun,
    /// The keys are on the other server, and the owner refers all requests to it.
    Moved,
}

/// What a look at the servers showed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Sight {
    /// The key's slot.
    pub slot: Slot,
    /// The tags' versions.
    pub versions: Versions,
    /// The epochs of the servers that answered.
    pub epochs: Epochs,
    /// The names whose answers have arrived.
    pub have: Names,
    /// The tags that are asked for, where only the value tells which it carries.
    pub asked: Names,
}

/// A set of names: bit 0 is the key, the other bits are the tags.
pub type Names = u8;

/// What a reader saw that an invalidation would have changed. Readers with the same evidence
/// share a load.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Evidence {
    /// The lease.
    pub mark: Unique,
    /// The tags' versions.
    pub versions: Versions,
    /// The servers' epochs.
    pub epochs: Epochs,
    /// The tags whose versions these are, where only the value tells which it carries.
    pub tags: Names,
}

/// What the readers of one process share: a load of the key, or several attempts at it. The
/// attempts are the readers whose [`Reader::attempt`] is not 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Flight {
    /// The process.
    pub process: u8,
    /// How far it is.
    pub phase: Phase,
    /// What the leader saw before the load began. `None` without the store.
    pub evidence: Option<Evidence>,
    /// Whether the lease belongs to this flight, and not to another process.
    pub owns: bool,
    /// How many attempts the waiters are to begin.
    pub wanted: u8,
    /// How many waves of attempts have failed.
    pub failed: u8,
    /// How many newest attempts have failed, in configurations in which errors are shared.
    pub errors: u8,
    /// Whether the value that landed carries a tag whose version was not read before the load.
    pub uncovered: bool,
}

/// How far a flight is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum Phase {
    /// The load has not begun, so any reader may board.
    #[default]
    Boarding,
    /// The attempts load, or watch for another process's entry. A waiter begins an attempt that
    /// is wanted.
    Loading,
    /// The waiters and the other attempts can take the value.
    Landed(Data),
    /// The waiters get this error: the number of errors so far.
    FailedWith(u8),
    /// Each waiter loads for itself.
    Failed,
    /// Each waiter looks again.
    Dissolved,
}

/// A caller of the cached function.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each question")]
pub struct Reader {
    /// What it does next.
    pub at: At,
    /// The data that it may not yield.
    pub outdated: Outdated,
    /// What its look at the servers showed.
    pub sight: Sight,
    /// The flight that it boarded or leads.
    pub flight: Option<u8>,
    /// 0 for a waiter; for an attempt at the flight's load, a higher number than those of the
    /// attempts that were there when it began.
    pub attempt: u8,
    /// The flight that was current when it started its own, until it begins the load.
    pub previous: Option<u8>,
    /// What it loaded.
    pub data: Data,
    /// Whether it goes on without the store.
    pub degraded: bool,
    /// Whether its future is set aside: neither polled nor dropped.
    pub stopped: bool,
    /// Whether its load hangs: it is polled, and does not end.
    pub hung: bool,
    /// Whether it is the waiter that was chosen to begin the next attempt. Only with a rule left
    /// out.
    pub chosen: bool,
    /// How many loads had failed when it began.
    pub errors: u8,
    /// How many newest attempts had failed when it boarded.
    pub missed: u8,
    /// Whether it boarded after the load had begun, where only the value tells its tags.
    pub late: bool,
}

/// What a reader does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum At {
    /// Begin.
    #[default]
    Idle,
    /// Read the slot and the versions.
    Looking,
    /// Act on what the look showed.
    Deciding,
    /// Draw the versions that are absent.
    Drawing,
    /// Ask for the lease.
    Acquiring,
    /// In a cluster, ask for the lease and for the versions, each on its server.
    AskingServers,
    /// Read the versions, or draw them.
    ReadingVersions,
    /// Begin the load: from then on only readers with the same evidence board.
    Beginning,
    /// Ask the database.
    Loading,
    /// Hand the value to the waiters.
    Landing,
    /// Store the value.
    Filling,
    /// End the flight and return.
    Finishing,
    /// Wait for another reader's load.
    Waiting,
    /// Look whether another process's lease has become an entry.
    Watching,
    /// Act on that look.
    Watched,
    /// Without the store, board a flight whose load has not begun, or start one.
    WithoutStore,
    /// Leave the flight, and return. Only with a rule left out.
    Leaving,
    /// Load for itself.
    Alone,
    /// End the flight whose load failed. Only with a rule left out.
    Failing,
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
    /// The names for which this is still to be done.
    pub left: Names,
    /// The data that its invalidation is for: what was replaced when it began.
    pub covers: Outdated,
    /// The names that it invalidates, where they are those of the value that it replaces.
    pub names: Names,
    /// Whether the body ran to its end: it did not fail or panic, and was not dropped.
    pub clean: bool,
    /// Whether its commit may still land after the writer has ended.
    pub pending: bool,
    /// Whether it invalidates for the second time.
    pub again: bool,
    /// Whether a fault removed one of its fences before its commit. (No promise covers a
    /// writer that then dies.)
    pub unprotected: bool,
    /// What it is about to set by hand.
    pub prepared: Option<Prepared>,
}

/// A value that is set by hand, once its slot is prepared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Prepared {
    /// The mark of the lease that was put into the slot, or the stamp of the entry that is left
    /// there.
    pub seen: Unique,
    /// The tags' versions.
    pub versions: Versions,
    /// The servers' epochs.
    pub epochs: Epochs,
    /// The value: the row as it was when the last version was read.
    pub data: Data,
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
    /// Prepare the slot, to set a value by hand.
    Preparing,
    /// Read or draw the versions, to set a value by hand.
    PreparingVersions,
    /// Store the value that is set by hand. Its command may arrive at any time.
    Setting,
    /// Invalidate the names.
    Invalidating,
    /// Take itself out of its fences.
    Leaving,
    /// Wait until no commit of it can be under way any more.
    Settling,
    /// Nothing.
    Done,
    /// Nothing: its process died.
    Dead,
}

/// What a process knows about the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Process {
    /// The flight that callers find.
    pub current: Option<u8>,
    /// Names whose invalidation failed. They are distrusted until it is replayed.
    pub journal: Names,
    /// The data that the invalidations in the journal are for.
    pub covers: Outdated,
    /// The tags of the key's value as it last was, where only the value tells them.
    pub remembered: Names,
}

/// How many faults there may still be, of each kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Budget {
    /// A slot or a version is evicted or expires too early, or all are flushed.
    pub losses: u8,
    /// A snapshot is written, or a replica stops being updated.
    pub snapshots: u8,
    /// A server restarts, empty or from the snapshot, or the replica takes over.
    pub restarts: u8,
    /// A caller gives up.
    pub cancels: u8,
    /// A server does not answer.
    pub outages: u8,
    /// A load fails.
    pub errors: u8,
    /// A process has waited for another process's lease as long as it may.
    pub patience: u8,
    /// A writer's process dies.
    pub crashes: u8,
    /// The server has no memory left for an increment.
    pub refusals: u8,
    /// A reader's future is set aside.
    pub stops: u8,
    /// A load hangs.
    pub hangs: u8,
    /// The slot, or the versions, begin to move to another server of a cluster.
    pub moves: u8,
    /// A move is given up, with the keys left where they are.
    pub aborts: u8,
}

/// Everything that the next step may depend on.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct State {
    /// What the servers hold.
    pub stored: Stored,
    /// The servers' epochs.
    pub epochs: Epochs,
    /// For the slot and for the versions: how far a move to another server is.
    pub moving: [Moving; 2],
    /// The epochs of the servers to which the slot and the versions move, and move back from.
    pub others: Epochs,
    /// What is left on those servers after moves that were given up. No request is sent there, until
    /// they own the slot or the versions.
    pub left: Stored,
    /// What a server that restarts may hold.
    pub snapshot: Option<Stored>,
    /// What the database holds.
    pub row: Data,
    /// How many loads there were, in configurations with the promise of one load.
    pub loads: u8,
    /// How many loads have failed, in configurations in which errors are shared.
    pub errors: u8,
    /// Whether a reader got an error that is older than its call.
    pub old_error: bool,
    /// Whether a waiter began a load after an error that it could have been given.
    pub missed_error: bool,
    /// For each process, the data that no read may yield that begins now.
    pub outdated: [Outdated; PROCESSES],
    /// The processes.
    pub processes: [Process; PROCESSES],
    /// The flights that a process or a reader holds.
    pub flights: [Option<Flight>; READERS],
    /// The readers.
    pub readers: [Reader; READERS],
    /// The writers.
    pub writers: [Writer; WRITERS],
    /// The faults that may still happen.
    pub budget: Budget,
    /// Releases under way that compare nothing. Only with that rule left out.
    pub blind_releases: u8,
    /// Data that a reader returned, and that was outdated when it began.
    pub stale: Option<Data>,
    /// How many random numbers were drawn.
    pub drawn: u8,
}

impl State {
    /// Draws a number that was not drawn before.
    pub fn draw(&mut self) -> Unique {
        self.drawn += 1;
        Unique(self.drawn)
    }

    /// The flight of a reader that has one.
    pub(super) fn flight(&mut self, reader: usize) -> &mut Flight {
        let index = self.readers[reader].flight.expect("a flight");
        self.flights[usize::from(index)]
            .as_mut()
            .expect("a flight is kept while a reader holds it")
    }
}

impl Reader {
    /// Whether it takes steps: it is not set aside, and its load does not hang.
    pub fn moves(&self) -> bool {
        !self.stopped && !self.hung
    }

    /// Whether it was given the lease, and has not acted on that yet.
    pub fn has_asked_for_lease(&self) -> bool {
        let is_lease = matches!(self.sight.slot, Slot::Lease(_));
        self.at == At::AskingServers && self.sight.have & 1 != 0 && is_lease
    }

    /// Whether it waits for the attempts of this flight.
    pub fn waits_for(&self, flight: u8) -> bool {
        self.at == At::Waiting && self.flight == Some(flight)
    }

    /// Whether it is an attempt at the load of this flight.
    pub fn attempts(&self, flight: u8) -> bool {
        self.attempt > 0 && self.flight == Some(flight)
    }
}

impl Writers {
    /// The same set with one more writer.
    #[must_use]
    pub fn and(self, writer: usize) -> Self {
        Self(self.0 | 1 << writer)
    }

    /// The same set without one writer.
    #[must_use]
    pub fn without(self, writer: usize) -> Self {
        Self(self.0 & !(1 << writer))
    }

    /// Whether this writer is in the set.
    pub fn has(self, writer: usize) -> bool {
        self.0 & 1 << writer != 0
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Phase {
    /// Whether its waiters go on.
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Boarding | Self::Loading)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("-"),
            Self::Lease(lease) => write!(
                f,
                "lease #{} of process {}, epoch {}",
                lease.mark.0, lease.process, lease.epoch
            ),
            Self::Fence(writers) => write!(f, "fence {:02b}", writers.0),
            Self::Entry(entry) if entry.remembers => {
                write!(f, "tags {:03b} #{}", entry.tags, entry.stamp.0)
            }
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
        for (part, moving) in ["slot", "versions"].into_iter().zip(self.moving) {
            if moving != Moving::No {
                write!(f, " {part} moves: {moving:?} |")?;
            }
        }
        if self.left != Stored::default() {
            let [first, second] = self.left.versions;
            write!(f, " left: {}, {first}/{second} |", self.left.slot)?;
        }
        for reader in &self.readers {
            if reader.at == At::Idle {
                continue;
            }
            write!(f, " {:?}", reader.at)?;
            if let Some(flight) = reader.flight {
                write!(f, "@{flight}")?;
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
