//! An expansion is silent under every lint that a careful crate turns on, and
//! so are the attributes and documentation that stay on the function.
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

use cache_runtime::{cache_invalidate, cached, key};

/// Not found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Missing;

/// Where users are.
#[derive(Debug, Default)]
pub struct Users {
    /// Whose they are.
    pub tenant: u64,
}

impl Users {
    /// Finds one.
    ///
    /// # Errors
    /// When there is none.
    #[cached(
        key = "user:<self.tenant>:<id>",
        ttl = "1h",
        none_ttl = 5,
        invalidate_on = "tenant:<self.tenant>",
        skip(verbose)
    )]
    #[must_use = "it was asked for"]
    pub async fn find(&self, id: u64, verbose: bool) -> Result<Option<u64>, Missing> {
        use std::cmp::Ordering;

        const NOBODY: u64 = 0;
        if verbose {
            return Ok(None);
        }
        match id.cmp(&NOBODY) {
            Ordering::Equal => Err(Missing),
            _ => Ok(Some(id)),
        }
    }

    /// Changes one.
    #[expect(unused_variables, reason = "an expectation stays on the function")]
    #[cache_invalidate("user:<self.tenant>:<id>", "renamed:<self.tenant>:<result>")]
    pub async fn rename(&mut self, id: u64, mut name: String) -> String {
        let nothing = 1;
        name.push_str(&id.to_string());
        name
    }
}

/// Nothing but a key.
#[cached(key = "nothing")]
#[inline]
#[allow(clippy::unused_unit)]
pub async fn nothing() {}

/// An unused parameter is used by the key; one with an underscore may be, too.
#[cached(key = "unused:<id>:<_also>")]
pub async fn unused(id: u64, _also: u64) -> u8 {
    1
}

/// A single expression.
#[cached(key = "delegates:<id>")]
pub async fn delegates(id: u64) -> u8 {
    unused(id, id).await
}

/// A body of items only, and one that never returns.
#[cache_invalidate("x")]
pub async fn items() {
    #![allow(clippy::inline_always)]
    #[inline(always)]
    fn inner() {}
    inner();
}

/// Not there yet.
#[cache_invalidate("x")]
pub async fn never() -> u8 {
    loop {
        items().await;
    }
}

/// On one line.
#[cached(key = "line:<id>")]
pub async fn line(id: u64) -> u64 {
    id
}

/// On one line.
#[cache_invalidate("line:<id>")]
pub async fn invalidate_line(id: u64) -> u64 {
    id
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut users = Users { tenant: 3 };
    assert_eq!(users.find(1, false).await.unwrap(), Some(1));
    assert!(users.find(0, false).await.is_err());
    assert_eq!(users.rename(1, "x".to_owned()).await, "x1");
    assert_eq!(unused(1, 2).await, 1);
    assert_eq!(delegates(1).await, 1);
    nothing().await;
    let id = 1;
    assert_eq!(key!("user:<users.tenant>:<id>").as_str(), "user:3:1");
}
