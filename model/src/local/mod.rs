//! The local tier: one key with one tag, and locks in the place of the server.
//!
//! It takes the steps of the runtime's local tier and of `flight.rs`, one lock at a time.

mod participants;
pub mod rules;
pub mod state;

use self::rules::Without;
use self::state::{At, Budget, Names, Phase, State, WriterAt};
use crate::search::{Model, Step};

/// The participants, and the faults.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name in the printed table.
    pub name: &'static str,
    /// How many readers.
    pub readers: usize,
    /// The names that each writer invalidates.
    pub writers: Vec<Names>,
    /// Whether a second load breaks a promise.
    pub one_load: bool,
    /// How many faults there may be.
    pub faults: Budget,
}

/// A configuration, under the protocol or without one of its rules.
#[derive(Debug, Clone)]
pub struct Local {
    /// The configuration.
    pub config: Config,
    /// The rule that is left out.
    pub without: Option<Without>,
}

impl Config {
    /// No participants, and no faults.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            readers: 0,
            writers: Vec::new(),
            one_load: false,
            faults: Budget::default(),
        }
    }

    /// With this many readers.
    #[must_use]
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = readers;
        self
    }

    /// With one more writer.
    #[must_use]
    pub fn writer(mut self, names: Names) -> Self {
        self.writers.push(names);
        self
    }

    /// With the promise of one load.
    #[must_use]
    pub fn one_load(mut self) -> Self {
        self.one_load = true;
        self
    }

    /// With these faults.
    #[must_use]
    pub fn faults(mut self, set: impl FnOnce(&mut Budget)) -> Self {
        set(&mut self.faults);
        self
    }
}

impl Local {
    fn lacks(&self, rule: Without) -> bool {
        self.without == Some(rule)
    }

    /// One, and one more for each load that was dropped, set aside, hung or failed.
    fn loads_allowed(&self, state: &State) -> u8 {
        let faults = |budget: Budget| budget.cancels + budget.stops + budget.hangs + budget.errors;
        1 + faults(self.config.faults) - faults(state.budget)
    }
}

impl Model for Local {
    type State = State;

    fn initial(&self) -> State {
        State {
            budget: self.config.faults,
            ..State::default()
        }
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        for reader in 0..self.config.readers {
            self.reader_steps(state, reader, steps);
            self.reader_fault_steps(state, reader, steps);
        }
        self.check_steps(state, steps);
        for writer in 0..self.config.writers.len() {
            self.writer_steps(state, writer, steps);
        }
        self.fault_steps(state, steps);
    }

    fn violation(&self, state: &State) -> Option<String> {
        if let Some((data, floor)) = state.stale {
            return Some(format!(
                "stale read: data {data}, though an invalidation of anything older than data \
                 {floor} had returned"
            ));
        }
        if self.config.one_load && state.loads > self.loads_allowed(state) {
            return Some("more loads than needed".to_owned());
        }
        if self.all_done(state) {
            let entry = state.entry.filter(|&entry| self.is_valid(state, entry));
            if entry.is_some_and(|entry| entry.data < state.row) {
                return Some("stale at rest".to_owned());
            }
            let held = state.readers.map(|reader| reader.flight);
            if state.current.is_some() && !held.contains(&state.current) {
                return Some("a flight is left behind".to_owned());
            }
        }
        None
    }

    /// Whether all callers that move are done. One whose load hangs is also served if another
    /// load has landed.
    fn all_done(&self, state: &State) -> bool {
        state.readers.iter().all(|reader| {
            let flight = reader.flight.map(|place| state.flights[usize::from(place)]);
            let landed = flight.is_some_and(|flight| matches!(flight.phase, Phase::Landed(_)));
            let cannot_go_on = reader.stopped || reader.hung && !landed;
            matches!(reader.at, At::Idle | At::Done) || cannot_go_on
        }) && state
            .writers
            .iter()
            .all(|writer| matches!(writer.at, WriterAt::Idle | WriterAt::Done))
    }
}

/// The configurations for each test run.
pub fn configurations() -> Vec<Config> {
    use self::state::{ALL, KEY, TAG};
    vec![
        Config::new("one load").readers(3).one_load(),
        Config::new("one load, of three that do not move or fail")
            .readers(3)
            .one_load()
            .faults(|faults| {
                faults.stops = 1;
                faults.hangs = 1;
                faults.errors = 1;
                faults.cancels = 1;
            }),
        Config::new("three readers, a tag").readers(3).writer(TAG),
        Config::new("three readers, a key, one that is set aside")
            .readers(3)
            .writer(KEY)
            .faults(|faults| faults.stops = 1),
        Config::new("a tag, readers that are set aside, hang or fail")
            .readers(2)
            .writer(TAG)
            .writer(KEY)
            .faults(|faults| {
                faults.stops = 1;
                faults.hangs = 1;
                faults.errors = 1;
            }),
        Config::new("a key and a tag, and readers that give up or fail")
            .readers(2)
            .writer(KEY)
            .writer(TAG)
            .faults(|faults| {
                faults.cancels = 1;
                faults.errors = 1;
            }),
        Config::new("the cache is cleared, counters are swept")
            .readers(2)
            .writer(TAG)
            .writer(ALL)
            .faults(|faults| {
                faults.losses = 1;
                faults.sweeps = 1;
            }),
        Config::new("two writers, one of which names key and tag")
            .readers(2)
            .writer(KEY | TAG)
            .writer(TAG)
            .faults(|faults| faults.cancels = 1),
    ]
}
