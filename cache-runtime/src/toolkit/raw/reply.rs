//! Answers as values.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hash};

use super::Reply;
use crate::error::Error;

/// A value that a [`Reply`] can be read as.
///
/// | type | from |
/// |---|---|
/// | `()` | any answer |
/// | `bool` | a boolean; 1 or 0; `OK` |
/// | integers | a whole number, or the text of one |
/// | `f64`, `f32` | a number, or the text of one |
/// | `String` | text; numbers as their text |
/// | `Vec<u8>`, `bytes::Bytes` | bytes |
/// | `Option<T>` | nothing, or a `T` |
/// | `Vec<T>`, `HashSet<T>`, `BTreeSet<T>` | a list or a set |
/// | `Vec<(A, B)>`, `HashMap<A, B>`, `BTreeMap<A, B>` | a map; a list of pairs; a list of keys and values in turn |
/// | `(A, B)`, `(A, B, C)`, `(A, B, C, D)` | a list of so many |
/// | [`Reply`] | any answer |
///
/// A program can implement it for a type of its own:
///
/// ```
/// use cache_runtime::raw::{FromReply, Mismatch, Reply};
///
/// #[derive(Debug, PartialEq)]
/// struct Entry { id: String, fields: Vec<(String, String)> }
///
/// impl FromReply for Entry {
///     fn from_reply(reply: Reply) -> Result<Self, Mismatch> {
///         let (id, fields) = FromReply::from_reply(reply)?;
///         Ok(Self { id, fields })
///     }
/// }
///
/// let text = |text: &str| Reply::Bytes(text.into());
/// let entry = Reply::List(vec![text("7-0"), Reply::List(vec![text("name"), text("ada")])]);
/// let entry = Entry::from_reply(entry).unwrap();
/// assert_eq!(entry.fields, [("name".to_owned(), "ada".to_owned())]);
/// ```
#[diagnostic::on_unimplemented(
    message = "an answer of a server cannot be read as a `{Self}`",
    note = "take one of the types that `FromReply` names, such as `Vec<(String, f64)>`, or implement it for \
            `{Self}`"
)]
pub trait FromReply: Sized {
    /// Reads an answer.
    ///
    /// # Errors
    ///
    /// If it is another one: see [`Reply::mismatch`].
    fn from_reply(reply: Reply) -> Result<Self, Mismatch>;

    /// Reads a list. Bytes are one of `u8`, and pairs need not be in lists of their own.
    #[doc(hidden)]
    fn from_list(reply: Reply) -> Result<Vec<Self>, Mismatch> {
        match reply {
            Reply::List(items) => items.into_iter().map(Self::from_reply).collect(),
            // By the older protocol it is a list.
            Reply::Map(pairs) => {
                let items = pairs.into_iter().flat_map(<[Reply; 2]>::from);
                items.map(Self::from_reply).collect()
            }
            other => Err(other.mismatch("a list")),
        }
    }
}

/// An answer is another one than the program asked for.
///
/// ```
/// use cache_runtime::raw::{FromReply, Reply};
///
/// let mismatch = u8::from_reply(Reply::Number(300)).unwrap_err();
/// assert_eq!(mismatch.to_string(), "it is the number 300, and no whole number of this size");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is {came}, and no {}", asked_without_article(.asked))]
pub struct Mismatch {
    asked: String,
    came: String,
}

fn asked_without_article(asked: &str) -> &str {
    let bare = asked
        .strip_prefix("a ")
        .or_else(|| asked.strip_prefix("an "));
    bare.unwrap_or(asked)
}

impl Mismatch {
    /// As the error of a command.
    pub(in crate::toolkit) fn of(self, command: &str) -> Error {
        Error::answer(command, &self.asked, &self.came)
    }
}

