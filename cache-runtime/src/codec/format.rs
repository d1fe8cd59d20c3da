//! The formats: a value as bytes, and back.
//!
//! A format whose feature is off has a stand-in that fails with [`Reason::Lacks`].

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bytes;
use super::reason::Reason;

/// The first byte of a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    MessagePack,
    Postcard,
    /// The value itself, which is bytes. No codec has this format: the value's type decides.
    Bytes,
}

impl Format {
    pub(super) fn encode<V: Serialize + 'static>(self, value: &V) -> Result<Vec<u8>, Reason> {
        match self {
            Self::Json => serde_json::to_vec(value).map_err(|error| not_in_json(&error)),
            Self::MessagePack => message_pack::encode(value),
            Self::Postcard => postcard::encode(value),
            Self::Bytes => bytes::encode(value),
        }
    }

    pub(super) fn decode<V: DeserializeOwned + 'static>(self, bytes: &[u8]) -> Result<V, Reason> {
        match self {
            Self::Json => {
                // UTF-8 is checked once for the whole text. Checked string by string, it takes a
                // tenth of the decoding.
                let text = str::from_utf8(bytes).map_err(Reason::new)?;
                serde_json::from_str(text).map_err(|error| not_in_json(&error))
            }
            Self::MessagePack => message_pack::decode(bytes),
            Self::Postcard => postcard::decode(bytes),
            Self::Bytes => bytes::decode(bytes),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "JSON",
            Self::MessagePack => "MessagePack",
            Self::Postcard => "Postcard",
            Self::Bytes => "bytes",
        })
    }
}

/// Why JSON cannot hold a value, with what else can. It writes a NaN as `null`, and reads no float there.
#[cold]
fn not_in_json(error: &serde_json::Error) -> Reason {
    let text = error.to_string();
    let lost = if text.contains("invalid type: null, expected f") {
        "neither NaN nor an infinity is in JSON"
    } else if text.contains("key must be") {
        "in JSON, a map has text as its keys"
    } else {
        return Reason::Other(text);
    };
    Reason::Other(format!(
        "{lost}; `codec = Codec::MESSAGE_PACK` keeps it ({text})"
    ))
}

#[cfg(feature = "msgpack")]
mod message_pack {
    use super::{DeserializeOwned, Reason, Serialize};

    /// The depth that JSON may have, too. Bytes that nest deeper could exhaust the stack.
    const MAX_DEPTH: usize = 128;

    pub(super) fn encode<V: Serialize>(value: &V) -> Result<Vec<u8>, Reason> {
        rmp_serde::to_vec_named(value).map_err(Reason::new)
    }

    pub(super) fn decode<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, Reason> {
        let mut decoder = rmp_serde::Deserializer::from_read_ref(bytes);
        decoder.set_max_depth(MAX_DEPTH);
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

/// The stand-in for a format whose feature is off.
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

format_without!(message_pack, "msgpack");
format_without!(postcard, "postcard");
