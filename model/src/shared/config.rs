//! The participants, and the faults.

use super::state::{Budget, Data, Names, PROCESSES, TAGS};

/// One configuration of the model.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name in the printed table.
    pub name: &'static str,
    /// Where the slot and the versions are.
    pub servers: Servers,
    /// The process of each reader, in ascending order.
    pub readers: Vec<u8>,
    /// How many tags the entry carries, or, with [`sets`](Self::sets), can carry.
    pub tags: usize,
    /// Which tags the value has that the row yields: one set for each number of commits. Empty if the
    /// tags are known before the load.
    pub sets: Vec<Names>,
    /// Which of these each process remembers at first.
    pub remembered: [Names; PROCESSES],
    /// The writers.
    pub writers: Vec<WriterConfig>,
    /// Whether readers refresh a valid entry.
    pub refresh: bool,
    /// Whether there is a promise of one load, and of one more for each load that is dropped, set
    /// aside, hangs or fails. There is none with writers and other faults.
    pub one_load: bool,
    /// Whether the waiters of a load that fails get its error.
    pub shares_errors: bool,
    /// How many faults there may be.
    pub faults: Budget,
}

/// Where the slot and the versions are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Servers {
    /// On one server: a look reads all of them at once.
    One,
    /// On two servers of a cluster: slot and versions are read separately, in any order,
    /// and each server may restart without the other.
    Two,
}

/// What a writer does.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent")]
pub struct WriterConfig {
    /// The process that it runs in.
    pub process: u8,
    /// The names that it invalidates.
    pub names: Names,
    /// Whether it invalidates the tags of the value that its commit replaces, instead.
    pub follows_value: bool,
    /// Whether it places fences.
    pub fenced: bool,
    /// Whether its body may fail, panic or be dropped.
    pub fails: bool,
    /// Whether it sets a value by hand instead, and invalidates nothing.
    pub sets: bool,
}

/// The name of the key.
pub const KEY: Names = 1;
/// The name of the first tag.
pub const TAG: Names = 1 << 1;
/// The name of the second tag.
pub const OTHER_TAG: Names = 1 << 2;

impl Config {
    /// One server, one tag, no faults.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            servers: Servers::One,
            readers: Vec::new(),
            tags: 1,
            sets: Vec::new(),
            remembered: [0; PROCESSES],
            writers: Vec::new(),
            refresh: false,
            one_load: false,
            shares_errors: false,
            faults: Budget::default(),
        }
    }

    /// With a reader in each of these processes.
    #[must_use]
    pub fn readers<const N: usize>(mut self, processes: [u8; N]) -> Self {
        self.readers = processes.to_vec();
        self
    }

    /// With one more writer, in process 0.
    #[must_use]
    pub fn writer(mut self, names: Names) -> Self {
        self.writers.push(WriterConfig {
            process: 0,
            names,
            follows_value: false,
            fenced: false,
            fails: false,
            sets: false,
        });
        self
    }

    /// With one more writer, which invalidates the tags of the value that its commit replaces.
    #[must_use]
    pub fn writer_of_value(mut self) -> Self {
        self = self.writer(0);
        self.last_writer().follows_value = true;
        self
    }

    /// With a caller that sets a value by hand.
    #[must_use]
    pub fn setter(mut self) -> Self {
        self = self.writer(0);
        self.last_writer().sets = true;
        self
    }

    /// With one more writer, whose body may fail, panic or be dropped.
    #[must_use]
    pub fn failing_writer(mut self, names: Names) -> Self {
        self = self.writer(names);
        self.last_writer().fails = true;
        self
    }

    /// With one more writer, which places fences.
    #[must_use]
    pub fn fenced_writer(mut self, names: Names) -> Self {
        self = self.writer(names);
        self.last_writer().fenced = true;
        self
    }

    /// With one more writer, which places fences and whose body may fail, panic or be dropped.
    #[must_use]
    pub fn failing_fenced_writer(mut self, names: Names) -> Self {
        self = self.fenced_writer(names);
        self.last_writer().fails = true;
        self
    }

    fn last_writer(&mut self) -> &mut WriterConfig {
        self.writers.last_mut().expect("it was just added")
    }

    /// With the slot and the versions on two servers.
    #[must_use]
    pub fn cluster(mut self) -> Self {
        self.servers = Servers::Two;
        self
    }

    /// With this many tags.
    #[must_use]
    pub fn tags(mut self, tags: usize) -> Self {
        self.tags = tags;
        self
    }

    /// With a value that has tags: those of the first set at first, those of the next after each commit.
    #[must_use]
    pub fn tags_from_the_value<const N: usize>(mut self, sets: [Names; N]) -> Self {
        self.tags = TAGS;
        self.sets = sets.to_vec();
        self
    }

    /// With a process that has read a value with these tags before.
    #[must_use]
    pub fn remembering(mut self, process: usize, tags: Names) -> Self {
        self.remembered[process] = tags;
        self
    }

    /// With readers that refresh.
    #[must_use]
    pub fn refreshing(mut self) -> Self {
        self.refresh = true;
        self
    }

    /// With the promise of one load.
    #[must_use]
    pub fn one_load(mut self) -> Self {
        self.one_load = true;
        self
    }

    /// With errors that the waiters get.
    #[must_use]
    pub fn sharing_errors(mut self) -> Self {
        self.shares_errors = true;
        self
    }

    /// With these faults.
    #[must_use]
    pub fn faults(mut self, set: impl FnOnce(&mut Budget)) -> Self {
        set(&mut self.faults);
        self
    }

    /// The process of a reader. A reader that takes no part has none.
    pub(super) fn process_of(&self, reader: usize) -> u8 {
        self.readers.get(reader).copied().unwrap_or(u8::MAX)
    }

    /// The names of the key and the tags.
    pub(super) fn all_names(&self) -> Names {
        (1 << (1 + self.tags)) - 1
    }

    /// The server that has the versions.
    pub(super) fn versions_server(&self) -> usize {
        match self.servers {
            Servers::One => 0,
            Servers::Two => 1,
        }
    }

    /// Whether only a loaded value tells its tags.
    pub(super) fn learns_tags(&self) -> bool {
        !self.sets.is_empty()
    }

    /// The tags of the value that the row yields after so many commits.
    pub(super) fn tags_of(&self, data: Data) -> Names {
        match self.sets.get(usize::from(data)) {
            Some(set) => *set,
            None => self.sets.last().copied().unwrap_or(self.all_names()) & !KEY,
        }
    }

    pub(super) fn tag_indices(&self) -> std::ops::Range<usize> {
        debug_assert!(self.tags <= TAGS);
        0..self.tags
    }
}

/// The bit of a tag.
pub(super) fn tag(index: usize) -> Names {
    1 << (1 + index)
}
