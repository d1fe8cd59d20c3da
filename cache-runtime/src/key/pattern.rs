//! Patterns of names.
//!
//! Outside of values, the text of a pattern is taken as that of a template is; text in quotes is a
//! value. So a pattern that [`key!`](crate::key) has made needs no escapes, whatever its values are.

use std::borrow::Cow;
use std::fmt;

use super::Key;
use crate::error::Error;

/// Names, by what they look like: for [`Cache::invalidate_matching`](crate::Cache::invalidate_matching).
///
/// Made of a text, in which `*` stands for any text, an empty one too. `**` is `*`. All else
/// stands for itself: no other character has a meaning of its own, and upper case is not lower case.
///
/// A value in quotes, as [`key!`](crate::key) writes one, stands for itself with each `*` in it. So
/// make a pattern with values by `key!`: no value can widen it. Elsewhere, `\*` stands for a `*`, and
/// `\\` for a `\`.
///
/// ```
/// use cache_runtime::{Pattern, key};
///
/// let users = Pattern::from("user:*");
/// assert!(users.matches("user:7") && users.matches("user:7:posts"));
/// assert!(!users.matches("users"));
///
/// let login = "*";
/// let posts = Pattern::from(key!("user:<login>:posts:*"));
/// assert_eq!(posts.as_str(), "user:'*':posts:*");
/// assert!(posts.matches("user:'*':posts:7"));
/// assert!(!posts.matches("user:'ada':posts:7"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Key,
    /// What stands between the wildcards: one more than there are of those.
    literals: Box<[Box<str>]>,
}

/// The most wildcards that a server looks for. Each may multiply the time that it takes to compare a
/// long key.
const MOST_ON_SERVER: usize = 3;

impl Pattern {
    /// The text of this pattern.
    ///
    /// ```
    /// assert_eq!(cache_runtime::Pattern::from("user:*").as_str(), "user:*");
    /// ```
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// Whether a name matches.
    ///
    /// ```
    /// use cache_runtime::Pattern;
    ///
    /// assert!(Pattern::from("*:7").matches("user:7"));
    /// assert!(!Pattern::from("*:7").matches("user:71"));
    /// assert!(Pattern::from(r"\*").matches("*"));
    /// ```
    pub fn matches(&self, name: impl AsRef<str>) -> bool {
        self.matches_bytes(name.as_ref().as_bytes())
    }

    pub(crate) fn matches_bytes(&self, name: &[u8]) -> bool {
        let [first, between @ ..] = &*self.literals else {
            return false;
        };
        let [between @ .., last] = between else {
            return name == first.as_bytes();
        };
        let Some(rest) = name.strip_prefix(first.as_bytes()) else {
            return false;
        };
        let Some(mut rest) = rest.strip_suffix(last.as_bytes()) else {
            return false;
        };
        // The first place of each is the best: it leaves the most to the others.
        between.iter().all(|literal| {
            let literal = literal.as_bytes();
            let found = find(rest, literal);
            rest = found.map_or(rest, |at| &rest[at + literal.len()..]);
            found.is_some()
        })
    }

    /// An empty pattern names nothing.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.text.check()
    }

    pub(crate) fn text(&self) -> &Key {
        &self.text
    }

    /// A pattern in the language of Redis that matches at least the same names.
    pub(crate) fn glob(&self) -> String {
        let mut glob = String::new();
        for (at, literal) in self.literals.iter().enumerate() {
            if at > 0 {
                glob.push('*');
            }
            if at == MOST_ON_SERVER {
                break;
            }
            for c in literal.chars() {
                if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^') {
                    glob.push('\\');
                }
                glob.push(c);
            }
        }
        glob
    }

    /// A pattern that matches what either matches: the names that begin as both do.
    pub(crate) fn widened(&self, other: &Self) -> Self {
        let shared = self.shared_start(other);
        let beginning = self.literals.first().map_or("", |first| &first[..shared]);
        format!("{beginning}*").into()
    }

    /// How many bytes at their beginnings are the same. What would need an escape is left out.
    pub(crate) fn shared_start(&self, other: &Self) -> usize {
        let (Some(one), Some(other)) = (self.literals.first(), other.literals.first()) else {
            return 0;
        };
        let pairs = one.chars().zip(other.chars());
        let same = pairs.take_while(|(one, other)| one == other && !matches!(one, '*' | '\\'));
        same.map(|(c, _)| c.len_utf8()).sum()
    }
}

/// Where the first occurrence of a text begins.
fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    text.windows(wanted.len()).position(|part| part == wanted)
}

