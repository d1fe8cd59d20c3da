//! The operations under the lock of a process's flights: `flight.rs` of the runtime.

use super::Shared;
use super::rules::Without;
use super::state::{At, Evidence, Flight, Phase, State};

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
        let seat = match flight.phase {
            Phase::Boarding => Seat::Wait,
            Phase::Loading | Phase::Landed(_) if same_evidence || begun_is_enough => Seat::Wait,
            Phase::Leaderless if same_evidence => {
                flight.phase = Phase::Loading;
                Seat::Lead
            }
            _ => return None,
        };
        state.readers[reader].flight = Some(current);
        Some(seat)
    }

    /// Whether two readers have the same evidence.
    pub(super) fn agree(&self, left: &Evidence, right: &Evidence) -> bool {
        (left.mark == right.mark || self.lacks(Without::BoardingComparesLease))
            && (left.versions == right.versions || self.lacks(Without::BoardingComparesVersions))
            && (left.epochs == right.epochs || self.lacks(Without::BoardingComparesEpoch))
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
            owns: false,
        });
        state.processes[usize::from(process)].current = Some(place);
        state.readers[reader].flight = Some(place);
    }

    /// Ends a flight that this reader leads.
    pub(super) fn end_flight(&self, state: &mut State, reader: usize, phase: Phase) {
        self.forget_flight(state, reader);
        let flight = state.flight(reader);
        if !matches!(flight.phase, Phase::Landed(_)) {
            flight.phase = phase;
        }
        state.readers[reader].flight = None;
    }

    fn forget_flight(&self, state: &mut State, reader: usize) {
        let process = usize::from(self.config.process_of(reader));
        if state.processes[process].current == state.readers[reader].flight {
            state.processes[process].current = None;
        }
    }

    /// The leader is dropped. A waiter takes over; without waiters, the flight ends.
    pub(super) fn drop_leader(&self, state: &mut State, reader: usize) {
        let waiters = has_waiters(state, reader);
        let flight = state.flight(reader);
        match flight.phase {
            Phase::Loading if waiters => {
                flight.phase = if self.lacks(Without::DroppedLeaderHandsOver) {
                    Phase::Loading
                } else {
                    Phase::Leaderless
                };
            }
            phase => {
                let owned = std::mem::replace(&mut flight.owns, false);
                if !matches!(phase, Phase::Landed(_)) {
                    flight.phase = Phase::Dissolved;
                }
                self.forget_flight(state, reader);
                if owned {
                    self.release(state);
                }
            }
        }
        state.readers[reader].flight = None;
    }

    /// A waiter is dropped.
    pub(super) fn drop_waiter(&self, state: &mut State, reader: usize) {
        let others = has_waiters(state, reader);
        let flight = state.flight(reader);
        if flight.phase == Phase::Leaderless && !others {
            flight.phase = Phase::Dissolved;
            let owned = flight.owns;
            self.forget_flight(state, reader);
            if owned {
                self.release(state);
            }
        }
        state.readers[reader].flight = None;
    }
}

/// Whether another reader waits for the flight of this one.
pub(super) fn has_waiters(state: &State, reader: usize) -> bool {
    let flight = state.readers[reader].flight;
    state
        .readers
        .iter()
        .enumerate()
        .any(|(other, it)| other != reader && it.at == At::Waiting && it.flight == flight)
}
