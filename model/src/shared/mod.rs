//! The shared tier: one key, its tags, its readers and its writers.
//!
//! Read [`state`] first, then the steps: `reader`, `writer` and `environment`. `server`
//! has the server's atomic commands, and `flight` the operations under the lock of a
//! process's flights.

mod canonical;
pub mod config;
pub mod configurations;
mod environment;
mod flight;
mod promises;
mod reader;
pub mod rules;
mod server;
pub mod state;
mod writer;

use self::config::Config;
use self::rules::Without;
use self::state::{Epoch, State};
use crate::search::{Model, Step};

/// A configuration, under the protocol or without one of its rules.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The participants, and the faults.
    pub config: Config,
    /// The rule that is left out.
    pub without: Option<Without>,
}

/// The epoch of a server that owns nothing at first: more restarts than there are.
const OTHER_SERVER: Epoch = 100;

impl Shared {
    fn lacks(&self, rule: Without) -> bool {
        self.without == Some(rule)
    }
}

impl Model for Shared {
    type State = State;

    fn initial(&self) -> State {
        let mut state = State {
            budget: self.config.faults,
            others: [OTHER_SERVER; 2],
            ..State::default()
        };
        for (process, tags) in state.processes.iter_mut().zip(self.config.remembered) {
            process.remembered = tags;
        }
        state
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        for reader in 0..self.config.readers.len() {
            self.reader_steps(state, reader, steps);
        }
        for writer in 0..self.config.writers.len() {
            self.writer_steps(state, writer, steps);
        }
        for process in 0..state.processes.len() {
            self.replay_step(state, process, steps);
        }
        self.check_steps(state, steps);
        self.time_steps(state, steps);
        self.fault_steps(state, steps);
    }

    fn canonical(&self, state: &mut State) {
        canonical::canonical(&self.config, state);
    }

    fn violation(&self, state: &State) -> Option<String> {
        self.broken_promise(state)
    }

    fn all_done(&self, state: &State) -> bool {
        self.at_rest(state)
    }
}
