//! The steps of readers, writers and faults.

use super::Local;
use super::rules::Without;
use super::state::{ALL, At, Entry, Flight, KEY, Observed, Phase, Reader, State, TAG, WriterAt};
use crate::search::{Actor, Step, step};

impl Local {
    /// Whether an entry may be served: the counter that it holds has not moved. Another counter of
    /// the same tag does not count.
    pub(super) fn is_valid(&self, state: &State, entry: Entry) -> bool {
        let counts = [Some(state.counter), state.swept];
        counts.contains(&Some(entry.observed)) || self.lacks(Without::EntriesAskTheirCounter)
    }

    fn valid_entry(&self, state: &State) -> Option<Entry> {
        state.entry.filter(|&entry| self.is_valid(state, entry))
    }

    pub(super) fn reader_steps(&self, state: &State, it: usize, steps: &mut Vec<Step<State>>) {
        let mut add = |what, change: &dyn Fn(&mut State)| {
            step(steps, state, Actor::Reader(it), what, change);
        };
        let reader = state.readers[it];
        match reader.at {
            At::Idle => add("begins", &|state| {
                state.readers[it].floor = state.floor;
                state.readers[it].at = At::Peeking;
            }),
            At::Peeking => add(
                "looks at the entry",
                &|state| match self.valid_entry(state) {
                    Some(entry) => return_data(state, it, entry.data),
                    None => state.readers[it].at = At::Observing,
                },
            ),
            At::Observing => add("observes the counter", &|state| {
                state.readers[it].observed = state.counter;
                state.readers[it].at = At::Boarding;
            }),
            At::Boarding => add("looks again, and boards", &|state| self.board(state, it)),
            At::Waiting => self.wait_step(state, it, &mut add),
            At::Loading => add("reads the database", &|state| {
                if self.config.one_load {
                    state.loads = state.loads.saturating_add(1);
                }
                state.readers[it].data = state.row;
                state.readers[it].at = if self.lacks(Without::CountersAreObservedBeforeTheLoad) {
                    At::ObservingLate
                } else {
                    At::Landing
                };
            }),
            At::ObservingLate => add("observes the counter", &|state| {
                let observed = state.counter;
                flight(state, it).observed = observed;
                state.readers[it].at = At::Landing;
            }),
            At::Landing => add("hands the value to its waiters", &|state| {
                let data = state.readers[it].data;
                flight(state, it).phase = Phase::Landed(data);
                state.readers[it].at = At::Storing;
            }),
            At::Storing => add("stores the value, and returns it", &|state| {
                let data = state.readers[it].data;
                let observed = flight(state, it).observed;
                let forgotten = !forget_flight(state, it);
                if !forgotten || self.lacks(Without::ForgottenFlightsStoreNothing) {
                    state.entry = Some(Entry { data, observed });
                }
                return_data(state, it, data);
            }),
            At::Alone => add("loads for itself, and returns that", &|state| {
                let row = state.row;
                return_data(state, it, row);
            }),
            At::Done => {}
        }
    }

    fn board(&self, state: &mut State, it: usize) {
        if let Some(entry) = self.valid_entry(state) {
            return return_data(state, it, entry.data);
        }
        let observed = std::mem::take(&mut state.readers[it].observed);
        if let Some(current) = state.current {
            let flight = &mut state.flights[usize::from(current)];
            let same = flight.observed == observed || self.lacks(Without::BoardingComparesCounters);
            let at = match flight.phase {
                Phase::Loading | Phase::Landed(_) if same => Some(At::Waiting),
                Phase::Leaderless if same => {
                    flight.phase = Phase::Loading;
                    Some(At::Loading)
                }
                _ => None,
            };
            if let Some(at) = at {
                state.readers[it].flight = Some(current);
                state.readers[it].at = at;
                return;
            }
        }
        let held = |place: u8| {
            state.current == Some(place)
                || state
                    .readers
                    .iter()
                    .any(|reader| reader.flight == Some(place))
        };
        // If all places are taken, no reader holds the current flight, and it is replaced.
        let place = (0..3).find(|&place| !held(place)).or(state.current);
        let place = place.expect("each reader holds at most one");
        state.flights[usize::from(place)] = Flight {
            phase: Phase::Loading,
            observed,
        };
        state.current = Some(place);
        state.readers[it].flight = Some(place);
        state.readers[it].at = At::Loading;
    }

