//! What a server tells the processes that keep copies of what it holds: what was invalidated there.
//!
//! The script that invalidates publishes it. So a process that dies in between has done both, or neither.
//! What processes announce to each other, because a server refuses to invalidate it, is
//! [another thing](super::announcement), on another channel.

use crate::driver::{Argument, Operation};
use crate::key::{Key, Pattern};

/// What was invalidated at a server, or replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The entry of a key.
    Entry(Key),
    /// All that carries a tag.
    Tag(Key),
    /// All names that match a pattern.
    Matching(Pattern),
    Everything,
}

const ENTRY: u8 = b'e';
const TAG: u8 = b'v';
const MATCHING: u8 = b'p';
const EVERYTHING: u8 = b'c';

impl Notice {
    /// As a script publishes it: a letter, and the name as servers know it.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let (kind, name) = match self {
            Self::Entry(key) => (ENTRY, key.bytes()),
            Self::Tag(tag) => (TAG, tag.bytes()),
            Self::Matching(pattern) => (MATCHING, pattern.as_str().as_bytes()),
            Self::Everything => (EVERYTHING, [].as_slice()),
        };
        [&[kind], name].concat()
    }

    /// `None` if it is no notice. One that this version does not know is about everything.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, name) = bytes.split_first()?;
        if !kind.is_ascii_lowercase() {
            return None;
        }
        let Ok(name) = str::from_utf8(name) else {
            return Some(Self::Everything);
        };
        Some(match *kind {
            ENTRY => Self::Entry(name.into()),
            TAG => Self::Tag(name.into()),
            MATCHING => Self::Matching(name.into()),
            _ => Self::Everything,
        })
    }
}

/// Adds to the arguments of a script what it publishes: the channel, and the notice.
pub(super) fn publishing(operation: Operation, channel: &str, notice: &Notice) -> Operation {
    operation.with([
        Argument::from(channel.as_bytes()),
        Argument::from(notice.to_bytes()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_notice_is_read_as_it_was_written() {
        for notice in [
            Notice::Entry("user:7".into()),
            Notice::Tag("users:'\"'".into()),
            Notice::Matching("user:*".into()),
            Notice::Everything,
        ] {
            assert_eq!(Notice::from_bytes(&notice.to_bytes()), Some(notice));
        }
        assert_eq!(Notice::from_bytes(b"zlater"), Some(Notice::Everything));
        assert_eq!(Notice::from_bytes(b"e\xff"), Some(Notice::Everything));
        assert_eq!(Notice::from_bytes(b"[\"kept\",1,2,[],[]]"), None);
        assert_eq!(Notice::from_bytes(b""), None);
    }
}
