//! The steps that no participant takes: time passes, and faults happen.

use super::Shared;
use super::config::{KEY, tag};
use super::rules::Without;
use super::state::{
    At, Budget, Moving, Reader, Slot, State, Stored, Unique, Version, Versions, WriterAt, Writers,
};
use super::writer::each;
use crate::search::{Actor, Step, step};

impl Shared {
    /// What ends by itself, once no participant will end it.
    pub(super) fn time_steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        let mut add = |what, change: &dyn Fn(&mut State)| {
            step(steps, state, Actor::Time, what, change);
        };
        if let Slot::Lease(lease) = state.stored.slot {
            let mut holders = state
                .readers
                .iter()
                .filter(|reader| holds(state, reader, lease.mark));
            if holders.clone().next().is_none() {
                add(
                    "a lease without a holder is given back, or expires",
                    &|state| {
                        state.stored.slot = Slot::Absent;
                    },
                );
            } else if holders.all(|reader| !reader.moves()) {
                // Time does not help a reader that waits for a lease which no load can fill.
                let may_live = lease.epoch == state.epochs[0];
                for (it, reader) in state.readers.iter().enumerate() {
                    let elsewhere = self.config.process_of(it) != lease.process;
                    let watches = reader.at == At::Watching && !reader.stopped;
                    if watches && elsewhere && may_live && !self.lacks(Without::WatchingIsBounded) {
                        add("a reader has watched for `lease_wait`", &|state| {
                            self.without_store(state, it);
                        });
                    }
                }
            }
        }
        let refreshes = |at| {
            matches!(
                at,
                At::RefreshVersions | At::RefreshLoading | At::RefreshFilling
            )
        };
        let locks =
            |reader: &Reader| reader.at == At::LockingRefresh && reader.sight.have & KEY != 0;
        let mut readers = state.readers.iter();
        if state.stored.refreshing && !readers.any(|it| refreshes(it.at) || locks(it)) {
            add("a refresh lock without a holder expires", &|state| {
                state.stored.refreshing = false;
            });
        }
        for it in 0..self.config.writers.len() {
            let writer = &state.writers[it];
            let over = matches!(
                writer.at,
                WriterAt::Settling | WriterAt::Done | WriterAt::Dead
            );
            let mut after = state.stored;
            each_fence(&mut after, |writers| writers.without(it));
            if over && !writer.pending && after != state.stored {
                add("a writer's fences expire", &|state| state.stored = after);
            }
        }
        if state.blind_releases > 0 {
            add("a release that compares nothing arrives", &|state| {
                state.blind_releases -= 1;
                state.stored.slot = Slot::Absent;
            });
        }
    }

    /// The faults for which there is budget left.
    pub(super) fn fault_steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        let budget = state.budget;
        if budget.losses > 0 {
            self.loss_steps(state, steps);
        }
        if budget.snapshots > 0 {
            let what = "a snapshot is written, or a replica stops being updated";
            fault(steps, state, what, |state| {
                state.budget.snapshots -= 1;
                state.snapshot = Some(state.stored);
            });
        }
        if budget.restarts > 0 {
            self.restart_steps(state, steps);
        }
        for part in [0, 1] {
            self.move_steps(state, part, steps);
        }
        for it in 0..self.config.readers.len() {
            self.reader_fault_steps(state, it, steps);
        }
        for it in 0..self.config.writers.len() {
            self.writer_fault_steps(state, it, steps);
        }
    }

    fn loss_steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        if state.stored.slot != Slot::Absent {
            let mut after = state.stored;
            after.slot = Slot::Absent;
            self.lose(
                state,
                after,
                "the slot is evicted, or expires",
                steps,
                lose_one,
            );
        }
        for index in self.config.tag_indices() {
            if state.stored.versions[index] != Version::Absent {
                let mut after = state.stored;
                after.versions[index] = Version::Absent;
                self.lose(state, after, "a version is evicted", steps, lose_one);
            }
        }
        if state.stored != Stored::default() {
            let after = Stored::default();
            self.lose(state, after, "all is flushed", steps, lose_one);
        }
        for process in 0..state.processes.len() {
            if state.processes[process].remembered != 0 {
                let what = "a process forgets which tags the value had";
                fault(steps, state, what, |state| {
                    lose_one(state);
                    state.processes[process].remembered = 0;
                });
            }
        }
        if state.stored.refreshing {
            let mut after = state.stored;
            after.refreshing = false;
            self.lose(state, after, "the refresh lock expires", steps, lose_one);
        }
    }

    /// The servers lose something. One case is not modelled, since only the ttl bounds its
    /// effect: a writer died, and its fence is lost before its commit lands.
    fn lose(
        &self,
        state: &State,
        after: Stored,
        what: &'static str,
        steps: &mut Vec<Step<State>>,
        pay: impl FnOnce(&mut State),
    ) {
        let mut unprotected = [false; 2];
        for (it, lost) in unprotected.iter_mut().enumerate() {
            let writer = &state.writers[it];
            let before = count_fences(state.stored, it);
            let commits_later =
                writer.pending || matches!(writer.at, WriterAt::Fencing | WriterAt::Body);
            *lost = commits_later && count_fences(after, it) < before;
            if *lost && writer.at == WriterAt::Dead {
                return;
            }
        }
        fault(steps, state, what, |state| {
            pay(state);
            state.stored = after;
            for (writer, lost) in state.writers.iter_mut().zip(unprotected) {
                writer.unprotected |= lost;
            }
        });
    }

    fn restart_steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        let one = self.config.versions_server() == 0;
        let sources = [
            (Some(Stored::default()), "restarts empty"),
            (state.snapshot, "restarts with the snapshot"),
        ];
        for (source, what) in sources {
            let Some(source) = source else {
                continue;
            };
            let mut first = state.stored;
            first.slot = source.slot;
            first.refreshing = source.refreshing;
            if one {
                first.versions = source.versions;
            }
            self.lose(state, first, what, steps, |state| restart(state, 0));
            if !one {
                let mut second = state.stored;
                second.versions = source.versions;
                self.lose(state, second, what, steps, |state| restart(state, 1));
            }
        }
    }

    /// The slot (0) or the versions (1) move to another server, and back.
    fn move_steps(&self, state: &State, part: usize, steps: &mut Vec<Step<State>>) {
        if part == 1 && self.config.tags != 1 {
            return;
        }
        match state.moving[part] {
            Moving::No if state.budget.moves > 0 => {
                let what = ["the slot begins to move", "the version begins to move"][part];
                fault(steps, state, what, |state| {
                    state.budget.moves -= 1;
                    state.moving[part] = Moving::Begun;
                });
            }
            Moving::No => return,
            Moving::Begun if !self.is_referred(state, part) => {
                let what = "a key is moved to the other server, in the place of what is there";
                fault(steps, state, what, |state| {
                    state.moving[part] = Moving::Moved;
                    part_of(&mut state.left, part).clear();
                });
            }
            Moving::Begun | Moving::Moved => fault(steps, state, "a move ends", |state| {
                if state.moving[part] == Moving::Begun {
                    let (mut left, mut stored) = (state.left, state.stored);
                    part_of(&mut stored, part).take(part_of(&mut left, part));
                    (state.left, state.stored) = (left, stored);
                }
                state.moving[part] = Moving::No;
                std::mem::swap(&mut state.epochs[part], &mut state.others[part]);
            }),
        }
        if state.moving[part] != Moving::No && state.budget.aborts > 0 {
            fault(steps, state, "a move is given up", |state| {
                state.budget.aborts -= 1;
                if state.moving[part] == Moving::Moved {
                    let (mut left, mut stored) = (state.left, state.stored);
                    part_of(&mut left, part).take(part_of(&mut stored, part));
                    (state.left, state.stored) = (left, stored);
                }
                state.moving[part] = Moving::No;
            });
        }
    }

    fn reader_fault_steps(&self, state: &State, it: usize, steps: &mut Vec<Step<State>>) {
        let reader = &state.readers[it];
        let at = reader.at;
        let budget = state.budget;
        // For readers that no other depends on, to be set aside is to be slow.
        if reader.stopped {
            fault(steps, state, "a reader is polled again", |state| {
                state.readers[it].stopped = false;
            });
        } else if budget.stops > 0 && reader.flight.is_some() && !reader.hung {
            fault(steps, state, SET_ASIDE[it], |state| {
                state.budget.stops -= 1;
                state.readers[it].stopped = true;
            });
        }
        if reader.hung {
            fault(steps, state, "a load that hung goes on", |state| {
                state.readers[it].hung = false;
            });
        } else if budget.hangs > 0 && reader.at == At::Loading && !reader.stopped {
            fault(steps, state, HANGS[it], |state| {
                state.budget.hangs -= 1;
                state.readers[it].hung = true;
            });
        }
        if reader.stopped {
            self.request_arrives(state, it, steps);
            // A future that is not polled can only be dropped.
            if budget.cancels > 0 {
                fault(steps, state, GIVES_UP[it], |state| {
                    state.budget.cancels -= 1;
                    self.cancel(state, it);
                });
            }
            return;
        }
        if budget.cancels > 0 && at != At::Idle && at != At::Done {
            fault(steps, state, GIVES_UP[it], |state| {
                state.budget.cancels -= 1;
                self.cancel(state, it);
            });
        }
        if budget.errors > 0 && at == At::Loading {
            fault(steps, state, "the load fails", |state| {
                state.budget.errors -= 1;
                self.fail_load(state, it);
            });
        }
        if budget.patience > 0 && at == At::Watching {
            fault(
                steps,
                state,
                "a reader has waited as long as it may",
                |state| {
                    state.budget.patience -= 1;
                    self.without_store(state, it);
                },
            );
        }
        let talks = matches!(
            at,
            At::Looking
                | At::Watching
                | At::Drawing
                | At::Acquiring
                | At::AskingServers
                | At::ReadingVersions
                | At::Filling
        );
        if budget.outages > 0 && talks {
            fault(steps, state, "a reader gets no answer", |state| {
                state.budget.outages -= 1;
                self.unanswered(state, it);
            });
        }
        if budget.outages > 0 && at == At::AskingServers && reader.sight.have & KEY == 0 {
            let what = "a reader's request for the lease arrives, and gets no answer";
            fault(steps, state, what, |state| {
                state.budget.outages -= 1;
                self.ask_for_lease(state, it);
                if state.readers[it].at == At::AskingServers {
                    self.ask_no_more(state, it);
                }
            });
        }
        if budget.outages > 0 && at == At::Acquiring {
            let what = "a reader's request for the lease arrives, and gets no answer";
            fault(steps, state, what, |state| {
                state.budget.outages -= 1;
                let sight = state.readers[it].sight;
                if sight.epochs[0] == state.epochs[0] {
                    let process = self.config.process_of(it);
                    self.take_lease(state, process, &sight.slot);
                }
                self.release(state);
                self.unanswered(state, it);
            });
        }
    }

    /// The same of one of several requests: the reader acts once all are answered.
    fn requests_arrive(&self, state: &State, it: usize, steps: &mut Vec<Step<State>>) {
        let have = state.readers[it].sight.have;
        let mut add = |after: State| {
            if after.readers[it].at == At::AskingServers {
                let what = "one of the requests of a reader that is set aside arrives";
                fault(steps, state, what, |state| *state = after);
            }
        };
        if have & KEY == 0 {
            let mut after = state.clone();
            self.ask_for_lease(&mut after, it);
            add(after);
        }
        for index in self.config.tag_indices() {
            if have & tag(index) == 0 {
                let mut after = state.clone();
                self.ask_for_version(&mut after, it, index);
                add(after);
            }
        }
    }

    /// A request was sent before its reader was set aside. The server carries it out; the reader
    /// does not act on the answer.
    fn request_arrives(&self, state: &State, it: usize, steps: &mut Vec<Step<State>>) {
        if state.readers[it].at == At::AskingServers {
            return self.requests_arrive(state, it, steps);
        }
        let mut after = state.clone();
        match state.readers[it].at {
            At::Acquiring => self.acquire(&mut after, it),
            At::ReadingVersions => self.read_version(&mut after, it),
            At::Filling => self.fill_slot(&mut after, it),
            _ => return,
        }
        // Any other answer makes the reader act.
        let answers = [At::ReadingVersions, At::Beginning, At::Finishing];
        if answers.contains(&after.readers[it].at) {
            let what = "the request of a reader that is set aside arrives";
            fault(steps, state, what, |state| *state = after);
        }
    }

    fn writer_fault_steps(&self, state: &State, it: usize, steps: &mut Vec<Step<State>>) {
        let writer = state.writers[it];
        let config = self.config.writers[it];
        if writer.at == WriterAt::Fencing && state.budget.outages > 0 {
            for name in each(writer.left) {
                let what = "a writer gets no answer, and goes on without a fence";
                fault(steps, state, what, |state| {
                    state.budget.outages -= 1;
                    state.writers[it].unprotected = true;
                    self.fenced(state, it, name);
                });
            }
        }
        if writer.at == WriterAt::Leaving && state.budget.outages > 0 {
            let what = "a writer gets no answer, or its fence does not name it: the fence stands";
            fault(steps, state, what, |state| {
                state.budget.outages -= 1;
                self.end(state, it);
            });
        }
        if writer.at == WriterAt::Invalidating {
            if state.budget.refusals > 0 {
                for name in each(writer.left) {
                    fault(
                        steps,
                        state,
                        "an increment is refused: no memory",
                        |state| {
                            state.budget.refusals -= 1;
                            self.begin_invalidation(state, it);
                            self.invalidate_without_memory(state, name);
                            self.invalidated(state, it, name);
                        },
                    );
                }
            }
            if state.budget.outages > 0 {
                let what = "a writer gets no answer: its names go to the journal";
                fault(steps, state, what, |state| {
                    state.budget.outages -= 1;
                    self.keep_for_later(state, it);
                });
            }
        }
        let in_time = !matches!(
            writer.at,
            WriterAt::Idle | WriterAt::Fencing | WriterAt::Done | WriterAt::Dead
        );
        if state.budget.crashes > 0 && config.fenced && in_time && !writer.unprotected {
            let mut die = |what, pending| {
                fault(steps, state, what, |state| {
                    state.budget.crashes -= 1;
                    let writer = &mut state.writers[it];
                    writer.at = WriterAt::Dead;
                    writer.left = 0;
                    writer.covers = 0;
                    writer.pending |= pending;
                });
            };
            die("a writer's process dies", false);
            if writer.at == WriterAt::Body {
                die(
                    "a writer's process dies while its commit is under way",
                    true,
                );
            }
        }
    }

    /// An invalidation failed. It returns all the same, and its names are in the journal.
    fn keep_for_later(&self, state: &mut State, it: usize) {
        self.begin_invalidation(state, it);
        let writer = state.writers[it];
        let at = usize::from(self.config.writers[it].process);
        state.outdated[at] |= writer.covers;
        if !self.lacks(Without::FailedInvalidationIsKept) {
            let process = &mut state.processes[at];
            process.journal |= self.names_of(&writer, it);
            process.covers |= writer.covers;
        }
        self.after_invalidation(state, it, false);
    }

    fn unanswered(&self, state: &mut State, it: usize) {
        match state.readers[it].at {
            At::Acquiring => self.begin_without_store(state, it),
            At::AskingServers => self.ask_no_more(state, it),
            At::ReadingVersions => {
                self.release(state);
                self.begin_without_store(state, it);
            }
            At::Filling => {
                state.flight(it).owns = false;
                state.readers[it].at = At::Finishing;
                self.release(state);
            }
            _ => self.without_store(state, it),
        }
    }
}

