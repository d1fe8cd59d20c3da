//! The decoder of a slot's contents.

#![no_main]

#[expect(
    dead_code,
    unused_imports,
    reason = "only forms are used here; another target decodes payloads"
)]
#[path = "../../cache-runtime/src/codec/mod.rs"]
mod codec;
#[expect(dead_code, reason = "leases are not written here")]
#[path = "../../cache-runtime/src/entry.rs"]
mod entry;
#[expect(dead_code, reason = "only stamps are drawn here")]
#[path = "../../cache-runtime/src/unique.rs"]
mod unique;

/// A stand-in for the runtime's module, with the items that the decoder uses.
mod key {
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Key(String);

    impl Key {
        pub(crate) fn as_str(&self) -> &str {
            &self.0
        }
    }

    impl From<&str> for Key {
        fn from(text: &str) -> Self {
            Self(text.to_owned())
        }
    }
}

/// Another stand-in. Decoded values are not shared here.
mod value {
    #[expect(dead_code, reason = "only named")]
    pub(crate) enum Outcome<V> {
        Value(V),
        None,
    }

    pub(crate) type SharedValue = std::sync::Arc<()>;

    pub(crate) fn into_outcome<V>(_: SharedValue) -> Option<Outcome<V>> {
        None
    }
}

use std::time::Duration;

use libfuzzer_sys::fuzz_target;

use self::codec::Form;
use self::entry::{Entry, Header, Slot, decode};
use self::key::Key;

/// Everything in a header but its tags.
const FIXED: usize = 10 + 2 + 1 + 4 + 8 + 8 + 4 + 8 + 2;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    near_valid(bytes);
});

/// Checks that any bytes are one of the cases, and that an entry's parts are in their places.
fn check(bytes: &[u8]) -> Option<Entry> {
    match decode(Some(bytes.to_vec())) {
        Slot::Absent => panic!("a slot with bytes is not absent"),
        Slot::Lease(mark) => {
            assert_eq!(mark, bytes);
            None
        }
        Slot::Fence => {
            assert!(bytes.starts_with(b"F\x01"));
            None
        }
        Slot::Unreadable(start) => {
            assert!(bytes.starts_with(&start));
            assert!(start.len() == bytes.len().min(10));
            None
        }
        Slot::Entry(entry) => {
            let tags: usize = entry.tags().map(|(tag, _)| 8 + 2 + tag.len()).sum();
            assert_eq!(entry.payload(), &bytes[FIXED + tags..]);
            assert!(bytes.starts_with(&entry.mark));
            Some(entry)
        }
    }
}

/// Checks that a written entry reads back, and that decoding it does not panic with one byte
/// changed.
fn near_valid(bytes: &[u8]) {
    let [where_, change, version, form, rest @ ..] = bytes else {
        return;
    };
    let form = [
        b"jmp"[usize::from(form % 3)],
        b"-lz"[usize::from(form / 3 % 3)],
    ];
    let form = Form::from_bytes(form).expect("these are forms");
    let text = String::from_utf8_lossy(rest);
    let mut pieces: Vec<&str> = text.split('\n').collect();
    let payload = pieces.pop().unwrap_or_default();
    let tags: Vec<Key> = pieces
        .iter()
        .filter(|tag| tag.len() < 512)
        .map(|&tag| Key::from(tag))
        .collect();
    let versions: Vec<u64> = (0..)
        .map(|n| u64::from(*version).wrapping_mul(n))
        .take(tags.len())
        .collect();
    let header = Header {
        form,
        none: version % 2 == 1,
        version: u32::from(*version),
        ttl: Duration::from_secs(60),
        cost: Duration::from_millis(3),
        epoch: 7,
        tags: &tags,
        versions: &versions,
    };
    let mut written = header.encode();
    let length = written.len();
    written.extend(payload.as_bytes());

    let read = check(&written).expect("what was written is an entry");
    assert_eq!(read.header.form, header.form);
    assert_eq!(read.header.none, header.none);
    assert_eq!(read.header.version, header.version);
    assert_eq!(read.header.epoch, header.epoch);
    assert_eq!(read.payload(), payload.as_bytes());
    assert!(
        read.tags()
            .eq(tags.iter().map(Key::as_str).zip(versions.iter().copied()))
    );

    let at = (usize::from(*where_) * 7 + usize::from(*change)) % length;
    assert!(check(&written[..at]).is_none(), "cut at {at}");
    written[at] ^= change;
    check(&written);
}
