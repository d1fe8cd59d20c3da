//! The promises.

use super::Shared;
use super::config::KEY;
use super::state::{At, Budget, Phase, Sight, Slot, State, WriterAt};

impl Shared {
    /// The promise that this state breaks, if it breaks one.
    pub(super) fn broken_promise(&self, state: &State) -> Option<String> {
        if let Some(data) = state.stale {
            return Some(format!(
                "stale read: data {data}, though it was replaced before an invalidation that \
                 returned before the read began"
            ));
        }
        if self.config.one_load && state.loads > self.loads_allowed(state) {
            return Some("more loads than needed".to_owned());
        }
        if state.missed_error {
            return Some("a waiter loads after an error that it could have been given".to_owned());
        }
        if state.old_error {
            return Some("a reader gets an error that is older than its call".to_owned());
        }
        if self.at_rest(state) {
            if let Some(data) = self.next_hit(state).filter(|&data| data < state.row) {
                return Some(format!(
                    "stale at rest: data {data} is served until its ttl ends, though data {} \
                     was committed",
                    state.row
                ));
            }
            let is_held = |place| {
                let mut readers = state.readers.iter();
                readers.any(|reader| reader.flight == Some(place))
            };
            let mut current = state.processes.iter().filter_map(|process| process.current);
            if current.any(|place| !is_held(place)) {
                return Some("a flight is left behind".to_owned());
            }
        }
        None
    }

    /// One, and one more for each load that was dropped, set aside, hung or failed. One more, too, where
    /// the first load tells which tags the value has.
    fn loads_allowed(&self, state: &State) -> u8 {
        let faults = |budget: Budget| budget.cancels + budget.stops + budget.hangs + budget.errors;
        1 + u8::from(self.config.learns_tags()) + faults(self.config.faults) - faults(state.budget)
    }

    /// Whether no caller that moves and no commit is under way, and no journal waits for its
    /// server. A caller whose load hangs is also served if another load has landed.
    pub(super) fn at_rest(&self, state: &State) -> bool {
        let writers = state.writers.iter();
        state.readers.iter().enumerate().all(|(it, reader)| {
            let cannot_go_on = reader.stopped || reader.hung && !self.has_landed(state, it);
            matches!(reader.at, At::Idle | At::Done) || cannot_go_on
        }) && writers
            .map(|writer| (writer.at, writer.pending))
            .all(|(at, pending)| {
                !pending && matches!(at, WriterAt::Idle | WriterAt::Done | WriterAt::Dead)
            })
            && state.processes.iter().all(|process| process.journal == 0)
    }

    fn has_landed(&self, state: &State, it: usize) -> bool {
        let flight = state.readers[it].flight;
        let flight = flight.and_then(|place| state.flights[usize::from(place)]);
        flight.is_some_and(|flight| {
            matches!(flight.phase, Phase::Landed(_)) && self.may_take(state, it, &flight)
        })
    }

    /// The entry that is served to a read that begins now, if no other step comes between.
    fn next_hit(&self, state: &State) -> Option<u8> {
        let Slot::Entry(_) = state.stored.slot else {
            return None;
        };
        if self.slot_is_away(state) || self.is_referred(state, 1) {
            return None;
        }
        let mut epochs = state.epochs;
        if self.config.versions_server() == 0 {
            epochs[1] = 0;
        }
        let sight = Sight {
            slot: state.stored.slot,
            versions: state.stored.versions,
            epochs,
            have: self.config.all_names(),
            asked: self.config.all_names() & !KEY,
        };
        self.valid_entry(&sight).map(|entry| entry.data)
    }
}
