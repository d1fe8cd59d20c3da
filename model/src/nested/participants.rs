//! The steps of tasks, of the check of flights, of time, and of faults: `flight/` of the runtime,
//! with `flight/circle.rs`.

use super::Nested;
use super::rules::Without;
use super::state::{At, Call, Flight, Key, State};
use crate::search::{Actor, Step, step};

impl Nested {
    pub(super) fn task_steps(&self, state: &State, it: usize, steps: &mut Vec<Step<State>>) {
        let config = &self.config.tasks[it];
        let task = &state.tasks[it];
        if task.stopped {
            return;
        }
        let mut add = |what, change: &dyn Fn(&mut State)| {
            step(steps, state, Actor::Reader(it), what, change);
        };
        if let Some(call) = self.served_call(state, it) {
            add("gets the value of another load", &|state| {
                while state.tasks[it].depth > call + 1 {
                    self.drop_call(state, it);
                }
                self.end_call(state, it);
            });
        }
        let connected = state.connection.is_none_or(|holder| holder == it);
        let Some(call) = task.innermost().copied() else {
            if !task.begun && (connected || config.transaction != Some(0)) {
                add("begins", &|state| {
                    state.tasks[it].begun = true;
                    self.begin_call(state, it);
                });
            }
            return;
        };
        if task.hung {
            return;
        }
        let key = self.key(state, it);
        match call.at {
            At::Looking => add("looks, and boards", &|state| self.look(state, it)),
            At::Noting => add("notes that it waits", &|state| {
                innermost(state, it).at = At::Waiting;
            }),
            At::Waiting => match state.flights[config.process][key] {
                Flight::Landed => add("gets the value that landed", &|state| {
                    self.end_call(state, it);
                }),
                Flight::Loading { wanted: true } => add("begins one more load", &|state| {
                    self.begin_attempt(state, it);
                }),
                Flight::Loading { wanted: false } | Flight::None => {}
            },
            At::Watching => {
                if state.leases[key].is_none() {
                    add("sees that the lease is gone", &|state| {
                        innermost(state, it).at = At::Looking;
                    });
                }
            }
            At::Leading | At::Alone if task.depth < config.keys.len() && !call.inner_done => {
                if connected || config.transaction != Some(task.depth) {
                    add("makes a call inside of its load", &|state| {
                        self.begin_call(state, it);
                    });
                }
            }
            At::Leading | At::Alone => {
                if connected {
                    add("ends its load", &|state| self.end_load(state, it));
                }
            }
        }
    }

    /// The key that the innermost call reads.
    fn key(&self, state: &State, it: usize) -> Key {
        self.config.tasks[it].keys[state.tasks[it].depth - 1]
    }

    /// The outermost call that makes an attempt at a load which another attempt has landed.
    pub(super) fn served_call(&self, state: &State, it: usize) -> Option<usize> {
        let config = &self.config.tasks[it];
        let task = &state.tasks[it];
        (0..task.depth).find(|&call| {
            let flight = state.flights[config.process][config.keys[call]];
            task.calls[call].attempt > 0 && flight == Flight::Landed
        })
    }

    fn begin_call(&self, state: &mut State, it: usize) {
        let task = &mut state.tasks[it];
        if self.config.tasks[it].transaction == Some(task.depth) {
            state.connection = Some(it);
        }
        task.calls[task.depth] = Call::default();
        task.depth += 1;
    }

    fn look(&self, state: &mut State, it: usize) {
        let config = &self.config.tasks[it];
        let key = self.key(state, it);
        let call = state.tasks[it].depth - 1;
        let in_transaction = config
            .transaction
            .is_some_and(|outermost| call >= outermost);
        if in_transaction && !self.lacks(Without::NoTransactionWaits) {
            innermost(state, it).at = At::Alone;
            return;
        }
        if state.stored[key] {
            return self.end_call(state, it);
        }
        match state.flights[config.process][key] {
            Flight::Loading { wanted: true } => self.begin_attempt(state, it),
            Flight::Loading { wanted: false } => {
                innermost(state, it).at = if self.closes_a_circle(state, it, key) {
                    At::Alone
                } else if self.lacks(Without::SearchAndNoteAreOneStep) {
                    At::Noting
                } else {
                    At::Waiting
                };
            }
            Flight::None | Flight::Landed if state.leases[key].is_none() => {
                state.leases[key] = Some(config.process);
                state.flights[config.process][key] = Flight::Loading { wanted: false };
                self.begin_attempt(state, it);
            }
            Flight::None | Flight::Landed => innermost(state, it).at = At::Watching,
        }
    }

