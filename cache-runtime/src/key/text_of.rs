//! The texts of values, for the tests of this folder.

use std::fmt::Debug;

use super::{KeyPart, Name, NameHashes};

/// The text of a value. Checks that the value hashes and compares as this text.
#[track_caller]
pub(super) fn text<K: KeyPart + ?Sized>(part: &K) -> String {
    let name = Name::new(&["", ""], (part, ()));
    let text = name.render().to_string();
    let hashes = NameHashes::default();
    assert_eq!(name.hash(&hashes), hashes.of(&text), "{text}");
    assert!(name.is(text.as_bytes(), text.len()), "{text}");
    text
}

/// Checks that two values have one text if they are equal, and else two.
#[track_caller]
pub(super) fn check_pair<K: KeyPart + PartialEq + Debug + ?Sized>(one: &K, other: &K) {
    let same = text(one) == text(other);
    assert_eq!(same, one == other, "{one:?} {} {other:?}", text(one));
}
