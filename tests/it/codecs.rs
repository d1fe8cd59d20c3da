//! The forms of values on the server: every cache reads every form, and a value that cannot be
//! read is a miss.

use cache_runtime::{Cache, Codec, Options, cached};
use cache_tests::RedisServer;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Page {
    number: u32,
    author: Option<String>,
    lines: Vec<String>,
    weight: f64,
}

impl Page {
    /// A page so long and so repetitive that it is compressed.
    fn long(number: u32) -> Self {
        Self {
            number,
            author: Some("größe".to_owned()),
            lines: (0..500)
                .map(|n| format!("line {n} of page {number}"))
                .collect(),
            weight: 0.1,
        }
    }
}

#[cached(key = "page:<number>", codec = codec, cache = cache, skip(cache, codec))]
async fn page(cache: &Cache, codec: Codec, number: u32) -> Page {
    Page::long(number)
}

/// Two caches on one server share no more than two processes do.
fn cache(server: &RedisServer) -> Cache {
    let cache = Cache::builder().url(server.url()).namespace("test");
    cache.build().unwrap()
}

const FORMATS: [(Codec, u8); 3] = [
    (Codec::JSON, b'j'),
    (Codec::MESSAGE_PACK, b'm'),
    (Codec::POSTCARD, b'p'),
];

/// Each codec, with the two bytes by which an entry names its form.
fn codecs() -> Vec<(Codec, [u8; 2])> {
    let packed = |(format, name): (Codec, u8)| {
        [
            (format, [name, b'-']),
            (format.lz4(), [name, b'l']),
            (format.zstd(3), [name, b'z']),
        ]
    };
    FORMATS.into_iter().flat_map(packed).collect()
}

fn slot(server: &RedisServer, key: &str) -> Vec<u8> {
    server.query(&["GET", &format!("test:e:{key}")])
}

fn put(server: &RedisServer, key: &str, slot: &[u8]) {
    let mut set = redis::cmd("SET");
    set.arg(format!("test:e:{key}")).arg(slot);
    let () = set.query(&mut server.connection()).unwrap();
}

/// Where an entry without tags names its form; where its payload begins.
const FORM: std::ops::Range<usize> = 10..12;
const PAYLOAD: usize = 51;

#[tokio::test]
async fn each_codec_reads_what_it_has_written() {
    let server = RedisServer::start();
    for (number, (codec, form)) in (0..).zip(codecs()) {
        for _ in 0..2 {
            assert_eq!(
                page(&cache(&server), codec, number).await,
                Page::long(number)
            );
        }
        assert_eq!(slot(&server, &format!("page:{number}"))[FORM], form);
        let cache = cache(&server);
        page(&cache, codec, number).await;
        let stats = cache.stats();
        assert_eq!(
            (stats.hits, stats.loads, stats.errors),
            (1, 0, 0),
            "{codec:?}"
        );
    }
}

#[tokio::test]
async fn entries_of_another_codec_are_served() {
    let server = RedisServer::start();
    for (number, (before, form)) in (0..).zip(codecs()) {
        page(&cache(&server), before, number).await;
        for (after, _) in codecs() {
            let cache = cache(&server);
            assert_eq!(page(&cache, after, number).await, Page::long(number));
            let stats = cache.stats();
            assert_eq!(
                (stats.hits, stats.loads, stats.errors),
                (1, 0, 0),
                "{before:?} {after:?}"
            );
        }
        assert_eq!(slot(&server, &format!("page:{number}"))[FORM], form);
    }
}

#[tokio::test]
async fn the_codec_is_that_of_the_call_else_that_of_the_cache() {
    let server = RedisServer::start();
    let cache = Cache::builder()
        .url(server.url())
        .namespace("test")
        .codec(Codec::MESSAGE_PACK.lz4())
        .build()
        .unwrap();
    let page = Page::long(1);
    cache.set("set", &page, Options::new()).await.unwrap();
    assert_eq!(slot(&server, "set")[FORM], *b"ml");
    let postcard = || Options::new().codec(Codec::POSTCARD);
    cache.set("set", &page, postcard()).await.unwrap();
    assert_eq!(slot(&server, "set")[FORM], *b"p-");
    assert_eq!(cache.get("set").await.unwrap(), Some(page.clone()));

    let load = async || Ok::<_, ()>(Page::long(1));
    let loaded = cache.get_or_load("load", Options::new(), load()).await;
    assert_eq!(slot(&server, "load")[FORM], *b"ml");
    assert_eq!(loaded, Ok(page.clone()));
    cache.delete("load").await.unwrap();
    let loaded = cache.get_or_load("load", postcard(), load()).await;
    assert_eq!(slot(&server, "load")[FORM], *b"p-");
    assert_eq!(loaded, Ok(page));
}