    fn begin_attempt(&self, state: &mut State, it: usize) {
        let key = self.key(state, it);
        let process = self.config.tasks[it].process;
        let newest = self.newest_attempt(state, process, key);
        let number = newest.map_or(0, |(_, _, number)| number) + 1;
        state.flights[process][key] = Flight::Loading { wanted: false };
        let call = innermost(state, it);
        call.at = At::Leading;
        call.attempt = number;
    }

    /// The newest attempt at the load of a key: the task, which of its calls, and the number.
    fn newest_attempt(
        &self,
        state: &State,
        process: usize,
        key: Key,
    ) -> Option<(usize, usize, u8)> {
        let tasks =
            (0..self.config.tasks.len()).filter(|&it| self.config.tasks[it].process == process);
        let attempts = tasks.flat_map(|it| {
            let calls = (0..state.tasks[it].depth)
                .filter(move |&call| self.config.tasks[it].keys[call] == key);
            calls.map(move |call| (it, call, state.tasks[it].calls[call].attempt))
        });
        attempts
            .filter(|&(_, _, number)| number > 0)
            .max_by_key(|&(_, _, number)| number)
    }

    /// The flights whose loads this task is inside of, the outermost first.
    fn loads<'a>(&'a self, state: &'a State, it: usize) -> impl Iterator<Item = Key> + 'a {
        let task = &state.tasks[it];
        (0..task.depth)
            .filter(|&call| task.calls[call].attempt > 0)
            .map(move |call| self.config.tasks[it].keys[call])
    }

    /// Whether the load of `flight`, directly or through other waits, waits for a load that this
    /// task is inside of.
    fn closes_a_circle(&self, state: &State, it: usize, flight: Key) -> bool {
        let mut inside: Vec<Key> = self.loads(state, it).collect();
        if inside.contains(&flight) {
            return !self.lacks(Without::NoCallWaitsForItself);
        }
        if self.lacks(Without::NoWaitClosesACircle) {
            return false;
        }
        if self.lacks(Without::CircleClosesAtAnyLoad) {
            inside = inside.split_off(inside.len().saturating_sub(1));
        }
        let mut reached = vec![flight];
        let mut at = 0;
        while let Some(&flight) = reached.get(at) {
            if inside.contains(&flight) {
                return true;
            }
            for waits_for in self.waits_of(state, self.config.tasks[it].process, flight) {
                if !reached.contains(&waits_for) {
                    reached.push(waits_for);
                }
            }
            at += 1;
        }
        false
    }

    /// What the attempts at the load of `flight` wait for.
    fn waits_of(&self, state: &State, process: usize, flight: Key) -> Vec<Key> {
        let mut waits_for = Vec::new();
        for (it, config) in self.config.tasks.iter().enumerate() {
            let waits = innermost_is(state, it, At::Waiting);
            if config.process != process || !waits {
                continue;
            }
            let mut loads: Vec<Key> = self.loads(state, it).collect();
            if self.lacks(Without::OuterLoadsWaitToo) {
                loads = loads.split_off(loads.len().saturating_sub(1));
            }
            if loads.contains(&flight) {
                waits_for.push(self.key(state, it));
            }
        }
        waits_for
    }

    /// The innermost load ends. If it is the first of its flight, it lands, and is stored.
    fn end_load(&self, state: &mut State, it: usize) {
        let key = self.key(state, it);
        let process = self.config.tasks[it].process;
        if self.config.one_load {
            state.loads[key] = state.loads[key].saturating_add(1);
        }
        let leads = innermost(state, it).attempt > 0;
        if leads && state.flights[process][key] != Flight::Landed {
            state.flights[process][key] = Flight::Landed;
            state.stored[key] = true;
            state.leases[key] = None;
        }
        self.end_call(state, it);
    }

    fn end_call(&self, state: &mut State, it: usize) {
        let task = &mut state.tasks[it];
        task.depth -= 1;
        task.calls[task.depth] = Call::default();
        task.hung = false;
        if let Some(outer) = task.calls[..task.depth].last_mut() {
            outer.inner_done = true;
        }
        if self.config.tasks[it].transaction == Some(task.depth) {
            state.connection = None;
        }
    }

    /// The innermost call is dropped. If its attempt was the only one, a waiter begins another.
    fn drop_call(&self, state: &mut State, it: usize) {
        let key = self.key(state, it);
        let process = self.config.tasks[it].process;
        self.end_call(state, it);
        let Flight::Loading { wanted } = state.flights[process][key] else {
            return;
        };
        let attempts = self.newest_attempt(state, process, key).is_some();
        let waiters = self.has_waiters(state, process, key);
        if attempts || waiters {
            let none_is_left = !attempts && !self.lacks(Without::DroppedLoadHandsOver);
            let wanted = waiters && (wanted || none_is_left);
            state.flights[process][key] = Flight::Loading { wanted };
        } else {
            state.flights[process][key] = Flight::None;
            state.leases[key] = None;
        }
    }

