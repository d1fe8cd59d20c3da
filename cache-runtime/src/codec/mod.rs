//! How values are written on the server, and how they are read whoever wrote them.
//!
//! A [`Form`] stands in the header of each entry. It alone decides how the payload
//! is read, so what a reader would write itself makes no difference. A payload that
//! is compressed begins with the length of what it unpacks to, in four bytes.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest string that a server takes, in bytes. Nothing longer is compressed, or unpacked.
const LARGEST: usize = 512 << 20;

/// The largest payload that is stored, in bytes. A server hangs up on a connection that
/// listens when more than 32 MB wait to be read on it, and up to eight reads at a time leave
/// before it is known how much they bring.
const MOST_STORED: usize = 4 << 20;

/// How values are written on the server: in which format, and how compressed.
///
/// For [all of a cache](crate::CacheBuilder::codec), one function
/// (`#[cached(codec = …)]`) or [one call](crate::Options::codec). The local tier keeps
/// values as they are, and asks for no codec.
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
/// A value that takes more than 4 MiB, compressed if it is, is not stored.
///
/// # Changing it
///
/// Each entry says how it was written, and is read accordingly: one that was written
/// with another codec is a hit, also while old and new processes run side by side. A
/// program that was built without the feature for it takes it for a miss, warns once,
/// and replaces the entry by its own, which the others can read.
///
/// What is on the server is trusted to come from programs such as this one. Bytes that
/// cannot be decoded are a miss; bytes that can be are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a codec does nothing until it is given to a cache, a function or a call"]
pub struct Codec {
    format: Format,
    packing: Packing,
    level: i32,
    above: usize,
}

/// The form that a header names first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    MessagePack,
    Postcard,
}

/// The form that a header names second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Plain,
    Lz4,
    Zstd,
}

/// How one payload is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    format: Format,
    packing: Packing,
}

/// A value in its stored form.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) form: Form,
    pub(crate) bytes: Vec<u8>,
}

/// Why a value cannot be encoded or decoded.
#[derive(Debug)]
pub(crate) enum Reason {
    /// This program was built without the feature.
    #[allow(dead_code, reason = "with all features, nothing is lacking")]
    Lacks(&'static str),
    Other(String),
}

impl Reason {
    fn new(reason: impl Display) -> Self {
        Self::Other(reason.to_string())
    }
}

impl Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lacks(feature) => write!(
                f,
                "it is written with `{feature}`, and cache-runtime was built without that feature"
            ),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

/// Whether this program has not been told yet that it lacks `feature`. Entries that
/// need it may be many, and a warning for each would say the same.
pub(crate) fn is_news(feature: &'static str) -> bool {
    static TOLD: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let is_news = !told.contains(&feature);
    if is_news {
        told.push(feature);
    }
    is_news
}

impl Default for Codec {
    /// [`Codec::JSON`].
    fn default() -> Self {
        Self::JSON
    }
}

impl Codec {
    /// JSON: the default. It can be read in `redis-cli`, and every type that serde's derives
    /// make can be written in it. A type may gain fields that have a default, or lose some,
    /// and old entries still decode.
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
    /// Bytes (`serde_bytes`) and ids such as `Uuid` are written as bytes rather than as text.
    ///
    /// ```
    /// use cache_runtime::{Codec, cached};
    ///
    /// #[cached(key = "thumbnail:<id>", codec = Codec::MESSAGE_PACK)]
    /// async fn thumbnail(id: u64) -> Vec<u8> {
    ///     vec![0; usize::try_from(id).unwrap_or_default()]
    /// }
    /// ```
    #[cfg(feature = "msgpack")]
    pub const MESSAGE_PACK: Self = Self::new(Format::MessagePack);

