//! The steps of a cached call: `call/load.rs`, and `look.rs`, `board.rs` and
//! `fill.rs` in `tier/shared/` of the runtime.

use super::Shared;
use super::config::{KEY, Servers, tag};
use super::flight::{Seat, has_others};
use super::rules::Without;
use super::state::{
    At, Data, Entry, Evidence, Flight, Names, Phase, Reader, Sight, Slot, State, Version,
};
use crate::search::{Actor, Step, step};

impl Shared {
    /// What this reader can do next.
    pub(super) fn reader_steps(&self, state: &State, it: usize, steps: &mut Vec<Step<State>>) {
        let reader = &state.readers[it];
        if reader.stopped {
            return;
        }
        let mut add = |what, change: &dyn Fn(&mut State)| {
            step(steps, state, Actor::Reader(it), what, change);
        };
        match reader.at {
            At::Idle => add("begins", &|state| {
                let process = usize::from(self.config.process_of(it));
                state.readers[it].outdated = state.outdated[process];
                state.readers[it].errors = state.errors;
                self.look_again(state, it);
            }),
            At::Looking | At::Watching => self.look_steps(state, it, &mut add),
            At::Deciding => {
                add("acts on what it saw", &|state| self.decide(state, it));
                if self.config.refresh && self.valid_entry(&reader.sight).is_some() {
                    add("serves the entry, and will refresh it", &|state| {
                        self.refresh(state, it);
                    });
                }
            }
            At::Drawing => add("draws the versions that are absent", &|state| {
                if !self.lost_connection(state, it) && !self.is_referred(state, 1) {
                    let asked = self.asked(&state.readers[it].sight);
                    for index in self.config.tag_indices() {
                        if asked & tag(index) != 0 {
                            self.read_or_draw(state, index);
                        }
                    }
                }
                self.look_again(state, it);
            }),
            At::Acquiring => add("asks for the lease", &|state| self.acquire(state, it)),
            At::AskingServers => self.asking_steps(state, it, &mut add),
            At::ReadingVersions => add("reads a tag's version, or draws it", &|state| {
                self.read_version(state, it);
            }),
            At::Beginning => add("begins the load", &|state| {
                let evidence = evidence(&state.readers[it].sight);
                self.begin_load(state, it, evidence);
                state.readers[it].sight = Sight::default();
                state.readers[it].at = At::Loading;
            }),
            At::Loading => {
                if !reader.hung {
                    add("reads the database", &|state| self.load(state, it));
                }
                if let Some(data) = self.landed(state, it) {
                    add("gets the value of another load", &|state| {
                        self.drop_attempt(state, it);
                        self.return_data(state, it, data);
                    });
                }
            }
            At::Landing => add("hands the value to its waiters", &|state| {
                self.land(state, it);
            }),
            At::Filling => add("fills the slot", &|state| self.fill_slot(state, it)),
            At::Finishing if self.lacks(Without::FlightEndsInOneStep) => {
                add("forgets its flight", &|state| {
                    self.forget_flight(state, it);
                    state.readers[it].at = At::Leaving;
                });
            }
            At::Finishing => add("returns what it loaded", &|state| {
                let data = state.readers[it].data;
                self.end_flight(state, it, Phase::Dissolved);
                self.return_data(state, it, data);
            }),
            At::Leaving => add("leaves its flight, and returns what it loaded", &|state| {
                let data = state.readers[it].data;
                self.end_forgotten_flight(state, it, Phase::Dissolved);
                self.return_data(state, it, data);
            }),
            At::Waiting => self.wait_step(state, it, &mut add),
            At::Watched => add("acts on what it saw", &|state| self.watched(state, it)),
            At::WithoutStore => add("goes on without the store", &|state| {
                self.board_without_store(state, it);
            }),
            At::Alone => add("loads for itself, and returns that", &|state| {
                self.count_load(state);
                let data = state.row;
                self.return_data(state, it, data);
            }),
            At::LockingRefresh | At::RefreshVersions | At::RefreshLoading | At::RefreshFilling => {
                self.refresh_step(state, it, &mut add);
            }
            At::Failing => add("ends the flight whose load failed", &|state| {
                self.end_flight(state, it, Phase::Failed);
                self.end_reader(state, it);
            }),
            At::Done => {}
        }
    }

