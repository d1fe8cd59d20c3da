//! The short form of a long name: its beginning, and a hash of all of it.

use std::fmt::Write as _;

use super::Key;

/// How many bytes of a long name its short form begins with, at most.
const HEAD: usize = 1024;

/// The short form of a name that is longer than [`Key::MAX_LEN`]; `None` for any other. A short form is
/// not long itself.
///
/// It never changes: processes with another version of the library look for entries under it.
pub(crate) fn of(name: &str) -> Option<String> {
    if name.len() <= Key::MAX_LEN {
        return None;
    }
    let end = (0..=HEAD).rev().find(|&end| name.is_char_boundary(end));
    let mut short = name[..end.unwrap_or_default()].to_owned();
    short.push_str("…sha256:");
    for byte in hmac_sha256::Hash::hash(name.as_bytes()) {
        let _ = write!(short, "{byte:02x}");
    }
    Some(short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn only_a_name_that_is_too_long_has_a_short_form() {
        assert_eq!(of(""), None);
        assert_eq!(of(&"x".repeat(Key::MAX_LEN)), None);
        let short = of(&"x".repeat(Key::MAX_LEN + 1)).unwrap();
        assert_eq!(of(&short), None);
    }

    #[test]
    fn names_that_differ_anywhere_differ_in_their_short_forms() {
        let long = "x".repeat(Key::MAX_LEN * 2);
        let names = (0..long.len()).step_by(997).map(|at| {
            let mut name = long.clone();
            name.replace_range(at..=at, "y");
            name
        });
        let names: Vec<String> = names.chain([long.clone(), long.clone() + "x"]).collect();
        let short: HashSet<_> = names.iter().map(|name| of(name)).collect();
        assert_eq!(short.len(), names.len());
    }

    /// Other processes may run another version of the library.
    #[test]
    fn a_short_form_never_changes() {
        let long = "é".repeat(Key::MAX_LEN) + "a";
        let hash = "2bb6b65af53d6b2cba325120913f2833754ce5444af360616309d309e7f62336";
        let expected = format!("{}…sha256:{hash}", "é".repeat(HEAD / 2));
        assert_eq!(of(&long).unwrap(), expected);
        // Cut between two letters.
        assert!(of(&("a".to_owned() + &long)).unwrap().starts_with("aé"));
    }
}
