//! The compressions: bytes as fewer bytes, and back.
//!
//! Compressed bytes begin with their length before compression, in four bytes.
//!
//! A compression whose feature is off has a stand-in that compresses nothing, and fails to
//! decompress with [`Reason::Lacks`].

use std::borrow::Cow;

use super::MAX_STORED;
use super::reason::Reason;

/// The most bytes that are compressed or decompressed: sixteen times as many as are stored. So an
/// entry of a few kilobytes cannot make a reader allocate gigabytes, and what a writer compresses,
/// a reader decompresses.
pub(super) const LARGEST: usize = 16 * MAX_STORED;

/// The second byte of a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Lz4,
    Zstd,
}

impl Compression {
    /// The compressed bytes, if that makes them fewer.
    pub(super) fn compress(self, bytes: &[u8], level: i32) -> Option<Vec<u8>> {
        if bytes.len() > LARGEST {
            return None;
        }
        let compressed = match self {
            Self::None => None,
            Self::Lz4 => lz4::compress(bytes),
            Self::Zstd => zstd::compress(bytes, level),
        }?;
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        let is_smaller = length.len() + compressed.len() < bytes.len();
        is_smaller.then(|| [&length[..], &compressed].concat())
    }

    pub(super) fn decompress(self, payload: &[u8]) -> Result<Cow<'_, [u8]>, Reason> {
        // How many bytes one compressed byte yields at most. A stated length beyond that is
        // wrong, and nothing is allocated for it.
        let max_ratio = match self {
            Self::None => return Ok(Cow::Borrowed(payload)),
            Self::Lz4 => 255,
            // A block of 128 KiB takes at least four bytes.
            Self::Zstd => 32 << 10,
        };
        let corrupt = || Reason::new("it is compressed, and corrupt");
        let (length, compressed) = payload.split_first_chunk().ok_or_else(corrupt)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > LARGEST || length > compressed.len().saturating_mul(max_ratio) {
            return Err(corrupt());
        }
        let bytes = match self {
            Self::Zstd => zstd::decompress(compressed, length)?,
            _ => lz4::decompress(compressed, length)?,
        };
        if bytes.len() != length {
            return Err(corrupt());
        }
        Ok(Cow::Owned(bytes))
    }
}

#[cfg(feature = "lz4")]
mod lz4 {
    use super::Reason;

    #[expect(clippy::unnecessary_wraps, reason = "as the others do")]
    pub(super) fn compress(bytes: &[u8]) -> Option<Vec<u8>> {
        Some(lz4_flex::block::compress(bytes))
    }

    pub(super) fn decompress(compressed: &[u8], length: usize) -> Result<Vec<u8>, Reason> {
        lz4_flex::block::decompress(compressed, length).map_err(Reason::new)
    }
}

#[cfg(feature = "zstd")]
mod zstd {
    use super::Reason;

    pub(super) fn compress(bytes: &[u8], level: i32) -> Option<Vec<u8>> {
        ::zstd::bulk::compress(bytes, level).ok()
    }

    pub(super) fn decompress(compressed: &[u8], length: usize) -> Result<Vec<u8>, Reason> {
        ::zstd::bulk::decompress(compressed, length).map_err(Reason::new)
    }
}

/// The stand-in for a compression whose feature is off.
macro_rules! compression_without {
    ($name:ident, $feature:literal $(, $level:ty)?) => {
        #[cfg(not(feature = $feature))]
        mod $name {
            use super::Reason;

            pub(super) fn compress(_: &[u8] $(, _: $level)?) -> Option<Vec<u8>> {
                None
            }

            pub(super) fn decompress(_: &[u8], _: usize) -> Result<Vec<u8>, Reason> {
                Err(Reason::Lacks($feature))
            }
        }
    };
}

compression_without!(lz4, "lz4");
compression_without!(zstd, "zstd", i32);
