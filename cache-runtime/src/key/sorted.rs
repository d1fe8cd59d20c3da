//! Sets and maps in keys: lists in the order of their texts.
//!
//! A map is the list of its pairs, as a set of these pairs is. So neither the hasher matters, nor
//! the order of the elements, which may be another one than that of their texts.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::part::{KeyPart, KeyWriter, Written};
use super::rendered::RenderedPart;

/// Writes elements as a list, sorted by their texts.
fn write_sorted<K: KeyPart>(elements: impl Iterator<Item = K>, out: KeyWriter<'_>) -> Written {
    let mut elements: Vec<_> = elements
        .map(|element| RenderedPart::new(&element))
        .collect();
    elements.sort_unstable();
    elements.as_slice().write(out)
}

#[diagnostic::do_not_recommend]
impl<K: KeyPart, S> KeyPart for HashSet<K, S> {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        write_sorted(self.iter(), out)
    }
}

/// Not in the order of the elements: it is meant to meet a `HashSet` of the same ones.
#[diagnostic::do_not_recommend]
impl<K: KeyPart> KeyPart for BTreeSet<K> {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        write_sorted(self.iter(), out)
    }
}

#[diagnostic::do_not_recommend]
impl<K: KeyPart, V: KeyPart, S> KeyPart for HashMap<K, V, S> {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        write_sorted(self.iter(), out)
    }
}

/// Not in the order of the keys: it is meant to meet a `HashMap` of the same pairs.
#[diagnostic::do_not_recommend]
impl<K: KeyPart, V: KeyPart> KeyPart for BTreeMap<K, V> {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        write_sorted(self.iter(), out)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::key::text_of::{check_pair, text};

    #[test]
    fn a_set_is_its_elements_in_the_order_of_their_texts() {
        let (numbers, texts) = ([9, 10, 100, 0], ["b", "", "a'", "aa"]);
        let sorted = "(0,10,100,9)";
        assert_eq!(text(&BTreeSet::from(numbers)), sorted);
        assert_eq!(text(&HashSet::from(numbers)), sorted);
        // Another order of the same elements, which each hasher gives.
        for _ in 0..8 {
            let set: HashSet<_> = texts.into_iter().collect();
            assert_eq!(text(&set), "('','a%27','aa','b')");
        }
        assert_eq!(text(&BTreeSet::<u8>::new()), "()");
        assert_eq!(text(&BTreeSet::from([Some(2), None])), "((),2)");
        assert_eq!(text(&Arc::new(Some(&BTreeSet::from([7])))), "(7)");
    }

    #[test]
    fn a_map_is_its_pairs_in_the_order_of_their_texts() {
        let pairs = [(9, "b"), (10, "a"), (100, "a'")];
        let sorted = "((10,'a'),(100,'a%27'),(9,'b'))";
        assert_eq!(text(&BTreeMap::from(pairs)), sorted);
        assert_eq!(text(&BTreeSet::from(pairs)), sorted);
        for _ in 0..8 {
            // Another order of the same pairs, which each hasher gives.
            assert_eq!(text(&HashMap::from(pairs)), sorted);
        }
        assert_eq!(text(&BTreeMap::<u8, u8>::new()), "()");
        assert_eq!(text(&Some(BTreeMap::<u8, u8>::new())), "(())");
        let nested = BTreeMap::from([(1, BTreeMap::from([(2, None::<u8>)])), (3, BTreeMap::new())]);
        assert_eq!(text(&nested), "((1,((2,()))),(3,()))");
    }

    /// Texts and lists that look like the punctuation around them.
    fn word() -> impl Strategy<Value = String> {
        "['(),a]{0,3}"
    }

    proptest! {
        #[test]
        fn sets_have_one_text_each(
            one: BTreeSet<Option<u8>>,
            other: BTreeSet<Option<u8>>,
            words in proptest::array::uniform2(proptest::collection::btree_set(word(), 0..3)),
        ) {
            check_pair(&one, &other);
            check_pair(&words[0], &words[1]);
        }

        #[test]
        fn maps_have_one_text_each(
            maps in proptest::array::uniform2(proptest::collection::btree_map(
                word(),
                proptest::option::of(proptest::collection::vec(word(), 0..2)),
                0..3,
            )),
        ) {
            check_pair(&maps[0], &maps[1]);
            let hashed: HashMap<_, _> = maps[0].iter().rev().collect();
            prop_assert_eq!(text(&hashed), text(&maps[0]));
        }

        #[test]
        fn values_that_change_places_make_another_map(
            keys in proptest::array::uniform2(word()),
            values in proptest::array::uniform2(word()),
        ) {
            let map = |first: usize, second: usize| {
                BTreeMap::from([(&keys[0], &values[first]), (&keys[1], &values[second])])
            };
            check_pair(&map(0, 1), &map(1, 0));
        }
    }
}