    /// [Postcard](https://docs.rs/postcard): the smallest form, and the fastest. Needs the feature `postcard`.
    ///
    /// It does not say of itself what it holds, and so asks for care:
    ///
    /// * When the type changes, old bytes may decode as *another value*. Raise the
    ///   function's `version` with each change of the type.
    /// * A type that has to see what is there before it knows what it reads cannot be
    ///   decoded: `#[serde(untagged)]`, `#[serde(tag = "…")]`, `serde_json::Value`. Neither can
    ///   one with `#[serde(skip_serializing_if = "…")]`. It is encoded all the same, so each
    ///   call is a miss, with a warning.
    /// * A type with `#[serde(flatten)]` cannot be encoded.
    /// * A type that contains itself is decoded however deep the bytes nest. Choose another
    ///   codec for one where strangers write to the server.
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
            packing: Packing::Plain,
            level: 0,
            above: 1024,
        }
    }

    /// Compresses large values with LZ4, in little time. Needs the feature `lz4`.
    /// What they are compressed with otherwise is left out.
    ///
    /// See [`above`](Self::above) for which values are large.
    ///
    /// ```
    /// let codec = cache_runtime::Codec::JSON.lz4();
    /// # let _ = codec;
    /// ```
    #[cfg(feature = "lz4")]
    pub const fn lz4(mut self) -> Self {
        self.packing = Packing::Lz4;
        self
    }

    /// Compresses large values with Zstandard: smaller than with LZ4, in more time. Needs
    /// the feature `zstd`. What they are compressed with otherwise is left out.
    ///
    /// The level is from -7, the fastest, to 22, the smallest; 0 is the usual one, which is 3.
    /// One beyond is taken for the nearest. A value is compressed on the thread of the call that
    /// stores it: from level 10 or so that may take many milliseconds for each 100 kB.
    ///
    /// See [`above`](Self::above) for which values are large.
    ///
    /// ```
    /// let codec = cache_runtime::Codec::JSON.zstd(3);
    /// # let _ = codec;
    /// ```
    #[cfg(feature = "zstd")]
    pub const fn zstd(mut self, level: i32) -> Self {
        self.packing = Packing::Zstd;
        self.level = match level {
            ..-7 => -7,
            23.. => 22,
            level => level,
        };
        self
    }

    /// From which size on values are compressed: those of more bytes than this, if it makes
    /// them smaller. Default: 1024 bytes. Without [`lz4`](Self#method.lz4) or
    /// [`zstd`](Self#method.zstd) it means nothing.
    ///
    /// ```
    /// # #[cfg(feature = "lz4")]
    /// let codec = cache_runtime::Codec::JSON.lz4().above(16 * 1024);
    /// ```
    pub const fn above(mut self, bytes: usize) -> Self {
        self.above = bytes;
        self
    }

    pub(crate) fn encode<V: Serialize>(self, value: &V) -> Result<Payload, Reason> {
        let bytes = match self.format {
            Format::Json => serde_json::to_vec(value).map_err(Reason::new)?,
            Format::MessagePack => message_pack::encode(value)?,
            Format::Postcard => postcard::encode(value)?,
        };
        let payload = self.pack(bytes);
        let size = payload.bytes.len();
        if size > MOST_STORED {
            return Err(Reason::Other(format!(
                "it takes {size} bytes, more than the {MOST_STORED} that are stored; compress it, \
                 or cache parts of it"
            )));
        }
        Ok(payload)
    }

    fn pack(self, bytes: Vec<u8>) -> Payload {
        let mut form = Form {
            format: self.format,
            packing: Packing::Plain,
        };
        if bytes.len() <= self.above || bytes.len() > LARGEST {
            return Payload { form, bytes };
        }
        let packed = match self.packing {
            Packing::Plain => None,
            Packing::Lz4 => lz4::pack(&bytes),
            Packing::Zstd => zstd::pack(&bytes, self.level),
        };
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        match packed {
            Some(packed) if length.len() + packed.len() < bytes.len() => {
                form.packing = self.packing;
                let bytes = [&length[..], &packed].concat();
                Payload { form, bytes }
            }
            _ => Payload { form, bytes },
        }
    }
}

impl Form {
    /// That of a payload which is not there.
    pub(crate) const NONE: Self = Self {
        format: Format::Json,
        packing: Packing::Plain,
    };

    /// As a header has it, readable in `redis-cli`.
    pub(crate) fn to_bytes(self) -> [u8; 2] {
        let format = match self.format {
            Format::Json => b'j',
            Format::MessagePack => b'm',
            Format::Postcard => b'p',
        };
        let packing = match self.packing {
            Packing::Plain => b'-',
            Packing::Lz4 => b'l',
            Packing::Zstd => b'z',
        };
        [format, packing]
    }

