//! The steps of a call that writes and invalidates: `call/invalidate.rs` of the runtime. And those of
//! a call that sets a value by hand.

use super::Shared;
use super::config::{KEY, Servers};
use super::rules::Without;
use super::state::{Names, Prepared, State, Version, Writer, WriterAt};
use crate::search::{Actor, Step, step};

impl Shared {
    /// What this writer can do next, and its commit that may still land.
    pub(super) fn writer_steps(&self, state: &State, it: usize, steps: &mut Vec<Step<State>>) {
        let config = self.config.writers[it];
        let writer = state.writers[it];
        let mut add = |what, change: &dyn Fn(&mut State)| {
            step(steps, state, Actor::Writer(it), what, change);
        };
        match writer.at {
            WriterAt::Idle => add("begins", &|state| {
                state.writers[it].left = config.names;
                if config.sets && self.config.servers == Servers::Two {
                    state.writers[it].left = self.config.all_names();
                    state.writers[it].prepared = Some(Prepared::default());
                }
                state.writers[it].at = if config.sets {
                    WriterAt::Preparing
                } else if config.fenced {
                    WriterAt::Fencing
                } else if self.lacks(Without::InvalidationFollowsTheCommit) {
                    WriterAt::Invalidating
                } else {
                    WriterAt::Body
                };
            }),
            WriterAt::Fencing => {
                for name in each(writer.left) {
                    add("places a fence", &|state| {
                        self.place_fence(state, name, it);
                        self.fenced(state, it, name);
                    });
                }
            }
            WriterAt::Body => self.body_steps(it, &mut add),
            WriterAt::Preparing if self.config.servers == Servers::Two => {
                self.preparing_steps(state, it, &mut add);
            }
            WriterAt::Preparing => add("prepares the slot for a value", &|state| {
                self.prepare(state, it);
            }),
            WriterAt::PreparingVersions => {
                for name in each(writer.left) {
                    add("reads a version for a value", &|state| {
                        self.prepare_version(state, it, name);
                    });
                }
            }
            WriterAt::Setting => add("stores a value by hand", &|state| {
                let prepared = state.writers[it].prepared.expect("the slot is prepared");
                self.set_by_hand(state, &prepared);
                end_set(state, it);
            }),
            WriterAt::Invalidating => {
                for name in each(writer.left) {
                    add("invalidates a name", &|state| {
                        self.begin_invalidation(state, it);
                        self.invalidate_name(state, name);
                        self.invalidated(state, it, name);
                    });
                }
            }
            WriterAt::Leaving => {
                for name in each(writer.left) {
                    add("takes itself out of a fence", &|state| {
                        self.leave_fence(state, name, it);
                        state.writers[it].left &= !name;
                        if state.writers[it].left == 0 {
                            self.end(state, it);
                        }
                    });
                }
            }
            WriterAt::Settling if !writer.pending => {
                add("invalidates again, once no commit is under way", &|state| {
                    let writer = &mut state.writers[it];
                    writer.at = WriterAt::Invalidating;
                    writer.again = true;
                    writer.left = config.names;
                });
            }
            WriterAt::Settling | WriterAt::Done | WriterAt::Dead => {}
        }
        if writer.pending {
            let what = "commits, after its caller was dropped";
            step(steps, state, Actor::Database, what, |state| {
                state.row += 1;
                state.writers[it].pending = false;
            });
        }
    }

    fn prepare(&self, state: &mut State, it: usize) {
        let Some(seen) = self.seize(state) else {
            return end_set(state, it);
        };
        let writer = &mut state.writers[it];
        writer.prepared = Some(Prepared {
            seen,
            epochs: state.epochs,
            ..Prepared::default()
        });
        writer.at = WriterAt::PreparingVersions;
        writer.left = self.config.all_names() & !KEY;
        self.prepared(state, it);
    }