const SET_ASIDE: [&str; 3] = [
    "reader 0 is set aside",
    "reader 1 is set aside",
    "reader 2 is set aside",
];
const HANGS: [&str; 3] = [
    "the load of reader 0 hangs",
    "the load of reader 1 hangs",
    "the load of reader 2 hangs",
];
const GIVES_UP: [&str; 3] = [
    "reader 0 gives up",
    "reader 1 gives up",
    "reader 2 gives up",
];

/// Whether a reader, or the flight that it is in, has this lease.
fn holds(state: &State, reader: &Reader, mark: Unique) -> bool {
    let flight = reader
        .flight
        .and_then(|place| state.flights[usize::from(place)]);
    let of_flight = flight
        .is_some_and(|flight| flight.owns && flight.evidence.is_some_and(|seen| seen.mark == mark));
    let asks =
        matches!(reader.at, At::ReadingVersions | At::Beginning) || reader.has_asked_for_lease();
    of_flight || asks && matches!(reader.sight.slot, Slot::Lease(lease) if lease.mark == mark)
}

fn lose_one(state: &mut State) {
    state.budget.losses -= 1;
}

/// Every connection to this server ends, and what was sent over it is lost.
fn restart(state: &mut State, server: usize) {
    state.budget.restarts -= 1;
    state.epochs[server] += 1;
    if server == 0 {
        state.blind_releases = 0;
    }
    if state.budget.restarts == 0 {
        // No later step depends on these, so states that differ in them become one.
        state.budget = Budget {
            snapshots: 0,
            ..state.budget
        };
        state.snapshot = None;
    }
}

