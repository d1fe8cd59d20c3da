//! Looks at every state that a model can be in, breadth first, so that the first
//! counterexample is a shortest one.
//!
//! A state is remembered by a hash of 128 bits: that two of some millions share
//! one has a chance of less than 10⁻²⁴. Full states are kept at the edge of the
//! search only; a trace is found again by walking its hashes from the start.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A protocol, and those who follow it.
pub trait Model {
    /// Everything that the next step may depend on.
    type State: Clone + Hash + fmt::Display;

    /// Where it begins.
    fn initial(&self) -> Self::State;

    /// Every step that somebody can take next.
    fn steps(&self, state: &Self::State, steps: &mut Vec<Step<Self::State>>);

    /// Makes states equal that differ in names only.
    fn canonical(&self, _state: &mut Self::State) {}

    /// What must never be, if it is.
    fn violation(&self, state: &Self::State) -> Option<String>;

    /// Whether nobody is waiting for anything.
    fn all_done(&self, state: &Self::State) -> bool;
}

/// One atomic step, and where it leads.
#[derive(Debug, Clone)]
pub struct Step<S> {
    /// What happens.
    pub action: Action,
    /// What is then.
    pub state: S,
}

/// Adds a step: what `change` makes of the state.
pub(crate) fn step<S: Clone>(
    steps: &mut Vec<Step<S>>,
    state: &S,
    who: Who,
    what: &'static str,
    change: impl FnOnce(&mut S),
) {
    let mut state = state.clone();
    change(&mut state);
    let action = Action { who, what };
    steps.push(Step { action, state });
}

/// Who does what.
#[derive(Debug, Clone, Copy)]
pub struct Action {
    /// Who.
    pub who: Who,
    /// What, as a predicate: `"takes the lease"`.
    pub what: &'static str,
}

/// Who takes a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A caller of a cached function.
    Reader(usize),
    /// A caller of a function that invalidates.
    Writer(usize),
    /// A process, in the background.
    Process(usize),
    /// The database.
    Database,
    /// Time passes, and something is over that nobody will end otherwise.
    Time,
    /// What nobody can rely on: a loss, a restart, a caller that gives up.
    Environment,
}

/// A model that keeps its promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explored {
    /// How many different states there are.
    pub states: usize,
    /// How many steps the farthest is away.
    pub depth: usize,
}

/// A shortest way to a broken promise.
#[derive(Debug, Clone)]
pub struct Counterexample {
    /// Which promise.
    pub what: String,
    /// How many states were looked at before it was found.
    pub states: usize,
    /// The steps, each with the state after it.
    pub trace: Vec<(Action, String)>,
}

/// Looks at every state.
///
/// # Errors
///
/// The shortest counterexample, if there is one.
pub fn explore<M: Model>(model: &M) -> Result<Explored, Counterexample> {
    let mut initial = model.initial();
    model.canonical(&mut initial);
    let mut visited = Visited::default();
    visited.add(&initial, 0);
    let mut edge = VecDeque::from([initial]);
    let mut depth = vec![0_u32];
    let mut done = Vec::new();
    let mut steps = Vec::new();
    // Steps backwards, of those who follow the protocol.
    let mut backwards: Vec<(u32, u32)> = Vec::new();

    for from in 0.. {
        let Some(state) = edge.pop_front() else {
            break;
        };
        if let Some(what) = model.violation(&state) {
            return Err(visited.counterexample(model, from, what));
        }
        if model.all_done(&state) {
            done.push(from);
        }
        model.steps(&state, &mut steps);
        for mut step in steps.drain(..) {
            model.canonical(&mut step.state);
            let (to, new) = visited.add(&step.state, from);
            if new {
                depth.push(depth[from as usize] + 1);
                edge.push_back(step.state);
            }
            if step.action.who != Who::Environment && to != from {
                backwards.push((to, from));
            }
        }
    }
    if let Some(stuck) = first_without_way(backwards, &done, visited.count()) {
        let what = "somebody waits for ever".to_owned();
        return Err(visited.counterexample(model, stuck, what));
    }
    Ok(Explored {
        states: visited.count(),
        depth: depth.last().copied().unwrap_or(0) as usize,
    })
}