    /// In a cluster, the slot is prepared and the versions are read at the same time.
    fn preparing_steps(
        &self,
        state: &State,
        it: usize,
        add: &mut impl FnMut(&'static str, &dyn Fn(&mut State)),
    ) {
        let left = state.writers[it].left;
        if left == 0 {
            add("acts on what the servers answered", &|state| {
                self.act_on_prepared(state, it);
            });
        }
        for name in each(left) {
            if name == KEY {
                add("prepares the slot for a value", &|state| {
                    self.prepare_slot(state, it);
                });
            } else {
                add("reads a version for a value", &|state| {
                    self.prepare_one_version(state, it, name);
                });
            }
        }
    }

    fn act_on_prepared(&self, state: &mut State, it: usize) {
        let prepared = state.writers[it].prepared.unwrap_or_default();
        let fenced = |version: &Version| matches!(version, Version::Fence(_));
        if prepared.versions.iter().any(fenced) {
            self.invalidate_name(state, KEY);
            end_set(state, it);
        } else {
            state.writers[it].at = WriterAt::Setting;
        }
    }

    fn prepare_slot(&self, state: &mut State, it: usize) {
        if self.slot_is_away(state) {
            return end_set(state, it);
        }
        let epoch = self.slot_epoch(state);
        let Some(seen) = self.seize(state) else {
            return end_set(state, it);
        };
        now_prepared(state, it, KEY, |prepared| {
            prepared.seen = seen;
            prepared.epochs[0] = epoch;
        });
    }

    fn prepare_one_version(&self, state: &mut State, it: usize, name: Names) {
        let Writer { left, prepared, .. } = state.writers[it];
        let before = prepared.unwrap_or_default().epochs[1];
        let first = left & !KEY == self.config.all_names() & !KEY;
        if !first && before != state.epochs[1] || self.is_referred(state, 1) {
            self.invalidate_name(state, KEY);
            return end_set(state, it);
        }
        let index = name.trailing_zeros() as usize - 1;
        let version = self.read_or_draw(state, index);
        let epoch = state.epochs[1];
        now_prepared(state, it, name, |prepared| {
            prepared.versions[index] = version;
            prepared.epochs[1] = epoch;
        });
    }

    fn prepare_version(&self, state: &mut State, it: usize, name: Names) {
        let index = name.trailing_zeros() as usize - 1;
        let version = self.read_or_draw(state, index);
        let fenced = matches!(version, Version::Fence(_));
        let epochs = state.epochs;
        let writer = &mut state.writers[it];
        let prepared = writer.prepared.as_mut().expect("the slot is prepared");
        // Over one connection, which ends with its server.
        if fenced || prepared.epochs != epochs {
            self.invalidate_name(state, KEY);
            return end_set(state, it);
        }
        prepared.versions[index] = version;
        writer.left &= !name;
        self.prepared(state, it);
    }

    /// Once all versions were read: the value counts as read now. (An invalidation before this
    /// has no effect on the value, as the documentation of `Cache::set` says.)
    fn prepared(&self, state: &mut State, it: usize) {
        let row = state.row;
        let writer = &mut state.writers[it];
        if writer.left == 0
            && let Some(prepared) = &mut writer.prepared
        {
            prepared.data = row;
            writer.at = WriterAt::Setting;
        }
    }

    /// Goes on to the next fence, or to the body.
    pub(super) fn fenced(&self, state: &mut State, it: usize, name: Names) {
        let writer = &mut state.writers[it];
        writer.left &= !name;
        if writer.left == 0 {
            writer.at = WriterAt::Body;
        }
    }

    fn body_steps(&self, it: usize, add: &mut impl FnMut(&'static str, &dyn Fn(&mut State))) {
        let config = self.config.writers[it];
        let mut end = |what, commits: u8, clean, pending| {
            add(what, &|state| {
                state.row += commits;
                let row = state.row;
                let writer = &mut state.writers[it];
                writer.clean = clean;
                writer.pending = pending;
                if config.follows_value {
                    writer.names = self.config.tags_of(row - 1);
                    writer.covers = 1 << (row - 1);
                }
                writer.left = self.names_of(writer, it);
                writer.at = WriterAt::Invalidating;
                if self.lacks(Without::InvalidationFollowsTheCommit) {
                    writer.at = WriterAt::Done;
                }
            });
        };
        end("commits", 1, true, false);
        if config.fails {
            end("commits, and then fails or is dropped", 1, false, false);
            end("is dropped, while its commit is under way", 0, false, true);
            end("fails, and commits nothing", 0, false, false);
        }
    }

    /// The names that a writer invalidates.
    pub(super) fn names_of(&self, writer: &Writer, it: usize) -> Names {
        let config = self.config.writers[it];
        if config.follows_value {
            writer.names
        } else {
            config.names
        }
    }

    /// The invalidation is for all that is replaced now. Or, if it names the tags of the value that its
    /// writer replaced, for that value only.
    pub(super) fn begin_invalidation(&self, state: &mut State, it: usize) {
        let row = state.row;
        let config = self.config.writers[it];
        let writer = &mut state.writers[it];
        if writer.left == config.names && !config.follows_value {
            writer.covers = (1 << row) - 1;
        }
    }

    pub(super) fn invalidated(&self, state: &mut State, it: usize, name: Names) {
        let writer = &mut state.writers[it];
        writer.left &= !name;
        if writer.left != 0 {
            return;
        }
        let covers = writer.covers;
        for outdated in &mut state.outdated {
            *outdated |= covers;
        }
        if self.lacks(Without::InvalidationFollowsTheCommit) {
            state.writers[it].at = WriterAt::Body;
            return;
        }
        self.after_invalidation(state, it, true);
    }

    /// Goes on after an invalidation that reached the server, or only the journal.
    pub(super) fn after_invalidation(&self, state: &mut State, it: usize, reached: bool) {
        let config = self.config.writers[it];
        let Writer { clean, again, .. } = state.writers[it];
        let leaves = config.fenced
            && reached
            && !again
            && (clean || self.lacks(Without::FenceOutlastsAnError));
        if leaves {
            let writer = &mut state.writers[it];
            writer.left = config.names;
            writer.at = WriterAt::Leaving;
        } else {
            self.end(state, it);
        }
    }

    /// Ends the call. If the body did not end cleanly, a second invalidation is still to come.
    pub(super) fn end(&self, state: &mut State, it: usize) {
        let writer = &mut state.writers[it];
        writer.left = 0;
        writer.covers = 0;
        writer.names = 0;
        let settles = !writer.clean && !writer.again && !self.lacks(Without::ErrorsAreSettled);
        writer.at = if settles {
            WriterAt::Settling
        } else {
            WriterAt::Done
        };
    }

    /// Replays the invalidation of a name that is in the journal.
    pub(super) fn replay_step(&self, state: &State, process: usize, steps: &mut Vec<Step<State>>) {
        let journal = state.processes[process].journal;
        for name in each(journal) {
            let what = "replays an invalidation";
            step(steps, state, Actor::Process(process), what, |state| {
                self.invalidate_name(state, name);
                let process = &mut state.processes[process];
                process.journal &= !name;
                if process.journal == 0 {
                    let covers = std::mem::take(&mut process.covers);
                    for outdated in &mut state.outdated {
                        *outdated |= covers;
                    }
                }
            });
        }
    }
}

/// One of the requests that prepare a value was answered. Once all were, the value counts as read.
fn now_prepared(state: &mut State, it: usize, name: Names, note: impl FnOnce(&mut Prepared)) {
    let row = state.row;
    let writer = &mut state.writers[it];
    writer.left &= !name;
    let prepared = writer.prepared.get_or_insert_default();
    note(prepared);
    if writer.left == 0 {
        prepared.data = row;
    }
}

fn end_set(state: &mut State, it: usize) {
    let writer = &mut state.writers[it];
    writer.left = 0;
    writer.prepared = None;
    writer.at = WriterAt::Done;
}

/// The names in a set, one at a time.
pub(super) fn each(names: Names) -> impl Iterator<Item = Names> {
    (0..8)
        .map(|bit| 1 << bit)
        .filter(move |name| names & name != 0)
}
