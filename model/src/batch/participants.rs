//! The steps of tasks, of the check of flights, of time, and of faults: `call/batch/` of the runtime,
//! with `flight/` and `flight/together.rs`.

use super::Batch;
use super::rules::Without;
use super::state::{At, Call, Flight, Key, State, Work};
use crate::search::{Actor, Step, step};

impl Batch {
    pub(super) fn task_steps(&self, state: &State, it: usize, steps: &mut Vec<Step<State>>) {
        let task = &state.tasks[it];
        if task.stopped {
            return;
        }
        let mut add = |what, change: &dyn Fn(&mut State)| {
            step(steps, state, Actor::Reader(it), what, |state| {
                change(state);
                self.go_on(state, it);
            });
        };
        match task.at {
            At::Idle => {
                if it < self.config.tasks.len() {
                    add("begins", &|state| self.begin(state, it));
                }
            }
            At::Looking | At::LookingAgain => {
                for key in keys(state, it, |call| call == Call::Open) {
                    add(LOOKS[key], &|state| self.look(state, it, key));
                }
            }
            At::Loading if task.is_load_needless() && !self.lacks(Without::NeedlessLoadsEnd) => {
                add("gets what others have loaded", &|state| {
                    self.end_load(state, it);
                });
            }
            At::Loading if task.hung => {}
            At::Loading => add("ends its load", &|state| {
                self.count_load(state, it);
                self.end_load(state, it);
            }),
            At::Storing => add("stores what it has loaded", &|state| self.store(state, it)),
            At::Waiting => {
                if task.any(|call| call == Call::Landed) {
                    add("gets what has landed", &|state| {
                        for key in keys(state, it, |call| call == Call::Landed) {
                            state.tasks[it].calls[key] = Call::Known;
                        }
                    });
                }
                for key in keys(state, it, Call::waits) {
                    self.wait_step(state, it, key, &mut add);
                }
            }
            At::Done => {}
        }
    }

