//! How values are written on the server, and how they are read, whatever wrote them.
//!
//! The header of each entry has a [`Form`]. It alone decides how the payload is read, so a
//! reader's own codec makes no difference.

mod bytes;
mod compression;
mod form;
mod format;
mod reason;
mod show;
#[cfg(test)]
mod tests;

use serde::Serialize;

use self::compression::{Compression, LARGEST};
pub(crate) use self::form::Form;
use self::format::Format;
pub(crate) use self::reason::{Reason, is_first_report};

/// The largest payload that is stored, in bytes. A server closes a connection that listens for
/// messages when more than 32 MB wait to be read on it. Up to eight reads are sent at a time
/// before the sizes of their answers are known.
const MAX_STORED: usize = 4 << 20;

/// How values are written on the server: in which format, and how compressed.
///
/// It is set for [a whole cache](crate::CacheBuilder::codec), for one function
/// (`#[cached(codec = …)]`) or for [one call](crate::Options::codec). The local tier keeps
/// values as they are, and uses no codec.
///
/// | | feature | |
/// |---|---|---|
/// | [`JSON`](Self::JSON) | | readable in `redis-cli`; for any type |
#[cfg_attr(
    feature = "msgpack",
    doc = "| [`MESSAGE_PACK`](Self::MESSAGE_PACK) | `msgpack` | smaller than JSON, and as tolerant of types that change |"
)]
#[cfg_attr(
    feature = "postcard",
    doc = "| [`POSTCARD`](Self::POSTCARD) | `postcard` | smallest and fastest; for types that do not change |"
)]
#[cfg_attr(
    feature = "lz4",
    doc = "| [`lz4`](Self::lz4) | `lz4` | compresses, in little time |"
)]
#[cfg_attr(
    feature = "zstd",
    doc = "| [`zstd`](Self::zstd) | `zstd` | compresses more |"
)]
///
/// ```
/// use cache_runtime::{Cache, Codec};
///
/// let cache = Cache::builder().codec(Codec::JSON);
/// # #[cfg(feature = "zstd")]
/// let cache = Cache::builder().codec(Codec::JSON.zstd(3).above(4096));
/// # let _ = cache;
/// ```
///
/// A value that is bytes (`Vec<u8>`, `Box<[u8]>`, `Bytes`, `[u8; N]`, or an `Arc` of one of the first
/// three) is stored as it is, whatever the codec, and compressed if the codec says so.
///
/// A value that takes more than 4 MiB after compression, if it has one, is not stored. Nor is one
/// that takes more than 64 MiB before compression.
///
/// # Changing it
///
/// Each entry says how it was written, and is read accordingly. So an entry that was
/// written with another codec is a hit, also while old and new processes run side by side.
/// If a program was built without the feature that an entry needs, the entry is a miss
/// there: the program warns once, and replaces the entry by its own, which the others can
/// read.
///
/// The data on the server is trusted: it is assumed to come from programs that use this
/// crate. Bytes that cannot be decoded are a miss; bytes that can be decoded are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a codec does nothing until it is given to a cache, a function or a call"]
pub struct Codec {
    format: Format,
    compression: Compression,
    level: i32,
    above: usize,
}

/// Checks that so many bytes may be stored in one entry.
pub(crate) fn check_size(size: usize) -> Result<(), Reason> {
    if size > MAX_STORED {
        return Err(Reason::Other(format!(
            "it takes {size} bytes, more than the {MAX_STORED} that are stored; compress it, \
             or cache parts of it"
        )));
    }
    Ok(())
}

/// A value in its stored form.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) form: Form,
    pub(crate) bytes: Vec<u8>,
}

impl Default for Codec {
    /// [`Codec::JSON`].
    fn default() -> Self {
        Self::JSON
    }
}

impl Codec {
    /// JSON: the default. It can be read in `redis-cli`, and can hold every type with serde's
    /// derives. A type may gain fields that have a default, or lose fields, and old entries
    /// still decode.
    ///
    /// What JSON does not have:
    ///
    /// | a value with | | another codec |
    /// |---|---|---|
    /// | NaN or an infinity | is loaded by each call; in an `Option`, it would come back as `None` | `MESSAGE_PACK`, `POSTCARD` |
    /// | a map whose keys are neither text, numbers, nor `bool` | is loaded by each call | `MESSAGE_PACK`, `POSTCARD` |
    /// | `Some(None)`, `Some(())` or `Some(Value::Null)` in it | would come back with `None` there. What the function itself returns is kept, as in `Option<Option<T>>` | `POSTCARD`; not for a `Value` |
    /// | bytes in it | takes up to four times the space; `serde_bytes` is no help here | `MESSAGE_PACK`, `POSTCARD` |
    ///
    /// In development, a value that would come back as another one is
    /// [not stored](crate::CacheBuilder::check_values). A function whose calls all load is in
    /// [`Health::never_hit`](crate::Health::never_hit), with the reason.
    ///
    /// ```
    /// use cache_runtime::Codec;
    ///
    /// assert_eq!(Codec::default(), Codec::JSON);
    /// ```
    pub const JSON: Self = Self::new(Format::Json);