    /// `None` for a form of the future.
    pub(crate) fn from_bytes(bytes: [u8; 2]) -> Option<Self> {
        let format = match bytes[0] {
            b'j' => Format::Json,
            b'm' => Format::MessagePack,
            b'p' => Format::Postcard,
            _ => return None,
        };
        let packing = match bytes[1] {
            b'-' => Packing::Plain,
            b'l' => Packing::Lz4,
            b'z' => Packing::Zstd,
            _ => return None,
        };
        Some(Self { format, packing })
    }

    pub(crate) fn decode<V: DeserializeOwned>(self, payload: &[u8]) -> Result<V, Reason> {
        let bytes = self.unpack(payload)?;
        match self.format {
            Format::Json => {
                // Looked at as a whole: string by string, that takes a tenth of the decoding.
                let text = str::from_utf8(&bytes).map_err(Reason::new)?;
                serde_json::from_str(text).map_err(Reason::new)
            }
            Format::MessagePack => message_pack::decode(&bytes),
            Format::Postcard => postcard::decode(&bytes),
        }
    }

    fn unpack(self, payload: &[u8]) -> Result<Cow<'_, [u8]>, Reason> {
        // To how many bytes one unpacks at most. A length beyond that is wrong, and
        // allocates nothing.
        let most = match self.packing {
            Packing::Plain => return Ok(Cow::Borrowed(payload)),
            Packing::Lz4 => 255,
            // A block of 128 KiB takes four bytes at least.
            Packing::Zstd => 32 << 10,
        };
        let corrupt = || Reason::new("it is compressed, and corrupt");
        let (length, packed) = payload.split_first_chunk().ok_or_else(corrupt)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > LARGEST || length > packed.len().saturating_mul(most) {
            return Err(corrupt());
        }
        let bytes = match self.packing {
            Packing::Zstd => zstd::unpack(packed, length)?,
            _ => lz4::unpack(packed, length)?,
        };
        if bytes.len() != length {
            return Err(corrupt());
        }
        Ok(Cow::Owned(bytes))
    }
}

#[cfg(feature = "msgpack")]
mod message_pack {
    use super::{DeserializeOwned, Reason, Serialize};

    /// As deep as JSON may be: bytes that nest deeper could take the whole stack.
    const DEEPEST: usize = 128;

    pub(super) fn encode<V: Serialize>(value: &V) -> Result<Vec<u8>, Reason> {
        rmp_serde::to_vec_named(value).map_err(Reason::new)
    }

    pub(super) fn decode<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, Reason> {
        let mut decoder = rmp_serde::Deserializer::from_read_ref(bytes);
        decoder.set_max_depth(DEEPEST);
        V::deserialize(&mut decoder).map_err(Reason::new)
    }
}

#[cfg(feature = "postcard")]
mod postcard {
    use super::{DeserializeOwned, Reason, Serialize};

    pub(super) fn encode<V: Serialize>(value: &V) -> Result<Vec<u8>, Reason> {
        ::postcard::to_stdvec(value).map_err(Reason::new)
    }

    pub(super) fn decode<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, Reason> {
        match ::postcard::take_from_bytes(bytes) {
            Ok((value, [])) => Ok(value),
            Ok(_) => Err(Reason::new("more follows after it")),
            Err(error) => Err(Reason::new(error)),
        }
    }
}

#[cfg(feature = "lz4")]
mod lz4 {
    use super::Reason;

    #[expect(clippy::unnecessary_wraps, reason = "as the others do")]
    pub(super) fn pack(bytes: &[u8]) -> Option<Vec<u8>> {
        Some(lz4_flex::block::compress(bytes))
    }

    pub(super) fn unpack(packed: &[u8], length: usize) -> Result<Vec<u8>, Reason> {
        lz4_flex::block::decompress(packed, length).map_err(Reason::new)
    }
}

#[cfg(feature = "zstd")]
mod zstd {
    use super::Reason;

    pub(super) fn pack(bytes: &[u8], level: i32) -> Option<Vec<u8>> {
        ::zstd::bulk::compress(bytes, level).ok()
    }

    pub(super) fn unpack(packed: &[u8], length: usize) -> Result<Vec<u8>, Reason> {
        ::zstd::bulk::decompress(packed, length).map_err(Reason::new)
    }
}