    /// What a task does for one of the keys that it waits for.
    fn wait_step(
        &self,
        state: &State,
        it: usize,
        key: Key,
        add: &mut impl FnMut(&'static str, &dyn Fn(&mut State)),
    ) {
        let process = self.config.tasks[it].process;
        match state.tasks[it].calls[key] {
            Call::Boarded => {
                let Flight::UnderWay { work, wanted: true } = state.flights[process][key] else {
                    return;
                };
                if !self.lacks(Without::AnyWaiterMayLead) {
                    add(BEGINS[key], &|state| {
                        self.begin_attempt(state, it, key, work);
                    });
                }
            }
            Call::Elsewhere => add(LOOKS[key], &|state| self.look(state, it, key)),
            Call::Watches { .. } if state.stored[key] => {
                add(SEES_ENTRY[key], &|state| {
                    self.land(state, it, key);
                    state.flights[process][key] = Flight::None;
                    self.end_attempts(state, process, key);
                    state.tasks[it].calls[key] = Call::Known;
                });
            }
            Call::Watches { .. } if state.leases[key].is_none() => {
                add(SEES_NO_LEASE[key], &|state| {
                    if is_watch(state.flights[process][key]) {
                        self.dissolve(state, process, key);
                    } else {
                        self.leave(state, it, key, true);
                        state.tasks[it].calls[key] = Call::Elsewhere;
                    }
                });
            }
            _ => {}
        }
    }

    fn begin(&self, state: &mut State, it: usize) {
        let task = &mut state.tasks[it];
        task.at = At::Looking;
        for &key in &self.config.tasks[it].keys {
            task.calls[key] = Call::Open;
        }
    }

    /// What a task does once nothing is left of what it does now.
    fn go_on(&self, state: &mut State, it: usize) {
        let task = &state.tasks[it];
        let leads = task.any(Call::makes_load);
        let waits = task.any(Call::waits);
        if task.at == At::Waiting && leads {
            let waits_on =
                self.lacks(Without::LoadsBeforeItWaits) || self.lacks(Without::LeadingEndsItsWaits);
            if waits && waits_on {
                return;
            }
            self.end_waits(state, it);
        }
        let task = &mut state.tasks[it];
        match task.at {
            At::Looking | At::LookingAgain if task.any(|call| call == Call::Open) => {}
            At::Looking | At::LookingAgain | At::Waiting => {
                task.at = if leads && !(waits && self.lacks(Without::LoadsBeforeItWaits)) {
                    At::Loading
                } else if waits {
                    At::Waiting
                } else {
                    At::Done
                };
            }
            At::Idle | At::Loading | At::Storing | At::Done => {}
        }
        if task.at == At::Done {
            task.calls = <_>::default();
        }
    }

    /// The task leads a key, and loads next. It looks again at what it waited for.
    fn end_waits(&self, state: &mut State, it: usize) {
        let task = &mut state.tasks[it];
        task.at = At::LookingAgain;
        for key in keys(state, it, Call::waits) {
            let call = state.tasks[it].calls[key];
            let keeps =
                matches!(call, Call::Watches { .. }) && self.lacks(Without::NoWatchWhileItLoads);
            match call {
                // It is ready at the same poll.
                Call::Landed => state.tasks[it].calls[key] = Call::Known,
                _ if keeps => {}
                _ => self.leave(state, it, key, true),
            }
        }
    }

    /// Looks at the store, and boards.
    fn look(&self, state: &mut State, it: usize, key: Key) {
        let process = self.config.tasks[it].process;
        let may_watch =
            state.tasks[it].at == At::Waiting || self.lacks(Without::NoWatchWhileItLoads);
        if state.stored[key] {
            state.tasks[it].calls[key] = Call::Known;
            return;
        }
        let flight = state.flights[process][key];
        match flight {
            Flight::Landed => state.tasks[it].calls[key] = Call::Known,
            Flight::UnderWay { .. } if self.lacks(Without::LoadsAreBoarded) => {
                state.tasks[it].calls[key] = Call::Leads { moving: false };
            }
            Flight::UnderWay { .. } if is_watch(flight) && state.leases[key].is_none() => {
                self.dissolve(state, process, key);
                self.lead(state, it, key);
            }
            Flight::UnderWay { work, wanted: true } => {
                if work == Work::Watch && !may_watch {
                    state.tasks[it].calls[key] = Call::Elsewhere;
                } else {
                    self.begin_attempt(state, it, key, work);
                }
            }
            Flight::UnderWay { wanted: false, .. } => {
                state.tasks[it].calls[key] = Call::Boarded;
            }
            Flight::None if state.leases[key].is_none() => self.lead(state, it, key),
            Flight::None if may_watch => {
                self.begin_attempt(state, it, key, Work::Watch);
            }
            Flight::None => state.tasks[it].calls[key] = Call::Elsewhere,
        }
    }

    /// Takes the lease, and leads a flight.
    fn lead(&self, state: &mut State, it: usize, key: Key) {
        let is_first = !state.tasks[it].any(Call::leads);
        if is_first || !self.lacks(Without::EachLeaseIsTaken) {
            state.leases[key] = Some(self.config.tasks[it].process);
        }
        self.begin_attempt(state, it, key, Work::Load);
    }

    fn begin_attempt(&self, state: &mut State, it: usize, key: Key, work: Work) {
        let wanted = false;
        state.flights[self.config.tasks[it].process][key] = Flight::UnderWay { work, wanted };
        let moving = true;
        state.tasks[it].calls[key] = match work {
            Work::Load | Work::LoadUnstored => Call::Leads { moving },
            Work::Watch => Call::Watches { moving },
        };
    }

    fn count_load(&self, state: &mut State, it: usize) {
        if !self.config.one_load {
            return;
        }
        for key in keys(state, it, Call::makes_load) {
            state.loads[key] = state.loads[key].saturating_add(1);
        }
    }

    /// The load has ended, or is needless. What is first lands.
    fn end_load(&self, state: &mut State, it: usize) {
        let process = self.config.tasks[it].process;
        for key in keys(state, it, Call::leads) {
            self.land(state, it, key);
            let Flight::UnderWay { work, .. } = state.flights[process][key] else {
                // Only with a rule left out.
                state.tasks[it].calls[key] = Call::Known;
                continue;
            };
            if work == Work::Load {
                state.flights[process][key] = Flight::Landed;
                state.tasks[it].calls[key] = Call::Stores;
            } else {
                state.flights[process][key] = Flight::None;
                self.end_attempts(state, process, key);
                state.tasks[it].calls[key] = Call::Known;
            }
        }
        for key in keys(state, it, |call| matches!(call, Call::Superseded { .. })) {
            self.leave(state, it, key, true);
            state.tasks[it].calls[key] = Call::Known;
        }
        let task = &mut state.tasks[it];
        task.hung = false;
        task.at = if task.any(|call| call == Call::Stores) {
            At::Storing
        } else {
            At::Waiting
        };
    }

    fn store(&self, state: &mut State, it: usize) {
        let process = self.config.tasks[it].process;
        let is_stored = |call| call == Call::Stores;
        for (count, key) in keys(state, it, is_stored).into_iter().enumerate() {
            state.stored[key] |= count == 0 || !self.lacks(Without::EachKeyIsStored);
            state.leases[key] = None;
            state.flights[process][key] = Flight::None;
            self.end_attempts(state, process, key);
            state.tasks[it].calls[key] = Call::Known;
        }
        state.tasks[it].at = At::Waiting;
    }

    /// The value of this attempt is the flight's.
    fn land(&self, state: &mut State, by: usize, key: Key) {
        let process = self.config.tasks[by].process;
        for it in self.tasks_in(process).filter(|&it| it != by) {
            let call = &mut state.tasks[it].calls[key];
            *call = match *call {
                Call::Boarded | Call::Watches { .. } => Call::Landed,
                Call::Leads { .. } => Call::Superseded { ended: false },
                other => other,
            };
        }
    }

    /// The flight has ended. Those of its attempts that are left end nothing any more.
    fn end_attempts(&self, state: &mut State, process: usize, key: Key) {
        for it in self.tasks_in(process) {
            if let Call::Superseded { ended } = &mut state.tasks[it].calls[key] {
                *ended = true;
            }
        }
    }

    /// A watch has ended without an entry: all callers of the flight look again.
    fn dissolve(&self, state: &mut State, process: usize, key: Key) {
        state.flights[process][key] = Flight::None;
        for it in self.tasks_in(process) {
            let call = &mut state.tasks[it].calls[key];
            if matches!(call, Call::Boarded | Call::Watches { .. }) {
                *call = Call::Elsewhere;
            }
        }
    }

    /// A task gives up its part in a flight. If no attempt moves then, another caller begins one.
    fn leave(&self, state: &mut State, it: usize, key: Key, hands_over: bool) {
        let process = self.config.tasks[it].process;
        let had = std::mem::replace(&mut state.tasks[it].calls[key], Call::Open);
        if !had.is_attempt() && had != Call::Boarded {
            return;
        }
        let calls = || self.tasks_in(process).map(|it| state.tasks[it].calls[key]);
        let has_attempts = calls().any(Call::is_attempt);
        let has_waiters = calls().any(|call| call == Call::Boarded);
        let moves = calls().any(Call::moves);
        match &mut state.flights[process][key] {
            Flight::UnderWay { wanted, .. } if has_attempts || has_waiters => {
                *wanted |= !moves && hands_over;
            }
            flight @ Flight::UnderWay {
                work: Work::Watch | Work::LoadUnstored,
                ..
            } => *flight = Flight::None,
            Flight::Landed if has_attempts => {}
            Flight::None => {}
            flight @ (Flight::Landed | Flight::UnderWay { .. }) => {
                *flight = Flight::None;
                state.leases[key] = None;
            }
        }
    }

    /// The check of each flight that has waiters. It depends on no task.
    pub(super) fn check_steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        for (process, flights) in state.flights.iter().enumerate() {
            for (key, &flight) in flights.iter().enumerate() {
                let Flight::UnderWay {
                    work,
                    wanted: false,
                } = flight
                else {
                    continue;
                };
                let calls = |it: usize| state.tasks[it].calls[key];
                let has_waiters = self.tasks_in(process).any(|it| calls(it) == Call::Boarded);
                let moving = self.tasks_in(process).find(|&it| calls(it).moves());
                let Some(newest) = moving.filter(|_| has_waiters) else {
                    continue;
                };
                if self.shows_no_progress(state, newest, key) {
                    let what = "wants one more attempt, beside one that does not move";
                    step(steps, state, Actor::Process(process), what, |state| {
                        let wanted = true;
                        state.flights[process][key] = Flight::UnderWay { work, wanted };
                        match &mut state.tasks[newest].calls[key] {
                            Call::Leads { moving } | Call::Watches { moving } => *moving = false,
                            _ => {}
                        }
                    });
                }
            }
        }
    }

