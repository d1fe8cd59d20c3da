//! What one caller wants to know.

use redis::Cmd;

/// The names of a slot and of versions, each behind its length: one piece of memory, which a
/// caller fills and whoever sends for it reads.
pub(crate) struct Wanted(Vec<u8>);

const LENGTH: usize = size_of::<usize>();

impl Wanted {
    /// Takes the names in pieces.
    pub(crate) fn new<'a>(
        slot: [&'a str; 3],
        versions: impl Iterator<Item = [&'a str; 3]> + Clone,
    ) -> Self {
        let names = || std::iter::once(slot).chain(versions.clone());
        let length = |name: [&str; 3]| name.iter().map(|piece| piece.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(names().map(|name| LENGTH + length(name)).sum());
        for name in names() {
            bytes.extend_from_slice(&length(name).to_ne_bytes());
            for piece in name {
                bytes.extend_from_slice(piece.as_bytes());
            }
        }
        Self(bytes)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (&length, after) = rest.split_first_chunk::<LENGTH>()?;
            let (name, after) = after.split_at_checked(usize::from_ne_bytes(length))?;
            rest = after;
            Some(name)
        })
    }

    pub(super) fn slot(&self) -> &[u8] {
        self.names().next().unwrap_or_default()
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }

    /// A command of its own.
    pub(super) fn mget(&self) -> Cmd {
        let mut mget = new_mget(self.names().count(), self.bytes());
        for name in self.names() {
            mget.arg(name);
        }
        mget
    }
}

/// An `MGET` with room for so many names, of so many bytes together.
pub(super) fn new_mget(names: usize, bytes: usize) -> Cmd {
    let mut mget = Cmd::with_capacity(1 + names, "MGET".len() + bytes);
    mget.arg("MGET");
    mget
}
