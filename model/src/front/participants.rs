//! The steps of readers, writers, connections and time.

use super::Front;
use super::rules::Without;
use super::state::{At, Connection, Entry, MESSAGES, Message, Reader, State, WriterAt};
use crate::search::{Actor, Step, step};

impl Front {
    pub(super) fn reader_steps(&self, state: &State, it: usize, steps: &mut Vec<Step<State>>) {
        let process = self.config.readers[it];
        let mut add = |what, change: &dyn Fn(&mut State)| {
            step(steps, state, Actor::Reader(it), what, change);
        };
        match state.readers[it].at {
            At::Idle => add("begins", &|state| {
                state.readers[it].floor = state.processes[process].floor;
                state.readers[it].at = At::Peeking;
            }),
            At::Peeking => add("looks into the local tier", &|state| {
                let local = &state.processes[process];
                match local.valid_entry().filter(|_| local.trust.is_some()) {
                    Some(entry) => return_data(state, it, entry.data),
                    None => state.readers[it].at = At::Taking,
                }
            }),
            At::Taking => add("takes the generation", &|state| {
                state.readers[it].generation = state.processes[process].generation;
                state.readers[it].at = At::Asking;
            }),
            At::Asking => add("asks the shared tier", &|state| {
                state.readers[it].data = state.shared_floor;
                state.readers[it].at = At::Hearing;
            }),
            At::Hearing => {
                for data in state.readers[it].data..=state.row {
                    let what = if data == state.row {
                        "gets the newest data from the shared tier"
                    } else {
                        "gets older data from the shared tier"
                    };
                    add(what, &|state| {
                        state.readers[it].data = data;
                        state.readers[it].at = At::Inserting;
                    });
                }
            }
            At::Inserting => add("inserts it, and returns it", &|state| {
                let Reader {
                    data,
                    mut generation,
                    ..
                } = state.readers[it];
                let local = &mut state.processes[process];
                if self.lacks(Without::GenerationIsTakenBeforeTheRead) {
                    generation = local.generation;
                }
                local.entry = Some(Entry { data, generation });
                if local.valid_entry().is_none() {
                    local.entry = None;
                }
                return_data(state, it, data);
            }),
            At::Done => {}
        }
    }

    pub(super) fn writer_steps(&self, state: &State, it: usize, steps: &mut Vec<Step<State>>) {
        let mut add = |what, change: &dyn Fn(&mut State)| {
            step(steps, state, Actor::Writer(it), what, change);
        };
        match state.writers[it].at {
            WriterAt::Idle => add("commits", &|state| {
                state.row += 1;
                state.writers[it].at = if self.lacks(Without::OwnTierFollowsTheShared) {
                    WriterAt::OwnTierFirst
                } else {
                    WriterAt::Invalidating
                };
            }),
            WriterAt::OwnTierFirst => add("invalidates its own local tier", &|state| {
                state.processes[0].invalidate();
                state.writers[it].at = WriterAt::Invalidating;
            }),
            WriterAt::Invalidating => add("invalidates the shared tier", &|state| {
                state.writers[it].covers = state.row;
                state.shared_floor = state.row;
                state.writers[it].at = if self.lacks(Without::PublishedInTheSameScript) {
                    WriterAt::Publishing
                } else {
                    publish(state);
                    WriterAt::OwnTier
                };
            }),
            WriterAt::Publishing => add("publishes the name", &|state| {
                publish(state);
                state.writers[it].at = WriterAt::OwnTier;
            }),
            WriterAt::OwnTier => add("invalidates its own local tier", &|state| {
                if !self.lacks(Without::OwnTierIsInvalidated)
                    && !self.lacks(Without::OwnTierFollowsTheShared)
                {
                    state.processes[0].invalidate();
                }
                state.writers[it].at = WriterAt::Returning;
            }),
            WriterAt::Returning => add("returns", &|state| {
                let covers = std::mem::take(&mut state.writers[it].covers);
                state.writers[it].at = WriterAt::Done;
                state.returned = covers.max(state.returned);
                state.processes[0].floor = covers.max(state.processes[0].floor);
                // All pings so far were sent before this return.
                for process in &mut state.processes {
                    for message in process.messages.iter_mut().flatten() {
                        if let Message::Pong(after) = message {
                            *after = false;
                        }
                    }
                    if let Some(after) = &mut process.trust {
                        *after = false;
                    }
                }
            }),
            WriterAt::Done | WriterAt::Dead => {}
        }
        let invalidated = matches!(
            state.writers[it].at,
            WriterAt::Publishing | WriterAt::OwnTier | WriterAt::Returning
        );
        if state.budget.crashes > 0 && invalidated {
            let what = "a writer's process dies after it invalidated the shared tier";
            step(steps, state, Actor::Environment, what, |state| {
                state.budget.crashes -= 1;
                // No reader is in it any more. For other processes it counts as if it had
                // returned.
                let covers = std::mem::take(&mut state.writers[it].covers);
                state.returned = covers.max(state.returned);
                state.writers[it].at = WriterAt::Dead;
                let process = &mut state.processes[1];
                for message in process.messages.iter_mut().flatten() {
                    if let Message::Pong(after) = message {
                        *after = false;
                    }
                }
                if let Some(after) = &mut process.trust {
                    *after = false;
                }
            });
        }
    }

