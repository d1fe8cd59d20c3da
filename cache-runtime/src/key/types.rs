//! Which types can stand in a key: those of std, and ids of other crates behind features.

#![expect(clippy::inline_always, reason = "as in `sink`")]

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use super::part::{KeyPart, KeyWriter, ListWriter, Written};
use super::rendered::RenderedPart;

macro_rules! key_part {
    ($($form:ident: $($type:ty),+;)+) => { $($(
        #[diagnostic::do_not_recommend]
        impl KeyPart for $type {
            #[inline(always)]
            fn write(&self, out: KeyWriter<'_>) -> Written {
                key_part!(@$form self out)
            }
        }
    )+)+ };
    (@integer $self:ident $out:ident) => { $out.integer(*$self) };
    (@unsigned $self:ident $out:ident) => { $out.unsigned(*$self as u128) };
    (@wide $self:ident $out:ident) => { $out.integer(*$self as i128) };
    (@nonzero $self:ident $out:ident) => { $self.get().write($out) };
    (@text $self:ident $out:ident) => { $out.text($self) };
    (@display $self:ident $out:ident) => { $out.display($self) };
}

key_part! {
    integer: u8, u16, u32, u64, i8, i16, i32, i64, i128;
    unsigned: u128, usize;
    wide: isize;
    nonzero: std::num::NonZeroU8, std::num::NonZeroU16, std::num::NonZeroU32, std::num::NonZeroU64,
        std::num::NonZeroU128, std::num::NonZeroUsize, std::num::NonZeroI8, std::num::NonZeroI16,
        std::num::NonZeroI32, std::num::NonZeroI64, std::num::NonZeroI128, std::num::NonZeroIsize;
    text: str, String, Cow<'_, str>;
    display: bool, char, std::net::IpAddr, std::net::Ipv4Addr, std::net::Ipv6Addr;
}

macro_rules! key_part_by_deref {
    ($($type:ty),+) => { $(
        #[diagnostic::do_not_recommend]
        impl<K: KeyPart + ?Sized> KeyPart for $type {
            #[inline(always)]
            fn write(&self, out: KeyWriter<'_>) -> Written {
                (**self).write(out)
            }
        }
    )+ };
}

key_part_by_deref!(&K, &mut K, Box<K>, Rc<K>, Arc<K>);

/// `Some(x)` as `x`, and `None` as `()`: see [`optional`](super::optional).
#[diagnostic::do_not_recommend]
impl<K: KeyPart> KeyPart for Option<K> {
    #[inline(always)]
    fn write(&self, out: KeyWriter<'_>) -> Written {
        match self {
            None => out.list().end(),
            Some(value) => out.some(value),
        }
    }
}

#[diagnostic::do_not_recommend]
impl<K: KeyPart> KeyPart for [K] {
    #[inline]
    fn write(&self, out: KeyWriter<'_>) -> Written {
        self.iter().fold(out.list(), ListWriter::part).end()
    }
}

#[diagnostic::do_not_recommend]
impl<K: KeyPart, const N: usize> KeyPart for [K; N] {
    #[inline]
    fn write(&self, out: KeyWriter<'_>) -> Written {
        self.as_slice().write(out)
    }
}

#[diagnostic::do_not_recommend]
impl<K: KeyPart> KeyPart for Vec<K> {
    #[inline]
    fn write(&self, out: KeyWriter<'_>) -> Written {
        self.as_slice().write(out)
    }
}