#[tokio::test]
async fn bytes_are_stored_as_they_are_whatever_the_codec() {
    let server = RedisServer::start();
    let cache = cache(&server);
    let bytes: Vec<u8> = (0..=u8::MAX).collect();
    for (codec, _) in codecs() {
        let options = Options::new().codec(codec.above(1000));
        cache.set("bytes", &bytes, options).await.unwrap();
        assert_eq!(slot(&server, "bytes")[FORM], *b"b-", "{codec:?}");
        assert_eq!(slot(&server, "bytes")[PAYLOAD..], bytes);
        assert_eq!(cache.get("bytes").await.unwrap(), Some(bytes.clone()));
        let error = cache.get::<String>("bytes").await.unwrap_err();
        assert!(error.to_string().contains("not of this type"), "{error}");
    }
    let large = vec![7_u8; 100_000];
    let options = Options::new().codec(Codec::JSON.lz4());
    cache.set("bytes", &large, options).await.unwrap();
    assert_eq!(slot(&server, "bytes")[FORM], *b"bl");
    assert_eq!(cache.get("bytes").await.unwrap(), Some(large));
}

#[tokio::test]
async fn bytes_that_are_written_as_numbers_are_still_read() {
    let server = RedisServer::start();
    let cache = cache(&server);
    cache
        .set("bytes", &[7_i32, 255], Options::new())
        .await
        .unwrap();
    assert_eq!(cache.get("bytes").await.unwrap(), Some(vec![7_u8, 255]));
}

#[tokio::test]
async fn large_values_are_compressed_and_small_ones_are_not() {
    let server = RedisServer::start();
    let cache = cache(&server);
    let length = |key: &str| server.query::<usize>(&["STRLEN", &format!("test:e:{key}")]);
    let small = "x".repeat(500);
    let large = "x".repeat(100_000);
    for (format, name) in FORMATS {
        let options = |codec| Options::new().codec(codec);
        for codec in [format.lz4(), format.zstd(3)] {
            cache.set("large", &large, options(codec)).await.unwrap();
            assert!(length("large") < 1_000, "{codec:?}: {}", length("large"));
            assert_eq!(cache.get("large").await.unwrap(), Some(large.clone()));

            cache.set("small", &small, options(codec)).await.unwrap();
            assert!(length("small") > 500, "{codec:?}: {}", length("small"));
            assert_eq!(slot(&server, "small")[FORM], [name, b'-']);

            let codec = codec.above(100);
            cache.set("small", &small, options(codec)).await.unwrap();
            assert!(length("small") < 200, "{codec:?}: {}", length("small"));
            assert_eq!(cache.get("small").await.unwrap(), Some(small.clone()));
        }
        cache.set("large", &large, options(format)).await.unwrap();
        assert!(length("large") > 100_000);
    }
}

/// Checks that a slot with these bytes yields no value, and that a function replaces it.
async fn check_replaced(server: &RedisServer, codec: Codec, spoilt: &[u8]) {
    put(server, "page:1", spoilt);
    let cache = cache(server);
    let got = cache.get::<Page>("page:1").await;
    assert!(matches!(got, Ok(None) | Err(_)), "{got:?}");
    for _ in 0..2 {
        assert_eq!(page(&cache, codec, 1).await, Page::long(1));
    }
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.loads), (1, 1), "{codec:?}");
}

#[tokio::test]
async fn a_payload_that_is_cut_or_corrupt_is_replaced() {
    let server = RedisServer::start();
    for (codec, form) in codecs() {
        server.flush_all();
        page(&cache(&server), codec, 1).await;
        let whole = slot(&server, "page:1");
        for end in [
            PAYLOAD,
            PAYLOAD + 2,
            PAYLOAD + 4,
            PAYLOAD + 40,
            whole.len() - 1,
        ] {
            check_replaced(&server, codec, &whole[..end]).await;
        }
        if form[1] == b'-' {
            continue;
        }
        // Wrong lengths, some of them more than a server could hold.
        for length in [0, 1, 5_000, 512 << 20, (512 << 20) + 1, u32::MAX] {
            let mut spoilt = whole.clone();
            spoilt[PAYLOAD..][..4].copy_from_slice(&length.to_le_bytes());
            check_replaced(&server, codec, &spoilt).await;
        }
        let mut spoilt = whole.clone();
        spoilt[PAYLOAD + 4..].fill(0xff);
        check_replaced(&server, codec, &spoilt).await;
    }
}

