//! What a slot holds, taken apart: for the fuzzer, which checks that each part is in its place.

use super::entry::{Slot, decode};

/// What a slot holds.
#[derive(Debug, PartialEq)]
pub enum SlotParts {
    /// A lease: all of its bytes.
    Lease(Vec<u8>),
    /// A fence.
    Fence,
    /// None of these: its first bytes.
    Unreadable(Vec<u8>),
    /// An entry.
    Entry(EntryParts),
}

/// An entry: the parts of its header that are read, and its payload.
#[derive(Debug, PartialEq)]
pub struct EntryParts {
    /// Its first bytes.
    pub mark: [u8; 10],
    /// How the payload is written.
    pub form: [u8; 2],
    /// Whether what is cached is a `None`.
    pub none: bool,
    /// The schema version of its value.
    pub schema: u32,
    /// The hash of the name of its value's type.
    pub value_type: u32,
    /// Which server the lease was taken from.
    pub epoch: u64,
    /// The tags, each with its version.
    pub tags: Vec<(String, u64)>,
    /// The key, if it is long; else it is empty.
    pub key: Vec<u8>,
    /// The value, still encoded.
    pub payload: Vec<u8>,
}

/// Reads a slot.
pub fn slot_parts(bytes: Vec<u8>) -> SlotParts {
    match decode(Some(bytes)) {
        Slot::Lease(token) => SlotParts::Lease(token.to_bytes().to_vec()),
        Slot::Fence => SlotParts::Fence,
        Slot::Absent => SlotParts::Unreadable(Vec::new()),
        Slot::Unreadable(start) => SlotParts::Unreadable(start.into_vec()),
        Slot::Entry(entry) => SlotParts::Entry(EntryParts {
            mark: entry.mark,
            form: entry.header.form.to_bytes(),
            none: entry.header.none,
            schema: entry.header.schema,
            value_type: entry.header.value_type,
            epoch: entry.header.epoch,
            tags: entry
                .tags()
                .map(|(tag, version)| (tag.to_owned(), version))
                .collect(),
            key: entry.key().to_vec(),
            payload: entry.payload().to_vec(),
        }),
    }
}
