//! Return types of each kind: the value to be cached is found by trait, not by the type's name.

use std::error::Error;
use std::marker::PhantomData;
use std::num::ParseIntError;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use cache_runtime::{Cache, cached};

use super::{counts, miss_hit_invalidate, on_every_backend};

on_every_backend! {
    aliases_of_result_are_results
    nested_values_are_cached
    errors_of_any_type_are_not_cached
    a_future_is_send_although_its_error_is_not
    a_handler_may_call_a_cached_function
}

/// An alias as in `anyhow`.
type Result<T, E = Failure> = std::result::Result<T, E>;
/// An alias as in `diesel`.
type QueryResult<T> = Result<T, ParseIntError>;
type Found<T> = Result<Option<T>>;

/// Neither `Clone` nor `PartialEq`.
#[derive(Debug)]
struct Failure;

impl From<ParseIntError> for Failure {
    fn from(_: ParseIntError) -> Self {
        Self
    }
}

macro_rules! functions {
    ($($name:ident($text:ident) -> $output:ty $body:block)+) => { $(
        #[cached(key = "value:<name>:<text>", cache = cache, skip(cache))]
        async fn $name(cache: &Cache, name: &str, $text: &str) -> $output $body
    )+ };
}

macro_rules! functions_with_none {
    ($($name:ident($text:ident) -> $output:ty $body:block)+) => { $(
        #[cached(key = "value:<name>:<text>", none_ttl = 60, cache = cache, skip(cache))]
        async fn $name(cache: &Cache, name: &str, $text: &str) -> $output $body
    )+ };
}

functions! {
    alias(text) -> Result<u64> { Ok(text.parse()?) }
    query(text) -> QueryResult<u64> { text.parse() }
    list(text) -> Result<Vec<String>> { Ok(vec![text.into()]) }
    arc(text) -> Result<Arc<str>> { Ok(text.into()) }
    result_of_result(text) -> Result<Result<u64, String>> { Ok(text.parse().map_err(|_| String::new())) }
    tuple(text) -> (u64, Option<String>) { (7, Some(text.into())) }
    array(text) -> [char; 1] { [text.chars().next().unwrap_or(' ')] }
    unit(text) -> () { assert_eq!(text, "7"); }
    unit_result(text) -> Result<()> { text.parse::<u64>().map(drop).map_err(Into::into) }
}

functions_with_none! {
    found(text) -> Found<u64> { Ok(text.parse().map(Some)?) }
    nested(text) -> Option<Option<u64>> { Some(text.parse().ok()) }
    none(text) -> Option<()> { text.parse::<i8>().ok().filter(|n| *n < 0).map(drop) }
}

/// Invalidates the entry that a function has stored.
async fn invalidate(cache: &Cache, name: &str) {
    let key = format!("value:'{name}':'7'");
    assert!(cache.exists(key.as_str()).await.unwrap(), "{key}");
    cache.invalidate([key.as_str()]).await.unwrap();
}

async fn aliases_of_result_are_results(cache: Cache) {
    macro_rules! ok {
        ($name:ident, $value:expr) => {
            miss_hit_invalidate!(
                cache,
                async { $name(&cache, stringify!($name), "7").await.unwrap() },
                $value,
                invalidate(&cache, stringify!($name))
            );
        };
    }
    ok!(alias, 7);
    ok!(query, 7);
    ok!(found, Some(7));
    ok!(list, ["7"]);
    ok!(arc, Arc::<str>::from("7"));
    ok!(result_of_result, Ok(7));
    ok!(unit_result, ());
    let [hits, misses, loads] = counts(&cache);
    for _ in 0..2 {
        assert!(alias(&cache, "alias", "x").await.is_err());
        assert!(query(&cache, "query", "x").await.is_err());
        assert!(unit_result(&cache, "unit_result", "x").await.is_err());
    }
    assert_eq!(counts(&cache), [hits, misses + 6, loads + 6]);
}

