//! The value, the keys and the order of the calls: the same for all contestants.

use std::fmt;

use hitbox_fn::CacheableResponse;
use serde::{Deserialize, Serialize};

/// A row of some table: six allocations.
#[derive(Debug, Clone, Serialize, Deserialize, CacheableResponse)]
pub(crate) struct User {
    pub(crate) id: u64,
    name: String,
    login: String,
    email: String,
    company: String,
    location: String,
    roles: Vec<u32>,
    active: bool,
}

impl User {
    /// What a load yields.
    pub(crate) fn load(id: u64) -> Self {
        Self {
            id,
            name: format!("Name of {id}"),
            login: format!("user-{id}"),
            email: format!("user-{id}@example.com"),
            company: "An Example of a Company".to_owned(),
            location: "Somewhere, Some Country".to_owned(),
            roles: vec![1, 2, 3],
            active: true,
        }
    }
}

/// The error type for functions whose library asks for one that implements `Error`.
#[derive(Debug)]
pub(crate) struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed")
    }
}

impl std::error::Error for Failed {}

/// The usual number of different ids.
pub(crate) const IDS: u64 = 10_000;

/// A sequence of ids.
#[derive(Debug)]
pub(crate) struct Ids(Vec<u64>);

const LENGTH: usize = 1 << 16;

impl Ids {
    /// Ids of `0..count` by Zipf's law: the first comes twice as often as the second.
    pub(crate) fn zipf(count: u64) -> Self {
        let mut sum = 0.0;
        let shares: Vec<f64> = (1..=count)
            .map(|rank| {
                sum += 1.0 / rank as f64;
                sum
            })
            .collect();
        let mut random = Random(1);
        let draw = |_| {
            let share = random.fraction() * sum;
            let rank = shares.partition_point(|&up_to| up_to < share) as u64;
            // Ids of neighbouring ranks are not neighbours in memory.
            rank.min(count - 1) * 7919 % count
        };
        Self((0..LENGTH).map(draw).collect())
    }

    /// Ids of `0..count`, each equally often.
    pub(crate) fn uniform(count: u64) -> Self {
        let mut random = Random(2);
        let draw = |_| (random.fraction() * count as f64) as u64 % count;
        Self((0..LENGTH).map(draw).collect())
    }

    pub(crate) fn take(&self, calls: u64) -> impl Iterator<Item = u64> {
        self.take_from(0, calls)
    }

    pub(crate) fn take_from(&self, start: usize, calls: u64) -> impl Iterator<Item = u64> {
        let ids = self.0.iter().copied().cycle();
        ids.skip(start % LENGTH).take(calls as usize)
    }
}

/// Pseudo-random numbers, the same in each run.
struct Random(u64);

impl Random {
    fn fraction(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}
