//! The decoder of values, in each form.

#![no_main]

#[expect(
    dead_code,
    unused_imports,
    reason = "lacking features are reported elsewhere"
)]
#[path = "../../cache-runtime/src/codec/mod.rs"]
mod codec;

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};

use self::codec::{Codec, Form, Payload};

/// One of each kind of type in serde, but no float, which may differ from itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Value {
    id: u64,
    name: Option<String>,
    numbers: Vec<(i16, bool)>,
    notes: BTreeMap<String, Note>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Note {
    Empty,
    Text(String),
    Place { x: i32, y: Option<i64> },
}

fuzz_target!(|bytes: &[u8]| {
    let [form, where_, change, payload @ ..] = bytes else {
        return;
    };
    let form = [
        b"jmp"[usize::from(form % 3)],
        b"-lz"[usize::from(form / 3 % 3)],
    ];
    let form = Form::from_bytes(form).expect("these are forms");
    let Ok(value) = form.decode::<Value>(payload) else {
        return;
    };

    for codec in codecs() {
        let Payload { form, mut bytes } = codec.encode(&value).expect("it has a form");
        let read = form
            .decode::<Value>(&bytes)
            .expect("what was written is read");
        assert_eq!(read, value, "{codec:?}");

        let at = usize::from(*where_) * bytes.len() / 256;
        assert!(
            form.decode::<Value>(&bytes[..at]).is_err(),
            "{codec:?} cut at {at}"
        );
        bytes[at] ^= change;
        let _ = form.decode::<Value>(&bytes);
    }
});

fn codecs() -> impl Iterator<Item = Codec> {
    let formats = [Codec::JSON, Codec::MESSAGE_PACK, Codec::POSTCARD];
    let packed = |format: Codec| [format, format.lz4().above(0), format.zstd(1).above(0)];
    formats.into_iter().flat_map(packed)
}
