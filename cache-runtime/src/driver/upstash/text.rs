//! Bytes as text, and back.
//!
//! A lease or an entry begins with a mark of ten ASCII bytes, which scripts compare and cut. The mark
//! stays as it is, and the rest is in base64. All else that the protocol writes (names, numbers,
//! fences) is text already.
//!
//! The server puts U+FFFD in the place of each byte that is not part of a text. Such bytes are not ours.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::driver::mark::{ENTRY, LEASE, Mark};

const REPLACEMENT: char = '\u{fffd}';

/// These bytes as text; `None` if they are not ours.
pub(super) fn to_text(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let Some((mark, rest)) = marked(bytes) else {
        return str::from_utf8(bytes).ok().map(Cow::Borrowed);
    };
    let mut text = String::with_capacity(mark.len() + rest.len().div_ceil(3) * 4);
    text.push_str(str::from_utf8(mark).ok()?);
    BASE64_STANDARD.encode_string(rest, &mut text);
    Some(Cow::Owned(text))
}

/// The bytes that this text stands for. A text that is not ours stands for its own bytes, which are not
/// valid UTF-8 if they were not on the server: then nothing can be compared with them.
pub(super) fn from_text(text: String) -> Vec<u8> {
    if let Some((mark, rest)) = marked(text.as_bytes()) {
        let mut bytes = Vec::with_capacity(text.len());
        bytes.extend_from_slice(mark);
        if BASE64_STANDARD.decode_vec(rest, &mut bytes).is_ok() {
            return bytes;
        }
    }
    if !text.contains(REPLACEMENT) {
        return text.into_bytes();
    }
    let mut bytes = Vec::with_capacity(text.len());
    for part in text.split(REPLACEMENT) {
        bytes.extend_from_slice(part.as_bytes());
        bytes.push(0xff);
    }
    bytes.pop();
    bytes
}

/// The mark of a lease or an entry, and what follows it.
fn marked(bytes: &[u8]) -> Option<(&Mark, &[u8])> {
    let (mark, rest) = bytes.split_first_chunk()?;
    let is_marked = mark.starts_with(&LEASE) || mark.starts_with(&ENTRY);
    (is_marked && mark.is_ascii()).then_some((mark, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the server returns for a text that it holds, or for bytes.
    fn returned(bytes: &[u8]) -> Vec<u8> {
        from_text(String::from_utf8_lossy(bytes).into_owned())
    }

    #[test]
    fn what_stands_behind_a_mark_is_base64() {
        let text = to_text(b"E\x02abcdefgh\x00\xff{}").unwrap();
        assert_eq!(text, "E\u{2}abcdefghAP97fQ==");
        assert_eq!(to_text(b"E\x02abcdefgh").unwrap(), "E\u{2}abcdefgh");
        assert_eq!(
            to_text(b"F\x01abcdefgh2a:17").unwrap(),
            "F\u{1}abcdefgh2a:17"
        );
    }

    #[test]
    fn what_is_not_ours_stays_as_it_is() {
        let foreign = "E\u{2}abcdefgh, which is no base64";
        assert_eq!(returned(foreign.as_bytes()), foreign.as_bytes());
        // Written over a connection that carries bytes.
        let binary = b"E\x02abcdefgh\x00\x01\xff\xfe";
        assert_eq!(returned(binary)[..10], binary[..10]);
    }

    #[test]
    fn bytes_that_the_server_replaced_cannot_be_compared_with_it() {
        let read = returned(b"\xff\xfe foreign");
        assert_eq!(to_text(&read), None);
        assert_eq!(to_text(&read[..8]), None);
    }

    proptest! {
        #[test]
        fn a_lease_or_an_entry_comes_back_as_it_was(
            is_entry: bool,
            stamp in proptest::array::uniform8(0u8..128),
            rest: Vec<u8>,
        ) {
            let mut bytes = if is_entry { ENTRY } else { LEASE }.to_vec();
            bytes.extend(stamp);
            bytes.extend(rest);
            let text = to_text(&bytes).unwrap();
            prop_assert!(text.as_bytes().starts_with(&bytes[..10]));
            prop_assert_eq!(returned(text.as_bytes()), bytes);
        }

        #[test]
        fn a_text_without_a_mark_comes_back_as_it_was(text in "[^LE\u{fffd}]{0,40}|[LE][a-z]{0,20}") {
            prop_assert_eq!(to_text(text.as_bytes()).unwrap(), text.as_str());
            prop_assert_eq!(returned(text.as_bytes()), text.into_bytes());
        }

        #[test]
        fn any_bytes_on_the_server_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = to_text(&returned(&bytes));
        }
    }
}
