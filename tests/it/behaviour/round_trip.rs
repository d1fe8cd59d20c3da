//! Values come back as they went in, or are not stored and said to be so.

use std::collections::HashMap;
use std::sync::Arc;

use cache_runtime::{Cache, CacheBuilder, Codec, Options, cached, prime};
use serde::{Deserialize, Serialize};

use super::{Recorded, counts, is_in_process, on_every_backend};

on_every_backend! {
    a_value_that_would_come_back_changed_is_not_stored
    such_a_value_is_stored_where_values_are_not_checked
    methods_return_that_a_value_would_come_back_changed
    an_option_that_is_returned_comes_back
    what_json_makes_of_an_option_in_a_value_is_found
    a_value_with_a_nan_comes_back
    a_function_that_never_hits_is_in_the_health
    a_function_with_a_hit_is_not_in_the_health
    bytes_come_back
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    #[serde(skip_serializing, default)]
    password_hash: String,
}

fn ada() -> User {
    User {
        name: "Ada".to_owned(),
        password_hash: "sesame".to_owned(),
    }
}

#[cached(key = "user:<id>", ttl = 60, cache = cache, skip(cache))]
async fn user(cache: &Cache, id: u32) -> User {
    ada()
}

const CHANGED: &str = "is not stored: as JSON it would come back changed: `User.password_hash`";

async fn a_value_that_would_come_back_changed_is_not_stored(Recorded { cache, events }: Recorded) {
    for _ in 0..2 {
        assert_eq!(user(&cache, 7).await, ada());
    }
    let changed = format!("the value of `user:7` {CHANGED}");
    let expected = if is_in_process(&cache) {
        [
            "miss user:7",
            "load user:7",
            "fill user:7 ttl=60s",
            "hit user:7",
        ]
        .map(str::to_owned)
        .to_vec()
    } else {
        vec![
            "miss user:7".to_owned(),
            "load user:7".to_owned(),
            format!("altered user:7: {changed}"),
            format!("not filled user:7: {changed}"),
            "miss user:7".to_owned(),
            "load user:7".to_owned(),
            format!("not filled user:7: {changed}"),
        ]
    };
    assert_eq!(events.take(), expected);
}

async fn such_a_value_is_stored_where_values_are_not_checked(builder: CacheBuilder) {
    let cache = builder.check_values(false).build().unwrap();
    for _ in 0..2 {
        user(&cache, 7).await;
    }
    assert_eq!(counts(&cache), [1, 1, 1]);
}

/// By hand, the type is not known, and so not whether a field is skipped.
async fn methods_return_that_a_value_would_come_back_changed(cache: Cache) {
    let nested = vec![Some(None), Some(Some(1))];
    let set = cache.set("nested", &nested, Options::new());
    let primed = prime(user(&cache, 7), ada()).await;
    if is_in_process(&cache) {
        set.await.unwrap();
        primed.unwrap();
        return;
    }
    let error = set.await.unwrap_err();
    let text = error.to_string();
    assert!(
        error.is_codec() && text.ends_with("as JSON it would come back changed: `[]`"),
        "{text}"
    );
    assert!(!cache.exists("nested").await.unwrap());
    let text = primed.unwrap_err().to_string();
    assert!(text.ends_with(CHANGED), "{text}");
    assert!(!cache.exists("user:7").await.unwrap());
}

async fn an_option_that_is_returned_comes_back(cache: Cache) {
    #[cached(key = "unit", ttl = 60, cache = cache, skip(cache))]
    async fn unit(cache: &Cache) -> Option<()> {
        Some(())
    }
    #[cached(key = "null", ttl = 60, cache = cache, skip(cache))]
    async fn null(cache: &Cache) -> Option<serde_json::Value> {
        Some(serde_json::Value::Null)
    }
    #[cached(key = "nested", ttl = 60, cache = cache, skip(cache))]
    async fn nested(cache: &Cache) -> Result<Option<Option<u8>>, String> {
        Ok(Some(None))
    }
    for _ in 0..2 {
        assert_eq!(unit(&cache).await, Some(()));
        assert_eq!(null(&cache).await, Some(serde_json::Value::Null));
        assert_eq!(nested(&cache).await, Ok(Some(None)));
    }
    assert_eq!(counts(&cache), [3, 3, 3]);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Patch {
    unit: Option<()>,
    null: Option<serde_json::Value>,
    #[expect(
        clippy::option_option,
        reason = "JSON can't tell `Some(None)` from `None`"
    )]
    nested: Option<Option<u8>>,
}

const UNIT: Patch = Patch {
    unit: Some(()),
    null: None,
    nested: None,
};
const NULL: Patch = Patch {
    unit: None,
    null: Some(serde_json::Value::Null),
    nested: None,
};
const NESTED: Patch = Patch {
    unit: None,
    null: None,
    nested: Some(None),
};

#[cached(key = "patch:<id>", ttl = 60, codec = codec, cache = cache, skip(cache, codec))]
async fn patch(cache: &Cache, codec: Codec, id: usize) -> Patch {
    [UNIT, NULL, NESTED][id].clone()
}

