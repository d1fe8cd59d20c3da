use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::compression::LARGEST;
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

/// Every format with every compression whose feature is on.
fn codecs() -> Vec<Codec> {
    let formats = [
        Codec::JSON,
        #[cfg(feature = "msgpack")]
        Codec::MESSAGE_PACK,
        #[cfg(feature = "postcard")]
        Codec::POSTCARD,
    ];
    let compressed = |format: Codec| {
        [
            format,
            #[cfg(feature = "lz4")]
            format.lz4().above(0),
            #[cfg(feature = "zstd")]
            format.zstd(1).above(0),
        ]
    };
    formats.into_iter().flat_map(compressed).collect()
}

/// Every form, also those whose feature is off.
fn forms() -> Vec<Form> {
    let second = |first| b"-lz".map(|second| Form::from_bytes([first, second]));
    let forms: Option<Vec<_>> = b"jmpb".iter().copied().flat_map(second).collect();
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
    (any::<u64>(), any::<Option<String>>(), scores, notes).prop_map(|(id, name, scores, notes)| {
        User {
            id,
            name,
            scores,
            notes,
        }
    })
}

#[test]
fn every_form_reads_back_and_other_bytes_are_no_form() {
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
    // Nothing in them repeats, so compression makes them longer.
    let numbers: Vec<u64> = (1..=600_u64)
        .map(|n| {
            n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(17)
                .wrapping_mul(n)
        })
        .collect();
    for codec in codecs() {
        let is_compressed = |payload: Payload| payload.form.compression != Compression::None;
        let compresses = codec.compression != Compression::None;
        let codec = codec.above(100);
        // With its length or its quotes, in each format, the text has at most 100 or 1100 bytes.
        assert!(!is_compressed(codec.encode(&bytes(98)).unwrap()));
        let large = codec.encode(&bytes(1000)).unwrap();
        assert_eq!(large.bytes.len() < 100, compresses, "{codec:?}");
        assert_eq!(is_compressed(large), compresses);
        assert!(!is_compressed(
            codec.above(1100).encode(&bytes(1000)).unwrap()
        ));

        let noise = codec.encode(&numbers).unwrap();
        let plain = Codec {
            compression: Compression::None,
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
fn an_impossible_length_is_an_error() {
    for form in forms() {
        if form.compression == Compression::None {
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

/// The form in which bytes are stored that compress well, and the bytes as they are stored.
#[cfg(any(feature = "lz4", feature = "zstd"))]
fn compressed(codec: Codec, length: usize) -> Payload {
    codec.compress(codec.format, vec![b' '; length])
}

#[cfg(any(feature = "lz4", feature = "zstd"))]
#[test]
fn a_few_bytes_decompress_to_no_more_than_the_bound() {
    for codec in [
        #[cfg(feature = "lz4")]
        Codec::JSON.lz4(),
        #[cfg(feature = "zstd")]
        Codec::JSON.zstd(1),
    ] {
        let largest = compressed(codec, LARGEST);
        assert!(largest.bytes.len() < LARGEST / 100, "{codec:?}");
        let decompressed = codec.compression.decompress(&largest.bytes).unwrap();
        assert_eq!(decompressed.len(), LARGEST);
        // A stated length may be a lie.
        for lie in [0, 1, LARGEST - 1, LARGEST + 1] {
            let mut payload = largest.bytes.clone();
            payload[..4].copy_from_slice(&u32::try_from(lie).unwrap().to_le_bytes());
            assert!(
                codec.compression.decompress(&payload).is_err(),
                "{codec:?} {lie}"
            );
        }
        // What a reader refuses, the writer does not compress.
        let larger = compressed(codec, LARGEST + 1);
        assert_eq!(larger.form.to_bytes()[1], b'-', "{codec:?}");
        let error = codec.encode(&" ".repeat(LARGEST)).unwrap_err().to_string();
        assert!(error.contains("before compression"), "{error}");
    }
}

#[test]
#[cfg(feature = "zstd")]
fn a_level_beyond_the_limits_is_the_nearest_limit() {
    for level in [i32::MIN, -1, 0, 22, i32::MAX] {
        let codec = Codec::JSON.zstd(level);
        let payload = codec.encode(&"x".repeat(5000)).unwrap();
        assert_eq!(payload.form.to_bytes(), *b"jz");
        assert!(payload.bytes.len() < 1000, "{level}");
    }
}

#[test]
fn an_entry_that_needs_a_lacking_feature_names_it() {
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
fn a_lacking_feature_is_first_reported_once() {
    assert!(is_first_report("a feature"));
    assert!(!is_first_report("a feature"));
    assert!(is_first_report("another"));
}

#[test]
#[cfg(feature = "msgpack")]
fn message_pack_that_nests_too_deep_is_an_error() {
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
    fn no_bytes_make_decoding_panic(bytes: Vec<u8>, length in 0_u32..5000) {
        for form in forms() {
            let bytes = match form.compression {
                Compression::None => bytes.clone(),
                _ => [&length.to_le_bytes(), &bytes[..]].concat(),
            };
            let _ = form.decode::<User>(&bytes);
            let _ = form.decode::<Vec<Note>>(&bytes);
        }
    }

    #[test]
    fn cut_bytes_are_an_error_and_changed_bytes_do_not_panic(
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
