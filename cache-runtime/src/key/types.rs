//! Which types can stand in a key: those of std, and ids of other crates behind features.

#![expect(clippy::inline_always, reason = "as in `sink`")]

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::{Saturating, Wrapping};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::part::{KeyPart, KeyWriter, ListWriter, Written};

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
    text: str, String;
    display: bool, char, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4;
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

#[diagnostic::do_not_recommend]
impl<K: KeyPart + ToOwned + ?Sized> KeyPart for Cow<'_, K> {
    #[inline(always)]
    fn write(&self, out: KeyWriter<'_>) -> Written {
        (**self).write(out)
    }
}

macro_rules! key_part_of_the_value_inside {
    ($($type:ident),+) => { $(
        #[diagnostic::do_not_recommend]
        impl<K: KeyPart> KeyPart for $type<K> {
            #[inline(always)]
            fn write(&self, out: KeyWriter<'_>) -> Written {
                self.0.write(out)
            }
        }
    )+ };
}

key_part_of_the_value_inside!(Reverse, Saturating, Wrapping);

/// `Some(x)` as `x`, and `None` as `()`; [where two values would be alike](KeyPart#options), with parentheses around it.
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

#[diagnostic::do_not_recommend]
impl<K: KeyPart> KeyPart for VecDeque<K> {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        self.iter().fold(out.list(), ListWriter::part).end()
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

/// An address with all that its `==` compares. `Display` leaves out the flow information.
struct Socket<'a>(&'a SocketAddrV6);

impl fmt::Display for Socket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}", self.0.ip())?;
        match self.0.scope_id() {
            0 => {}
            scope => write!(f, "%{scope}")?,
        }
        write!(f, "]:{}", self.0.port())?;
        match self.0.flowinfo() {
            0 => Ok(()),
            flow => write!(f, "/{flow}"),
        }
    }
}

#[diagnostic::do_not_recommend]
impl KeyPart for SocketAddrV6 {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        out.display(&Socket(self))
    }
}

#[diagnostic::do_not_recommend]
impl KeyPart for SocketAddr {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        match self {
            Self::V4(address) => address.write(out),
            Self::V6(address) => address.write(out),
        }
    }
}

/// A duration in seconds: `90s`, `0.25s`. Its `Debug` may change with the compiler.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut fraction, mut digits) = (self.0.subsec_nanos(), 9);
        write!(f, "{}", self.0.as_secs())?;
        if fraction > 0 {
            while fraction % 10 == 0 {
                fraction /= 10;
                digits -= 1;
            }
            write!(f, ".{fraction:0digits$}")?;
        }
        f.write_str("s")
    }
}

#[diagnostic::do_not_recommend]
impl KeyPart for Duration {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        out.display(&Seconds(*self))
    }
}

/// A decimal number without trailing zeros: 1.0 and 1.00 are equal.
#[cfg(feature = "rust_decimal")]
struct Digits(rust_decimal::Decimal);

#[cfg(feature = "rust_decimal")]
impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let normal = self.0.normalize();
        let sign = if normal.mantissa() < 0 { "-" } else { "" };
        let (digits, scale) = (normal.mantissa().unsigned_abs(), normal.scale());
        let one = 10_u128.pow(scale);
        write!(f, "{sign}{}", digits / one)?;
        match scale as usize {
            0 => Ok(()),
            scale => write!(f, ".{:0scale$}", digits % one),
        }
    }
}

#[cfg(feature = "rust_decimal")]
#[diagnostic::do_not_recommend]
impl KeyPart for rust_decimal::Decimal {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        out.display(&Digits(*self))
    }
}

#[cfg(feature = "smol_str")]
#[diagnostic::do_not_recommend]
impl KeyPart for smol_str::SmolStr {
    #[inline]
    fn write(&self, out: KeyWriter<'_>) -> Written {
        out.text(self.as_str())
    }
}