    /// [MessagePack](https://msgpack.org), with the names of fields: smaller than JSON, and as
    /// tolerant of a type that changes. Needs the feature `msgpack`.
    ///
    /// Bytes inside of a value (`serde_bytes`) and ids such as `Uuid` are written as bytes rather than as
    /// text. NaN and the infinities come back, and a map may have keys of any type. What JSON loses of
    /// an `Option` in an `Option` is lost here, too: see [`JSON`](Self::JSON).
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use cache_runtime::{Codec, cached};
    ///
    /// #[cached(key = "distances:<region>", codec = Codec::MESSAGE_PACK)]
    /// async fn distances(region: u64) -> HashMap<(u32, u32), f64> {
    ///     HashMap::from([((1, 2), 7.5), ((1, 3), f64::INFINITY)])
    /// }
    /// ```
    #[cfg(feature = "msgpack")]
    pub const MESSAGE_PACK: Self = Self::new(Format::MessagePack);

    /// [Postcard](https://docs.rs/postcard): the smallest form, and the fastest. Needs the feature `postcard`.
    ///
    /// The bytes do not describe their own structure, so this codec needs care:
    ///
    /// * When the type changes, old bytes may decode as *another value*. Raise the
    ///   function's schema version (`version = …`) with each change of the type.
    /// * A type whose decoding depends on what the bytes hold cannot be decoded:
    ///   `#[serde(untagged)]`, `#[serde(tag = "…")]`, `serde_json::Value`. The same is true of
    ///   a type with `#[serde(skip_serializing_if = "…")]`. Such a type is encoded all the
    ///   same, so each call is a miss, with a warning.
    /// * A type with `#[serde(flatten)]` cannot be encoded.
    /// * The nesting of a type that contains itself is not limited when it is decoded. Choose
    ///   another codec for such a type if the server may hold bytes from untrusted programs.
    ///
    /// ```
    /// use cache_runtime::{Codec, cached};
    ///
    /// #[cached(key = "temperatures:<station>", version = 1, codec = Codec::POSTCARD)]
    /// async fn temperatures(station: u32) -> Vec<i16> {
    ///     println!("asking station {station}");
    ///     vec![-3, 0, 7]
    /// }
    /// ```
    #[cfg(feature = "postcard")]
    pub const POSTCARD: Self = Self::new(Format::Postcard);

    const fn new(format: Format) -> Self {
        Self {
            format,
            compression: Compression::None,
            level: 0,
            above: 1024,
        }
    }

    /// Compresses large values with LZ4, in little time. Needs the feature `lz4`.
    /// Replaces any other compression of this codec.
    ///
    /// See [`above`](Self::above) for which values are large.
    ///
    /// ```
    /// let codec = cache_runtime::Codec::JSON.lz4();
    /// # let _ = codec;
    /// ```
    #[cfg(feature = "lz4")]
    pub const fn lz4(mut self) -> Self {
        self.compression = Compression::Lz4;
        self
    }

    /// Compresses large values with Zstandard: smaller than with LZ4, in more time. Needs
    /// the feature `zstd`. Replaces any other compression of this codec.
    ///
    /// The level is from -7, the fastest, to 22, the smallest; 0 means the usual level, 3. A
    /// level beyond these limits is changed to the nearest limit. A value is compressed on the
    /// thread of the call that stores it: from about level 10 on, that may take many
    /// milliseconds for each 100 kB.
    ///
    /// See [`above`](Self::above) for which values are large.
    ///
    /// ```
    /// let codec = cache_runtime::Codec::JSON.zstd(3);
    /// # let _ = codec;
    /// ```
    #[cfg(feature = "zstd")]
    pub const fn zstd(mut self, level: i32) -> Self {
        self.compression = Compression::Zstd;
        self.level = match level {
            ..-7 => -7,
            23.. => 22,
            level => level,
        };
        self
    }

    /// Sets which values are large: those of more than this many bytes. A large value is
    /// compressed if that makes it smaller. Default: 1024 bytes. Without
    /// [`lz4`](Self#method.lz4) or [`zstd`](Self#method.zstd) this has no effect.
    ///
    /// ```
    /// # #[cfg(feature = "lz4")]
    /// let codec = cache_runtime::Codec::JSON.lz4().above(16 * 1024);
    /// ```
    pub const fn above(mut self, bytes: usize) -> Self {
        self.above = bytes;
        self
    }

    pub(crate) fn encode<V: Serialize + 'static>(self, value: &V) -> Result<Payload, Reason> {
        let format = if bytes::are::<V>() {
            Format::Bytes
        } else {
            self.format
        };
        let bytes = format.encode(value)?;
        let size = bytes.len();
        if size > LARGEST {
            return Err(Reason::Other(format!(
                "it takes {size} bytes before compression, more than the {LARGEST} that are \
                 compressed; cache parts of it"
            )));
        }
        let payload = self.compress(format, bytes);
        check_size(payload.bytes.len())?;
        Ok(payload)
    }

    /// Compresses bytes that are large, if that makes them fewer.
    fn compress(self, format: Format, bytes: Vec<u8>) -> Payload {
        let is_large = bytes.len() > self.above;
        let compressed = is_large
            .then(|| self.compression.compress(&bytes, self.level))
            .flatten();
        let form = Form {
            format,
            compression: Compression::None,
        };
        match compressed {
            Some(bytes) => Payload {
                form: Form {
                    compression: self.compression,
                    ..form
                },
                bytes,
            },
            None => Payload { form, bytes },
        }
    }
}
