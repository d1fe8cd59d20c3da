//! The grammar of durations as text: `90`, `90s`, `1h30m`.
//!
//! The attributes and the environment share it. A published package holds its own folder
//! only, so `cache-macros` and `cache-runtime` each have a copy of this file. A test in
//! `cache-macros` compares the two.

use std::time::Duration;

/// In descending order, in which they must follow each other.
const UNITS: [(&str, u64); 5] = [
    ("d", 24 * 60 * 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

const USAGE: &str = "write whole seconds, `90`, or units in descending order, `1h30m`";
const UNKNOWN_UNIT: &str = "the units are `d`, `h`, `m`, `s` and `ms`, as in `1h30m`";
const TOO_LONG: &str = "write a shorter one: its milliseconds do not fit into 64 bits";

/// A duration, possibly zero.
///
/// # Errors
///
/// How to write a duration, if this is none.
pub(crate) fn parse(text: &str) -> Result<Duration, &'static str> {
    if text.is_empty() {
        return Err(USAGE);
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return part(text, 1000).map(Duration::from_millis);
    }
    let mut rest = text;
    let mut smaller_units = UNITS.iter();
    let mut millis = 0_u64;
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !c.is_ascii_digit());
        let (unit, after) = split_where(after, |c| !c.is_alphabetic());
        if number.is_empty() || unit.is_empty() {
            return Err(USAGE);
        }
        if !UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(UNKNOWN_UNIT);
        }
        // The iterator goes on, so a unit that is repeated or out of order is not found.
        let (_, factor) = smaller_units.find(|(name, _)| *name == unit).ok_or(USAGE)?;
        millis = millis.checked_add(part(number, *factor)?).ok_or(TOO_LONG)?;
        rest = after;
    }
    Ok(Duration::from_millis(millis))
}

fn part(number: &str, factor: u64) -> Result<u64, &'static str> {
    let number = number.parse::<u64>().map_err(|_| TOO_LONG)?;
    number.checked_mul(factor).ok_or(TOO_LONG)
}

fn split_where(text: &str, end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(end).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        for (text, millis) in [
            ("90", 90_000),
            ("0", 0),
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("2d", 172_800_000),
            ("1m1ms", 60_001),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_way_to_write_it() {
        for (text, help) in [
            ("", USAGE),
            (" ", USAGE),
            (" 90s ", USAGE),
            ("90s ", USAGE),
            ("s", USAGE),
            ("1 h", USAGE),
            ("1.5h", USAGE),
            ("-1", USAGE),
            ("-1s", USAGE),
            ("+1s", USAGE),
            ("1h1h", USAGE),
            ("30m1h", USAGE),
            ("1h30", USAGE),
            ("١s", USAGE),
            ("1w", UNKNOWN_UNIT),
            ("1H", UNKNOWN_UNIT),
            ("1é", UNKNOWN_UNIT),
            ("1sm", UNKNOWN_UNIT),
            ("99999999999999999999", TOO_LONG),
            ("18446744073709551615", TOO_LONG),
            ("99999999999999999999s", TOO_LONG),
            ("999999999999999999d", TOO_LONG),
            ("18446744073709551s999ms", TOO_LONG),
        ] {
            assert_eq!(parse(text), Err(help), "{text:?}");
        }
    }
}
