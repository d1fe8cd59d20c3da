//! Whether a value that is about to be stored would come back as it is.
//!
//! While developing, what is encoded is decoded once more, and compared: by `PartialEq` and `Debug`, as far
//! as the type has them, else by the calls that it makes to serde. An expansion finds out by trait; the
//! API by hand does not know the type, and compares the calls to serde.

use std::any::Any;
use std::collections::HashMap;
use std::fmt::Debug;
use std::marker::PhantomData;

use serde::Serialize;

use super::recorder;
use crate::codec::{Codec, Payload, Reason};
use crate::value::CacheValue;

/// How two values of the type that it was made for differ, if they do: the place, in words.
pub type Compare = fn(&dyn Any, &dyn Any) -> Option<String>;

/// The type of a call's values: `(&&&&Values::<V>::NEW).comparison()`.
#[derive(Debug)]
pub struct Values<V>(PhantomData<fn() -> V>);

impl<V> Values<V> {
    /// The receiver of the method call.
    pub const NEW: Self = Self(PhantomData);
}

pub mod comparison {
    //! The traits that tell how values of a type are compared, the most telling one first.
    use super::{
        Compare, Debug, Serialize, Values, by_calls_to_serde, by_debug, by_eq, by_eq_and_debug,
    };

    macro_rules! ask {
        ($($question:ident: $receiver:ty, $bound:path $(, $other:path)? => $compare:ident;)+) => { $(
            /// Values that are compared in one way.
            pub trait $question {
                /// How they are compared.
                fn comparison(&self) -> Compare;
            }

            impl<V: $bound $(+ $other)? + 'static> $question for $receiver {
                #[inline]
                fn comparison(&self) -> Compare {
                    $compare::<V>
                }
            }
        )+ };
    }

    ask! {
        HasEqAndDebug: &&&Values<V>, PartialEq, Debug => by_eq_and_debug;
        HasEq: &&Values<V>, PartialEq => by_eq;
        HasDebug: &Values<V>, Debug => by_debug;
        HasNeither: Values<V>, Serialize => by_calls_to_serde;
    }
}

/// Encodes a value. With `compare`, decodes that once more, and compares it with the value.
pub(crate) fn encode<V: CacheValue>(
    value: &V,
    codec: Codec,
    compare: Option<Compare>,
) -> Result<Payload, Reason> {
    let payload = codec.encode(value)?;
    match compare {
        Some(compare) => check(value, &payload, compare).map(|()| payload),
        None => Ok(payload),
    }
}

fn check<V: CacheValue>(value: &V, payload: &Payload, compare: Compare) -> Result<(), Reason> {
    let form = payload.form;
    let back: V = form.decode(&payload.bytes).map_err(|reason| match reason {
        Reason::Other(reason) => {
            Reason::Other(format!("as {form} it cannot be read back: {reason}"))
        }
        reason => reason,
    })?;
    compare(value, &back).map_or(Ok(()), |place| {
        Err(Reason::Altered(format!(
            "as {form} it would come back changed: {place}"
        )))
    })
}

/// Both as what they are, if they are of one type.
fn both<'a, V: 'static>(one: &'a dyn Any, other: &'a dyn Any) -> Option<(&'a V, &'a V)> {
    one.downcast_ref().zip(other.downcast_ref())
}

/// A value with a NaN is not equal to itself. So it is also the same if its `Debug` is.
fn by_eq_and_debug<V: PartialEq + Debug + 'static>(
    one: &dyn Any,
    other: &dyn Any,
) -> Option<String> {
    let (one, other) = both::<V>(one, other)?;
    if one == other {
        return None;
    }
    let place = place_by_debug(one, other);
    if is_reflexive(one) {
        return Some(place.unwrap_or_else(|| "in what its `Debug` does not show".to_owned()));
    }
    place
}

fn by_eq<V: PartialEq + 'static>(one: &dyn Any, other: &dyn Any) -> Option<String> {
    let (one, other) = both::<V>(one, other)?;
    let differs = one != other && is_reflexive(one);
    differs
        .then(|| "it is not equal to what it was (with `Debug`, this would say where)".to_owned())
}

fn by_debug<V: Debug + 'static>(one: &dyn Any, other: &dyn Any) -> Option<String> {
    let (one, other) = both::<V>(one, other)?;
    place_by_debug(one, other)
}

/// The calls that two values make to serde. They do not show a field that is not serialized.
pub(crate) fn by_calls_to_serde<V: Serialize + 'static>(
    one: &dyn Any,
    other: &dyn Any,
) -> Option<String> {
    let (one, other) = both::<V>(one, other)?;
    place(&recorder::record(one)?, &recorder::record(other)?)
}

/// For a call whose values cannot be compared.
pub(crate) fn not_at_all(_: &dyn Any, _: &dyn Any) -> Option<String> {
    None
}

#[expect(clippy::eq_op, reason = "a NaN is not equal to itself")]
fn is_reflexive<V: PartialEq>(value: &V) -> bool {
    value == value
}

fn place_by_debug(one: &impl Debug, other: &impl Debug) -> Option<String> {
    place(&format!("{one:#?}"), &format!("{other:#?}"))
}

/// Where two texts in the form of `{:#?}` differ: a path of fields, without their values, which may be
/// secret. `None` if they have the same lines: a map may come back in another order.
fn place(one: &str, other: &str) -> Option<String> {
    let mut surplus: HashMap<&str, isize> = HashMap::new();
    one.lines()
        .for_each(|line| *surplus.entry(line).or_default() += 1);
    other
        .lines()
        .for_each(|line| *surplus.entry(line).or_default() -= 1);
    let first =
        |text: &str, sign: isize| text.lines().position(|line| surplus[line].signum() == sign);
    let (text, at) = match (first(one, 1), first(other, -1)) {
        (Some(at), _) => (one, at),
        (None, Some(at)) => (other, at),
        (None, None) => return None,
    };
    Some(match path(text, at).as_str() {
        "" => "the value as a whole".to_owned(),
        path => format!("`{path}`"),
    })
}

