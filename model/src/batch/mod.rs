//! Calls for several keys: no call waits for one that does not move, and no two wait for each other.
//!
//! Nothing is invalidated here, and no entry is lost. A task reads a set of keys. It boards each of
//! them, in any order, and runs one load for all that it leads. Only then it waits for what others
//! load. A wait may end with the task leading; then it looks again at the other keys that it waits
//! for, and loads once more.
//!
//! A look, its boarding and its lease are one step here: [`shared`](crate::shared) has them apart.
//! Two leases that one process has of a key, one after the other, are not told apart.
//!
//! Time helps only a call that watches for another process's lease. A hung load is hedged; a load
//! that is led and not polled is not, though the runtime would hedge it too, later.
//!
//! The code loads what it leads before it looks again at the other keys. Where it leads a key while
//! it still asks for the leases of others, that request is followed.

mod participants;
pub mod rules;
pub mod state;

use self::rules::Without;
use self::state::{At, Budget, KEYS, Key, State};
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
    /// The keys that it reads.
    pub keys: Vec<Key>,
}

/// A configuration, under the protocol or without one of its rules.
#[derive(Debug, Clone)]
pub struct Batch {
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

    /// With one more task, in process 0, that reads these keys.
    #[must_use]
    pub fn task(mut self, keys: &[Key]) -> Self {
        self.tasks.push(TaskConfig {
            process: 0,
            keys: keys.to_vec(),
        });
        self
    }

    /// With the last task in the other process.
    #[must_use]
    pub fn elsewhere(mut self) -> Self {
        if let Some(task) = self.tasks.last_mut() {
            task.process = 1;
        }
        self
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

impl Batch {
    fn lacks(&self, rule: Without) -> bool {
        self.without == Some(rule)
    }
}

impl Model for Batch {
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
            self.time_steps(state, task, steps);
            self.fault_steps(state, task, steps);
        }
        self.check_steps(state, steps);
    }

    fn violation(&self, state: &State) -> Option<String> {
        if self.config.one_load && state.loads.iter().any(|&loads| loads > 1) {
            return Some("two loads where one would do".to_owned());
        }
        self.leaves_behind(state).map(str::to_owned)
    }

    /// Whether all tasks that move are done. One whose load hangs is also served if other loads have
    /// landed for all of its keys.
    fn all_done(&self, state: &State) -> bool {
        state.tasks.iter().all(|task| {
            let cannot_go_on = task.stopped || task.hung && !task.is_load_needless();
            matches!(task.at, At::Idle | At::Done) || cannot_go_on
        })
    }
}

/// The configurations for each test run.
pub fn configurations() -> Vec<Config> {
    vec![
        Config::new("one load of each key, in one process")
            .task(&[0, 1])
            .task(&[1, 2])
            .task(&[0, 1, 2])
            .one_load(),
        Config::new("one load of each key, in two processes")
            .task(&[0, 1])
            .task(&[1, 2])
            .task(&[0, 1, 2])
            .elsewhere()
            .one_load(),
        Config::new("a task that is set aside, and a load that hangs")
            .task(&[0, 1])
            .task(&[0, 1])
            .task(&[1])
            .faults(|faults| {
                faults.stops = 1;
                faults.hangs = 1;
            }),
        Config::new("two tasks that are set aside, and one that is dropped")
            .task(&[0, 1])
            .task(&[0, 1])
            .task(&[0])
            .faults(|faults| {
                faults.stops = 2;
                faults.cancels = 1;
            }),
        Config::new("two processes, a task that is set aside, and one that is dropped")
            .task(&[0, 1])
            .task(&[0, 1])
            .task(&[0, 1])
            .elsewhere()
            .faults(|faults| {
                faults.stops = 1;
                faults.cancels = 1;
            }),
        Config::new("two processes, a load that hangs, and a task that is dropped")
            .task(&[0, 1])
            .task(&[1])
            .task(&[1, 2])
            .elsewhere()
            .faults(|faults| {
                faults.hangs = 1;
                faults.cancels = 1;
            }),
    ]
}

/// Every two and every three tasks, each of which reads any set of up to three keys: in one process,
/// and with the last of them in another. Without faults there is one load of each key. With faults, a
/// task is set aside or dropped, or a load hangs; then each of three tasks reads up to two keys. Of
/// shapes that differ in the names of keys, there is one.
pub fn every_shape() -> Vec<Config> {
    let mut configs = Vec::new();
    for tasks in [2, 3].into_iter().flat_map(shapes) {
        let config = config_of(&tasks);
        if is_first_of_its_kind(&tasks, tasks.len()) {
            configs.extend(variants(&tasks, &config));
        }
        if is_first_of_its_kind(&tasks, tasks.len() - 1) {
            configs.extend(variants(&tasks, &config.elsewhere()));
        }
    }
    configs
}

/// A set of keys: a bit for each.
type Keys = usize;

/// All ways in which so many tasks read keys.
fn shapes(tasks: u32) -> Vec<Vec<Keys>> {
    let mut shapes = vec![Vec::new()];
    for _ in 0..tasks {
        let longer = shapes
            .iter()
            .flat_map(|shape| (1..1 << KEYS).map(|keys| [&shape[..], &[keys]].concat()));
        shapes = longer.collect();
    }
    shapes
}

/// Whether no other order of the first `here` tasks, under any names of the keys, comes before this.
fn is_first_of_its_kind(tasks: &[Keys], here: usize) -> bool {
    let names: [[Key; KEYS]; 6] = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    names.iter().all(|names| {
        let rename = |keys: Keys| {
            let renamed = (0..KEYS).map(|key| (keys >> key & 1) << names[key]);
            renamed.sum()
        };
        let mut renamed: Vec<Keys> = tasks.iter().map(|&keys| rename(keys)).collect();
        renamed[..here].sort_unstable();
        tasks <= &renamed[..]
    })
}

fn config_of(tasks: &[Keys]) -> Config {
    let config = Config::new("every shape of two or three tasks");
    tasks.iter().fold(config, |config, &keys| {
        let keys: Vec<Key> = (0..KEYS).filter(|key| keys >> key & 1 == 1).collect();
        config.task(&keys)
    })
}

fn variants(tasks: &[Keys], config: &Config) -> Vec<Config> {
    let mut variants = vec![config.clone().one_load()];
    if tasks.len() == 2 || tasks.iter().all(|keys| keys.count_ones() <= 2) {
        variants.push(config.clone().faults(|faults| {
            faults.stops = 1;
            faults.hangs = 1;
        }));
        variants.push(config.clone().faults(|faults| {
            faults.stops = 1;
            faults.cancels = 1;
        }));
    }
    variants
}