impl Reply {
    /// This answer, where another one was asked for, such as `a list`. Texts are not shown, which may be
    /// secret.
    ///
    /// ```
    /// let mismatch = cache_runtime::raw::Reply::Nil.mismatch("a list");
    /// assert_eq!(mismatch.to_string(), "it is nothing, and no list");
    /// ```
    #[must_use]
    pub fn mismatch(&self, asked: &str) -> Mismatch {
        let came = match self {
            Self::Nil => "nothing".to_owned(),
            Self::Number(number) => format!("the number {number}"),
            Self::Double(number) => format!("the number {number}"),
            Self::Bool(is_so) => format!("a boolean, {is_so}"),
            Self::Bytes(bytes) if str::from_utf8(bytes).is_ok() => {
                format!("a text of {} bytes", bytes.len())
            }
            Self::Bytes(bytes) => format!("{} bytes that are no text", bytes.len()),
            Self::List(items) => format!("a list of {}", items.len()),
            Self::Map(pairs) => format!("a map of {}", pairs.len()),
        };
        Mismatch {
            asked: asked.to_owned(),
            came,
        }
    }

    /// The text, if it is one; of a number, that of the number.
    fn text(&self) -> Option<String> {
        match self {
            Self::Bytes(bytes) => str::from_utf8(bytes).ok().map(str::to_owned),
            Self::Number(number) => Some(number.to_string()),
            Self::Double(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// A list of so many, for a tuple.
    fn items<const N: usize>(self) -> Result<[Self; N], Mismatch> {
        let asked = format!("a list of {N}");
        match self {
            Self::List(items) => {
                <[Self; N]>::try_from(items).map_err(|items| Self::List(items).mismatch(&asked))
            }
            other => Err(other.mismatch(&asked)),
        }
    }

    /// Keys with their values.
    fn pairs(self) -> Result<Vec<(Self, Self)>, Mismatch> {
        let items = match self {
            Self::Map(pairs) => return Ok(pairs),
            Self::List(items) => items,
            other => return Err(other.mismatch("a map")),
        };
        let is_pair = |item: &Self| matches!(item, Self::List(pair) if pair.len() == 2);
        if items.iter().all(is_pair) {
            let pairs = items.into_iter().map(|item| item.items().map(Into::into));
            return pairs.collect();
        }
        if items.len() % 2 != 0 {
            return Err(Self::List(items).mismatch("a map"));
        }
        let mut items = items.into_iter();
        let pairs = std::iter::from_fn(|| Some((items.next()?, items.next()?)));
        Ok(pairs.collect())
    }
}

impl FromReply for Reply {
    fn from_reply(reply: Reply) -> Result<Self, Mismatch> {
        Ok(reply)
    }
}

impl FromReply for () {
    fn from_reply(_reply: Reply) -> Result<Self, Mismatch> {
        Ok(())
    }
}

impl FromReply for bool {
    fn from_reply(reply: Reply) -> Result<Self, Mismatch> {
        match &reply {
            Reply::Bool(is_so) => Ok(*is_so),
            Reply::Number(1) => Ok(true),
            Reply::Number(0) => Ok(false),
            Reply::Bytes(text) if matches!(&**text, b"1" | b"OK") => Ok(true),
            Reply::Bytes(text) if **text == *b"0" => Ok(false),
            _ => Err(reply.mismatch("a boolean")),
        }
    }
}

macro_rules! integers {
    ($($integer:ty)*) => {
        $(impl FromReply for $integer {
            fn from_reply(reply: Reply) -> Result<Self, Mismatch> {
                whole_number(&reply)
            }
        })*
    };
}

integers! { i8 i16 i32 i64 i128 isize u16 u32 u64 u128 usize }

/// A double that is a whole number, and exact.
fn whole(double: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let is_whole = double.fract() == 0.0 && double.abs() < EXACT;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it is whole, and small enough"
    )]
    is_whole.then_some(double as i64)
}

fn whole_number<T: TryFrom<i64> + std::str::FromStr>(reply: &Reply) -> Result<T, Mismatch> {
    let number = match reply {
        Reply::Number(number) => T::try_from(*number).ok(),
        // A score, by the newer protocol.
        Reply::Double(double) => whole(*double).and_then(|whole| T::try_from(whole).ok()),
        Reply::Bytes(_) => reply.text().and_then(|text| text.parse().ok()),
        _ => None,
    };
    number.ok_or_else(|| reply.mismatch("a whole number of this size"))
}

/// A list of these is bytes, too.
impl FromReply for u8 {
    fn from_reply(reply: Reply) -> Result<Self, Mismatch> {
        whole_number(&reply)
    }

