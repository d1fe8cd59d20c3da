//! The parts of a state.

use std::fmt;

/// The most messages under way to one process.
pub const MESSAGES: usize = 4;

/// A value in a process, and the generation before it was read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Entry {
    /// The value.
    pub data: u8,
    /// How often the key had been invalidated in this process.
    pub generation: u8,
}

/// A process's local tier, and its connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Process {
    /// The oldest data that a read in this process may yield if it begins now.
    pub floor: u8,
    /// What is stored.
    pub entry: Option<Entry>,
    /// How often the key was invalidated here.
    pub generation: u8,
    /// Whether messages arrive.
    pub connection: Connection,
    /// The messages under way, in their order.
    pub messages: [Option<Message>; MESSAGES],
    /// `Some` if an answered ping makes the tier trusted; whether that ping was sent after the
    /// latest invalidation returned.
    pub trust: Option<bool>,
}

/// Whether messages arrive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Connection {
    /// They do not, and the process has detected it.
    #[default]
    Down,
    /// They do not, and the tier is cleared. Only with the order of listening and clearing left
    /// out.
    Cleared,
    /// They do, and the tier is not cleared of what was missed before.
    Listening,
    /// They do.
    Up,
    /// They do not, and the process has not detected it.
    Broken,
}

/// What a server sends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Message {
    /// The key was invalidated.
    Invalidated,
    /// The answer to a ping; whether the ping was sent after the latest invalidation returned.
    Pong(bool),
    /// The answer to a ping that was sent more than Δ ago.
    LatePong,
}

/// A caller of the cached function.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Reader {
    /// What it does next.
    pub at: At,
    /// The oldest data that it may yield.
    pub floor: u8,
    /// The generation before its read of the shared tier.
    pub generation: u8,
    /// The oldest data that the shared tier may yield to it; later the data that it did yield.
    pub data: u8,
}

/// What a reader does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum At {
    /// Begin.
    #[default]
    Idle,
    /// Look into the local tier.
    Peeking,
    /// Take the generation.
    Taking,
    /// Begin to read the shared tier.
    Asking,
    /// Receive the answer.
    Hearing,
    /// Put the value into the local tier.
    Inserting,
    /// Nothing.
    Done,
}

/// A caller of a function that writes and invalidates.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Writer {
    /// What it does next.
    pub at: WriterAt,
    /// The newest data that was committed when its invalidation began.
    pub covers: u8,
}

/// What a writer does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum WriterAt {
    /// Commit.
    #[default]
    Idle,
    /// Invalidate its own local tier too early. Only with that rule left out.
    OwnTierFirst,
    /// Invalidate the shared tier.
    Invalidating,
    /// Publish the name in a step of its own. Only with that rule left out.
    Publishing,
    /// Invalidate its own local tier.
    OwnTier,
    /// Return.
    Returning,
    /// Nothing.
    Done,
    /// Nothing: its process died.
    Dead,
}

/// How many faults there may still be, of each kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Budget {
    /// A connection breaks, and the messages on it are lost.
    pub breaks: u8,
    /// A writer's process dies.
    pub crashes: u8,
}

/// Everything that the next step may depend on.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    /// What the database holds.
    pub row: u8,
    /// The oldest data that a read of the shared tier may yield if it begins now.
    pub shared_floor: u8,
    /// The newest data that was committed before an invalidation that has returned.
    pub returned: u8,
    /// The processes; the writers are in the first.
    pub processes: [Process; 2],
    /// The readers.
    pub readers: [Reader; 2],
    /// The writers.
    pub writers: [Writer; 2],
    /// The faults that may still happen.
    pub budget: Budget,
    /// Data that a reader returned and that was too old, and the oldest that was allowed.
    pub stale: Option<(u8, u8)>,
}

impl Process {
    /// The entry, if it was not invalidated.
    pub(super) fn valid_entry(&self) -> Option<Entry> {
        self.entry
            .filter(|entry| entry.generation == self.generation)
    }

    /// Invalidates the entry, and an entry that is about to be stored.
    pub(super) fn invalidate(&mut self) {
        self.entry = None;
        self.generation += 1;
    }

    /// Whether messages that are sent now will arrive.
    pub(super) fn hears(&self) -> bool {
        matches!(self.connection, Connection::Listening | Connection::Up)
    }

    /// Puts a message behind the others.
    pub(super) fn send(&mut self, message: Message) {
        let place = self.messages.iter_mut().find(|place| place.is_none());
        *place.expect("few messages are under way") = Some(message);
    }

    /// The first message arrives.
    pub(super) fn receive(&mut self) -> Option<Message> {
        let first = self.messages[0];
        self.messages.rotate_left(1);
        self.messages[MESSAGES - 1] = None;
        first
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "row {}, shared {} or newer |",
            self.row, self.shared_floor
        )?;
        for process in &self.processes {
            match process.valid_entry() {
                Some(entry) => write!(f, " data {}", entry.data)?,
                None => f.write_str(" -")?,
            }
            let trusted = process.trust.map_or("", |_| ", trusted");
            let messages = process.messages.iter().flatten().count();
            write!(
                f,
                " ({:?}{trusted}, {messages} to come)",
                process.connection
            )?;
        }
        f.write_str(" |")?;
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
