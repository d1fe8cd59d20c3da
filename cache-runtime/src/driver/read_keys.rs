//! The server keys that a read asks for.

/// The server keys of a read, each behind its length, in one piece of memory: a caller fills it,
/// and the driver copies it into a command.
#[derive(Debug, Clone)]
pub(crate) struct ReadKeys {
    packed: Vec<u8>,
    count: usize,
}

const LENGTH: usize = size_of::<usize>();

impl ReadKeys {
    /// Puts keys together from their pieces.
    pub(crate) fn new<'a>(keys: impl Iterator<Item = [&'a str; 3]> + Clone) -> Self {
        let length = |key: [&str; 3]| key.iter().map(|piece| piece.len()).sum::<usize>();
        let bytes = keys.clone().map(|key| LENGTH + length(key)).sum();
        let mut all = Self::with_capacity(bytes);
        for key in keys {
            all.push_length(length(key));
            for piece in key {
                all.packed.extend_from_slice(piece.as_bytes());
            }
        }
        all
    }

    /// No keys, with room for `bytes` of [`packed_len`](Self::packed_len).
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            packed: Vec::with_capacity(bytes),
            count: 0,
        }
    }

    pub(crate) fn push(&mut self, key: &[u8]) {
        self.push_length(key.len());
        self.packed.extend_from_slice(key);
    }

    fn push_length(&mut self, length: usize) {
        self.packed.extend_from_slice(&length.to_ne_bytes());
        self.count += 1;
    }

    /// The keys, in the order in which the answer must have their values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.packed[..];
        std::iter::from_fn(move || {
            let (&length, after) = rest.split_first_chunk::<LENGTH>()?;
            let (key, after) = after.split_at_checked(usize::from_ne_bytes(length))?;
            rest = after;
            Some(key)
        })
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The length of the memory: that of all keys, and of their lengths.
    pub(crate) fn packed_len(&self) -> usize {
        self.packed.len()
    }

    /// The first key.
    pub(crate) fn first(&self) -> &[u8] {
        self.iter().next().unwrap_or_default()
    }
}