    fn from_list(reply: Reply) -> Result<Vec<Self>, Mismatch> {
        match reply {
            Reply::Bytes(bytes) => Ok(bytes),
            Reply::List(items) => items.into_iter().map(Self::from_reply).collect(),
            other => Err(other.mismatch("bytes")),
        }
    }
}

impl FromReply for f64 {
    fn from_reply(reply: Reply) -> Result<Self, Mismatch> {
        let number = match &reply {
            Reply::Double(number) => Some(*number),
            other => other.text().and_then(|text| text.parse().ok()),
        };
        number.ok_or_else(|| reply.mismatch("a number"))
    }
}

impl FromReply for f32 {
    fn from_reply(reply: Reply) -> Result<Self, Mismatch> {
        // By its text, which is the shortest one that stands for it.
        let number = reply.text().and_then(|text| text.parse().ok());
        number.ok_or_else(|| reply.mismatch("a number"))
    }
}

impl FromReply for String {
    fn from_reply(reply: Reply) -> Result<Self, Mismatch> {
        match reply {
            Reply::Bytes(bytes) => Self::from_utf8(bytes)
                .map_err(|error| Reply::Bytes(error.into_bytes()).mismatch("a text")),
            other => other.text().ok_or_else(|| other.mismatch("a text")),
        }
    }
}

impl FromReply for bytes::Bytes {
    fn from_reply(reply: Reply) -> Result<Self, Mismatch> {
        match reply {
            Reply::Bytes(bytes) => Ok(bytes.into()),
            other => Err(other.mismatch("bytes")),
        }
    }
}

impl<T: FromReply> FromReply for Option<T> {
    fn from_reply(reply: Reply) -> Result<Self, Mismatch> {
        match reply {
            Reply::Nil => Ok(None),
            other => T::from_reply(other).map(Some),
        }
    }
}

impl<T: FromReply> FromReply for Vec<T> {
    fn from_reply(reply: Reply) -> Result<Self, Mismatch> {
        T::from_list(reply)
    }
}

impl<T: FromReply + Eq + Hash, S: BuildHasher + Default> FromReply for HashSet<T, S> {
    fn from_reply(reply: Reply) -> Result<Self, Mismatch> {
        Ok(T::from_list(reply)?.into_iter().collect())
    }
}

impl<T: FromReply + Ord> FromReply for BTreeSet<T> {
    fn from_reply(reply: Reply) -> Result<Self, Mismatch> {
        Ok(T::from_list(reply)?.into_iter().collect())
    }
}

impl<K: FromReply + Eq + Hash, V: FromReply, S: BuildHasher + Default> FromReply
    for HashMap<K, V, S>
{
    fn from_reply(reply: Reply) -> Result<Self, Mismatch> {
        Ok(<(K, V)>::from_list(reply)?.into_iter().collect())
    }
}

impl<K: FromReply + Ord, V: FromReply> FromReply for BTreeMap<K, V> {
    fn from_reply(reply: Reply) -> Result<Self, Mismatch> {
        Ok(<(K, V)>::from_list(reply)?.into_iter().collect())
    }
}

/// A list of these may also be a map, or keys and values in turn.
impl<A: FromReply, B: FromReply> FromReply for (A, B) {
    fn from_reply(reply: Reply) -> Result<Self, Mismatch> {
        let [a, b] = reply.items()?;
        Ok((A::from_reply(a)?, B::from_reply(b)?))
    }

