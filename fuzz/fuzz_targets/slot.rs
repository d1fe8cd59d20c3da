//! The decoder of a slot's contents.

#![no_main]

use cache_runtime::__private::{EntryParts, SlotParts, encode_entry, slot_parts};
use cache_runtime::Key;
use libfuzzer_sys::fuzz_target;

/// Where the parts of a header are.
const FORM: usize = 10;
const FLAGS: usize = FORM + 2;
const SCHEMA: usize = FLAGS + 1;
const VALUE_TYPE: usize = SCHEMA + 4;
/// The flag of an entry that has its key.
const KEY: u8 = 2;
/// Everything in a header but its tags and its key.
const FIXED: usize = VALUE_TYPE + 4 + 8 + 8 + 4 + 8 + 2;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    near_valid(bytes);
});

/// Checks that any bytes are one of the cases, and that an entry's parts are in their places.
fn check(bytes: &[u8]) -> Option<EntryParts> {
    match slot_parts(bytes.to_vec()) {
        SlotParts::Lease(mark) => {
            assert_eq!(mark, bytes);
            None
        }
        SlotParts::Fence => {
            assert!(bytes.starts_with(b"F\x01"));
            None
        }
        SlotParts::Unreadable(start) => {
            assert!(bytes.starts_with(&start));
            assert!(start.len() == bytes.len().min(10));
            None
        }
        SlotParts::Entry(entry) => {
            let tags: usize = entry.tags.iter().map(|(tag, _)| 8 + 2 + tag.len()).sum();
            let mut rest = &bytes[FIXED + tags..];
            if bytes[FLAGS] & KEY != 0 {
                let (length, after) = rest.split_first_chunk::<4>().expect("a length");
                assert_eq!(u32::from_le_bytes(*length) as usize, entry.key.len());
                rest = after.strip_prefix(&entry.key[..]).expect("the key");
            }
            assert_eq!(entry.payload, rest);
            assert!(bytes.starts_with(&entry.mark));
            assert_eq!(entry.form, bytes[FORM..FLAGS]);
            Some(entry)
        }
    }
}

/// Checks that a written entry reads back, and that decoding it does not panic with one byte
/// changed.
fn near_valid(bytes: &[u8]) {
    let [where_, change, seed, form, rest @ ..] = bytes else {
        return;
    };
    let form = [
        b"jmp"[usize::from(form % 3)],
        b"-lz"[usize::from(form / 3 % 3)],
    ];
    let text = String::from_utf8_lossy(rest);
    let mut pieces: Vec<&str> = text.split('\n').collect();
    let payload = pieces.pop().unwrap_or_default();
    let tags: Vec<Key> = pieces
        .iter()
        .filter(|tag| tag.len() < 512)
        .map(|&tag| Key::from(tag))
        .collect();
    let versions: Vec<u64> = (0..)
        .map(|n| u64::from(*seed).wrapping_mul(n))
        .take(tags.len())
        .collect();
    let none = seed % 2 == 1;
    let schema = u32::from(*seed);
    let mut written = encode_entry(&tags, &versions, payload.as_bytes());
    let length = written.len() - payload.len();
    written[FORM..FLAGS].copy_from_slice(&form);
    written[FLAGS] = u8::from(none);
    let value_type = schema << 16;
    written[SCHEMA..VALUE_TYPE].copy_from_slice(&schema.to_le_bytes());
    written[VALUE_TYPE..VALUE_TYPE + 4].copy_from_slice(&value_type.to_le_bytes());

    let read = check(&written).expect("what was written is an entry");
    assert_eq!((read.form, read.none, read.schema), (form, none, schema));
    assert_eq!(read.value_type, value_type);
    assert_eq!(read.payload, payload.as_bytes());
    let names = tags.iter().map(|tag| tag.as_str().to_owned());
    assert!(read.tags.into_iter().eq(names.zip(versions)));

    let at = (usize::from(*where_) * 7 + usize::from(*change)) % length;
    assert!(check(&written[..at]).is_none(), "cut at {at}");
    written[at] ^= change;
    check(&written);
}