    fn has_waiters(&self, state: &State, process: usize, key: Key) -> bool {
        let mut tasks = 0..self.config.tasks.len();
        tasks.any(|it| {
            self.config.tasks[it].process == process
                && innermost_is(state, it, At::Waiting)
                && self.key(state, it) == key
        })
    }

    /// The check of each flight that has waiters. It depends on no task.
    pub(super) fn check_steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        for (process, flights) in state.flights.iter().enumerate() {
            for (key, &flight) in flights.iter().enumerate() {
                let unattended = flight == Flight::Loading { wanted: false };
                if !unattended || !self.has_waiters(state, process, key) {
                    continue;
                }
                let Some((it, call, _)) = self.newest_attempt(state, process, key) else {
                    continue;
                };
                let task = &state.tasks[it];
                let is_innermost = call + 1 == task.depth;
                let is_told = is_innermost || !self.lacks(Without::OuterLoadsAreSetAsideToo);
                let is_set_aside = task.stopped && self.is_woken(state, it) && is_told;
                if is_set_aside || task.hung {
                    let what = "wants one more load, beside one that does not move";
                    step(steps, state, Actor::Process(process), what, |state| {
                        state.flights[process][key] = Flight::Loading { wanted: true };
                    });
                }
            }
        }
    }

    /// Whether what the task waits for has happened. A server answers, and a database does, in any
    /// case.
    fn is_woken(&self, state: &State, it: usize) -> bool {
        let waits = innermost_is(state, it, At::Waiting);
        let process = self.config.tasks[it].process;
        !waits || state.flights[process][self.key(state, it)] != Flight::Loading { wanted: false }
    }

    pub(super) fn time_steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        for it in 0..self.config.tasks.len() {
            let watches = innermost_is(state, it, At::Watching) && !state.tasks[it].stopped;
            if watches && !self.lacks(Without::WatchingIsBounded) {
                let what = "a call has watched for `lease_wait`";
                step(steps, state, Actor::Time, what, |state| {
                    innermost(state, it).at = At::Alone;
                });
            }
        }
    }

    /// A task that has the only connection to the database is not set aside: all that need the
    /// database would wait for it, with a cache or without.
    pub(super) fn fault_steps(&self, state: &State, it: usize, steps: &mut Vec<Step<State>>) {
        let task = &state.tasks[it];
        let mut add = |what, change: &dyn Fn(&mut State)| {
            step(steps, state, Actor::Environment, what, change);
        };
        if state.budget.cancels > 0 && task.depth > 0 {
            add(DROPPED[it], &|state| {
                state.budget.cancels -= 1;
                state.tasks[it].stopped = false;
                while state.tasks[it].depth > 0 {
                    self.drop_call(state, it);
                }
            });
        }
        if task.stopped {
            add("a task is polled again", &|state| {
                state.tasks[it].stopped = false;
            });
        }
        if task.hung && !task.stopped {
            add("a load that hung goes on", &|state| {
                state.tasks[it].hung = false;
            });
        }
        let Some(call) = task.innermost() else {
            return;
        };
        if !task.moves() || state.connection == Some(it) {
            return;
        }
        if state.budget.stops > 0 {
            add(SET_ASIDE[it], &|state| {
                state.budget.stops -= 1;
                state.tasks[it].stopped = true;
            });
        }
        let calls = task.depth < self.config.tasks[it].keys.len() && !call.inner_done;
        let loads = matches!(call.at, At::Leading | At::Alone) && !calls;
        if state.budget.hangs > 0 && loads {
            add(HANGS[it], &|state| {
                state.budget.hangs -= 1;
                state.tasks[it].hung = true;
            });
        }
    }
}

const SET_ASIDE: [&str; 3] = [
    "task 0 is set aside",
    "task 1 is set aside",
    "task 2 is set aside",
];
const DROPPED: [&str; 3] = [
    "task 0 is dropped",
    "task 1 is dropped",
    "task 2 is dropped",
];
const HANGS: [&str; 3] = [
    "a load of task 0 hangs",
    "a load of task 1 hangs",
    "a load of task 2 hangs",
];

fn innermost(state: &mut State, it: usize) -> &mut Call {
    let task = &mut state.tasks[it];
    task.calls[..task.depth]
        .last_mut()
        .expect("a call has begun")
}

fn innermost_is(state: &State, it: usize, at: At) -> bool {
    state.tasks[it]
        .innermost()
        .is_some_and(|call| call.at == at)
}