    fn wait_step(
        &self,
        state: &State,
        it: usize,
        add: &mut impl FnMut(&'static str, &dyn Fn(&mut State)),
    ) {
        let place = state.readers[it].flight.expect("it waits for a flight");
        match state.flights[usize::from(place)].phase {
            Phase::Loading => {}
            Phase::Landed(data) => add("gets the value that landed", &|state| {
                return_data(state, it, data);
            }),
            Phase::Failed => add("learns that the load failed", &|state| {
                state.readers[it].flight = None;
                state.readers[it].at = At::Alone;
            }),
            Phase::Dissolved => add("looks again", &|state| {
                state.readers[it].flight = None;
                state.readers[it].at = At::Observing;
            }),
            Phase::Leaderless => add("takes the flight over", &|state| {
                flight(state, it).phase = Phase::Loading;
                state.readers[it].at = At::Loading;
            }),
        }
    }

    pub(super) fn writer_steps(&self, state: &State, it: usize, steps: &mut Vec<Step<State>>) {
        let names = self.config.writers[it];
        let mut add = |what, change: &dyn Fn(&mut State)| {
            step(steps, state, Actor::Writer(it), what, change);
        };
        match state.writers[it].at {
            WriterAt::Idle => add("commits", &|state| {
                state.row += 1;
                state.writers[it].left = names;
                state.writers[it].at = WriterAt::Invalidating;
            }),
            WriterAt::Invalidating => {
                for name in [KEY, TAG, ALL] {
                    if state.writers[it].left & name != 0 {
                        add("invalidates a name", &|state| {
                            self.invalidate(state, it, name);
                        });
                        break;
                    }
                }
            }
            WriterAt::Done => {}
        }
    }

    fn invalidate(&self, state: &mut State, it: usize, name: u8) {
        let writer = &mut state.writers[it];
        if writer.left == self.config.writers[it] {
            writer.covers = state.row;
        }
        writer.left &= !name;
        let (done, covers) = (writer.left == 0, writer.covers);
        if name == TAG {
            state.counter.value += 1;
        } else {
            let keeps = match name {
                KEY => Without::InvalidationForgetsTheFlight,
                _ => Without::ClearingForgetsFlights,
            };
            if !self.lacks(keeps) {
                state.current = None;
            }
            state.entry = None;
        }
        if done {
            state.floor = covers.max(state.floor);
            state.writers[it].covers = 0;
            state.writers[it].at = WriterAt::Done;
        }
    }

    pub(super) fn reader_fault_steps(
        &self,
        state: &State,
        it: usize,
        steps: &mut Vec<Step<State>>,
    ) {
        let at = state.readers[it].at;
        let mut add = |what, change: &dyn Fn(&mut State)| {
            step(steps, state, Actor::Environment, what, change);
        };
        if state.budget.cancels > 0 && at != At::Idle && at != At::Done {
            add("a reader gives up", &|state| {
                state.budget.cancels -= 1;
                self.cancel(state, it);
            });
        }
        if state.budget.errors > 0 && at == At::Loading {
            add("the load fails", &|state| {
                state.budget.errors -= 1;
                forget_flight(state, it);
                flight(state, it).phase = Phase::Failed;
                state.readers[it] = done();
            });
        }
    }

    fn cancel(&self, state: &mut State, it: usize) {
        if let Some(place) = state.readers[it].flight {
            let waiters = state.readers.iter().enumerate().any(|(other, reader)| {
                other != it && reader.at == At::Waiting && reader.flight == Some(place)
            });
            let leads = state.readers[it].at != At::Waiting;
            let phase = flight(state, it).phase;
            let next = match (leads, waiters, phase) {
                (true, true, Phase::Loading) if self.lacks(Without::DroppedLeaderHandsOver) => {
                    Phase::Loading
                }
                (true, true, Phase::Loading) => Phase::Leaderless,
                (true, _, Phase::Landed(_)) => phase,
                (true, _, _) | (false, false, Phase::Leaderless) => Phase::Dissolved,
                (false, _, _) => phase,
            };
            let over = leads && next != Phase::Leaderless && next != Phase::Loading;
            if over || next == Phase::Dissolved {
                forget_flight(state, it);
            }
            flight(state, it).phase = next;
        }
        state.readers[it] = done();
    }

    pub(super) fn fault_steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        if state.budget.losses > 0 && state.entry.is_some() {
            let what = "the entry is evicted, or expires";
            step(steps, state, Actor::Environment, what, |state| {
                state.budget.losses -= 1;
                state.entry = None;
            });
        }
        // A counter is held by an entry, a flight, or a caller between two locks.
        let holds = |observed: Observed| observed.counter == state.counter.counter;
        let held = state.entry.is_some_and(|entry| holds(entry.observed))
            || state.readers.iter().any(|reader| {
                let flight = reader.flight.map(|place| state.flights[usize::from(place)]);
                flight.is_some_and(|flight| holds(flight.observed))
                    || reader.at == At::Boarding && holds(reader.observed)
            });
        let may = !held || self.lacks(Without::CountersThatAreHeldAreKept);
        if state.budget.sweeps > 0 && may {
            step(
                steps,
                state,
                Actor::Environment,
                "a counter is swept out",
                |state| {
                    state.budget.sweeps -= 1;
                    state.swept = held.then_some(state.counter);
                    state.counter = Observed {
                        counter: state.counter.counter + 1,
                        value: 0,
                    };
                },
            );
        }
    }
}

fn flight(state: &mut State, it: usize) -> &mut Flight {
    let place = state.readers[it].flight.expect("a flight");
    &mut state.flights[usize::from(place)]
}

/// Forgets this reader's flight: no caller boards it any more. Returns whether it was current.
fn forget_flight(state: &mut State, it: usize) -> bool {
    let current = state.current == state.readers[it].flight;
    if current {
        state.current = None;
    }
    current
}

fn return_data(state: &mut State, it: usize, data: u8) {
    let floor = state.readers[it].floor;
    if data < floor {
        state.stale = Some((data, floor));
    }
    state.readers[it] = done();
}

fn done() -> Reader {
    Reader {
        at: At::Done,
        ..Reader::default()
    }
}
