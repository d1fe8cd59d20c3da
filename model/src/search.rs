//! Checks every state that a model can be in, breadth first, so that the first
//! counterexample is a shortest one.
//!
//! A state is remembered by a hash of 128 bits. The chance that two of some millions
//! have the same hash is less than 10⁻²⁴. Full states are kept at the edge of the
//! search only. A trace is found again by following its hashes from the start.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A protocol, and the participants that follow it.
pub trait Model {
    /// Everything that the next step may depend on.
    type State: Clone + Hash + fmt::Display;

    /// The state in which it begins.
    fn initial(&self) -> Self::State;

    /// Adds every step that a participant can take next.
    fn steps(&self, state: &Self::State, steps: &mut Vec<Step<Self::State>>);

    /// Makes states equal if they differ in names only.
    fn canonical(&self, _state: &mut Self::State) {}

    /// The promise that this state breaks, if it breaks one.
    fn violation(&self, state: &Self::State) -> Option<String>;

    /// Whether all callers are done.
    fn all_done(&self, state: &Self::State) -> bool;
}

/// One atomic step, and where it leads.
#[derive(Debug, Clone)]
pub struct Step<S> {
    /// What happens.
    pub action: Action,
    /// The state after it.
    pub state: S,
}

/// Adds the step that makes `change` in the state.
pub(crate) fn step<S: Clone>(
    steps: &mut Vec<Step<S>>,
    state: &S,
    actor: Actor,
    what: &'static str,
    change: impl FnOnce(&mut S),
) {
    let mut state = state.clone();
    change(&mut state);
    let action = Action { actor, what };
    steps.push(Step { action, state });
}

/// What happens in a step.
#[derive(Debug, Clone, Copy)]
pub struct Action {
    /// The subject.
    pub actor: Actor,
    /// The predicate: `"takes the lease"`.
    pub what: &'static str,
}

/// What takes a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// A caller of a cached function.
    Reader(usize),
    /// A caller of a function that invalidates.
    Writer(usize),
    /// A process, in the background.
    Process(usize),
    /// The database.
    Database,
    /// Time passes, and ends something that no participant will end.
    Time,
    /// A fault: a loss, a restart, a caller that gives up. No promise may depend on it.
    Environment,
}

/// A model that keeps its promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explored {
    /// How many different states there are.
    pub states: usize,
    /// How many steps lead to the farthest state.
    pub depth: usize,
}

/// A shortest way to a broken promise.
#[derive(Debug, Clone)]
pub struct Counterexample {
    /// Which promise.
    pub what: String,
    /// How many states were reached before it was found.
    pub states: usize,
    /// The steps, each with the state after it.
    pub trace: Vec<(Action, String)>,
}

/// Checks every state.
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
    // All steps but faults, as pairs of the state after and the state before.
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
            if step.action.actor != Actor::Environment && to != from {
                backwards.push((to, from));
            }
        }
    }
    if let Some(stuck) = first_without_way(backwards, &done, visited.count()) {
        let what = "a caller waits for ever".to_owned();
        return Err(visited.counterexample(model, stuck, what));
    }
    Ok(Explored {
        states: visited.count(),
        depth: depth.last().copied().unwrap_or(0) as usize,
    })
}

/// The first state from which no steps of the protocol lead to a state where all are done.
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

/// The states reached so far, in the order in which they were reached.
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

    /// Takes the same steps again, without renaming anything, so that they can be read.
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
            let step = step.expect("a step that was taken can be taken again");
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

/// Multiplies and folds 128 bits. Each step is a permutation.
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
        unreachable!("all 128 bits are the hash")
    }
}

/// Passes on a key that is a hash already.
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
        match self.actor {
            Actor::Reader(index) => write!(f, "reader {index}")?,
            Actor::Writer(index) => write!(f, "writer {index}")?,
            Actor::Process(index) => write!(f, "process {index}")?,
            Actor::Database => f.write_str("the database")?,
            Actor::Time => f.write_str("time:")?,
            Actor::Environment => f.write_str("fault:")?,
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
