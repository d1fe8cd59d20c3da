//! The parts of a state.

use std::fmt;

/// The most tasks.
pub const TASKS: usize = 3;
/// The most keys, and the most calls that are inside of each other.
pub const KEYS: usize = 3;
/// The most processes.
pub const PROCESSES: usize = 2;

/// A key: its place in the arrays.
pub type Key = usize;

/// The flight of a key in one process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Flight {
    /// There is none, or none that a call can board.
    #[default]
    None,
    /// Its attempts load. The waiters are to begin one more if it is wanted.
    Loading {
        /// Whether one more is wanted.
        wanted: bool,
    },
    /// The callers can take the value.
    Landed,
}

/// A task: a call, and the calls that its loads make.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Task {
    /// Whether the outermost call has begun.
    pub begun: bool,
    /// The calls that have begun and not ended, the outermost first.
    pub calls: [Call; KEYS],
    /// How many of them there are.
    pub depth: usize,
    /// Whether its future is set aside: neither polled nor dropped.
    pub stopped: bool,
    /// Whether its innermost load hangs.
    pub hung: bool,
}

/// A call of a cached function.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Call {
    /// What it does next.
    pub at: At,
    /// Whether the call inside of its load has ended.
    pub inner_done: bool,
    /// The number of its attempt at the flight's load, if it makes one.
    pub attempt: u8,
}

/// What a call does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum At {
    /// Look at the store, and board.
    #[default]
    Looking,
    /// Note that its task waits. Only with a rule left out.
    Noting,
    /// Wait for another call's load.
    Waiting,
    /// Wait for another process's load.
    Watching,
    /// Load for a flight.
    Leading,
    /// Load for itself, and store nothing.
    Alone,
}

/// How many faults there may still be, of each kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Budget {
    /// A task is set aside.
    pub stops: u8,
    /// A load hangs.
    pub hangs: u8,
    /// A task is dropped.
    pub cancels: u8,
}

/// Everything that the next step may depend on.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    /// The tasks.
    pub tasks: [Task; TASKS],
    /// The flights of each process.
    pub flights: [[Flight; KEYS]; PROCESSES],
    /// The process that has the lease of each key.
    pub leases: [Option<usize>; KEYS],
    /// The keys that have an entry.
    pub stored: [bool; KEYS],
    /// The task that has the only connection to the database in a transaction.
    pub connection: Option<usize>,
    /// How many loads of each key there were, where that is promised.
    pub loads: [u8; KEYS],
    /// The faults that may still happen.
    pub budget: Budget,
}

impl Task {
    /// The innermost call.
    pub fn innermost(&self) -> Option<&Call> {
        self.calls[..self.depth].last()
    }

    /// Whether it takes steps.
    pub fn moves(&self) -> bool {
        !self.stopped && !self.hung
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for task in self.tasks.iter().filter(|task| task.begun) {
            f.write_str("|")?;
            for call in &task.calls[..task.depth] {
                write!(f, " {:?}", call.at)?;
            }
            if task.depth == 0 {
                f.write_str(" done")?;
            }
            if task.stopped {
                f.write_str(" (set aside)")?;
            }
            if task.hung {
                f.write_str(" (hangs)")?;
            }
            f.write_str(" ")?;
        }
        Ok(())
    }
}