/// What moves together: the slot (0), or the versions (1).
enum Part<'a> {
    Slot(&'a mut Slot),
    Versions(&'a mut Versions),
}

fn part_of(stored: &mut Stored, part: usize) -> Part<'_> {
    match part {
        0 => Part::Slot(&mut stored.slot),
        _ => Part::Versions(&mut stored.versions),
    }
}

impl Part<'_> {
    fn clear(self) {
        match self {
            Self::Slot(slot) => *slot = Slot::Absent,
            Self::Versions(versions) => *versions = Versions::default(),
        }
    }

    /// Takes what is in the same part of another server, and leaves nothing there.
    fn take(self, from: Part<'_>) {
        match (self, from) {
            (Self::Slot(to), Part::Slot(from)) => *to = std::mem::take(from),
            (Self::Versions(to), Part::Versions(from)) => *to = std::mem::take(from),
            _ => unreachable!("the same part"),
        }
    }
}

fn each_fence(stored: &mut Stored, change: impl Fn(Writers) -> Writers) {
    if let Slot::Fence(writers) = &mut stored.slot {
        *writers = change(*writers);
        if writers.is_empty() {
            stored.slot = Slot::Absent;
        }
    }
    for version in &mut stored.versions {
        if let Version::Fence(writers) = version {
            *writers = change(*writers);
            if writers.is_empty() {
                *version = Version::Absent;
            }
        }
    }
}

fn count_fences(mut stored: Stored, writer: usize) -> usize {
    let fences = std::cell::Cell::new(0);
    each_fence(&mut stored, |writers| {
        fences.set(fences.get() + usize::from(writers.has(writer)));
        writers
    });
    fences.get()
}

fn fault(
    steps: &mut Vec<Step<State>>,
    state: &State,
    what: &'static str,
    change: impl FnOnce(&mut State),
) {
    step(steps, state, Actor::Environment, what, change);
}