#[cfg(feature = "ulid")]
#[diagnostic::do_not_recommend]
impl KeyPart for ulid::Ulid {
    #[inline]
    fn write(&self, out: KeyWriter<'_>) -> Written {
        out.text(self.array_to_str(&mut [0; ulid::ULID_LEN]))
    }
}

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
    use std::borrow::Cow;
    use std::cmp::Reverse;
    use std::collections::{BTreeSet, VecDeque};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
    use std::num::{NonZeroU8, Saturating, Wrapping};
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;

    use crate::key::RenderedPart;
    use crate::key::text_of::{check_pair, text};

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
    fn a_type_around_a_value_is_that_value() {
        for seven in [
            text(&Wrapping(7)),
            text(&Saturating(7_i64)),
            text(&Reverse(Wrapping(7_u128))),
            text(&NonZeroU8::new(7)),
            text(&Rc::new(Arc::new(Box::new(7)))),
        ] {
            assert_eq!(seven, "7");
        }
        let borrowed = Cow::Borrowed("a'");
        for letter in [
            text(&borrowed),
            text(&Cow::<str>::Owned(borrowed.to_string())),
            text(&Arc::<str>::from("a'")),
            text(&Rc::<str>::from("a'")),
            text(&Box::<str>::from("a'")),
        ] {
            assert_eq!(letter, "'a%27'");
        }
    }

    #[test]
    fn lists_of_every_kind_are_alike() {
        let list = [Some(1), None];
        let mut deque = VecDeque::from([None, Some(0), Some(1)]);
        // Its elements are in two pieces.
        deque.rotate_left(2);
        deque.pop_back();
        for text in [
            text(&list),
            text(list.as_slice()),
            text(&list.to_vec()),
            text(&Cow::Borrowed(list.as_slice())),
            text(&Arc::<[Option<i32>]>::from(list)),
            text(&deque),
        ] {
            assert_eq!(text, "(1,())");
        }
        assert_eq!(text(&VecDeque::<u8>::new()), "()");
    }

    #[test]
    fn a_duration_is_in_seconds() {
        for (duration, expected) in [
            (Duration::ZERO, "'0s'"),
            (Duration::from_secs(90), "'90s'"),
            (Duration::from_millis(250), "'0.25s'"),
            (Duration::from_nanos(1), "'0.000000001s'"),
            (Duration::MAX, "'18446744073709551615.999999999s'"),
        ] {
            assert_eq!(text(&duration), expected);
        }
    }

    #[test]
    fn an_address_has_its_usual_text_and_what_that_leaves_out() {
        let four = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80);
        assert_eq!(text(&four), "'127.0.0.1:80'");
        assert_eq!(text(&SocketAddr::V4(four)), "'127.0.0.1:80'");
        let six = |flow, scope| SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, flow, scope);
        assert_eq!(text(&SocketAddr::V6(six(0, 0))), "'[::1]:80'");
        assert_eq!(text(&six(0, 3)), "'[::1%253]:80'");
        assert_eq!(text(&six(2, 0)), "'[::1]:80/2'");
        assert_eq!(text(&IpAddr::V4(Ipv4Addr::LOCALHOST)), "'127.0.0.1'");
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

    #[cfg(feature = "rust_decimal")]
    #[test]
    fn equal_decimals_are_one_value() {
        use rust_decimal::Decimal;
        for (decimal, expected) in [
            (Decimal::new(100, 2), "'1'"),
            (Decimal::new(10, 1), "'1'"),
            (Decimal::new(-1050, 2), "'-10.5'"),
            (Decimal::new(7, 3), "'0.007'"),
            (Decimal::new(0, 5), "'0'"),
            (-Decimal::new(0, 5), "'0'"),
            (Decimal::MAX, "'79228162514264337593543950335'"),
            (
                Decimal::from_i128_with_scale(1, 28),
                "'0.0000000000000000000000000001'",
            ),
        ] {
            assert_eq!(text(&decimal), expected);
        }
    }

    #[cfg(feature = "smol_str")]
    #[test]
    fn a_small_string_is_text() {
        assert_eq!(text(&smol_str::SmolStr::new("a'")), "'a%27'");
    }

    #[cfg(feature = "ulid")]
    #[test]
    fn a_ulid_is_text() {
        assert_eq!(text(&ulid::Ulid(7)), "'00000000000000000000000007'");
        assert_eq!(text(&ulid::Ulid(u128::MAX)), "'7ZZZZZZZZZZZZZZZZZZZZZZZZZ'");
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

    #[cfg(feature = "uuid")]
    proptest! {
        #[test]
        fn uuids_have_one_text_each(one: u128, bit in 0..128) {
            let (one, other) = (uuid::Uuid::from_u128(one), uuid::Uuid::from_u128(one ^ (1_u128 << bit)));
            check_pair(&one, &one.clone());
            check_pair(&one, &other);
        }
    }

    #[cfg(feature = "ulid")]
    proptest! {
        #[test]
        fn ulids_have_one_text_each(one: u128, bit in 0..128) {
            let (one, other) = (ulid::Ulid(one), ulid::Ulid(one ^ (1_u128 << bit)));
            check_pair(&one, &one.clone());
            check_pair(&one, &other);
        }
    }

    #[cfg(feature = "rust_decimal")]
    proptest! {
        /// Equal ones are made by trailing zeros, others by another digit or another scale.
        #[test]
        fn decimals_have_one_text_each(
            digits in -1_000_000_000_000_i128..1_000_000_000_000,
            scale in 0_u32..12,
            zeros in 0_u32..6,
            step in -1_i128..2,
            shift in 0_u32..3,
        ) {
            use rust_decimal::Decimal;
            let one = Decimal::from_i128_with_scale(digits, scale);
            let same = Decimal::from_i128_with_scale(digits * 10_i128.pow(zeros), scale + zeros);
            let other = Decimal::from_i128_with_scale(digits + step, scale + shift);
            prop_assert_eq!(one, same);
            check_pair(&one, &same);
            check_pair(&one, &other);
            check_pair(&one, &-one);
            prop_assert_eq!(text(&one), format!("'{}'", one.normalize()));
        }
    }

    proptest! {
        #[test]
        fn durations_have_one_text_each(
            seconds: u64,
            nanoseconds in 0_u32..1_000_000_000,
            power in 0_u32..9,
            other_seconds in 0_u64..20,
            other_nanoseconds in 0_u32..20,
        ) {
            let one = Duration::new(seconds, nanoseconds);
            let power = 10_u32.pow(power);
            check_pair(&one, &Duration::new(seconds ^ 1, nanoseconds));
            check_pair(&one, &Duration::new(seconds, nanoseconds / power * power));
            let small = Duration::new(other_seconds, other_nanoseconds);
            check_pair(&small, &(small / 10));
            check_pair(&small, &Duration::from_nanos(other_seconds * u64::from(power)));
        }

        #[test]
        fn sockets_have_one_text_each(
            ip in 0_u128..4,
            ports in proptest::array::uniform2(0_u16..20),
            flows in proptest::array::uniform2(0_u32..20),
            scopes in proptest::array::uniform2(0_u32..20),
        ) {
            let socket = |at: usize| {
                let ip = Ipv6Addr::from_bits(ip);
                SocketAddr::V6(SocketAddrV6::new(ip, ports[at], flows[at], scopes[at]))
            };
            let four = |at: usize| SocketAddrV4::new(Ipv4Addr::LOCALHOST, ports[at]);
            check_pair(&socket(0), &socket(1));
            check_pair(&four(0), &four(1));
            check_pair(&SocketAddr::V4(four(0)), &socket(1));
            prop_assert_eq!(text(&SocketAddr::V4(four(0))), text(&four(0)));
        }

        #[test]
        fn addresses_have_one_text_each(one: u128, bit in 0..128, four: u32) {
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