/// Splits the text of a pattern at its wildcards.
fn literals(text: &str) -> Box<[Box<str>]> {
    let mut all = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => {
                if !literal.is_empty() || all.is_empty() {
                    all.push(std::mem::take(&mut literal).into());
                }
            }
            '\\' if rest.starts_with(['*', '\\']) => {
                literal.push_str(&rest[..1]);
                rest = &rest[1..];
            }
            // A value, up to its closing quote.
            '\'' if rest.contains('\'') => {
                let (value, after) = rest.split_once('\'').unwrap_or((rest, ""));
                literal.extend(["'", value, "'"]);
                rest = after;
            }
            c => literal.push(c),
        }
    }
    all.push(literal.into());
    all.into()
}

impl From<Key> for Pattern {
    fn from(text: Key) -> Self {
        let literals = literals(text.as_str());
        Self { text, literals }
    }
}

impl From<&Key> for Pattern {
    fn from(text: &Key) -> Self {
        text.clone().into()
    }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Self {
        Key::from(text).into()
    }
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        Key::from(text).into()
    }
}

impl From<&String> for Pattern {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<Cow<'_, str>> for Pattern {
    fn from(text: Cow<'_, str>) -> Self {
        text.into_owned().into()
    }
}

impl From<&Pattern> for Pattern {
    fn from(pattern: &Pattern) -> Self {
        pattern.clone()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(pattern: &str, names: &[&'static str]) -> Vec<&'static str> {
        let pattern = Pattern::from(pattern);
        let matched = names.iter().filter(|name| pattern.matches(name));
        matched.copied().collect()
    }

    #[test]
    fn a_wildcard_stands_for_any_text() {
        let names = ["a", "ab", "abc", "abab", "b", "aXbXc"];
        for (pattern, expected) in [
            ("a*", &["a", "ab", "abc", "abab", "aXbXc"][..]),
            ("*b", &["ab", "abab", "b"]),
            ("*", &names),
            ("**", &names),
            ("a*b*c", &["abc", "aXbXc"]),
            ("a**c", &["abc", "aXbXc"]),
            ("ab*ab", &["abab"]),
            ("*b*b*", &["abab"]),
            ("ab", &["ab"]),
            ("", &[]),
        ] {
            assert_eq!(matched(pattern, &names), expected, "{pattern}");
        }
    }

    #[test]
    fn two_literals_do_not_share_text() {
        assert_eq!(matched("aba*aba", &["aba", "ababa", "abaaba"]), ["abaaba"]);
        assert_eq!(matched("a*b*b", &["ab", "abb"]), ["abb"]);
    }

    #[test]
    fn values_and_escaped_characters_stand_for_themselves() {
        let names = ["u:'*':1", "u:'x':1", "*", "x", r"\x", r"\", "u:'*"];
        assert_eq!(matched("u:'*':*", &names), ["u:'*':1"]);
        assert_eq!(matched(r"\*", &names), ["*"]);
        assert_eq!(matched(r"\\", &names), [r"\"]);
        assert_eq!(matched(r"\\*", &names), [r"\x", r"\"]);
        assert_eq!(matched(r"\x", &names), [r"\x"]);
        // A quote that nothing closes is no value.
        assert_eq!(matched("u:'*", &names), ["u:'*':1", "u:'x':1", "u:'*"]);
    }

    #[test]
    fn a_glob_escapes_what_redis_would_interpret() {
        let glob = |text: &str| Pattern::from(text).glob();
        assert_eq!(glob("user:*"), "user:*");
        assert_eq!(glob("u[1]?^:'*':*"), r"u\[1\]\?\^:'\*':*");
        assert_eq!(glob(r"\\*"), r"\\*");
        assert_eq!(glob("a"), "a");
        assert_eq!(glob("a*b*c*d*e"), "a*b*c*");
        assert_eq!(glob("a*b*c*d"), "a*b*c*");
        assert_eq!(glob("a*b*c"), "a*b*c");
    }

    #[test]
    fn a_widened_pattern_matches_what_either_matches() {
        let widened = |one: &str, other: &str| {
            let widened = Pattern::from(one).widened(&other.into());
            widened.as_str().to_owned()
        };
        assert_eq!(widened("user:7:*", "user:71"), "user:7*");
        assert_eq!(widened("user:'a':*", "user:'ab':*"), "user:'a*");
        assert_eq!(widened("a*", "b*"), "*");
        assert_eq!(widened(r"x:\*1", r"x:\*2"), "x:*");
        assert_eq!(widened("x:'a*b':1", "x:'a*b':2"), "x:'a*");
        assert_eq!(widened("ü1*", "ü2*"), "ü*");
    }
}