/// What stands in for a format of a feature that this program was built without.
macro_rules! format_without {
    ($name:ident, $feature:literal) => {
        #[cfg(not(feature = $feature))]
        mod $name {
            use super::Reason;

            pub(super) fn encode<V>(_: &V) -> Result<Vec<u8>, Reason> {
                Err(Reason::Lacks($feature))
            }

            pub(super) fn decode<V>(_: &[u8]) -> Result<V, Reason> {
                Err(Reason::Lacks($feature))
            }
        }
    };
}

/// The same for a compression.
macro_rules! packing_without {
    ($name:ident, $feature:literal $(, $level:ty)?) => {
        #[cfg(not(feature = $feature))]
        mod $name {
            use super::Reason;

            pub(super) fn pack(_: &[u8] $(, _: $level)?) -> Option<Vec<u8>> {
                None
            }

            pub(super) fn unpack(_: &[u8], _: usize) -> Result<Vec<u8>, Reason> {
                Err(Reason::Lacks($feature))
            }
        }
    };
}

format_without!(message_pack, "msgpack");
format_without!(postcard, "postcard");
packing_without!(lz4, "lz4");
packing_without!(zstd, "zstd", i32);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct User {
        id: u64,
        name: Option<String>,
        scores: Vec<(i16, f64)>,
        notes: BTreeMap<String, Note>,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Note {
        Empty,
        Text(String),
        Place { x: i32, y: i32 },
    }

    /// Every format with every compression that this program was built with.
    fn codecs() -> Vec<Codec> {
        let formats = [
            Codec::JSON,
            #[cfg(feature = "msgpack")]
            Codec::MESSAGE_PACK,
            #[cfg(feature = "postcard")]
            Codec::POSTCARD,
        ];
        let packed = |format: Codec| {
            [
                format,
                #[cfg(feature = "lz4")]
                format.lz4().above(0),
                #[cfg(feature = "zstd")]
                format.zstd(1).above(0),
            ]
        };
        formats.into_iter().flat_map(packed).collect()
    }

    /// Every form, also of what this program was built without.
    fn forms() -> Vec<Form> {
        let second = |first| b"-lz".map(|second| Form::from_bytes([first, second]));
        let forms: Option<Vec<_>> = b"jmp".iter().copied().flat_map(second).collect();
        forms.expect("these are forms")
    }

    fn notes() -> impl Strategy<Value = Note> {
        prop_oneof![
            Just(Note::Empty),
            ".*".prop_map(Note::Text),
            any::<(i32, i32)>().prop_map(|(x, y)| Note::Place { x, y }),
        ]
    }

    fn users() -> impl Strategy<Value = User> {
        let scores = proptest::collection::vec((any::<i16>(), -1e9..1e9), 0..40);
        let notes = proptest::collection::btree_map(".*", notes(), 0..4);
        (any::<u64>(), any::<Option<String>>(), scores, notes).prop_map(
            |(id, name, scores, notes)| User {
                id,
                name,
                scores,
                notes,
            },
        )
    }

    #[test]
    fn a_form_reads_back_and_another_byte_is_none() {
        let mut known = 0;
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                if let Some(form) = Form::from_bytes([first, second]) {
                    assert_eq!(form.to_bytes(), [first, second]);
                    known += 1;
                }
            }
        }
        assert_eq!(known, forms().len());
        assert_eq!(Form::NONE.to_bytes(), *b"j-");
    }

    #[test]
    fn only_large_values_that_shrink_are_compressed() {
        let bytes = |length| "x".repeat(length);
        // As nothing in it repeats, compression makes it longer.
        let numbers: Vec<u64> = (1..=600_u64)
            .map(|n| {
                n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    .rotate_left(17)
                    .wrapping_mul(n)
            })
            .collect();
        for codec in codecs() {
            let is_packed = |payload: Payload| payload.form.packing != Packing::Plain;
            let packs = codec.packing != Packing::Plain;
            let codec = codec.above(100);
            // With what says how long it is, in JSON and MessagePack as in Postcard, 100 or 1100 at most.
            assert!(!is_packed(codec.encode(&bytes(98)).unwrap()));
            let large = codec.encode(&bytes(1000)).unwrap();
            assert_eq!(large.bytes.len() < 100, packs, "{codec:?}");
            assert_eq!(is_packed(large), packs);
            assert!(!is_packed(codec.above(1100).encode(&bytes(1000)).unwrap()));

            let noise = codec.encode(&numbers).unwrap();
            let plain = Codec {
                packing: Packing::Plain,
                ..codec
            };
            assert!(noise.bytes.len() <= plain.encode(&numbers).unwrap().bytes.len());
            assert_eq!(
                noise.form.decode::<Vec<u64>>(&noise.bytes).unwrap(),
                numbers
            );
        }
    }

    #[test]
    fn a_length_that_cannot_be_allocates_nothing() {
        for form in forms() {
            if form.packing == Packing::Plain {
                continue;
            }
            for length in [1 << 20, LARGEST, LARGEST + 1, u32::MAX as usize] {
                let length = u32::try_from(length).unwrap();
                let payload = [&length.to_le_bytes()[..], b"12345678"].concat();
                assert!(form.decode::<String>(&payload).is_err(), "{form:?}");
            }
            assert!(form.decode::<String>(b"").is_err());
            assert!(form.decode::<String>(&[0; 4]).is_err());
        }
    }

    #[test]
    #[cfg(feature = "zstd")]
    fn a_level_beyond_is_taken_for_the_nearest() {
        for level in [i32::MIN, -1, 0, 22, i32::MAX] {
            let codec = Codec::JSON.zstd(level);
            let payload = codec.encode(&"x".repeat(5000)).unwrap();
            assert_eq!(payload.form.to_bytes(), *b"jz");
            assert!(payload.bytes.len() < 1000, "{level}");
        }
    }

    #[test]
    fn a_form_of_a_feature_that_is_lacking_says_so() {
        for (form, feature, lacking) in [
            (*b"m-", "msgpack", cfg!(not(feature = "msgpack"))),
            (*b"p-", "postcard", cfg!(not(feature = "postcard"))),
            (*b"jl", "lz4", cfg!(not(feature = "lz4"))),
            (*b"jz", "zstd", cfg!(not(feature = "zstd"))),
        ] {
            let form = Form::from_bytes(form).unwrap();
            let decoded = form.decode::<User>(&[1, 0, 0, 0, b'x']);
            let is_lacking = matches!(decoded, Err(Reason::Lacks(named)) if named == feature);
            assert_eq!(is_lacking, lacking, "{decoded:?}");
        }
    }

    #[test]
    fn what_is_lacking_is_news_once() {
        assert!(is_news("a feature"));
        assert!(!is_news("a feature"));
        assert!(is_news("another"));
    }

    #[test]
    #[cfg(feature = "msgpack")]
    fn message_pack_does_not_nest_deeper_than_json() {
        #[derive(Debug, Deserialize)]
        struct Nested(#[expect(dead_code, reason = "only read")] Vec<Nested>);

        let form = Form::from_bytes(*b"m-").unwrap();
        assert!(form.decode::<Nested>(&vec![0x91; 100_000]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_value_reads_back_as_written(user in users()) {
            for codec in codecs() {
                let payload = codec.encode(&user).unwrap();
                let read = payload.form.decode::<User>(&payload.bytes);
                prop_assert_eq!(read.unwrap(), user.clone(), "{:?}", codec);
            }
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, length in 0_u32..5000) {
            for form in forms() {
                let bytes = match form.packing {
                    Packing::Plain => bytes.clone(),
                    _ => [&length.to_le_bytes(), &bytes[..]].concat(),
                };
                let _ = form.decode::<User>(&bytes);
                let _ = form.decode::<Vec<Note>>(&bytes);
            }
        }

        #[test]
        fn what_is_cut_or_changed_does_not_panic(
            user in users(),
            at: prop::sample::Index,
            change in 1..=u8::MAX,
        ) {
            for codec in codecs() {
                let Payload { form, mut bytes } = codec.encode(&user).unwrap();
                let at = at.index(bytes.len());
                prop_assert!(form.decode::<User>(&bytes[..at]).is_err(), "{:?} cut at {}", codec, at);
                bytes[at] ^= change;
                let _ = form.decode::<User>(&bytes);
            }
        }
    }
}