    /// Whether others see that the attempt of this task for this key does not move. All that it is
    /// polled for shows that: a server, a database and a timer wake it in any case.
    fn shows_no_progress(&self, state: &State, it: usize, key: Key) -> bool {
        let task = &state.tasks[it];
        let is_first = keys(state, it, Call::leads).first() == Some(&key);
        let is_shown = is_first || !self.lacks(Without::EachLoadIsSetAside);
        match (task.calls[key], task.at) {
            (Call::Leads { .. }, At::Loading) => (task.stopped || task.hung) && is_shown,
            (Call::Leads { .. }, At::Looking) => task.stopped && is_shown,
            (Call::Leads { .. }, At::LookingAgain) => {
                task.stopped && is_shown && !self.lacks(Without::LooksAreFollowed)
            }
            (Call::Watches { .. }, At::Waiting) => task.stopped,
            _ => false,
        }
    }

    /// Where one load is promised, nothing hangs, and no watch needs its limit.
    pub(super) fn time_steps(&self, state: &State, it: usize, steps: &mut Vec<Step<State>>) {
        let task = &state.tasks[it];
        let is_bounded = !self.config.one_load && !self.lacks(Without::WatchingIsBounded);
        if task.at != At::Waiting || task.stopped || !is_bounded {
            return;
        }
        let process = self.config.tasks[it].process;
        for (key, &call) in task.calls.iter().enumerate() {
            let Call::Watches { moving } = call else {
                continue;
            };
            let what = "a call has watched for `lease_wait`";
            step(steps, state, Actor::Time, what, |state| {
                if let Flight::UnderWay { work, .. } = &mut state.flights[process][key] {
                    *work = Work::LoadUnstored;
                }
                state.tasks[it].calls[key] = Call::Leads { moving };
                self.go_on(state, it);
            });
        }
    }