/// Writes elements as a list, sorted by their texts.
fn write_sorted<'k, K: KeyPart + 'k>(
    elements: impl Iterator<Item = &'k K>,
    out: KeyWriter<'_>,
) -> Written {
    let mut elements: Vec<_> = elements.map(RenderedPart::new).collect();
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

macro_rules! key_part_tuple {
    ($($name:ident)+) => {
        #[diagnostic::do_not_recommend]
        impl<$($name: KeyPart),+> KeyPart for ($($name,)+) {
            #[inline]
            #[allow(non_snake_case, reason = "a tuple's fields are named after their types")]
            fn write(&self, out: KeyWriter<'_>) -> Written {
                let ($($name,)+) = self;
                out.list()$(.part($name))+.end()
            }
        }
    };
}

key_part_tuple!(A);
key_part_tuple!(A B);
key_part_tuple!(A B C);
key_part_tuple!(A B C D);
key_part_tuple!(A B C D E);
key_part_tuple!(A B C D E F);
key_part_tuple!(A B C D E F G);
key_part_tuple!(A B C D E F G H);

#[cfg(feature = "uuid")]
#[diagnostic::do_not_recommend]
impl KeyPart for uuid::Uuid {
    #[inline]
    fn write(&self, out: KeyWriter<'_>) -> Written {
        out.text(
            self.hyphenated()
                .encode_lower(&mut uuid::Uuid::encode_buffer()),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};
    use std::sync::Arc;

    use proptest::prelude::*;

    use crate::key::{KeyPart, Name, NameHashes, RenderedPart};

    /// The text of a value. Checks that the value hashes and compares as this text.
    fn text<K: KeyPart + ?Sized>(part: &K) -> String {
        let name = Name::new(&["", ""], (part, ()));
        let text = name.render().to_string();
        let hashes = NameHashes::default();
        assert_eq!(name.hash(&hashes), hashes.of(&text), "{text}");
        assert!(name.is(text.as_bytes(), text.len()), "{text}");
        text
    }

    #[test]
    fn each_type_has_its_form() {
        assert_eq!(text(&42_u64), "42");
        assert_eq!(text(&u128::MAX), u128::MAX.to_string());
        assert_eq!(text(&-5_i8), "'-5'");
        assert_eq!(text("octocat"), "'octocat'");
        assert_eq!(text("it's 100%"), "'it%27s 100%25'");
        assert_eq!(text("{a}\n"), "'%7Ba%7D%0A'");
        assert_eq!(text("größe"), "'größe'");
        assert_eq!(text(&true), "'true'");
        assert_eq!(text(&'\''), "'%27'");
        assert_eq!(text(&None::<u8>), "()");
        assert_eq!(text(&Some(7)), "7");
        assert_eq!(text(&Some(None::<u8>)), "(())");
        assert_eq!(text(&(1, "a", Some(2))), "(1,'a',2)");
        assert_eq!(text([1, 2].as_slice()), "(1,2)");
    }

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
    fn a_some_has_a_pair_of_parentheses_more_only_if_there_is_nothing_else() {
        type No = [u8; 0];
        let no: No = [];
        assert_eq!(text(&no), "()");
        assert_eq!(text(&Some(no)), "(())");
        assert_eq!(text(&Some(Some(no))), "((()))");
        assert_eq!(text(&Some(Some(None::<No>))), "((()))");
        assert_eq!(text(&Some([no])), "((()))");
        assert_eq!(text(&Some([Some(no)])), "(((())))");
        assert_eq!(text(&Some((no,))), "((()))");
        assert_eq!(text(&Some(BTreeSet::from([no]))), "((()))");
        assert_eq!(text(&Some(RenderedPart::new(&no))), "(())");

        assert_eq!(text(&Some([no, no])), "((),())");
        assert_eq!(text(&Some([Some(no), None])), "((()),())");
        assert_eq!(text(&Some((no, 7))), "((),7)");
        assert_eq!(text(&Some((Some((no, "")), no))), "(((),''),())");
        assert_eq!(text(&Some((7, Some(no)))), "(7,(()))");
        assert_eq!(
            text(&Some(((Some(no), true), Some([no])))),
            "(((()),'true'),((())))"
        );
        assert_eq!(text(&Some("()")), "'()'");
        assert_eq!(text(&Some(Some(u128::MAX))), u128::MAX.to_string());
        assert_eq!(text(&Some(Some(-1))), "'-1'");
        assert_eq!(text(&Some(RenderedPart::new(&(1, "a")))), "(1,'a')");
    }

    #[test]
    fn numbers_are_written_as_std_writes_them() {
        let edges = (0..=20).flat_map(|power| {
            let edge = 10_u64.saturating_pow(power);
            [
                edge - 1,
                edge,
                edge.saturating_add(1),
                edge.saturating_mul(7),
            ]
        });
        for number in edges.chain(0..100_000).chain([u64::MAX]) {
            assert_eq!(text(&number), number.to_string());
        }
        assert_eq!(text(&(u128::from(u64::MAX) + 1)), "18446744073709551616");
        assert_eq!(text(&i128::MIN), format!("'{}'", i128::MIN));
    }

    #[cfg(feature = "uuid")]
    #[test]
    fn a_uuid_is_text() {
        let id = uuid::Uuid::from_u128(7);
        assert_eq!(text(&id), "'00000000-0000-0000-0000-000000000007'");
    }

    #[cfg(feature = "chrono")]
    #[test]
    fn equal_chrono_instants_are_one_value() {
        let instant = chrono::DateTime::from_timestamp(0, 5_000_000).unwrap();
        let zone = chrono::FixedOffset::east_opt(3600).unwrap();
        assert_eq!(text(&instant), "'1970-01-01 00:00:00.005 UTC'");
        assert_eq!(text(&instant.with_timezone(&zone)), text(&instant));
    }

    #[cfg(feature = "time")]
    #[test]
    fn equal_time_instants_are_one_value() {
        let instant = time::OffsetDateTime::UNIX_EPOCH;
        let elsewhere = instant.to_offset(time::UtcOffset::from_hms(1, 0, 0).unwrap());
        assert_eq!(text(&elsewhere), text(&instant));
        assert_eq!(text(&instant.date()), "'1970-01-01'");
    }

    #[cfg(feature = "jiff")]
    #[test]
    fn equal_jiff_instants_are_one_value() {
        let instant = jiff::Timestamp::UNIX_EPOCH;
        let elsewhere = instant.to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(1)));
        assert_eq!(text(&instant), "'1970-01-01T00:00:00Z'");
        assert_eq!(text(&elsewhere), text(&instant));
    }

    fn check_pair<K: KeyPart + PartialEq + std::fmt::Debug>(one: &K, other: &K) {
        assert_eq!(text(one) == text(other), one == other, "{one:?} {other:?}");
    }

    #[cfg(feature = "uuid")]
    proptest! {
        #[test]
        fn uuids_have_one_text_each(one: u128, bit in 0..128) {
            let (one, other) = (uuid::Uuid::from_u128(one), uuid::Uuid::from_u128(one ^ (1_u128 << bit)));
            check_pair(&one, &one.clone());
            check_pair(&one, &other);
        }
    }

    proptest! {
        #[test]
        fn addresses_have_one_text_each(one: u128, bit in 0..128, four: u32) {
            use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
            let six = |bits| IpAddr::V6(Ipv6Addr::from_bits(bits));
            let v4 = Ipv4Addr::from_bits(four);
            check_pair(&six(one), &six(one ^ (1_u128 << bit)));
            check_pair(&six(u128::from(four)), &six(u128::from(four) ^ (1_u128 << bit)));
            for other in [v4.to_ipv6_mapped(), v4.to_ipv6_compatible()] {
                check_pair(&IpAddr::V4(v4), &IpAddr::V6(other));
                check_pair(&IpAddr::V6(v4.to_ipv6_mapped()), &IpAddr::V6(other));
            }
        }
    }
}