    /// What another attempt at the load of this reader's flight has yielded.
    pub(super) fn landed(&self, state: &State, it: usize) -> Option<Data> {
        if self.lacks(Without::LandedValueIsForAllAttempts) {
            return None;
        }
        let place = state.readers[it].flight?;
        let flight = state.flights[usize::from(place)]?;
        match flight.phase {
            Phase::Landed(data) if self.may_take(state, it, &flight) => Some(data),
            _ => None,
        }
    }

    /// Whether the value that has landed is for this reader. A reader that came after the load had begun
    /// saw what the leader saw: the versions that were read before the load. So they must be those of
    /// all tags of the value.
    pub(super) fn may_take(&self, state: &State, it: usize, flight: &Flight) -> bool {
        let reader = &state.readers[it];
        let attempts = reader.attempt > 0 && self.lacks(Without::LateAttemptAsksForTags);
        let waits = reader.attempt == 0 && self.lacks(Without::LateWaiterAsksForTags);
        !(flight.uncovered && reader.late) || attempts || waits
    }

    /// The tags that a look asks for first: those that the value had as far as this process remembers.
    fn fresh_sight(&self, state: &State, it: usize) -> Sight {
        let process = usize::from(self.config.process_of(it));
        Sight {
            asked: if self.config.learns_tags() {
                state.processes[process].remembered
            } else {
                0
            },
            ..Sight::default()
        }
    }

    /// The tags that a look has asked for.
    pub(super) fn asked(&self, sight: &Sight) -> Names {
        if self.config.learns_tags() {
            sight.asked
        } else {
            self.config.all_names() & !KEY
        }
    }

    /// Whether all that a look asks for has arrived.
    fn is_whole(&self, sight: &Sight) -> bool {
        sight.have == KEY | self.asked(sight)
    }

    /// The tags that are asked for and whose versions have not arrived.
    pub(super) fn missing(&self, sight: &Sight) -> impl Iterator<Item = usize> + use<> {
        let missing = self.asked(sight) & !sight.have;
        self.config
            .tag_indices()
            .filter(move |&index| missing & tag(index) != 0)
    }

    /// Keeps in mind which tags the value has.
    fn remember(&self, state: &mut State, it: usize, tags: Names) {
        let process = usize::from(self.config.process_of(it));
        if self.config.learns_tags() {
            state.processes[process].remembered = tags;
        }
    }

    /// Goes on to look at the store, or without it if the name is distrusted.
    pub(super) fn look_again(&self, state: &mut State, it: usize) {
        let sight = self.fresh_sight(state, it);
        let distrusted = self.distrusts(state, it, KEY | self.asked(&sight))
            && !self.lacks(Without::FailedNameIsDistrusted)
            && !self.lacks(Without::DistrustIsAskedBeforeTheLook);
        let reader = &mut state.readers[it];
        reader.sight = sight;
        reader.degraded = false;
        reader.at = if distrusted {
            At::WithoutStore
        } else {
            At::Looking
        };
    }

    /// Whether the invalidation of one of these names waits in the journal.
    fn distrusts(&self, state: &State, it: usize, names: Names) -> bool {
        let process = usize::from(self.config.process_of(it));
        state.processes[process].journal & names != 0
    }

