//! The steps of readers, writers and faults.

use super::Local;
use super::rules::Without;
use super::state::{ALL, At, Entry, Flight, KEY, Observed, Phase, Reader, State, TAG, WriterAt};
use crate::search::{Actor, Step, step};

/// After so many waves have failed, each waiter loads for itself.
const MAX_WAVES: u8 = 2;

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
        if reader.stopped {
            return;
        }
        if let Some(data) = self.landed(state, it) {
            add("gets the value of another load", &|state| {
                self.drop_attempt(state, it);
                return_data(state, it, data);
            });
        }
        if reader.hung {
            return;
        }
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
                self.count_load(state);
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
                if !flight(state, it).phase.is_over() {
                    flight(state, it).phase = Phase::Landed(data);
                    state.readers[it].at = At::Storing;
                } else if self.lacks(Without::SupersededAttemptsStoreNothing) {
                    let observed = flight(state, it).observed;
                    state.entry = Some(Entry { data, observed });
                    return_data(state, it, data);
                } else {
                    // Another attempt was first. This one serves its own caller only.
                    self.drop_attempt(state, it);
                    return_data(state, it, data);
                }
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
                self.count_load(state);
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
            if same && matches!(flight.phase, Phase::Loading | Phase::Landed(_)) {
                state.readers[it].flight = Some(current);
                if !self.begin_wanted(state, it) {
                    state.readers[it].at = At::Waiting;
                }
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
            observed,
            ..Flight::default()
        };
        state.current = Some(place);
        state.readers[it].flight = Some(place);
        state.readers[it].attempt = 1;
        state.readers[it].at = At::Loading;
    }

    fn count_load(&self, state: &mut State) {
        if self.config.one_load {
            state.loads = state.loads.saturating_add(1);
        }
    }

    /// What another attempt at the load of this reader's flight has yielded.
    fn landed(&self, state: &State, it: usize) -> Option<u8> {
        let reader = state.readers[it];
        let loads = reader.attempt > 0 && reader.at == At::Loading;
        let place = reader.flight.filter(|_| loads)?;
        match state.flights[usize::from(place)].phase {
            Phase::Landed(data) if !self.lacks(Without::LandedValueIsForAllAttempts) => Some(data),
            _ => None,
        }
    }

    /// Begins one of the attempts that are wanted; false if none is.
    fn begin_wanted(&self, state: &mut State, it: usize) -> bool {
        let place = state.readers[it].flight.expect("a flight");
        let newest = newest_attempt(state, place);
        let number = newest.map_or(0, |newest| newest.attempt) + 1;
        let flight = flight(state, it);
        if flight.phase.is_over() || flight.wanted == 0 {
            return false;
        }
        if !self.lacks(Without::OneWaiterSucceeds) {
            flight.wanted -= 1;
        }
        state.readers[it].attempt = number;
        state.readers[it].at = At::Loading;
        true
    }

    /// The check of each flight that has waiters. It depends on no reader.
    pub(super) fn check_steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        for (place, flight) in (0_u8..).zip(&state.flights) {
            let waiters = state.readers.iter().any(|reader| reader.waits_for(place));
            let unattended = flight.phase == Phase::Loading && flight.wanted == 0;
            let Some(newest) = newest_attempt(state, place).filter(|_| waiters && unattended)
            else {
                continue;
            };
            let is_set_aside = newest.stopped && !self.lacks(Without::SetAsideLoadIsSucceeded);
            let hangs = newest.hung && !self.lacks(Without::HungLoadIsHedged);
            if is_set_aside || hangs {
                let what = "wants one more load, beside one that does not move";
                step(steps, state, Actor::Process(0), what, |state| {
                    state.flights[usize::from(place)].wanted = 1;
                });
            }
        }
    }

    fn wait_step(
        &self,
        state: &State,
        it: usize,
        add: &mut impl FnMut(&'static str, &dyn Fn(&mut State)),
    ) {
        let place = state.readers[it].flight.expect("it waits for a flight");
        match state.flights[usize::from(place)].phase {
            Phase::Loading => {
                if state.flights[usize::from(place)].wanted > 0 {
                    add("begins one more load", &|state| {
                        self.begin_wanted(state, it);
                    });
                }
            }
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
        let reader = state.readers[it];
        let at = reader.at;
        let mut add = |what, change: &dyn Fn(&mut State)| {
            step(steps, state, Actor::Environment, what, change);
        };
        if state.budget.cancels > 0 && at != At::Idle && at != At::Done {
            add("a reader gives up", &|state| {
                state.budget.cancels -= 1;
                self.cancel(state, it);
            });
        }
        if reader.stopped {
            add("a reader is polled again", &|state| {
                state.readers[it].stopped = false;
            });
            return;
        }
        if reader.hung {
            add("a load that hung goes on", &|state| {
                state.readers[it].hung = false;
            });
        } else {
            // For readers that no other depends on, to be set aside is to be slow.
            if state.budget.stops > 0 && reader.flight.is_some() {
                add("a reader is set aside", &|state| {
                    state.budget.stops -= 1;
                    state.readers[it].stopped = true;
                });
            }
            if state.budget.hangs > 0 && at == At::Loading {
                add("a load hangs", &|state| {
                    state.budget.hangs -= 1;
                    state.readers[it].hung = true;
                });
            }
        }
        if state.budget.errors > 0 && at == At::Loading {
            add("the load fails", &|state| {
                state.budget.errors -= 1;
                self.count_load(state);
                self.fail_attempt(state, it);
                state.readers[it] = done();
            });
        }
    }

    /// An attempt fails. While a newer attempt goes on, nothing else happens. (Older ones were
    /// taken over from, since they did not move.) Else the waiters begin one more wave of attempts.
    fn fail_attempt(&self, state: &mut State, it: usize) {
        let waiters = count_waiters(state, it);
        let place = state.readers[it].flight.expect("a flight");
        let number = state.readers[it].attempt;
        let newer = newest_attempt(state, place).is_some_and(|newest| newest.attempt > number);
        let flight = flight(state, it);
        let over = flight.phase.is_over();
        if newer || flight.wanted > 0 && !over {
            return;
        }
        if !over {
            flight.failed += 1;
            let last = flight.failed >= MAX_WAVES || self.lacks(Without::FailingLoadsComeInWaves);
            if waiters > 0 && !last {
                flight.wanted = 1;
                return;
            }
            flight.phase = Phase::Failed;
        }
        forget_flight(state, it);
    }

    /// An attempt is dropped. If it is the only one, a waiter begins another; without waiters, the
    /// flight ends.
    fn drop_attempt(&self, state: &mut State, it: usize) {
        let waiters = count_waiters(state, it);
        let others = has_other_attempts(state, it);
        let flight = flight(state, it);
        let over = flight.phase.is_over();
        if others || flight.wanted > 0 && !over {
            return;
        }
        if waiters > 0 && !over {
            if !self.lacks(Without::DroppedLeaderHandsOver) {
                flight.wanted = 1;
            }
            return;
        }
        if !over {
            flight.phase = Phase::Dissolved;
        }
        forget_flight(state, it);
    }

    fn drop_waiter(&self, state: &mut State, it: usize) {
        let place = state.readers[it].flight.expect("a flight");
        let others = count_waiters(state, it);
        let attempts = newest_attempt(state, place).is_some();
        let flight = flight(state, it);
        flight.wanted = flight.wanted.min(others);
        if others == 0 && !attempts && !flight.phase.is_over() {
            flight.phase = Phase::Dissolved;
            forget_flight(state, it);
        }
    }

    fn cancel(&self, state: &mut State, it: usize) {
        let reader = state.readers[it];
        if reader.attempt > 0 {
            self.drop_attempt(state, it);
        } else if reader.flight.is_some() {
            self.drop_waiter(state, it);
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

/// The reader with the newest attempt.
fn newest_attempt(state: &State, place: u8) -> Option<Reader> {
    let attempts = state.readers.iter().filter(|reader| reader.attempts(place));
    attempts.max_by_key(|reader| reader.attempt).copied()
}

/// How many other readers wait for this reader's flight.
fn count_waiters(state: &State, it: usize) -> u8 {
    let place = state.readers[it].flight.expect("a flight");
    let others = (0..state.readers.len()).filter(|&other| other != it);
    others
        .map(|other| u8::from(state.readers[other].waits_for(place)))
        .sum()
}

fn has_other_attempts(state: &State, it: usize) -> bool {
    let place = state.readers[it].flight.expect("a flight");
    (0..state.readers.len()).any(|other| other != it && state.readers[other].attempts(place))
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
