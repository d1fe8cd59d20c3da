//! The operations under the lock of a process's flights: `flight/` of the runtime.

use super::Shared;
use super::config::tag;
use super::rules::Without;
use super::state::{At, Evidence, Flight, Phase, Reader, State};
use crate::search::{Actor, Step, step};

/// After so many waves have failed, each waiter loads for itself. (It is 3 in the runtime, where a
/// wave is eight times as large as the one before. A model of three readers has waves of one.)
const MAX_WAVES: u8 = 2;

/// A reader's part in the flight that it boarded or started.
pub(super) enum Seat {
    Wait,
    Lead,
}

impl Shared {
    /// Boards the current flight if its value cannot be older than a reader with this evidence.
    pub(super) fn board(
        &self,
        state: &mut State,
        reader: usize,
        evidence: Option<&Evidence>,
    ) -> Option<Seat> {
        let process = usize::from(self.config.process_of(reader));
        let current = state.processes[process].current?;
        let flight = state.flights[usize::from(current)].as_mut()?;
        let same_evidence = evidence.is_some_and(|evidence| {
            self.lacks(Without::BoardingAsksForEvidence)
                || flight
                    .evidence
                    .is_some_and(|other| self.agree(evidence, &other))
        });
        let begun_is_enough = evidence.is_none() && self.lacks(Without::DegradedShareUnbegunOnly);
        let may_wait = match flight.phase {
            Phase::Boarding => true,
            // This reader could not take the value that has landed.
            Phase::Landed(_)
                if flight.uncovered && !self.lacks(Without::UncoveredFlightIsNotBoarded) =>
            {
                false
            }
            Phase::Loading | Phase::Landed(_) => same_evidence || begun_is_enough,
            Phase::FailedWith(_) => same_evidence && self.lacks(Without::ErrorEndsItsFlight),
            Phase::Failed | Phase::Dissolved => false,
        };
        if !may_wait {
            return None;
        }
        let errors = flight.errors;
        let late = self.config.learns_tags() && flight.phase != Phase::Boarding;
        state.readers[reader].flight = Some(current);
        state.readers[reader].missed = errors;
        state.readers[reader].late = late;
        if state.flight(reader).phase == Phase::Loading && self.begin_wanted(state, reader) {
            return Some(Seat::Lead);
        }
        Some(Seat::Wait)
    }

    /// Whether two readers have the same evidence.
    pub(super) fn agree(&self, left: &Evidence, right: &Evidence) -> bool {
        let common = left.tags & right.tags;
        let in_common = self.lacks(Without::BoardingComparesTags);
        let mut tags = self.config.tag_indices();
        let same_versions = tags.all(|index| {
            let compares = !in_common || common & tag(index) != 0;
            !compares || left.versions[index] == right.versions[index]
        });
        (left.mark == right.mark || self.lacks(Without::BoardingComparesLease))
            && (same_versions || self.lacks(Without::BoardingComparesVersions))
            && (left.epochs == right.epochs || self.lacks(Without::BoardingComparesEpoch))
            && (left.tags == right.tags || self.lacks(Without::BoardingComparesTags))
    }

    /// Starts a flight, in the place of the current one.
    pub(super) fn start_flight(
        &self,
        state: &mut State,
        reader: usize,
        evidence: Option<Evidence>,
    ) {
        let process = self.config.process_of(reader);
        let place = (0_u8..)
            .zip(&state.flights)
            .map(|(place, _)| place)
            .find(|&place| {
                !state
                    .readers
                    .iter()
                    .any(|reader| reader.flight == Some(place))
                    && !state
                        .processes
                        .iter()
                        .any(|process| process.current == Some(place))
            })
            .expect("each reader holds at most one");
        state.flights[usize::from(place)] = Some(Flight {
            process,
            phase: if evidence.is_some() {
                Phase::Loading
            } else {
                Phase::Boarding
            },
            evidence,
            ..Flight::default()
        });
        let current = &mut state.processes[usize::from(process)].current;
        let previous = current.replace(place);
        if evidence.is_none() && !self.lacks(Without::FlightThatDidNotBeginPutsBackItsPrevious) {
            state.readers[reader].previous = previous;
        }
        state.readers[reader].flight = Some(place);
        state.readers[reader].attempt = 1;
    }

    /// Begins the load of a flight: from now on only readers with the same evidence may board. The
    /// waiters have left a flight that is over.
    pub(super) fn begin_load(&self, state: &mut State, reader: usize, evidence: Option<Evidence>) {
        state.readers[reader].previous = None;
        let flight = state.flight(reader);
        flight.evidence = evidence;
        flight.owns = evidence.is_some();
        if !flight.phase.is_over() {
            flight.phase = Phase::Loading;
        }
    }