    fn from_list(reply: Reply) -> Result<Vec<Self>, Mismatch> {
        let pairs = reply.pairs()?.into_iter();
        let pairs = pairs.map(|(a, b)| Ok((A::from_reply(a)?, B::from_reply(b)?)));
        pairs.collect()
    }
}

impl<A: FromReply, B: FromReply, C: FromReply> FromReply for (A, B, C) {
    fn from_reply(reply: Reply) -> Result<Self, Mismatch> {
        let [a, b, c] = reply.items()?;
        Ok((A::from_reply(a)?, B::from_reply(b)?, C::from_reply(c)?))
    }
}

impl<A: FromReply, B: FromReply, C: FromReply, D: FromReply> FromReply for (A, B, C, D) {
    fn from_reply(reply: Reply) -> Result<Self, Mismatch> {
        let [a, b, c, d] = reply.items()?;
        let (a, b) = (A::from_reply(a)?, B::from_reply(b)?);
        Ok((a, b, C::from_reply(c)?, D::from_reply(d)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Reply {
        Reply::Bytes(text.as_bytes().to_vec())
    }

    #[test]
    fn both_versions_of_the_protocol_are_read_alike() {
        for score in [Reply::Double(10.0), text("10")] {
            assert_eq!(i64::from_reply(score), Ok(10));
        }
        assert!(i64::from_reply(Reply::Double(10.5)).is_err());
        for fields in [
            Reply::Map(vec![(text("a"), text("1"))]),
            Reply::List(vec![text("a"), text("1")]),
        ] {
            assert_eq!(Vec::<String>::from_reply(fields).unwrap(), ["a", "1"]);
        }
        let list = |items: &[Reply]| Reply::List(items.to_vec());
        let pair = list(&[text("a"), Reply::Double(1.5)]);
        for reply in [
            Reply::Map(vec![(text("a"), Reply::Double(1.5))]),
            list(&[text("a"), text("1.5")]),
            list(&[pair]),
        ] {
            let expected = vec![("a".to_owned(), 1.5)];
            assert_eq!(FromReply::from_reply(reply.clone()), Ok(expected.clone()));
            let map: HashMap<String, f64> = expected.into_iter().collect();
            assert_eq!(FromReply::from_reply(reply), Ok(map));
        }
        for reply in [Reply::Bool(true), Reply::Number(1), text("OK")] {
            assert_eq!(bool::from_reply(reply), Ok(true));
        }
        assert_eq!(f64::from_reply(text("-inf")), Ok(f64::NEG_INFINITY));
        assert_eq!(f32::from_reply(Reply::Double(0.1)), Ok(0.1));
        assert_eq!(u128::from_reply(text("18446744073709551616")), Ok(1 << 64));
    }

    #[test]
    fn bytes_are_no_list_of_numbers() {
        let bytes = Vec::<u8>::from_reply(Reply::Bytes(vec![0, 255]));
        assert_eq!(bytes, Ok(vec![0, 255]));
        let numbers = Reply::List(vec![Reply::Number(1), text("2")]);
        assert_eq!(Vec::<u8>::from_reply(numbers.clone()), Ok(vec![1, 2]));
        assert_eq!(Vec::<i64>::from_reply(numbers), Ok(vec![1, 2]));
    }

    #[test]
    fn what_does_not_fit_says_what_came() {
        let told = |result: Result<(), Mismatch>| result.unwrap_err().to_string();
        let number = i64::from_reply(text("secret")).map(drop);
        assert_eq!(
            told(number),
            "it is a text of 6 bytes, and no whole number of this size"
        );
        let pairs = HashMap::<String, i64>::from_reply(Reply::List(vec![Reply::Nil]));
        assert_eq!(told(pairs.map(drop)), "it is a list of 1, and no map");
        let nothing = String::from_reply(Reply::Nil).map(drop);
        assert_eq!(told(nothing), "it is nothing, and no text");
        assert_eq!(Option::<String>::from_reply(Reply::Nil), Ok(None));
    }
}
