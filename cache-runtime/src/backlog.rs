//! Names that wait for an invalidation, in a room that is bounded: what a name takes of it, and
//! what becomes of the names that do not fit.
//!
//! A name that does not fit is not kept. Instead the *bucket* of its hash is marked, and later
//! everything in marked buckets is invalidated. So no invalidation is lost, and the memory is
//! bounded however many names there are. Each bucket has one name of sixteen million: those that
//! are invalidated without need cost a miss each.

use crate::key::{Key, short};
use crate::sabotage::{self, Rule};

/// What a name takes beside its text: its place in a hash map that has just grown, which is half
/// empty, and what the allocator adds to the text.
const OVERHEAD: usize = 160;

/// How many buckets there are.
const BUCKETS: usize = 1 << 24;

/// How many bytes of the room a name takes.
pub(crate) fn cost(name: &Key) -> usize {
    OVERHEAD + name.as_str().len()
}

/// The buckets that are marked: a bitmap of 2 MiB, once there is one.
#[derive(Debug, Default, Clone)]
pub(crate) struct Buckets {
    bits: Option<Box<[u64]>>,
}

impl Buckets {
    /// Marks the bucket of a name.
    pub(crate) fn mark(&mut self, name: &[u8]) {
        self.mark_number(bucket(name));
        if !sabotage::keeps(Rule::Buckets) {
            self.bits.iter_mut().for_each(|bits| bits.fill(u64::MAX));
        }
    }

    /// Marks a bucket by its number. A number that is too large is no bucket.
    pub(crate) fn mark_number(&mut self, number: u32) {
        let bits = self
            .bits
            .get_or_insert_with(|| vec![0; BUCKETS / 64].into());
        if let Some(word) = bits.get_mut(number as usize / 64) {
            *word |= 1 << (number % 64);
        }
    }

    /// Whether the bucket of a name is marked.
    pub(crate) fn contain(&self, name: &[u8]) -> bool {
        let Some(bits) = &self.bits else {
            return false;
        };
        let number = bucket(name);
        bits[number as usize / 64] & 1 << (number % 64) != 0
    }

    /// Marks all buckets that are marked there.
    pub(crate) fn merge(&mut self, other: Self) {
        let Some(bits) = &mut self.bits else {
            *self = other;
            return;
        };
        for (word, other) in bits
            .iter_mut()
            .zip(other.bits.as_deref().unwrap_or_default())
        {
            *word |= other;
        }
    }

    /// Whether none is marked.
    pub(crate) fn are_none(&self) -> bool {
        self.bits.is_none()
    }

    /// The numbers of those that are marked. The same name has the same number in every process.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> {
        let words = (0_u32..).zip(self.bits.as_deref().unwrap_or_default());
        let numbers_of = |(at, &word): (u32, &u64)| {
            let is_marked = move |bit: &u32| word & 1 << bit != 0;
            (0..64).filter(is_marked).map(move |bit| at * 64 + bit)
        };
        words.filter(|&(_, &word)| word != 0).flat_map(numbers_of)
    }
}

/// The bucket of a name, which is that of its short form, by which servers know it: FNV-1a, whose high
/// bits are folded into those that are used. Processes announce buckets to each other, so this may
/// never change.
fn bucket(name: &[u8]) -> u32 {
    if name.len() > Key::MAX_LEN {
        return bucket(
            short::of(&String::from_utf8_lossy(name))
                .unwrap_or_default()
                .as_bytes(),
        );
    }
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let folded = hash ^ hash >> 24 ^ hash >> 48;
    #[expect(clippy::cast_possible_truncation, reason = "24 bits are left")]
    let number = (folded % BUCKETS as u64) as u32;
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(names: &[&str]) -> Buckets {
        let mut buckets = Buckets::default();
        for name in names {
            buckets.mark(name.as_bytes());
        }
        buckets
    }

    #[test]
    fn a_marked_bucket_contains_its_name_and_hardly_any_other() {
        let mut buckets = Buckets::default();
        assert!(buckets.are_none() && !buckets.contain(b"user:0"));
        for i in 0..10_000 {
            buckets.mark(format!("user:{i}").as_bytes());
        }
        assert!(!buckets.are_none());
        assert!((0..10_000).all(|i| buckets.contain(format!("user:{i}").as_bytes())));
        let others = (0..100_000).filter(|i| buckets.contain(format!("post:{i}").as_bytes()));
        // One in 1,678 is expected.
        assert!(others.count() < 200);
        // And names that are alike are spread evenly.
        assert!(buckets.numbers().count() > 9_950);
    }

    #[test]
    fn what_is_merged_is_marked_by_either() {
        let mut merged = Buckets::default();
        merged.merge(Buckets::default());
        assert!(merged.are_none());
        merged.merge(buckets(&["a"]));
        merged.merge(Buckets::default());
        merged.merge(buckets(&["b"]));
        assert!(merged.contain(b"a") && merged.contain(b"b") && !merged.contain(b"c"));
    }

    #[test]
    fn buckets_are_told_apart_by_numbers() {
        let marked = buckets(&["user:7", "user:8", ""]);
        let mut heard = Buckets::default();
        marked
            .numbers()
            .for_each(|number| heard.mark_number(number));
        heard.mark_number(u32::MAX);
        assert_eq!(heard.numbers().count(), 3);
        assert!(heard.contain(b"user:7") && heard.contain(b"user:8") && heard.contain(b""));
    }

    #[test]
    fn a_long_name_and_its_short_form_are_in_one_bucket() {
        let long = Key::from("x".repeat(Key::MAX_LEN + 1));
        assert_eq!(bucket(long.bytes()), bucket(long.on_server().bytes()));
    }

    /// Other processes may run another version of the library.
    #[test]
    fn the_bucket_of_a_name_never_changes() {
        assert_eq!([bucket(b""), bucket(b"user:7")], [12_454_995, 11_041_429]);
    }
}
