//! The promises.

use super::Shared;
use super::state::{At, Sight, Slot, State, WriterAt};

impl Shared {
    /// The promise that this state breaks, if it breaks one.
    pub(super) fn broken_promise(&self, state: &State) -> Option<String> {
        if let Some((data, floor)) = state.stale {
            return Some(format!(
                "stale read: data {data}, though data {floor} was committed before an \
                 invalidation that returned before the read began"
            ));
        }
        if self.config.one_load && state.loads > 1 {
            return Some("two loads where one would do".to_owned());
        }
        if self.at_rest(state) {
            if let Some(data) = self.next_hit(state).filter(|&data| data < state.row) {
                return Some(format!(
                    "stale at rest: data {data} is served until its ttl ends, though data {} \
                     was committed",
                    state.row
                ));
            }
            if state
                .processes
                .iter()
                .any(|process| process.current.is_some())
            {
                return Some("a flight is left behind".to_owned());
            }
        }
        None
    }

    /// Whether no caller and no commit is under way, and no journal waits for its server.
    pub(super) fn at_rest(&self, state: &State) -> bool {
        let readers = state.readers.iter();
        let writers = state.writers.iter();
        readers
            .map(|reader| reader.at)
            .all(|at| matches!(at, At::Idle | At::Done))
            && writers
                .map(|writer| (writer.at, writer.pending))
                .all(|(at, pending)| {
                    !pending && matches!(at, WriterAt::Idle | WriterAt::Done | WriterAt::Dead)
                })
            && state.processes.iter().all(|process| process.journal == 0)
    }

    /// The entry that is served to a read that begins now, if no other step comes between.
    fn next_hit(&self, state: &State) -> Option<u8> {
        let Slot::Entry(_) = state.stored.slot else {
            return None;
        };
        let mut epochs = state.epochs;
        if self.config.versions_server() == 0 {
            epochs[1] = 0;
        }
        let sight = Sight {
            slot: state.stored.slot,
            versions: state.stored.versions,
            epochs,
            have: self.config.all_names(),
        };
        self.valid_entry(&sight).map(|entry| entry.data)
    }
}
