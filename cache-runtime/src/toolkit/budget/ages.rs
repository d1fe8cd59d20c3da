//! How many bytes of entries are how old, in little room: for any number of entries.

use std::collections::BTreeMap;

/// Ages are told apart to about a thousandth: so many of their first bits count.
const BITS: u32 = 10;

/// Bytes by age. An age is a number that grows the less recently an entry was used.
#[derive(Debug, Default)]
pub(super) struct Ages(BTreeMap<u64, u64>);

impl Ages {
    pub(super) fn add(&mut self, age: u64, bytes: u64) {
        *self.0.entry(rounded(age)).or_default() += bytes;
    }

    /// The age from which on entries take at least so many bytes; zero if all of them take less.
    pub(super) fn age_that_frees(&self, bytes: u64) -> u64 {
        let mut sum = 0_u64;
        let mut oldest_first = self.0.iter().rev();
        let found = oldest_first.find(|(_, those)| {
            sum = sum.saturating_add(**those);
            sum >= bytes
        });
        found.map_or(0, |(age, _)| *age)
    }
}

/// Rounded down, to an age of few bits.
fn rounded(age: u64) -> u64 {
    let unneeded = (u64::BITS - age.leading_zeros()).saturating_sub(BITS);
    age >> unneeded << unneeded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_no_more_of_them_than_needed() {
        let mut ages = Ages::default();
        for age in [5, 1, 100_000, 1, 30] {
            ages.add(age, 10);
        }
        let from = [1, 10, 11, 20, 30, 31, 50, 51].map(|bytes| ages.age_that_frees(bytes));
        assert_eq!(from, [99_968, 99_968, 30, 30, 5, 1, 1, 0]);
    }

    #[test]
    fn any_number_of_ages_takes_little_room() {
        let mut ages = Ages::default();
        for age in (0..10_000_000).step_by(7) {
            ages.add(age, 1);
        }
        assert!(ages.0.len() < 10_000, "{}", ages.0.len());
        for age in [0, 1, 1_023, 1_024, 4_097, u64::MAX] {
            let rounded = rounded(age);
            assert!(
                rounded <= age && age - rounded <= age / 512,
                "{age}: {rounded}"
            );
        }
    }
}
