//! Floats in keys, through a wrapper.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use super::part::{KeyPart, KeyWriter, Written};

/// A float in a key, by its bits. A float itself is not a [`KeyPart`], since `0.0` and `-0.0` are equal
/// and print differently, and a NaN is not equal to itself.
///
/// Two of these are equal if `total_cmp` finds no difference between the floats, which is if they
/// have the same bits. So `-0.0` and `0.0` are two values, each NaN is equal to itself, and NaNs with
/// other bits are others. Their texts in a key differ in the same cases.
///
/// [`ordered`](Float::ordered) makes one in a placeholder:
///
/// ```
/// use cache_runtime::{Float as _, Ordered, cached, key};
///
/// #[cached(key = "near:<latitude.ordered()>:<longitude.ordered()>", ttl = 60)]
/// async fn near(latitude: f64, longitude: f64) -> Vec<u64> {
///     # let _ = (latitude, longitude);
///     // …
///     # Vec::new()
/// }
///
/// let (half, zero) = (0.5_f64, -0.0_f64);
/// assert_eq!(key!("<half.ordered()>:<zero.ordered()>").as_str(), "'0.5':'-0'");
/// assert_eq!(Ordered(f64::NAN), Ordered(f64::NAN));
/// assert_ne!(Ordered(0.0), Ordered(-0.0));
/// ```
///
/// A calculation that takes another way may end in other bits: `0.1 + 0.2` is not `0.3`. Where that
/// happens, round to what matters, and put an integer in the key.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ordered<F>(pub F);

/// A float that can be in a key as [`Ordered`]: an `f32` or an `f64`.
///
/// ```
/// use cache_runtime::{Float as _, Ordered};
///
/// assert_eq!(0.5_f64.ordered(), Ordered(0.5));
/// ```
pub trait Float: sealed::Bits {
    /// This float, by its bits.
    ///
    /// ```
    /// use cache_runtime::{Float as _, key};
    ///
    /// let rate = 1.25_f32;
    /// assert_eq!(key!("rate:<rate.ordered()>").as_str(), "rate:'1.25'");
    /// ```
    fn ordered(self) -> Ordered<Self>;
}

impl<F: sealed::Bits> Float for F {
    fn ordered(self) -> Ordered<F> {
        Ordered(self)
    }
}

mod sealed {
    use std::cmp::Ordering;
    use std::fmt::{Display, LowerExp};

    /// What of a float is written, and compared.
    pub trait Bits: Copy + Display + LowerExp {
        /// Its bits.
        fn bits(self) -> u64;
        /// The order of `total_cmp`.
        fn order(&self, other: &Self) -> Ordering;
        /// Whether it is a number.
        fn is_number(self) -> bool;
        /// Whether its digits are few without an exponent.
        fn is_short(self) -> bool;
    }

    macro_rules! bits {
        ($($type:ident),+) => { $(
            impl Bits for $type {
                #[inline]
                fn bits(self) -> u64 {
                    self.to_bits().into()
                }

                #[inline]
                fn order(&self, other: &Self) -> Ordering {
                    self.total_cmp(other)
                }

                #[inline]
                fn is_number(self) -> bool {
                    !self.is_nan()
                }

                #[inline]
                fn is_short(self) -> bool {
                    self == 0.0 || (1e-5..1e16).contains(&self.abs())
                }
            }
        )+ };
    }

    bits!(f32, f64);
}

/// The shortest text that is read back as the same float. A NaN has no such text, so it has its bits.
struct Shortest<F>(F);

impl<F: sealed::Bits> fmt::Display for Shortest<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(float) = self;
        if !float.is_number() {
            write!(f, "NaN:{:x}", float.bits())
        } else if float.is_short() {
            write!(f, "{float}")
        } else {
            write!(f, "{float:e}")
        }
    }
}

#[diagnostic::do_not_recommend]
impl<F: Float> KeyPart for Ordered<F> {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        out.display(&Shortest(self.0))
    }
}

impl<F: Float> PartialEq for Ordered<F> {
    fn eq(&self, other: &Self) -> bool {
        self.0.bits() == other.0.bits()
    }
}

impl<F: Float> Eq for Ordered<F> {}

impl<F: Float> PartialOrd for Ordered<F> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<F: Float> Ord for Ordered<F> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.order(&other.0)
    }
}

impl<F: Float> Hash for Ordered<F> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.bits().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::text_of::{check_pair, text};

    #[test]
    fn a_float_has_its_shortest_text() {
        for (float, expected) in [
            (0.0, "'0'"),
            (-0.0, "'-0'"),
            (1.0, "'1'"),
            (-2.5, "'-2.5'"),
            (0.1 + 0.2, "'0.30000000000000004'"),
            (1e15, "'1000000000000000'"),
            (1e16, "'1e16'"),
            (f64::MIN_POSITIVE, "'2.2250738585072014e-308'"),
            (f64::INFINITY, "'inf'"),
            (f64::NEG_INFINITY, "'-inf'"),
            (
                f64::from_bits(0x7ff8_0000_0000_0000),
                "'NaN:7ff8000000000000'",
            ),
        ] {
            assert_eq!(text(&Ordered(float)), expected);
        }
        assert_eq!(text(&Ordered(0.1_f32)), "'0.1'");
    }

    proptest! {
        #[test]
        fn floats_have_one_text_each(bits: u64, bit in 0..64, few in 0_u64..4, small: u32) {
            let float = |bits: u64| Ordered(f64::from_bits(bits));
            check_pair(&float(bits), &float(bits));
            check_pair(&float(bits), &float(bits ^ (1_u64 << bit)));
            check_pair(&float(bits), &float(bits.wrapping_add(few)));
            // NaNs and infinities, which random bits seldom are.
            let nan = bits | 0x7ff0_0000_0000_0000;
            check_pair(&float(nan), &float(nan ^ (1_u64 << bit)));
            check_pair(&float(few << 62), &float(few & 1));
            let small_float = |bits: u32| Ordered(f32::from_bits(bits));
            check_pair(&small_float(small), &small_float(small ^ (1_u32 << (bit / 2))));
        }

        #[test]
        fn equal_is_what_total_cmp_takes_for_equal(one: u64, bit in 0..64) {
            for other in [one, one ^ (1_u64 << bit)] {
                let (one, other) = (f64::from_bits(one), f64::from_bits(other));
                prop_assert_eq!(Ordered(one) == Ordered(other), one.total_cmp(&other).is_eq());
                prop_assert_eq!(Ordered(one).cmp(&Ordered(other)), one.total_cmp(&other));
            }
        }
    }
}
