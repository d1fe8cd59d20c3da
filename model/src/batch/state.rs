//! The parts of a state.

use std::fmt;

/// The most tasks.
pub const TASKS: usize = 3;
/// The most keys.
pub const KEYS: usize = 3;
/// The most processes.
pub const PROCESSES: usize = 2;

/// A key: its place in the arrays.
pub type Key = usize;

/// The flight of a key in one process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Flight {
    /// There is none that a call can board.
    #[default]
    None,
    /// Its attempts are under way.
    UnderWay {
        /// What they do.
        work: Work,
        /// Whether a caller is to begin one more.
        wanted: bool,
    },
    /// The callers have the value, and an attempt still stores it.
    Landed,
}

/// What the attempts of a flight do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Work {
    /// They load under the lease.
    Load,
    /// They load without the lease, and store nothing.
    LoadUnstored,
    /// They watch another process's lease.
    Watch,
}

/// A call for several keys, or for one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Task {
    /// What it does next.
    pub at: At,
    /// What it knows of each key.
    pub calls: [Call; KEYS],
    /// Whether its future is set aside: neither polled nor dropped.
    pub stopped: bool,
    /// Whether its load hangs.
    pub hung: bool,
}

/// What a task does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum At {
    /// Begin.
    #[default]
    Idle,
    /// Look at the store, and board, for each open key.
    Looking,
    /// The same after a wait, which has ended with this task leading.
    LookingAgain,
    /// Load, once for all keys that it leads.
    Loading,
    /// Store what it has loaded.
    Storing,
    /// Wait for what others load.
    Waiting,
    /// Nothing.
    Done,
}

/// What a task knows of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Call {
    /// It does not read the key.
    #[default]
    None,
    /// Nothing: it is to look.
    Open,
    /// It makes an attempt at the load of the flight.
    Leads {
        /// Whether no other attempt has taken over from this one.
        moving: bool,
    },
    /// It makes an attempt, and another attempt has landed before.
    Superseded {
        /// Whether the flight has ended.
        ended: bool,
    },
    /// Its attempt has landed, and it is to store the value.
    Stores,
    /// It has boarded a flight.
    Boarded,
    /// The flight that it has boarded has landed.
    Landed,
    /// Another process loads it: it is to be looked at when this task waits.
    Elsewhere,
    /// It watches another process's lease, for all callers of the flight.
    Watches {
        /// Whether no other attempt has taken over from this one.
        moving: bool,
    },
    /// It has the value.
    Known,
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
    /// How many loads of each key there were, where that is promised.
    pub loads: [u8; KEYS],
    /// The faults that may still happen.
    pub budget: Budget,
}

impl Task {
    /// Whether it has begun and not ended.
    pub fn is_under_way(&self) -> bool {
        !matches!(self.at, At::Idle | At::Done)
    }

    /// Whether a call of it is like this.
    pub fn any(&self, is_it: impl Fn(Call) -> bool) -> bool {
        self.calls.iter().any(|&call| is_it(call))
    }

    /// Whether other attempts have landed for all keys that it leads.
    pub fn is_load_needless(&self) -> bool {
        self.at == At::Loading && !self.any(Call::leads)
    }
}

impl Call {
    /// Whether it makes an attempt at a load that has not landed.
    pub fn leads(self) -> bool {
        matches!(self, Self::Leads { .. })
    }

    /// Whether its task loads the key.
    pub fn makes_load(self) -> bool {
        matches!(self, Self::Leads { .. } | Self::Superseded { .. })
    }

    /// Whether it is an attempt of the key's flight.
    pub fn is_attempt(self) -> bool {
        match self {
            Self::Leads { .. } | Self::Watches { .. } | Self::Stores => true,
            Self::Superseded { ended } => !ended,
            _ => false,
        }
    }

    /// Whether it is an attempt that no other has taken over from.
    pub fn moves(self) -> bool {
        matches!(
            self,
            Self::Leads { moving: true } | Self::Watches { moving: true }
        )
    }

    /// Whether it ends by what others do.
    pub fn waits(self) -> bool {
        matches!(
            self,
            Self::Boarded | Self::Landed | Self::Elsewhere | Self::Watches { .. }
        )
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for task in self.tasks.iter().filter(|task| task.at != At::Idle) {
            write!(f, "| {:?}", task.at)?;
            for (key, call) in task.calls.iter().enumerate() {
                if *call != Call::None {
                    write!(f, " {key}:{call:?}")?;
                }
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
