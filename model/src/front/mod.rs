//! The local tier in front of the shared one: one key, two processes, and the messages
//! that tell one process what another invalidated.
//!
//! A read of the shared tier yields any data that [`crate::shared`] allows: nothing older
//! than an invalidation that returned before the read began. For readers in the
//! process that invalidates, the promise is the same here. For readers in another
//! process, it holds once Δ has passed since the invalidation returned.

mod participants;
pub mod rules;
pub mod state;

use self::rules::Without;
use self::state::{At, Budget, State, WriterAt};
use crate::search::{Model, Step};

/// The participants, and the faults.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name in the printed table.
    pub name: &'static str,
    /// The process of each reader.
    pub readers: Vec<usize>,
    /// How many writers there are, all in process 0.
    pub writers: usize,
    /// How many faults there may be.
    pub faults: Budget,
}

/// A configuration, under the protocol or without one of its rules.
#[derive(Debug, Clone)]
pub struct Front {
    /// The configuration.
    pub config: Config,
    /// The rule that is left out.
    pub without: Option<Without>,
}

impl Config {
    /// One writer, and no faults.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            readers: Vec::new(),
            writers: 1,
            faults: Budget::default(),
        }
    }

    /// With a reader in each of these processes.
    #[must_use]
    pub fn readers<const N: usize>(mut self, processes: [usize; N]) -> Self {
        self.readers = processes.to_vec();
        self
    }

    /// With this many writers.
    #[must_use]
    pub fn writers(mut self, writers: usize) -> Self {
        self.writers = writers;
        self
    }

    /// With these faults.
    #[must_use]
    pub fn faults(mut self, set: impl FnOnce(&mut Budget)) -> Self {
        set(&mut self.faults);
        self
    }
}

impl Front {
    fn lacks(&self, rule: Without) -> bool {
        self.without == Some(rule)
    }
}

impl Model for Front {
    type State = State;

    fn initial(&self) -> State {
        State {
            budget: self.config.faults,
            ..State::default()
        }
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        for reader in 0..self.config.readers.len() {
            self.reader_steps(state, reader, steps);
        }
        for writer in 0..self.config.writers {
            self.writer_steps(state, writer, steps);
        }
        for process in 0..state.processes.len() {
            self.process_steps(state, process, steps);
        }
        self.time_step(state, steps);
    }

    /// The only thing that matters about a generation is whether it is the process's current one.
    fn canonical(&self, state: &mut State) {
        for (it, &process) in self.config.readers.iter().enumerate() {
            let reader = &mut state.readers[it];
            let current = reader.generation == state.processes[process].generation;
            let taken = matches!(reader.at, At::Asking | At::Hearing | At::Inserting);
            reader.generation = u8::from(taken && current);
        }
        for process in &mut state.processes {
            process.entry = process.valid_entry();
            if let Some(entry) = &mut process.entry {
                entry.generation = 1;
            }
            process.generation = 1;
        }
        let same_process = matches!(self.config.readers[..], [left, right] if left == right);
        if same_process && state.readers[1] < state.readers[0] {
            state.readers.swap(0, 1);
        }
    }

    fn violation(&self, state: &State) -> Option<String> {
        let (data, floor) = state.stale?;
        Some(format!(
            "stale read: data {data}, though the oldest that was allowed is data {floor}"
        ))
    }

    fn all_done(&self, state: &State) -> bool {
        let readers = state.readers.iter().map(|reader| reader.at);
        let writers = state.writers.iter().map(|writer| writer.at);
        readers
            .into_iter()
            .all(|at| matches!(at, At::Idle | At::Done))
            && writers
                .into_iter()
                .all(|at| matches!(at, WriterAt::Idle | WriterAt::Done | WriterAt::Dead))
    }
}

/// The configurations for each test run.
pub fn configurations() -> Vec<Config> {
    vec![
        Config::new("a reader beside the writer, and one elsewhere").readers([0, 1]),
        Config::new("two readers elsewhere, a connection breaks twice")
            .readers([1, 1])
            .faults(|faults| faults.breaks = 2),
        Config::new("two writers, a connection breaks, a writer dies")
            .readers([1])
            .writers(2)
            .faults(|faults| {
                faults.breaks = 1;
                faults.crashes = 1;
            }),
    ]
}