async fn nested_values_are_cached(cache: Cache) {
    macro_rules! value {
        ($name:ident, $value:expr) => {
            let name = stringify!($name);
            miss_hit_invalidate!(
                cache,
                $name(&cache, name, "7"),
                $value,
                invalidate(&cache, name)
            );
        };
    }
    value!(nested, Some(Some(7)));
    value!(tuple, (7, Some("7".to_owned())));
    value!(array, ['7']);
    value!(unit, ());
    value!(none, None);
}

/// The error is borrowed from the argument: it is not `'static`.
#[cached(key = "borrowed:<text>", cache = cache, skip(cache))]
async fn borrowed<'t>(cache: &Cache, text: &'t str) -> Result<u64, &'t str> {
    text.parse().map_err(|_| text)
}

/// The error is not `Send`.
#[cached(key = "local:<text>", cache = cache, skip(cache))]
async fn local(cache: &Cache, text: &str) -> Result<Option<u64>, Rc<str>> {
    text.parse().map(Some).map_err(|_| text.into())
}

/// The error is neither `Sync` nor `Debug`.
#[cached(key = "generic:<text>", cache = cache, skip(cache, E))]
async fn generic<E: From<ParseIntError>>(cache: &Cache, text: &str) -> Result<u64, E> {
    Ok(text.parse()?)
}

struct Unsync(PhantomData<std::cell::Cell<u8>>);

impl From<ParseIntError> for Unsync {
    fn from(_: ParseIntError) -> Self {
        Self(PhantomData)
    }
}

async fn errors_of_any_type_are_not_cached(cache: Cache) {
    for _ in 0..2 {
        assert_eq!(borrowed(&cache, "7").await, Ok(7));
        assert_eq!(borrowed(&cache, "x").await, Err("x"));
        assert_eq!(local(&cache, "7").await, Ok(Some(7)));
        assert_eq!(local(&cache, "x").await, Err("x".into()));
        assert!(matches!(generic::<Unsync>(&cache, "7").await, Ok(7)));
        let Err(Unsync(_)) = generic(&cache, "x").await else {
            panic!("`x` is not a number");
        };
    }
    assert_eq!(counts(&cache), [3, 9, 9]);
}

type DynResult<T> = Result<T, Box<dyn Error>>;

#[cached(key = "dyn:<text>", cache = cache, skip(cache))]
async fn boxed_error(cache: Cache, text: String) -> DynResult<u64> {
    Ok(text.parse()?)
}

#[cached(key = "dyn-boxed:<text>", cache = cache, skip(cache))]
fn boxed_error_of_a_future(
    cache: &Cache,
    text: String,
) -> Pin<Box<dyn Future<Output = DynResult<u64>> + Send>> {
    Box::pin(async move { Ok(text.parse()?) })
}

async fn a_future_is_send_although_its_error_is_not(cache: Cache) {
    for _ in 0..2 {
        for (text, parsed) in [("7", Ok(7)), ("x", Err(()))] {
            let cache = cache.clone();
            let spawned = tokio::spawn(async move {
                let boxed = boxed_error_of_a_future(&cache, text.to_owned());
                let boxed = boxed.await.map_err(drop);
                let plain = boxed_error(cache, text.to_owned()).await;
                [boxed, plain.map_err(drop)]
            });
            assert_eq!(spawned.await.unwrap(), [parsed, parsed]);
        }
    }
    assert_eq!(counts(&cache), [2, 6, 6]);
}

/// Calls a handler under the bounds that a web framework puts on it.
async fn handle<H, F>(handler: H, path: &str) -> F::Output
where
    H: Fn(String) -> F + Send + Sync + 'static,
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(handler(path.to_owned())).await.unwrap()
}

async fn a_handler_may_call_a_cached_function(cache: Cache) {
    let found = cache.clone();
    let handler = move |path: String| {
        let cache = found.clone();
        async move {
            boxed_error(cache, path)
                .await
                .map_err(|error| error.to_string())
        }
    };
    for _ in 0..2 {
        assert_eq!(handle(handler.clone(), "7").await, Ok(7));
    }
    assert_eq!(counts(&cache), [1, 1, 1]);
}