/// The first state from which no steps of the protocol lead to one where all are done.
fn first_without_way(mut backwards: Vec<(u32, u32)>, done: &[u32], states: usize) -> Option<u32> {
    backwards.sort_unstable();
    let mut reached = vec![false; states];
    let mut todo = done.to_vec();
    while let Some(state) = todo.pop() {
        if std::mem::replace(&mut reached[state as usize], true) {
            continue;
        }
        let begin = backwards.partition_point(|&(to, _)| to < state);
        let before = backwards[begin..]
            .iter()
            .take_while(|&&(to, _)| to == state);
        todo.extend(before.map(|&(_, from)| from));
    }
    let stuck = reached.iter().position(|reached| !reached)?;
    u32::try_from(stuck).ok()
}

/// The states seen so far, in the order in which they were.
#[derive(Default)]
struct Visited {
    index: HashMap<u128, u32, BuildHasherDefault<LowBits>>,
    hashes: Vec<u128>,
    parents: Vec<u32>,
}

impl Visited {
    fn add<S: Hash>(&mut self, state: &S, parent: u32) -> (u32, bool) {
        let hash = hash(state);
        let next = u32::try_from(self.hashes.len()).expect("fewer than 2^32 states");
        let index = *self.index.entry(hash).or_insert(next);
        if index == next {
            self.hashes.push(hash);
            self.parents.push(parent);
        }
        (index, index == next)
    }

    fn count(&self) -> usize {
        self.hashes.len()
    }

    /// Walks the way again, without renaming anything, so that it can be read.
    fn counterexample<M: Model>(&self, model: &M, mut end: u32, what: String) -> Counterexample {
        let mut way = Vec::new();
        while end != 0 {
            way.push(self.hashes[end as usize]);
            end = self.parents[end as usize];
        }
        let mut state = model.initial();
        let mut trace = Vec::new();
        for wanted in way.into_iter().rev() {
            let mut steps = Vec::new();
            model.steps(&state, &mut steps);
            let step = steps.into_iter().find(|step| {
                let mut canonical = step.state.clone();
                model.canonical(&mut canonical);
                hash(&canonical) == wanted
            });
            let step = step.expect("a step that was found is found again");
            trace.push((step.action, step.state.to_string()));
            state = step.state;
        }
        Counterexample {
            what,
            states: self.count(),
            trace,
        }
    }
}

fn hash<S: Hash>(state: &S) -> u128 {
    let mut mixed = Mix(0x6c07_96d9_cc4a_65a5_1b3f_62a5_9d2f_7f27);
    state.hash(&mut mixed);
    mixed.mix(0);
    mixed.0
}

/// Multiplies and folds, 128 bits wide: each step is a permutation.
struct Mix(u128);

impl Mix {
    fn mix(&mut self, value: u64) {
        self.0 =
            (self.0 ^ u128::from(value)).wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645);
        self.0 ^= self.0 >> 71;
    }
}

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut value = [0; 8];
            value[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(value));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    fn finish(&self) -> u64 {
        unreachable!("all of it is the hash")
    }
}

/// What is hashed already.
#[derive(Default)]
struct LowBits(u64);

impl Hasher for LowBits {
    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only hashes are keys")
    }

    fn write_u128(&mut self, value: u128) {
        self.0 = (value >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.who {
            Who::Reader(index) => write!(f, "reader {index}")?,
            Who::Writer(index) => write!(f, "writer {index}")?,
            Who::Process(index) => write!(f, "process {index}")?,
            Who::Database => f.write_str("the database")?,
            Who::Time => f.write_str("time:")?,
            Who::Environment => f.write_str("fault:")?,
        }
        write!(f, " {}", self.what)
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, after {} steps:", self.what, self.trace.len())?;
        for (number, (action, state)) in (1..).zip(&self.trace) {
            writeln!(f, "{number:3}. {:<58} {state}", action.to_string())?;
        }
        Ok(())
    }
}
