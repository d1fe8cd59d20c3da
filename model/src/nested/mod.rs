//! Calls inside of loads: no call waits for itself, for a load that waits for it, or for a load
//! that waits for its transaction.
//!
//! Nothing is invalidated here, and no entry is lost, so that each key has one flight in each
//! process, one lease, and then an entry. A task makes a call; its load makes the next call of
//! the task, inside of it; and so on. Two calls of one key meet in any way.
//!
//! Time helps only a call that watches for another process's lease. A hung load is hedged; a
//! circle of waits is not, though the runtime would hedge it too, later.

mod participants;
pub mod rules;
pub mod state;

use self::rules::Without;
use self::state::{Budget, KEYS, Key, State};
use crate::search::{Model, Step};

/// The participants, and the faults.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name in the printed table.
    pub name: &'static str,
    /// The tasks.
    pub tasks: Vec<TaskConfig>,
    /// Whether a second load of a key breaks a promise.
    pub one_load: bool,
    /// How many faults there may be.
    pub faults: Budget,
}

/// What a task does.
#[derive(Debug, Clone)]
pub struct TaskConfig {
    /// The process that it runs in.
    pub process: usize,
    /// The keys that it reads: the first by itself, each other in the load of the one before.
    pub keys: Vec<Key>,
    /// The call that is made inside of a transaction, with the calls inside of it. The
    /// transaction has the database's only connection.
    pub transaction: Option<usize>,
}

/// A configuration, under the protocol or without one of its rules.
#[derive(Debug, Clone)]
pub struct Nested {
    /// The configuration.
    pub config: Config,
    /// The rule that is left out.
    pub without: Option<Without>,
}

impl Config {
    /// No tasks, and no faults.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            tasks: Vec::new(),
            one_load: false,
            faults: Budget::default(),
        }
    }

    /// With one more task, in process 0, that reads these keys, each in the load of the one
    /// before.
    #[must_use]
    pub fn task(mut self, keys: &[Key]) -> Self {
        self.tasks.push(TaskConfig {
            process: 0,
            keys: keys.to_vec(),
            transaction: None,
        });
        self
    }

    /// With the last task in the other process.
    #[must_use]
    pub fn elsewhere(mut self) -> Self {
        self.last_task().process = 1;
        self
    }

    /// With this call of the last task inside of a transaction.
    #[must_use]
    pub fn in_transaction(mut self, call: usize) -> Self {
        self.last_task().transaction = Some(call);
        self
    }

    fn last_task(&mut self) -> &mut TaskConfig {
        self.tasks.last_mut().expect("it was just added")
    }

    /// With the promise of one load of each key.
    #[must_use]
    pub fn one_load(mut self) -> Self {
        self.one_load = true;
        self
    }

    /// With these faults.
    #[must_use]
    pub fn faults(mut self, set: impl FnOnce(&mut Budget)) -> Self {
        set(&mut self.faults);
        self
    }
}

impl Nested {
    fn lacks(&self, rule: Without) -> bool {
        self.without == Some(rule)
    }
}

impl Model for Nested {
    type State = State;

    fn initial(&self) -> State {
        State {
            budget: self.config.faults,
            ..State::default()
        }
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        for task in 0..self.config.tasks.len() {
            self.task_steps(state, task, steps);
            self.fault_steps(state, task, steps);
        }
        self.check_steps(state, steps);
        self.time_steps(state, steps);
    }

    fn violation(&self, state: &State) -> Option<String> {
        let twice = state.loads.iter().any(|&loads| loads > 1);
        (self.config.one_load && twice).then(|| "two loads where one would do".to_owned())
    }

    /// Whether all tasks that move are done. One whose load hangs is also served if another load
    /// has landed.
    fn all_done(&self, state: &State) -> bool {
        (0..self.config.tasks.len()).all(|it| {
            let task = &state.tasks[it];
            let cannot_go_on = task.stopped || task.hung && self.served_call(state, it).is_none();
            task.depth == 0 || cannot_go_on
        })
    }
}