    /// Begins one of the attempts that are wanted; false if none is.
    pub(super) fn begin_wanted(&self, state: &mut State, reader: usize) -> bool {
        let place = state.readers[reader].flight.expect("a flight");
        let newest = newest_attempt(state, place);
        let number = newest.map_or(0, |newest| state.readers[newest].attempt) + 1;
        let flight = state.flight(reader);
        if flight.wanted == 0 {
            return false;
        }
        if !self.lacks(Without::OneWaiterSucceeds) {
            flight.wanted -= 1;
        }
        let missed = flight.errors > state.readers[reader].missed;
        state.missed_error |= missed;
        state.readers[reader].attempt = number;
        state.readers[reader].chosen = false;
        true
    }

    /// Lets waiters begin attempts.
    fn want(&self, state: &mut State, place: u8, attempts: u8) {
        if let Some(flight) = &mut state.flights[usize::from(place)] {
            flight.wanted = attempts;
        }
        if self.lacks(Without::AnyWaiterSucceeds)
            && let Some(first) =
                (0..state.readers.len()).find(|&it| state.readers[it].waits_for(place))
        {
            state.readers[first].chosen = true;
        }
    }

    /// The check of each flight that has waiters. It depends on no reader.
    pub(super) fn check_steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        for (place, flight) in (0_u8..).zip(&state.flights) {
            let Some(flight) = flight else {
                continue;
            };
            let waiters = state.readers.iter().any(|reader| reader.waits_for(place));
            let Some(newest) = newest_attempt(state, place).filter(|_| waiters) else {
                continue;
            };
            let newest = state.readers[newest];
            let actor = Actor::Process(flight.process.into());
            let stores = matches!(newest.at, At::Filling | At::Finishing);
            let is_set_aside = newest.stopped
                && !(stores && self.lacks(Without::SetAsideWhileItStores))
                && !self.lacks(Without::SetAsideLoadIsSucceeded);
            let hangs = newest.hung && !self.lacks(Without::HungLoadIsHedged);
            match flight.phase {
                Phase::Boarding
                    if newest.stopped && !self.lacks(Without::BoardingFlightIsDissolved) =>
                {
                    let what = "dissolves a flight whose leader was set aside before its load";
                    step(steps, state, actor, what, |state| {
                        if let Some(flight) = &mut state.flights[usize::from(place)] {
                            flight.phase = Phase::Dissolved;
                        }
                    });
                }
                Phase::Loading if flight.wanted == 0 && (is_set_aside || hangs) => {
                    let what = if hangs {
                        "wants one more load, beside one that hangs"
                    } else {
                        "wants one more load, beside one that was set aside"
                    };
                    step(steps, state, actor, what, |state| {
                        self.want(state, place, 1);
                    });
                }
                _ => {}
            }
        }
    }

    /// Leaves a flight.
    pub(super) fn leave_flight(&self, state: &mut State, reader: usize) {
        let left = state.readers[reader].flight;
        let reader = &mut state.readers[reader];
        reader.flight = None;
        reader.attempt = 0;
        reader.previous = None;
        reader.missed = 0;
        reader.late = false;
        reader.hung = false;
        reader.chosen = false;
        drop_previous(state, left);
    }

    /// Ends the flight of an attempt, unless it is over, and leaves it.
    pub(super) fn end_flight(&self, state: &mut State, reader: usize, phase: Phase) {
        self.forget_flight(state, reader);
        self.end_forgotten_flight(state, reader, phase);
    }

    pub(super) fn end_forgotten_flight(&self, state: &mut State, reader: usize, phase: Phase) {
        let flight = state.flight(reader);
        if !flight.phase.is_over() {
            flight.phase = phase;
        }
        self.leave_flight(state, reader);
    }

    /// Forgets the flight of a reader. If its load has not begun, the flight that it replaced is
    /// current again.
    pub(super) fn forget_flight(&self, state: &mut State, reader: usize) {
        let process = usize::from(self.config.process_of(reader));
        let Reader {
            flight, previous, ..
        } = state.readers[reader];
        if state.processes[process].current == flight {
            let previous = previous.filter(|&place| {
                let phase = state.flights[usize::from(place)].map(|flight| flight.phase);
                let stores = newest_attempt(state, place).is_some();
                phase.is_some_and(|phase| match phase {
                    Phase::Boarding | Phase::Loading => true,
                    Phase::Landed(_) => stores,
                    Phase::FailedWith(_) | Phase::Failed | Phase::Dissolved => false,
                })
            });
            state.processes[process].current = previous;
        }
    }

    /// An attempt fails. While a newer attempt goes on, nothing else happens. (Older ones were
    /// taken over from, since they did not move.) Else the waiters get the error, or begin one
    /// more wave of attempts.
    pub(super) fn fail_attempt(&self, state: &mut State, reader: usize) {
        let place = state.readers[reader].flight.expect("a flight");
        let waiters = count_waiters(state, place);
        let newer = newest_attempt(state, place) != Some(reader);
        let held_back = newer
            || self.lacks(Without::StalledAttemptHoldsBackNoError)
                && has_other_attempts(state, reader);
        let errors = state.errors;
        let flight = state.flight(reader);
        if self.config.shares_errors && !newer {
            flight.errors += 1;
        }
        // Where errors are shared, the attempt that is wanted would be one too many.
        let begins = flight.wanted > 0 && !flight.phase.is_over() && !self.config.shares_errors;
        if held_back || begins {
            return self.leave_flight(state, reader);
        }
        let mut wanted = 0;
        if !flight.phase.is_over() {
            flight.failed += 1;
            if self.config.shares_errors {
                flight.phase = Phase::FailedWith(errors);
            } else if waiters == 0
                || flight.failed >= MAX_WAVES
                || self.lacks(Without::FailingLoadsComeInWaves)
            {
                flight.phase = Phase::Failed;
            } else {
                wanted = 1;
            }
        }
        if wanted > 0 {
            self.want(state, place, wanted);
        } else {
            let owned = std::mem::replace(&mut state.flight(reader).owns, false);
            self.forget_flight(state, reader);
            if owned {
                self.release(state);
            }
        }
        self.leave_flight(state, reader);
    }

    /// An attempt is dropped. If it is the only one, a waiter begins another; without waiters, the
    /// flight ends.
    pub(super) fn drop_attempt(&self, state: &mut State, reader: usize) {
        let place = state.readers[reader].flight.expect("a flight");
        let waiters = count_waiters(state, place) > 0;
        let others = has_other_attempts(state, reader);
        let stores = matches!(state.readers[reader].at, At::Filling | At::Finishing);
        let flight = state.flight(reader);
        if others || flight.wanted > 0 && !flight.phase.is_over() {
            return self.leave_flight(state, reader);
        }
        if flight.phase == Phase::Loading && waiters && !stores {
            if !self.lacks(Without::DroppedLeaderHandsOver) {
                self.want(state, place, 1);
            }
        } else {
            let owned = std::mem::replace(&mut flight.owns, false);
            if !flight.phase.is_over() {
                flight.phase = Phase::Dissolved;
            }
            self.forget_flight(state, reader);
            if owned {
                self.release(state);
            }
        }
        self.leave_flight(state, reader);
    }

    /// A waiter is dropped.
    pub(super) fn drop_waiter(&self, state: &mut State, reader: usize) {
        let place = state.readers[reader].flight.expect("a flight");
        let others = count_waiters(state, place) - 1;
        let attempts = newest_attempt(state, place).is_some();
        let flight = state.flight(reader);
        flight.wanted = flight.wanted.min(others);
        if others == 0 && !attempts && !flight.phase.is_over() {
            flight.phase = Phase::Dissolved;
            let owned = flight.owns;
            self.forget_flight(state, reader);
            if owned {
                self.release(state);
            }
        }
        self.leave_flight(state, reader);
    }
}

