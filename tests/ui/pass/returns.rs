//! Return types of every kind: no bound is asked of an error, and a future is
//! `Send` wherever it was without the attribute.
#![forbid(unsafe_code)]
#![deny(
    warnings,
    clippy::all,
    clippy::pedantic,
    missing_docs,
    unreachable_pub,
    unused,
    rust_2018_idioms,
    let_underscore_drop,
    single_use_lifetimes,
    unused_qualifications,
    unused_lifetimes,
    unused_results,
    trivial_casts,
    variant_size_differences,
    elided_lifetimes_in_paths
)]

use std::borrow::Cow;
use std::cell::Cell;
use std::error::Error;
use std::num::ParseIntError;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use cache_runtime::{Cache, cached};

/// As in `anyhow`.
pub type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;
/// As in `diesel`.
pub type QueryResult<T> = Result<Option<T>, ParseIntError>;

/// Neither `Send` nor `Sync`, nor anything else.
pub struct Unsendable(Rc<Cell<u8>>);

/// `none_ttl` finds the `None` of an alias.
#[cached(key = "alias:<text>", none_ttl = 5)]
pub async fn alias(text: &str) -> QueryResult<u64> {
    text.parse().map(Some)
}

/// And that of a boxed future.
#[cached(key = "boxed:<text>", none_ttl = 5)]
pub fn boxed(text: String) -> Pin<Box<dyn Future<Output = Option<Arc<str>>>>> {
    Box::pin(async move { Some(text.into()) })
}

macro_rules! functions {
    ($($name:ident($text:ident) -> $output:ty $body:block)+) => { $(
        /// Cached.
        ///
        /// # Errors
        /// If it fails.
        #[cached(key = "value:<name>:<text>", cache = cache, skip(cache))]
        pub async fn $name(cache: &Cache, name: &str, $text: String) -> $output $body
    )+ };
}

functions! {
    dynamic(text) -> Result<u64> { Ok(text.parse()?) }
    query(text) -> QueryResult<u64> { text.parse().map(Some) }
    list(text) -> Result<Vec<u64>, ()> { text.chars().map(|c| c.to_digit(9).map(u64::from).ok_or(())).collect() }
    arc(text) -> Result<Arc<str>> { Ok(text.into()) }
    nested(text) -> Option<Option<u64>> { Some(text.parse().ok()) }
    tuple(text) -> (usize, String) { (text.len(), text) }
    unsendable(text) -> Result<usize, Unsendable> {
        if text.is_empty() { Err(Unsendable(Rc::default())) } else { Ok(text.len()) }
    }
    nothing(text) -> () { drop(text); }
}

/// Its error is borrowed.
///
/// # Errors
/// If it is no number.
#[cached(key = "borrowed:<text>")]
pub async fn borrowed(text: &str) -> Result<u64, &str> {
    text.parse().map_err(|_| text)
}

/// An alias whose lifetime is that of its error.
pub type Borrows<'e, T> = std::result::Result<T, Cow<'e, str>>;

/// Its error is borrowed, and the compiler has to see that its value is not.
///
/// # Errors
/// If it is empty.
#[cached(key = "borrows:<text>")]
pub async fn borrows(text: &str) -> Borrows<'_, ()> {
    if text.is_empty() {
        Err(text.into())
    } else {
        Ok(())
    }
}

/// Whose rows borrow from where they are, or do not.
pub trait Table {
    /// A row.
    type Row<'t>
    where
        Self: 't;
    /// The first row.
    fn first(&self) -> impl Future<Output = Option<Self::Row<'_>>>;
}

impl Table for u64 {
    type Row<'t> = u64;

    #[cached(key = "first:<self>")]
    async fn first(&self) -> Option<Self::Row<'_>> {
        Some(*self)
    }
}

/// Likewise, in the process.
///
/// # Errors
/// If it is empty.
#[cached(key = "borrows-locally:<text>", local)]
pub async fn borrows_locally(text: &str) -> Result<Option<Cow<'static, str>>, Cow<'_, str>> {
    if text.is_empty() {
        Err(text.into())
    } else {
        Ok(None)
    }
}

/// What a parameter of an `impl` can fail with.
pub trait Fails {
    /// Shared, if the compiler sees that it can be.
    type Error;
}

/// Where numbers are.
#[derive(Debug)]
pub struct Numbers<F>(F);

impl<F: Fails<Error: Clone + Send + Sync + 'static>> Numbers<F> {
    /// Its error can be shared.
    ///
    /// # Errors
    /// If it is no number.
    #[cached(key = "shared:<text>")]
    pub async fn shared(&self, text: &str) -> Result<u64, F::Error> {
        Ok(text.len() as u64)
    }

    /// Its error might be borrowed.
    ///
    /// # Errors
    /// If it is no number.
    #[cached(key = "open:<text>", skip(E))]
    pub async fn open<E: Clone + Send + Sync + Default>(&self, text: &str) -> Result<u64, E> {
        text.parse().map_err(|_| E::default())
    }
}

impl<F: Fails<Error: PartialEq>> Numbers<F> {
    /// Nothing is known of its error.
    ///
    /// # Errors
    /// If it is no number.
    #[cached(key = "unknown:<text>")]
    pub async fn unknown(&self, text: &str) -> Result<u64, F::Error> {
        Ok(text.len() as u64)
    }
}

impl Fails for u8 {
    type Error = String;
}

fn spawnable<F: Future<Output: Send> + Send + 'static>(future: F) -> F {
    future
}

/// Each is awaited where a plain function could be.
async fn all(cache: Cache) -> [bool; 8] {
    let text = || "7".to_owned();
    let dynamic = dynamic(&cache, "dynamic", text()).await.is_ok();
    let query = query(&cache, "query", text()).await.is_ok();
    let list = list(&cache, "list", text()).await.is_ok();
    let arc = arc(&cache, "arc", text()).await.is_ok();
    let nested = nested(&cache, "nested", text()).await.is_some();
    let tuple = tuple(&cache, "tuple", text()).await.0 == 1;
    let length = unsendable(&cache, "unsendable", text()).await.unwrap_or(0);
    let failed = unsendable(&cache, "unsendable", String::new()).await;
    let failure = failed.is_err_and(|Unsendable(count)| count.get() == 0);
    [
        dynamic,
        query,
        list,
        arc,
        nested,
        tuple,
        length == 1,
        failure,
    ]
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    nothing(&cache, "nothing", String::new()).await;
    assert_eq!(borrowed("7").await, Ok(7));
    assert_eq!(borrows("7").await, Ok(()));
    assert_eq!(7_u64.first().await, Some(7));
    assert_eq!(borrows_locally("7").await, Ok(None));
    let numbers = Numbers(0_u8);
    assert_eq!(numbers.shared("7").await, Ok(1));
    assert_eq!(numbers.open::<&str>("x").await, Err(""));
    assert_eq!(numbers.unknown("7").await, Ok(1));
    assert_eq!(spawnable(all(cache)).await, [true; 8]);
}