/// The path of fields to a line of a text in the form of `{:#?}`.
fn path(text: &str, at: usize) -> String {
    let lines: Vec<&str> = text.lines().take(at + 1).collect();
    let depth = |line: &str| line.len() - line.trim_start().len();
    // The line, and the lines that enclose it, from the inside.
    let mut around: Vec<&str> = Vec::new();
    for &line in lines.iter().rev() {
        if around.last().is_none_or(|inner| depth(line) < depth(inner)) {
            around.push(line);
        }
    }
    let mut path = String::new();
    let mut is_in_list = false;
    for line in around.iter().rev() {
        let text = line.trim();
        let is_word =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        match text.split_once(": ") {
            Some((name, _)) if is_word(name) => {
                path.push('.');
                path.push_str(name);
            }
            _ if is_in_list => path.push_str("[]"),
            // The name of the type.
            _ if path.is_empty() => {
                let name = text.trim_end_matches(['{', '(', '[']).trim_end();
                if is_word(name) && name.len() < text.len() {
                    path.push_str(name);
                }
            }
            _ => {}
        }
        is_in_list = text.ends_with('[') || text.ends_with(": {") || text == "{";
    }
    path.trim_start_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::comparison::*;
    use super::*;
    use serde::Deserialize;
    use std::collections::HashSet;

    /// How two values differ, as an expansion would find out.
    macro_rules! difference {
        ($type:ty: $one:expr, $other:expr) => {{
            let compare = (&&&&Values::<$type>::NEW).comparison();
            let (one, other): ($type, $type) = ($one, $other);
            compare(&one, &other)
        }};
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct User {
        name: String,
        secret: String,
        weights: Vec<f64>,
        boss: Option<Box<User>>,
    }

    fn user(secret: &str, boss: Option<User>) -> User {
        User {
            name: "Ada".to_owned(),
            secret: secret.to_owned(),
            weights: vec![f64::NAN, 1.0],
            boss: boss.map(Box::new),
        }
    }

    #[test]
    fn a_difference_is_named_by_its_path_and_without_its_value() {
        let of = |one: User, other: User| difference!(User: one, other);
        let expected = Some("`User.secret`".to_owned());
        assert_eq!(of(user("sesame", None), user("", None)), expected);
        let boss = |secret| user("", Some(user(secret, None)));
        let place = of(boss("sesame"), boss("")).unwrap();
        assert!(
            place.contains("boss") && place.contains("secret"),
            "{place}"
        );
        assert!(!place.contains("sesame"));

        let place = difference!(Vec<Option<u8>>: vec![None, Some(1)], vec![None::<u8>, None]);
        assert_eq!(place.as_deref(), Some("`[]`"));
        let place = difference!(Option<u8>: None::<u8>, Some(1_u8));
        assert_eq!(place.as_deref(), Some("the value as a whole"));
    }

    #[test]
    fn a_value_that_is_not_equal_to_itself_is_the_same_if_its_debug_is() {
        assert_eq!(difference!(User: user("a", None), user("a", None)), None);
        assert_eq!(difference!(f64: f64::NAN, f64::NAN), None);
        assert!(difference!(f64: f64::NAN, 0.0_f64).is_some());
    }

    #[test]
    #[allow(dead_code, reason = "some fields are only compared")]
    #[allow(clippy::option_option, reason = "it is what serde may lose")]
    fn each_type_is_compared_by_what_it_has() {
        #[derive(PartialEq, Serialize)]
        struct OnlyEq(f64);
        #[derive(Debug, Serialize)]
        struct OnlyDebug {
            #[serde(skip)]
            skipped: u8,
        }
        #[derive(Serialize)]
        struct Neither {
            shown: Option<Option<u8>>,
            #[serde(skip)]
            skipped: u8,
        }
        #[derive(PartialEq, Serialize)]
        struct HidesAll(u8);
        impl Debug for HidesAll {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("HidesAll")
            }
        }

        assert!(difference!(OnlyEq: OnlyEq(1.0), OnlyEq(2.0)).is_some());
        assert_eq!(
            difference!(OnlyEq: OnlyEq(f64::NAN), OnlyEq(f64::NAN)),
            None
        );
        let debug = |skipped| OnlyDebug { skipped };
        let expected = Some("`OnlyDebug.skipped`".to_owned());
        assert_eq!(difference!(OnlyDebug: debug(1), debug(2)), expected);
        let neither = |shown, skipped| Neither { shown, skipped };
        let expected = Some("`Neither.shown`".to_owned());
        assert_eq!(
            difference!(Neither: neither(Some(None), 1), neither(None, 1)),
            expected
        );
        assert_eq!(
            difference!(Neither: neither(None, 1), neither(None, 2)),
            None
        );
        assert!(difference!(HidesAll: HidesAll(1), HidesAll(2)).is_some());
    }

    #[test]
    fn a_set_may_come_back_in_another_order() {
        #[derive(Debug, Serialize)]
        struct Sets(HashSet<u32>);
        let sets = || Sets((0..100).collect());
        assert_eq!(difference!(Sets: sets(), sets()), None);
        assert_eq!(by_calls_to_serde::<Sets>(&sets(), &sets()), None);
    }
}