    fn look_steps(
        &self,
        state: &State,
        it: usize,
        add: &mut impl FnMut(&'static str, &dyn Fn(&mut State)),
    ) {
        let sight = state.readers[it].sight;
        match self.config.servers {
            Servers::One if sight.have == 0 => add("reads slot and versions", &|state| {
                let asked = self.missing(&state.readers[it].sight);
                self.see_slot(state, it);
                for index in asked {
                    self.see_version(state, it, index);
                }
            }),
            _ => {
                if sight.have & KEY == 0 {
                    add("reads the slot", &|state| self.see_slot(state, it));
                }
                for index in self.missing(&sight) {
                    add("reads a version", &|state| {
                        self.see_version(state, it, index);
                    });
                }
            }
        }
    }

    fn see_slot(&self, state: &mut State, it: usize) {
        if self.slot_is_away(state) {
            return self.without_store(state, it);
        }
        let epoch = self.slot_epoch(state);
        let sight = &mut state.readers[it].sight;
        sight.slot = state.stored.slot;
        sight.epochs[0] = epoch;
        sight.have |= KEY;
        if let Slot::Entry(entry) = sight.slot
            && self.config.learns_tags()
        {
            self.learn_tags(state, it, entry.tags);
        }
        self.looked(state, it);
    }

    /// The entry tells which tags it carries. The versions of those that were not asked for are still to
    /// be read.
    fn learn_tags(&self, state: &mut State, it: usize, tags: Names) {
        self.remember(state, it, tags);
        let asked = state.readers[it].sight.asked;
        if self.lacks(Without::AllTagsOfAnEntryAreCompared) {
            return;
        }
        let distrusted =
            self.distrusts(state, it, tags & !asked) && !self.lacks(Without::LearntTagIsDistrusted);
        if distrusted {
            return self.without_store(state, it);
        }
        state.readers[it].sight.asked |= tags;
    }

    fn see_version(&self, state: &mut State, it: usize, index: usize) {
        let server = self.config.versions_server();
        let sight = &state.readers[it].sight;
        if !matches!(state.readers[it].at, At::Looking | At::Watching) {
            return;
        }
        let first = server == 1 && sight.have & !KEY == 0;
        let lost = !first && sight.epochs[server] != state.epochs[server];
        if lost || self.is_referred(state, 1) {
            return self.without_store(state, it);
        }
        let sight = &mut state.readers[it].sight;
        sight.epochs[server] = state.epochs[server];
        sight.versions[index] = state.stored.versions[index];
        sight.have |= tag(index);
        self.looked(state, it);
    }

    fn looked(&self, state: &mut State, it: usize) {
        if self.is_whole(&state.readers[it].sight) {
            let reader = &mut state.readers[it];
            reader.at = match reader.at {
                At::Watching => At::Watched,
                At::Looking => At::Deciding,
                at => at,
            };
        }
    }

    /// The entry that the look showed, if it may be served.
    pub(super) fn valid_entry(&self, sight: &Sight) -> Option<Entry> {
        let Slot::Entry(entry) = sight.slot else {
            return None;
        };
        if entry.remembers {
            return None;
        }
        let same_server = self.lacks(Without::EntryNamesItsServer)
            || entry.epochs == sight.epochs
            || self.lacks(Without::EntryNamesEveryServer) && entry.epochs[0] == sight.epochs[0];
        let unseen = if self.lacks(Without::AllTagsOfAnEntryAreCompared) {
            !sight.have
        } else {
            0
        };
        let mut carried = self.config.tag_indices().filter(|&index| {
            let all = !self.config.learns_tags();
            all || entry.tags & tag(index) & !unseen != 0
        });
        let same_versions = carried.all(|index| {
            let (was, is) = (entry.versions[index], sight.versions[index]);
            let number = matches!(is, Version::Number(..));
            number && was == is || is == Version::Absent && self.lacks(Without::AbsentIsInvalid)
        });
        (same_server && same_versions).then_some(entry)
    }

    fn decide(&self, state: &mut State, it: usize) {
        let process = usize::from(self.config.process_of(it));
        if state.processes[process].journal != 0
            && self.lacks(Without::DistrustIsAskedBeforeTheLook)
        {
            state.readers[it].at = At::WithoutStore;
            return;
        }
        let sight = state.readers[it].sight;
        if let Some(entry) = self.valid_entry(&sight) {
            return self.return_data(state, it, entry.data);
        }
        let fenced = matches!(sight.slot, Slot::Fence(_))
            || sight
                .versions
                .iter()
                .any(|version| matches!(version, Version::Fence(_)));
        if fenced && !self.lacks(Without::NothingIsStoredUnderFence) {
            return self.without_store(state, it);
        }
        let mut asked = self.config.tag_indices();
        let any_absent = asked.any(|index| {
            let is_asked = self.asked(&sight) & tag(index) != 0;
            is_asked && sight.versions[index] == Version::Absent
        });
        let seat = match (sight.slot, evidence(&sight)) {
            // No load can fill a lease of another epoch.
            (Slot::Lease(lease), _)
                if lease.epoch != sight.epochs[0]
                    && !self.lacks(Without::LeaseOfAnotherEpochIsReplaced) =>
            {
                self.board_or_start(state, it, None)
            }
            (_, Some(_)) if any_absent && !self.lacks(Without::AbsentIsNoEvidence) => {
                state.readers[it].at = At::Drawing;
                return;
            }
            (Slot::Lease(lease), Some(evidence)) => {
                // Either no flight here has this lease, or its load began before an
                // invalidation, so that no reader would be served its value.
                let replaces = lease.process == self.config.process_of(it)
                    && !self.lacks(Without::OwnLeaseIsReplaced);
                if let Some(tags) = self.other_tags(state, it, &evidence) {
                    self.remember(state, it, tags);
                    return self.look_again(state, it);
                }
                match self.board(state, it, Some(&evidence)) {
                    Some(seat) => seat,
                    None if replaces => self.board_or_start(state, it, None),
                    None => self.board_or_start(state, it, Some(evidence)),
                }
            }
            _ => self.board_or_start(state, it, None),
        };
        match seat {
            Seat::Wait => self.wait(state, it),
            Seat::Lead if state.flight(it).phase == Phase::Boarding => self.ask(state, it),
            Seat::Lead => self.take_over(state, it),
        }
    }

    /// The tags for which this reader is to look again, since it sees a lease of this process. With the
    /// versions that the leader has read it can board. If the value has landed and has other tags, it
    /// loads again, with the versions of those.
    fn other_tags(&self, state: &State, it: usize, evidence: &Evidence) -> Option<Names> {
        let process = &state.processes[usize::from(self.config.process_of(it))];
        let flight = state.flights[usize::from(process.current?)]?;
        let other = flight
            .evidence
            .filter(|other| other.mark == evidence.mark)?;
        let tags = if flight.uncovered {
            process.remembered
        } else {
            other.tags
        };
        let asks = !self.lacks(Without::LookAsksForTagsOfTheFlight)
            && !self.lacks(Without::BoardingComparesTags);
        (asks && tags != evidence.tags).then_some(tags)
    }

    fn board_or_start(&self, state: &mut State, it: usize, evidence: Option<Evidence>) -> Seat {
        let seat = self.board(state, it, evidence.as_ref());
        seat.unwrap_or_else(|| {
            self.start_flight(state, it, evidence);
            Seat::Lead
        })
    }

    fn wait(&self, state: &mut State, it: usize) {
        state.readers[it].sight = Sight::default();
        state.readers[it].at = At::Waiting;
    }

    /// Goes on with a flight: loads, or watches for another process's entry.
    fn take_over(&self, state: &mut State, it: usize) {
        let flight = *state.flight(it);
        let sight = self.fresh_sight(state, it);
        let reader = &mut state.readers[it];
        reader.sight = sight;
        reader.at = match flight.evidence {
            Some(_) if !flight.owns && !reader.degraded => At::Watching,
            _ => At::Loading,
        };
    }

    /// Goes on to ask for the lease. In a cluster, the versions are asked for at the same time.
    fn ask(&self, state: &mut State, it: usize) {
        let together = self.config.servers == Servers::Two
            && !self.lacks(Without::VersionsAreReadBeforeTheLoad);
        let reader = &mut state.readers[it];
        if let Slot::Entry(entry) = reader.sight.slot
            && self.config.learns_tags()
        {
            reader.sight.asked = entry.tags;
        }
        if together {
            reader.sight.versions = Default::default();
            reader.sight.have = 0;
        }
        reader.at = if together {
            At::AskingServers
        } else {
            At::Acquiring
        };
    }

    fn asking_steps(
        &self,
        state: &State,
        it: usize,
        add: &mut impl FnMut(&'static str, &dyn Fn(&mut State)),
    ) {
        let sight = state.readers[it].sight;
        if self.is_whole(&sight) {
            return add("acts on what the servers answered", &|state| {
                self.answered(state, it);
            });
        }
        if sight.have & KEY == 0 {
            add("asks for the lease", &|state| self.ask_for_lease(state, it));
        }
        for index in self.missing(&sight) {
            add("reads a tag's version, or draws it", &|state| {
                self.ask_for_version(state, it, index);
            });
        }
    }

    /// The request for the lease, beside those for the versions. It notes what stands in the slot: the
    /// lease, or nothing that helps.
    pub(super) fn ask_for_lease(&self, state: &mut State, it: usize) {
        let sight = state.readers[it].sight;
        if !self.reaches_slot(state, sight.epochs[0]) {
            return self.ask_no_more(state, it);
        }
        let process = self.config.process_of(it);
        let lease = self.take_lease(state, process, &sight.slot);
        let epoch = self.slot_epoch(state);
        let sight = &mut state.readers[it].sight;
        sight.slot = lease.map_or(Slot::Absent, Slot::Lease);
        sight.epochs[0] = epoch;
        sight.have |= KEY;
    }

    /// The request for a version, beside that for the lease. It notes a fence too.
    pub(super) fn ask_for_version(&self, state: &mut State, it: usize, index: usize) {
        let sight = state.readers[it].sight;
        let first = sight.have & !KEY == 0;
        let lost = !first && sight.epochs[1] != state.epochs[1];
        if lost || self.is_referred(state, 1) {
            return self.ask_no_more(state, it);
        }
        let version = self.read_or_draw(state, index);
        let sight = &mut state.readers[it].sight;
        sight.epochs[1] = state.epochs[1];
        sight.versions[index] = version;
        sight.have |= tag(index);
    }

    /// One of the requests has failed.
    pub(super) fn ask_no_more(&self, state: &mut State, it: usize) {
        if state.readers[it].has_asked_for_lease() {
            self.release(state);
        }
        self.begin_without_store(state, it);
    }

    /// All requests were answered.
    fn answered(&self, state: &mut State, it: usize) {
        let sight = state.readers[it].sight;
        let fenced = |version: &Version| matches!(version, Version::Fence(_));
        if !matches!(sight.slot, Slot::Lease(_)) {
            self.end_flight(state, it, Phase::Dissolved);
            self.look_again(state, it);
        } else if sight.versions.iter().any(fenced)
            && !self.lacks(Without::NothingIsStoredUnderFence)
        {
            self.ask_no_more(state, it);
        } else {
            state.readers[it].at = At::Beginning;
        }
    }

    fn lost_connection(&self, state: &State, it: usize) -> bool {
        let sight = &state.readers[it].sight;
        let server = self.config.versions_server();
        sight.epochs[0] != state.epochs[0] || sight.epochs[server] != state.epochs[server]
    }

    pub(super) fn acquire(&self, state: &mut State, it: usize) {
        let sight = state.readers[it].sight;
        if sight.epochs[0] != state.epochs[0] {
            return self.begin_without_store(state, it);
        }
        let process = self.config.process_of(it);
        let Some(lease) = self.take_lease(state, process, &sight.slot) else {
            self.end_flight(state, it, Phase::Dissolved);
            return self.look_again(state, it);
        };
        let sight = &mut state.readers[it].sight;
        sight.slot = Slot::Lease(lease);
        sight.have = KEY;
        let now = !self.lacks(Without::VersionsAreReadBeforeTheLoad);
        if now {
            sight.versions = Default::default();
        }
        let reads = !self.is_whole(sight);
        state.readers[it].at = if now && reads {
            At::ReadingVersions
        } else {
            At::Beginning
        };
    }

    pub(super) fn read_version(&self, state: &mut State, it: usize) {
        let late = self.lacks(Without::VersionsAreReadBeforeTheLoad);
        let server = self.config.versions_server();
        let sight = state.readers[it].sight;
        let index = self.missing(&sight).next();
        let index = index.expect("a version is left to read");
        let first = server == 1 && sight.have & !KEY == 0;
        if !first && !late && state.readers[it].sight.epochs[server] != state.epochs[server] {
            return self.begin_without_store(state, it);
        }
        let version = self.read_or_draw(state, index);
        if matches!(version, Version::Fence(_)) && !self.lacks(Without::NothingIsStoredUnderFence) {
            self.release(state);
            return self.begin_without_store(state, it);
        }
        let sight = &mut state.readers[it].sight;
        sight.epochs[server] = state.epochs[server];
        sight.versions[index] = version;
        sight.have |= tag(index);
        let sight = *sight;
        if !self.is_whole(&sight) {
            return;
        }
        if late {
            if let Some(evidence) = &mut state.flight(it).evidence {
                evidence.versions = sight.versions;
            }
            state.readers[it].sight = Sight::default();
            state.readers[it].at = At::Landing;
        } else {
            state.readers[it].at = At::Beginning;
        }
    }

    /// The load begins, and nothing will be stored.
    pub(super) fn begin_without_store(&self, state: &mut State, it: usize) {
        self.begin_load(state, it, None);
        state.readers[it].sight = Sight::default();
        state.readers[it].at = At::Loading;
    }

    fn load(&self, state: &mut State, it: usize) {
        self.count_load(state);
        state.readers[it].data = state.row;
        let flight = *state.flight(it);
        state.readers[it].at = At::Landing;
        if flight.owns && self.lacks(Without::VersionsAreReadBeforeTheLoad) && self.config.tags > 0
        {
            state.readers[it].sight = Sight {
                epochs: state.epochs,
                have: KEY,
                ..Sight::default()
            };
            state.readers[it].at = At::ReadingVersions;
        }
    }

    fn land(&self, state: &mut State, it: usize) {
        let data = state.readers[it].data;
        let others = has_others(state, it);
        let flight = state.flight(it);
        if flight.phase.is_over() {
            // Another attempt was first. This one serves its own caller only.
            self.drop_attempt(state, it);
            return self.return_data(state, it, data);
        }
        let tags = self.config.tags_of(data);
        let uncovered =
            self.config.learns_tags() && flight.evidence.is_some_and(|seen| tags & !seen.tags != 0);
        if others {
            flight.phase = Phase::Landed(data);
            flight.uncovered = uncovered;
        }
        let owns = flight.owns;
        if uncovered {
            // A reader that may not take the value looks again, and asks for these.
            self.remember(state, it, tags);
        }
        state.readers[it].at = if owns { At::Filling } else { At::Finishing };
    }

    pub(super) fn fill_slot(&self, state: &mut State, it: usize) {
        let data = state.readers[it].data;
        if let Some(evidence) = state.flight(it).evidence {
            self.fill(state, &evidence, data);
            self.remember(state, it, self.config.tags_of(data));
        }
        state.readers[it].at = At::Finishing;
    }

    fn wait_step(
        &self,
        state: &State,
        it: usize,
        add: &mut impl FnMut(&'static str, &dyn Fn(&mut State)),
    ) {
        let place = state.readers[it].flight.expect("it waits for a flight");
        let Some(flight) = state.flights[usize::from(place)] else {
            return;
        };
        match flight.phase {
            Phase::Boarding | Phase::Loading => {
                let may = state.readers[it].chosen || !self.lacks(Without::AnyWaiterSucceeds);
                if flight.wanted > 0 && may {
                    add("begins one more load", &|state| {
                        if self.begin_wanted(state, it) {
                            self.take_over(state, it);
                        }
                    });
                }
            }
            Phase::Landed(_) if !self.may_take(state, it, &flight) => {
                add(
                    "learns that the value has other tags, and looks again",
                    &|state| {
                        self.leave_flight(state, it);
                        self.look_again(state, it);
                    },
                );
            }
            Phase::Landed(data) => add("gets the value that landed", &|state| {
                self.return_data(state, it, data);
            }),
            Phase::Failed => add("learns that the load failed", &|state| {
                self.leave_flight(state, it);
                state.readers[it].at = At::Alone;
            }),
            Phase::FailedWith(error) => add("gets the error that the load yielded", &|state| {
                state.old_error |= error <= state.readers[it].errors;
                self.end_reader(state, it);
            }),
            Phase::Dissolved => add("learns that it has to look again", &|state| {
                self.leave_flight(state, it);
                if state.readers[it].degraded {
                    state.readers[it].at = At::WithoutStore;
                } else {
                    self.look_again(state, it);
                }
            }),
        }
    }

    fn watched(&self, state: &mut State, it: usize) {
        let sight = std::mem::take(&mut state.readers[it].sight);
        let flight_evidence = state.flight(it).evidence;
        if let Some(entry) = self.valid_entry(&sight) {
            let others = has_others(state, it);
            let flight = state.flight(it);
            if others && !flight.phase.is_over() {
                flight.phase = Phase::Landed(entry.data);
            }
            self.end_flight(state, it, Phase::Dissolved);
            return self.return_data(state, it, entry.data);
        }
        let fresh = self.fresh_sight(state, it);
        let stands = evidence(&sight)
            .zip(flight_evidence)
            .is_some_and(|(now, then)| self.agree(&now, &then));
        if stands && !state.flight(it).phase.is_over() {
            state.readers[it].sight = fresh;
            state.readers[it].at = At::Watching;
        } else {
            self.end_flight(state, it, Phase::Dissolved);
            self.look_again(state, it);
        }
    }

    /// Goes on without the store.
    pub(super) fn without_store(&self, state: &mut State, it: usize) {
        let reader = &mut state.readers[it];
        reader.sight = Sight::default();
        // A watcher loads. Any other reader boards a flight whose load has not begun.
        reader.at = match reader.at {
            At::Watching => At::Loading,
            _ => At::WithoutStore,
        };
    }

    fn board_without_store(&self, state: &mut State, it: usize) {
        state.readers[it].degraded = true;
        match self.board(state, it, None) {
            Some(Seat::Wait) => self.wait(state, it),
            Some(Seat::Lead) => unreachable!("without evidence no reader takes over a flight"),
            None => {
                self.start_flight(state, it, None);
                state.readers[it].at = At::Beginning;
            }
        }
    }

    fn refresh(&self, state: &mut State, it: usize) {
        let reader = &mut state.readers[it];
        if let Slot::Entry(entry) = reader.sight.slot {
            if reader.outdated & 1 << entry.data != 0 {
                state.stale = Some(entry.data);
            }
            if self.config.learns_tags() {
                reader.sight.asked = entry.tags;
            }
        }
        reader.outdated = 0;
        reader.sight.have = 0;
        reader.at = At::LockingRefresh;
    }

    fn refresh_step(
        &self,
        state: &State,
        it: usize,
        add: &mut impl FnMut(&'static str, &dyn Fn(&mut State)),
    ) {
        let connected = !self.lost_connection(state, it);
        match state.readers[it].at {
            At::LockingRefresh if self.config.servers == Servers::Two => {
                self.refresh_asking_steps(state, it, add);
            }
            At::LockingRefresh => add("asks for the refresh lock", &|state| {
                if connected && !state.stored.refreshing {
                    state.stored.refreshing = true;
                    let early = !self.lacks(Without::RefreshReadsVersionsBeforeTheLoad);
                    state.readers[it].at = if early {
                        At::RefreshVersions
                    } else {
                        At::RefreshLoading
                    };
                } else {
                    self.end_reader(state, it);
                }
            }),
            At::RefreshVersions => add("reads the versions, to refresh", &|state| {
                if !connected {
                    self.end_reader(state, it);
                    return;
                }
                let asked = self.asked(&state.readers[it].sight);
                for index in self.config.tag_indices() {
                    if asked & tag(index) != 0 {
                        state.readers[it].sight.versions[index] = self.read_or_draw(state, index);
                    }
                }
                let fenced = state.readers[it]
                    .sight
                    .versions
                    .iter()
                    .any(|version| matches!(version, Version::Fence(_)));
                state.readers[it].at = if self.lacks(Without::RefreshReadsVersionsBeforeTheLoad) {
                    At::RefreshFilling
                } else {
                    At::RefreshLoading
                };
                if fenced {
                    state.stored.refreshing = false;
                    self.end_reader(state, it);
                }
            }),
            At::RefreshLoading => add("reads the database, to refresh", &|state| {
                state.readers[it].data = state.row;
                state.readers[it].at = if self.lacks(Without::RefreshReadsVersionsBeforeTheLoad) {
                    At::RefreshVersions
                } else {
                    At::RefreshFilling
                };
            }),
            _ => add("replaces the entry it saw", &|state| {
                let Reader { sight, data, .. } = state.readers[it];
                self.refill(state, &sight, data);
                if connected {
                    state.stored.refreshing = false;
                }
                self.end_reader(state, it);
            }),
        }
    }

    /// In a cluster, the lock and the versions are asked for at the same time.
    fn refresh_asking_steps(
        &self,
        state: &State,
        it: usize,
        add: &mut impl FnMut(&'static str, &dyn Fn(&mut State)),
    ) {
        let sight = state.readers[it].sight;
        let have = sight.have;
        if self.is_whole(&sight) {
            return add("begins to refresh", &|state| {
                let versions = state.readers[it].sight.versions;
                let fenced = |version: &Version| matches!(version, Version::Fence(_));
                if versions.iter().any(fenced) {
                    self.end_refresh(state, it);
                } else {
                    state.readers[it].at = At::RefreshLoading;
                }
            });
        }
        if have & KEY == 0 {
            add("asks for the refresh lock", &|state| {
                let epoch = state.readers[it].sight.epochs[0];
                if state.stored.refreshing || !self.reaches_slot(state, epoch) {
                    return self.end_reader(state, it);
                }
                state.stored.refreshing = true;
                state.readers[it].sight.have |= KEY;
            });
        }
        for index in self.missing(&sight) {
            add("reads a version, to refresh", &|state| {
                let sight = state.readers[it].sight;
                let lost = sight.have & !KEY != 0 && sight.epochs[1] != state.epochs[1];
                if lost || self.is_referred(state, 1) {
                    return self.end_refresh(state, it);
                }
                let version = self.read_or_draw(state, index);
                let sight = &mut state.readers[it].sight;
                sight.epochs[1] = state.epochs[1];
                sight.versions[index] = version;
                sight.have |= tag(index);
            });
        }
    }

    /// Gives up a refresh, with its lock.
    fn end_refresh(&self, state: &mut State, it: usize) {
        let sight = &state.readers[it].sight;
        if sight.have & KEY != 0 && sight.epochs[0] == state.epochs[0] {
            state.stored.refreshing = false;
        }
        self.end_reader(state, it);
    }

    fn count_load(&self, state: &mut State) {
        if self.config.one_load {
            state.loads = state.loads.saturating_add(1);
        }
    }

    /// The call ends and returns this data.
    fn return_data(&self, state: &mut State, it: usize, data: Data) {
        if state.readers[it].outdated & 1 << data != 0 {
            state.stale = Some(data);
        }
        self.end_reader(state, it);
        debug_assert!(it < self.config.readers.len());
    }

    /// The load fails. The error goes to the reader that loaded, and, where errors are shared, to
    /// those that wait.
    pub(super) fn fail_load(&self, state: &mut State, it: usize) {
        self.count_load(state);
        if self.config.shares_errors {
            state.errors += 1;
        }
        if self.lacks(Without::ErrorEndsItsFlight) && !state.flight(it).phase.is_over() {
            let error = state.errors;
            state.flight(it).phase = Phase::FailedWith(error);
            state.readers[it].at = At::Failing;
            return;
        }
        self.fail_attempt(state, it);
        self.end_reader(state, it);
    }

    fn end_reader(&self, state: &mut State, it: usize) {
        self.leave_flight(state, it);
        state.readers[it] = Reader {
            at: At::Done,
            ..Reader::default()
        };
    }

    /// The reader is cancelled.
    pub(super) fn cancel(&self, state: &mut State, it: usize) {
        let at = state.readers[it].at;
        let asked = state.readers[it].has_asked_for_lease();
        if asked || at == At::ReadingVersions || at == At::Beginning && !state.readers[it].degraded
        {
            // Its lease is given back.
            self.release(state);
        }
        if at == At::Waiting {
            self.drop_waiter(state, it);
        } else if state.readers[it].flight.is_some() {
            self.drop_attempt(state, it);
        }
        self.end_reader(state, it);
    }
}

/// The evidence in a look at a lease. A look at anything else has none.
fn evidence(sight: &Sight) -> Option<Evidence> {
    match sight.slot {
        Slot::Lease(lease) => Some(Evidence {
            mark: lease.mark,
            versions: sight.versions,
            epochs: sight.epochs,
            tags: sight.asked,
        }),
        _ => None,
    }
}