    pub(super) fn fault_steps(&self, state: &State, it: usize, steps: &mut Vec<Step<State>>) {
        let task = &state.tasks[it];
        let mut add = |what, change: &dyn Fn(&mut State)| {
            step(steps, state, Actor::Environment, what, change);
        };
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
        if !task.is_under_way() {
            return;
        }
        if state.budget.cancels > 0 {
            add(DROPPED[it], &|state| {
                state.budget.cancels -= 1;
                self.drop_task(state, it);
            });
        }
        if task.stopped || task.hung {
            return;
        }
        if state.budget.stops > 0 {
            add(SET_ASIDE[it], &|state| {
                state.budget.stops -= 1;
                state.tasks[it].stopped = true;
            });
        }
        if state.budget.hangs > 0 && task.at == At::Loading {
            add(HANGS[it], &|state| {
                state.budget.hangs -= 1;
                state.tasks[it].hung = true;
            });
        }
    }

    fn drop_task(&self, state: &mut State, it: usize) {
        let first = keys(state, it, Call::leads).first().copied();
        for key in keys(state, it, |call| call != Call::None) {
            let hands_over = match state.tasks[it].calls[key] {
                Call::Leads { .. } => {
                    first == Some(key) || !self.lacks(Without::EachLoadIsHandedOver)
                }
                Call::Watches { .. } => !self.lacks(Without::WatchesAreHandedOver),
                _ => true,
            };
            self.leave(state, it, key, hands_over);
        }
        let task = &mut state.tasks[it];
        *task = <_>::default();
        task.at = At::Done;
    }

    /// What no task will end.
    pub(super) fn leaves_behind(&self, state: &State) -> Option<&'static str> {
        for (process, flights) in state.flights.iter().enumerate() {
            for (key, flight) in flights.iter().enumerate() {
                let any = |is_it: fn(Call) -> bool| {
                    self.tasks_in(process)
                        .any(|it| is_it(state.tasks[it].calls[key]))
                };
                let is_over = match flight {
                    Flight::None => false,
                    Flight::UnderWay { .. } => !any(|it| it.is_attempt() || it == Call::Boarded),
                    Flight::Landed => !any(Call::is_attempt),
                };
                if is_over {
                    return Some("a flight is left behind");
                }
                let has_lease = state.leases[key] == Some(process);
                if has_lease && (*flight == Flight::None || is_watch(*flight)) {
                    return Some("a lease is left behind");
                }
            }
        }
        None
    }

    fn tasks_in(&self, process: usize) -> impl Iterator<Item = usize> + use<'_> {
        let tasks = self.config.tasks.iter().enumerate();
        tasks
            .filter(move |(_, task)| task.process == process)
            .map(|(it, _)| it)
    }
}

/// The keys of a task whose calls are like this.
fn keys(state: &State, it: usize, is_it: impl Fn(Call) -> bool) -> Vec<Key> {
    let calls = state.tasks[it].calls.iter().enumerate();
    calls
        .filter(|&(_, &call)| is_it(call))
        .map(|(key, _)| key)
        .collect()
}

fn is_watch(flight: Flight) -> bool {
    let work = Work::Watch;
    matches!(flight, Flight::UnderWay { work: it, .. } if it == work)
}

const LOOKS: [&str; 3] = [
    "looks at key 0, and boards",
    "looks at key 1, and boards",
    "looks at key 2, and boards",
];
const BEGINS: [&str; 3] = [
    "begins one more attempt for key 0",
    "begins one more attempt for key 1",
    "begins one more attempt for key 2",
];
const SEES_ENTRY: [&str; 3] = [
    "sees the entry of key 0",
    "sees the entry of key 1",
    "sees the entry of key 2",
];
const SEES_NO_LEASE: [&str; 3] = [
    "sees that the lease of key 0 is gone",
    "sees that the lease of key 1 is gone",
    "sees that the lease of key 2 is gone",
];
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
    "the load of task 0 hangs",
    "the load of task 1 hangs",
    "the load of task 2 hangs",
];