/// The configurations for each test run.
pub fn configurations() -> Vec<Config> {
    vec![
        Config::new("calls inside of loads, without a circle")
            .task(&[0, 1])
            .task(&[1])
            .task(&[2, 1])
            .one_load(),
        Config::new("a load that reads its own key, and two that cross")
            .task(&[0, 0, 1])
            .task(&[1, 0]),
        Config::new("three loads in a circle")
            .task(&[0, 1])
            .task(&[1, 2])
            .task(&[2, 0]),
        Config::new("deep loads that cross, a task that is set aside, a load that hangs")
            .task(&[0, 1, 2])
            .task(&[2, 0, 1])
            .task(&[1, 2])
            .faults(|faults| {
                faults.stops = 1;
                faults.hangs = 1;
            }),
        Config::new("loads that cross, two tasks that are set aside, and one that is dropped")
            .task(&[0, 1])
            .task(&[1, 0])
            .task(&[0])
            .faults(|faults| {
                faults.stops = 2;
                faults.cancels = 1;
            }),
        Config::new("loads that cross, in two processes")
            .task(&[0, 1])
            .task(&[1, 0])
            .elsewhere()
            .task(&[1, 0])
            .faults(|faults| {
                faults.stops = 1;
                faults.cancels = 1;
            }),
        Config::new("a transaction around a call, and one inside of a load")
            .task(&[0, 1])
            .in_transaction(1)
            .task(&[1, 0])
            .task(&[0])
            .in_transaction(0),
        Config::new("a transaction, a task that is set aside")
            .task(&[0])
            .task(&[0, 1])
            .task(&[1, 0])
            .in_transaction(1)
            .faults(|faults| faults.stops = 1),
    ]
}

/// Every two tasks with up to three calls inside of each other, and every three with up to two:
/// with a task that is set aside and a load that hangs, with the last task in another process or
/// inside of a transaction, and without faults. Where no loads can form a circle, there is then
/// one load of each key.
pub fn every_shape() -> Vec<Config> {
    let chains = |longest: u32| -> Vec<Vec<Key>> {
        (1..=longest)
            .flat_map(|length| (0..3_usize.pow(length)).map(move |code| (length, code)))
            .map(|(length, code)| (0..length).map(|at| code / 3_usize.pow(at) % 3).collect())
            .collect()
    };
    let long = chains(3);
    let short = chains(2);
    let mut shapes: Vec<Vec<&[Key]>> = Vec::new();
    for (at, first) in long.iter().enumerate() {
        shapes.extend(long[at..].iter().map(|second| vec![&first[..], second]));
    }
    for (at, first) in short.iter().enumerate() {
        for (next, second) in short[at..].iter().enumerate() {
            let thirds = short[at + next..].iter();
            shapes.extend(thirds.map(|third| vec![&first[..], second, third]));
        }
    }
    shapes.iter().flat_map(|tasks| variants(tasks)).collect()
}

fn variants(tasks: &[&[Key]]) -> [Config; 4] {
    let config = || {
        let config = Config::new("every shape of two or three tasks");
        tasks.iter().fold(config, |config, keys| config.task(keys))
    };
    let stop = |faults: &mut Budget| faults.stops = 1;
    let mut without_faults = config();
    without_faults.one_load = !may_form_a_circle(tasks);
    [
        without_faults,
        config().faults(|faults| {
            faults.stops = 1;
            faults.hangs = 1;
        }),
        config().elsewhere().faults(stop),
        config().in_transaction(0).faults(stop),
    ]
}

/// Whether loads may wait for each other in a circle: the load of one key reads the next.
fn may_form_a_circle(tasks: &[&[Key]]) -> bool {
    let mut reads = [[false; KEYS]; KEYS];
    for pair in tasks.iter().flat_map(|keys| keys.windows(2)) {
        reads[pair[0]][pair[1]] = true;
    }
    for over in 0..KEYS {
        for from in 0..KEYS {
            for to in 0..KEYS {
                reads[from][to] |= reads[from][over] && reads[over][to];
            }
        }
    }
    (0..KEYS).any(|key| reads[key][key])
}
