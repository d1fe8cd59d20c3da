//! Methods of traits, rewritten by `#[async_trait]` or not.
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

use async_recursion::async_recursion;
use async_trait::async_trait;
use cache_runtime::{cache_invalidate, cached};

/// Where users are.
#[derive(Debug, Default)]
pub struct Users {
    tenant: u64,
}

/// Native.
pub trait Find {
    /// Declared.
    fn find(&self, id: u64) -> impl Future<Output = Option<u64>> + Send;

    /// By default.
    #[cached(key = "default:<id>")]
    fn find_default(&self, id: u64) -> impl Future<Output = u64> + Send {
        async move { id }
    }

    /// By default.
    #[cache_invalidate("default:<id>")]
    fn change_default(&self, id: &str) -> impl Future<Output = ()> {
        async {}
    }
}

impl Find for Users {
    #[cached(key = "find:<self.tenant>:<id>")]
    async fn find(&self, id: u64) -> Option<u64> {
        Some(self.tenant + id)
    }

    #[cached(key = "other:<self.tenant>:<id>")]
    fn find_default(&self, id: u64) -> impl Future<Output = u64> + Send {
        async move { self.tenant + id }
    }
}

/// Rewritten.
#[async_trait]
pub trait Boxed {
    /// Declared.
    async fn get(&self, id: &str, note: String) -> Result<String, String>;

    /// By default.
    #[cached(key = "boxed-default:<id>")]
    async fn get_default(&self, id: u64) -> u64 {
        id
    }

    /// Declared, with a pattern.
    async fn put(&mut self, pair: (u64, u64)) -> u64;
}

#[async_trait]
impl Boxed for Users {
    #[cached(key = "get:<self.tenant>:<id>", skip(note))]
    async fn get(&self, id: &str, note: String) -> Result<String, String> {
        if id.is_empty() {
            return Err(note);
        }
        Ok(format!("{id} of {}", self.tenant))
    }

    #[cache_invalidate("get:<self.tenant>:<result>")]
    async fn put(&mut self, (a, b): (u64, u64)) -> u64 {
        self.tenant += a;
        b
    }
}

/// Rewritten, and not `Send`.
#[async_trait(?Send)]
pub trait Local {
    /// Declared.
    async fn local(&self) -> u64;
}

#[async_trait(?Send)]
impl Local for Users {
    #[cached(key = "local:<self.tenant>")]
    async fn local(&self) -> u64 {
        let tenant = std::rc::Rc::new(self.tenant);
        tokio::task::yield_now().await;
        *tenant
    }
}

/// Rewritten.
#[async_recursion]
#[cached(key = "factorial:<n>")]
pub async fn factorial(n: u64) -> u64 {
    if n == 0 {
        1
    } else {
        n * factorial(n - 1).await
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut users = Users::default();
    assert_eq!(users.find(1).await, Some(1));
    assert_eq!(users.find_default(1).await, 1);
    users.change_default("a").await;
    assert_eq!(users.get("a", String::new()).await.as_deref(), Ok("a of 0"));
    assert_eq!(users.get("", "b".to_owned()).await, Err("b".to_owned()));
    assert_eq!(users.get_default(1).await, 1);
    assert_eq!(users.put((1, 2)).await, 2);
    assert_eq!(users.local().await, 1);
    assert_eq!(factorial(5).await, 120);
}