/// Lets no reader put back a flight that all readers have left.
fn drop_previous(state: &mut State, left: Option<u8>) {
    if !state.readers.iter().any(|reader| reader.flight == left) {
        let readers = state.readers.iter_mut();
        for reader in readers.filter(|reader| reader.previous == left) {
            reader.previous = None;
        }
    }
}

/// The reader with the newest attempt.
fn newest_attempt(state: &State, place: u8) -> Option<usize> {
    (0..state.readers.len())
        .filter(|&it| state.readers[it].attempts(place))
        .max_by_key(|&it| state.readers[it].attempt)
}

fn count_waiters(state: &State, place: u8) -> u8 {
    let readers = state.readers.iter();
    readers
        .map(|reader| u8::from(reader.waits_for(place)))
        .sum()
}

fn has_other_attempts(state: &State, reader: usize) -> bool {
    let place = state.readers[reader].flight.expect("a flight");
    (0..state.readers.len()).any(|it| it != reader && state.readers[it].attempts(place))
}

/// Whether another reader waits for the flight of this attempt, or is another attempt at it.
pub(super) fn has_others(state: &State, reader: usize) -> bool {
    let place = state.readers[reader].flight.expect("a flight");
    count_waiters(state, place) > 0 || has_other_attempts(state, reader)
}