#[tokio::test]
async fn a_payload_in_another_form_than_the_header_says_is_replaced() {
    let server = RedisServer::start();
    let codec = Codec::JSON;
    page(&cache(&server), codec, 1).await;
    let whole = slot(&server, "page:1");
    // Other forms, and forms that a later version may have.
    for form in [
        *b"m-",
        *b"p-",
        *b"jl",
        *b"jz",
        *b"pz",
        *b"c-",
        *b"jb",
        [0, 0],
    ] {
        let mut spoilt = whole.clone();
        spoilt[FORM].copy_from_slice(&form);
        check_replaced(&server, codec, &spoilt).await;
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u32),
    Text(String),
}

#[cached(key = "untagged:<id>", codec = codec, cache = cache, skip(cache, codec))]
async fn untagged(cache: &Cache, codec: Codec, id: u32) -> Untagged {
    Untagged::Text(id.to_string())
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Flattened {
    id: u32,
    #[serde(flatten)]
    more: std::collections::BTreeMap<String, u32>,
}

#[cached(key = "flattened:<id>", codec = codec, cache = cache, skip(cache, codec))]
async fn flattened(cache: &Cache, codec: Codec, id: u32) -> Flattened {
    let more = [("a".to_owned(), 1)].into();
    Flattened { id, more }
}

/// The documentation of `Codec::POSTCARD` says so.
#[tokio::test]
async fn a_type_that_its_codec_cannot_read_back_is_a_miss_each_time() {
    let server = RedisServer::start();
    for (codec, form) in codecs() {
        server.flush_all();
        let cache = cache(&server);
        for _ in 0..2 {
            assert_eq!(
                untagged(&cache, codec, 1).await,
                Untagged::Text("1".to_owned())
            );
            assert_eq!(flattened(&cache, codec, 2).await.more["a"], 1);
        }
        let stats = cache.stats();
        let fits = form[0] != b'p';
        assert_eq!(
            (stats.hits, stats.loads),
            if fits { (2, 2) } else { (0, 4) },
            "{codec:?}"
        );
        assert_eq!(stats.errors == 0, fits);
    }
}

#[cached(key = "absent:<id>", none_ttl = 60, codec = codec, cache = cache, skip(cache, codec))]
async fn absent(cache: &Cache, codec: Codec, id: u32) -> Option<Page> {
    None
}

#[tokio::test]
async fn a_none_has_the_same_form_in_each_codec() {
    let server = RedisServer::start();
    let cache = cache(&server);
    for (codec, _) in codecs() {
        assert_eq!(absent(&cache, codec, 1).await, None);
    }
    assert_eq!(cache.stats().loads, 1);
}

#[tokio::test]
async fn a_type_may_gain_a_field_where_the_form_names_fields() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Before {
        name: String,
        gone: u8,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct After {
        #[serde(default)]
        id: u32,
        name: String,
    }

    let server = RedisServer::start();
    let cache = cache(&server);
    let name = "Ada".to_owned();
    for codec in [Codec::JSON, Codec::MESSAGE_PACK] {
        let before = Before {
            name: name.clone(),
            gone: 7,
        };
        let options = Options::new().codec(codec);
        cache.set("user", &before, options).await.unwrap();
        let after = cache.get::<After>("user").await.unwrap();
        assert_eq!(
            after,
            Some(After {
                id: 0,
                name: name.clone()
            }),
            "{codec:?}"
        );
    }
}

/// A reader of such a value would lose its connection.
#[tokio::test]
async fn a_value_of_many_megabytes_is_not_stored() {
    let server = RedisServer::start();
    let cache = Cache::builder().url(server.url()).build().unwrap();
    let options = cache_runtime::Options::new();
    let large = "x".repeat(5 << 20);
    let error = cache
        .set("large", &large, options.clone())
        .await
        .unwrap_err();
    assert!(
        error.is_codec() && error.to_string().contains("compress it"),
        "{error}"
    );
    let load = async { Ok::<_, ()>(large.clone()) };
    assert_eq!(
        cache
            .get_or_load("large", options.clone(), load)
            .await
            .unwrap(),
        large
    );
    assert!(!cache.exists("large").await.unwrap());
    let packed = options.codec(cache_runtime::Codec::JSON.lz4());
    cache.set("large", &large, packed).await.unwrap();
    assert_eq!(cache.get::<String>("large").await.unwrap(), Some(large));
}
