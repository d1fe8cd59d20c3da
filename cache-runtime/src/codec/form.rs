//! The stored form: two bytes in an entry's header, which say how to read its payload.

use std::fmt;

use serde::de::DeserializeOwned;

use super::compression::Compression;
use super::format::Format;
use super::reason::Reason;

/// How one payload is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    pub(super) format: Format,
    pub(super) compression: Compression,
}

impl Form {
    /// The form of an entry without a payload.
    pub(crate) const NONE: Self = Self {
        format: Format::Json,
        compression: Compression::None,
    };

    /// JSON that is not compressed.
    pub(crate) const JSON: Self = Self::NONE;

    /// The bytes in a header, readable in `redis-cli`.
    pub(crate) fn to_bytes(self) -> [u8; 2] {
        let format = match self.format {
            Format::Json => b'j',
            Format::MessagePack => b'm',
            Format::Postcard => b'p',
            Format::Bytes => b'b',
        };
        let compression = match self.compression {
            Compression::None => b'-',
            Compression::Lz4 => b'l',
            Compression::Zstd => b'z',
        };
        [format, compression]
    }

    /// `None` for a form that a later release may have added.
    pub(crate) fn from_bytes(bytes: [u8; 2]) -> Option<Self> {
        let format = match bytes[0] {
            b'j' => Format::Json,
            b'm' => Format::MessagePack,
            b'p' => Format::Postcard,
            b'b' => Format::Bytes,
            _ => return None,
        };
        let compression = match bytes[1] {
            b'-' => Compression::None,
            b'l' => Compression::Lz4,
            b'z' => Compression::Zstd,
            _ => return None,
        };
        Some(Self {
            format,
            compression,
        })
    }

    pub(crate) fn decode<V: DeserializeOwned + 'static>(self, payload: &[u8]) -> Result<V, Reason> {
        let bytes = self.compression.decompress(payload)?;
        self.format.decode(&bytes)
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.format.fmt(f)
    }
}