    pub(super) fn process_steps(&self, state: &State, at: usize, steps: &mut Vec<Step<State>>) {
        if !self.config.readers.contains(&at) {
            return;
        }
        let process = state.processes[at];
        let mut add = |what, change: &dyn Fn(&mut State)| {
            step(steps, state, Actor::Process(at), what, change);
        };
        let clears_first = self.lacks(Without::ListeningComesBeforeClearing);
        match process.connection {
            Connection::Down if clears_first => add("clears its local tier", &|state| {
                state.processes[at].invalidate();
                state.processes[at].connection = Connection::Cleared;
            }),
            Connection::Down => add("listens", &|state| {
                state.processes[at].connection = Connection::Listening;
            }),
            Connection::Cleared => add("listens", &|state| {
                state.processes[at].connection = Connection::Up;
            }),
            Connection::Listening => add("clears its local tier", &|state| {
                let process = &mut state.processes[at];
                if self.lacks(Without::ClearingMovesTheGenerationOn) {
                    process.entry = None;
                } else if !self.lacks(Without::ReconnectingClears) {
                    process.invalidate();
                }
                process.connection = Connection::Up;
                if self.lacks(Without::TrustNeedsPings) {
                    process.trust = Some(true);
                }
            }),
            Connection::Broken => add("notices that its connection broke", &|state| {
                state.processes[at].connection = Connection::Down;
                state.processes[at].trust = None;
            }),
            Connection::Up => {}
        }
        let pings = process
            .messages
            .iter()
            .any(|message| matches!(message, Some(Message::Pong(_) | Message::LatePong)));
        let up = process.connection == Connection::Up;
        if up && !pings && process.trust != Some(true) && process.messages[MESSAGES - 1].is_none() {
            add("pings", &|state| {
                state.processes[at].send(Message::Pong(true));
            });
        }
        if process.messages[0].is_some() {
            add("receives a message", &|state| {
                let process = &mut state.processes[at];
                match process.receive() {
                    Some(Message::Invalidated) => process.invalidate(),
                    Some(_) if self.lacks(Without::TrustCountsFromThePing) => {
                        process.trust = Some(true);
                    }
                    Some(Message::Pong(after)) => process.trust = Some(after),
                    Some(Message::LatePong) | None => {}
                }
            });
        }
        if state.budget.breaks > 0 && process.hears() {
            let what = "a connection breaks, and its process does not notice";
            step(steps, state, Actor::Environment, what, |state| {
                state.budget.breaks -= 1;
                state.processes[at].connection = Connection::Broken;
                state.processes[at].messages = Default::default();
            });
        }
    }

    /// Δ has passed since the latest invalidation returned.
    pub(super) fn time_step(&self, state: &State, steps: &mut Vec<Step<State>>) {
        let what = "Δ has passed since the latest invalidation returned";
        step(steps, state, Actor::Time, what, |state| {
            for process in &mut state.processes {
                process.floor = state.returned.max(process.floor);
                if process.trust == Some(false) && !self.lacks(Without::TrustNeedsPings) {
                    process.trust = None;
                }
                for message in process.messages.iter_mut().flatten() {
                    if *message == Message::Pong(false) {
                        *message = Message::LatePong;
                    }
                }
            }
        });
    }
}

fn publish(state: &mut State) {
    for process in &mut state.processes {
        if process.hears() {
            process.send(Message::Invalidated);
        }
    }
}

fn return_data(state: &mut State, it: usize, data: u8) {
    let floor = state.readers[it].floor;
    if data < floor {
        state.stale = Some((data, floor));
    }
    state.readers[it] = Reader {
        at: At::Done,
        ..Reader::default()
    };
}