async fn what_json_makes_of_an_option_in_a_value_is_found(Recorded { cache, events }: Recorded) {
    let fields = ["unit", "null", "nested"];
    for (id, field) in fields.iter().enumerate() {
        for codec in [Codec::JSON, Codec::MESSAGE_PACK] {
            for _ in 0..2 {
                assert_eq!(patch(&cache, codec, id).await, [UNIT, NULL, NESTED][id]);
            }
            let found = events.take();
            let is_found = found.iter().any(|event| {
                event.starts_with("not filled") && event.contains(&format!("`Patch.{field}`"))
            });
            assert_eq!(
                is_found,
                !is_in_process(&cache),
                "{field} {codec:?} {found:?}"
            );
        }
    }
    // Postcard writes whether there is a value.
    for id in [0, 2] {
        for _ in 0..2 {
            assert_eq!(
                patch(&cache, Codec::POSTCARD, id).await,
                [UNIT, NULL, NESTED][id]
            );
        }
        assert!(events.take().contains(&format!("hit patch:{id}")));
    }
}

async fn a_value_with_a_nan_comes_back(cache: Cache) {
    #[cached(key = "weights", codec = Codec::MESSAGE_PACK, cache = cache, skip(cache))]
    async fn weights(cache: &Cache) -> Vec<f64> {
        vec![f64::NAN, f64::NEG_INFINITY, 1.5]
    }
    for _ in 0..2 {
        let weights = weights(&cache).await;
        assert!(weights[0].is_nan() && weights[1..] == [f64::NEG_INFINITY, 1.5]);
    }
    assert_eq!(counts(&cache), [1, 1, 1]);
}

#[cached(key = "weights:<id>", cache = cache, skip(cache))]
async fn weights(cache: &Cache, id: u32) -> Vec<f64> {
    vec![f64::NAN]
}

#[cached(key = "distances:<id>", cache = cache, skip(cache))]
async fn distances(cache: &Cache, id: u32) -> HashMap<(u32, u32), u32> {
    HashMap::from([((1, 2), 3)])
}

/// With the check, a NaN is not stored. Without it, it is stored, and can't be read.
async fn a_function_that_never_hits_is_in_the_health(builder: CacheBuilder) {
    for is_checked in [true, false] {
        let cache = builder.clone().check_values(is_checked).build().unwrap();
        cache.clear().await.unwrap();
        for called in 1..=12 {
            weights(&cache, 1).await;
            distances(&cache, 1).await;
            let is_reported = called >= 10 && !is_in_process(&cache);
            // What is stored is found to be of no use by the next call.
            if called != 10 {
                assert_eq!(
                    !cache.health().never_hit.is_empty(),
                    is_reported,
                    "{called}"
                );
            }
        }
        if is_in_process(&cache) {
            continue;
        }
        let never_hit = cache.health().never_hit;
        let lines: Vec<String> = never_hit.iter().map(ToString::to_string).collect();
        let [distances, weights] = &lines[..] else {
            panic!("{lines:?}");
        };
        for (line, function, lost) in [
            (
                distances,
                "distances",
                "in JSON, a map has text as its keys",
            ),
            (weights, "weights", "neither NaN nor an infinity is in JSON"),
        ] {
            let keeps = format!("{lost}; `codec = Codec::MESSAGE_PACK` keeps it");
            assert!(line.contains(&format!("round_trip::{function}`")), "{line}");
            assert!(
                line.contains("round_trip.rs:") && line.contains(&keeps),
                "{line}"
            );
        }
        let health = serde_json::to_value(cache.health()).unwrap();
        assert_eq!(health["never_hit"][1]["function"], never_hit[1].function);
    }
}

async fn a_function_with_a_hit_is_not_in_the_health(cache: Cache) {
    #[cached(key = "root:<n>", cache = cache, skip(cache))]
    async fn root(cache: &Cache, n: i32) -> Vec<f64> {
        vec![f64::from(n).sqrt()]
    }
    for n in -8..0 {
        root(&cache, n).await;
    }
    for n in [4, 4] {
        root(&cache, n).await;
    }
    for n in -8..0 {
        root(&cache, n).await;
    }
    assert_eq!(cache.health().never_hit.len(), 0);
}

async fn bytes_come_back(cache: Cache) {
    #[cached(key = "vec", cache = cache, skip(cache))]
    async fn vec(cache: &Cache) -> Result<Vec<u8>, String> {
        Ok((0..=u8::MAX).cycle().take(1_500_000).collect())
    }
    #[cached(key = "array", cache = cache, skip(cache))]
    async fn array(cache: &Cache) -> Option<[u8; 32]> {
        Some([255; 32])
    }
    #[cached(key = "shared", cache = cache, skip(cache))]
    async fn shared(cache: &Cache) -> Arc<[u8]> {
        [0, 255, b'"'].into()
    }
    #[cached(key = "empty", cache = cache, skip(cache))]
    async fn empty(cache: &Cache) -> Box<[u8]> {
        [].into()
    }
    for _ in 0..2 {
        let vec = vec(&cache).await.unwrap();
        assert!(
            vec.len() == 1_500_000 && vec.iter().zip((0..=u8::MAX).cycle()).all(|(a, b)| *a == b)
        );
        assert_eq!(array(&cache).await, Some([255; 32]));
        assert_eq!(*shared(&cache).await, [0, 255, b'"']);
        assert!(empty(&cache).await.is_empty());
    }
    assert_eq!(counts(&cache), [4, 4, 4]);
}
