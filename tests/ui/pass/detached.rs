//! Functions whose loads run in a task of their own: as silent under lints as without `detach`.
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

use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;

use async_recursion::async_recursion;
use async_trait::async_trait;
use cache_runtime::{Cache, CacheValue, KeyPart, cached};

/// As in `futures`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A tenant.
#[derive(Debug, Clone, Copy, KeyPart)]
pub struct Tenant(u64);

/// Where users are.
#[derive(Debug, Clone)]
pub struct Users {
    tenant: u64,
    cache: Cache,
}

impl Users {
    /// By reference, with borrowed arguments of each kind.
    #[allow(unused_qualifications, reason = "not every `self` is the receiver")]
    #[cached(key = "ref:<self.tenant>:<id>:<name>:<list>:<tenant>", cache = self.cache, detach)]
    pub async fn by_ref(&self, id: u64, name: &str, list: &[u64], tenant: &Tenant) -> String {
        use std::fmt::Write as _;

        struct Inner(u64);
        impl Inner {
            fn get(&self) -> u64 {
                self.0
            }
        }
        let mut text = format!("{name} of {}", self.tenant);
        self::extend(&mut text, id).await;
        write!(text, "{}{}{}", list.len(), tenant.0, Inner(1).get()).unwrap_or_default();
        text
    }

    /// With a lifetime, and a mutable binding.
    #[cached(key = "lifetime:<name>", detach)]
    pub async fn lifetime<'a>(&'a self, mut name: &'a str) -> usize {
        name = name.trim();
        tokio::task::yield_now().await;
        name.len()
    }

    /// By value.
    #[cached(key = "value:<self.tenant>:<note>", cache = self.cache, detach)]
    pub async fn by_value(self, mut note: String) -> String {
        note.push('!');
        let this = self;
        format!("{note}{}", this.tenant)
    }

    /// Shared.
    #[cached(key = "arc:<self.tenant>", cache = self.cache, detach)]
    pub async fn by_arc(self: Arc<Self>) -> u64 {
        let this: Arc<Self> = self;
        this.tenant
    }

    /// A reference to a shared one.
    #[cached(key = "arc-ref:<self.tenant>", cache = self.cache, detach)]
    pub async fn by_arc_ref(self: &Arc<Self>) -> u64 {
        let this: Arc<Self> = self.clone();
        this.tenant
    }

    /// Without a receiver.
    ///
    /// # Errors
    /// If it is no number.
    #[cached(key = "none:<text>", none_ttl = 5, detach)]
    pub async fn without(text: &str) -> Result<Option<u64>, std::num::ParseIntError> {
        if text.is_empty() {
            return Ok(None);
        }
        let number: u64 = text.parse()?;
        Ok(Some(number))
    }

    /// Returns a future.
    #[cached(key = "future:<self.tenant>:<id>:<name>", cache = self.cache, detach)]
    pub fn future(&self, id: u64, name: &str) -> impl Future<Output = u64> + Send {
        let length = name.len() as u64;
        async move { self.tenant + id + length }
    }

    /// Returns a boxed future, early or late.
    #[cached(key = "boxed:<self.tenant>:<name>", cache = self.cache, unless = |n| *n > 100, detach)]
    pub fn boxed<'a>(&'a self, name: &'a str) -> BoxFuture<'a, usize> {
        if name.is_empty() {
            return Box::pin(std::future::ready(0));
        }
        Box::pin(async move { name.len() })
    }
}

async fn extend(text: &mut String, id: u64) {
    std::future::ready(()).await;
    text.push_str(&id.to_string());
}

/// Native.
pub trait Find {
    /// Declared.
    fn find(&self, id: u64) -> impl Future<Output = Option<u64>> + Send;

    /// By default.
    #[cached(key = "default:<id>", detach)]
    fn find_default(&self, id: u64) -> impl Future<Output = u64> + Send
    where
        Self: Clone + Send + Sync + 'static,
    {
        let this = self.clone();
        async move { this.find(id).await.unwrap_or_default() }
    }
}

impl Find for Users {
    #[cached(key = "find:<self.tenant>:<id>", detach)]
    async fn find(&self, id: u64) -> Option<u64> {
        Some(self.tenant + id)
    }
}

/// Rewritten.
#[async_trait]
pub trait Boxed {
    /// Declared.
    async fn get(&self, id: &str, note: String) -> Result<String, String>;
}

#[async_trait]
impl Boxed for Users {
    #[cached(key = "get:<self.tenant>:<id>", skip(note), detach)]
    async fn get(&self, id: &str, note: String) -> Result<String, String> {
        if id.is_empty() {
            return Err(note);
        }
        tokio::task::yield_now().await;
        Ok(format!("{id} of {}", self.tenant))
    }
}

/// Rewritten.
#[async_recursion]
#[cached(key = "factorial:<n>", detach)]
pub async fn factorial(n: u64) -> u64 {
    if n == 0 {
        1
    } else {
        n * factorial(n - 1).await
    }
}

/// Any type, by value and borrowed.
#[cached(key = "generic:<T>:<N>:<id>", skip(K), detach)]
pub async fn generic<T, K, const N: usize>(id: &K) -> Option<T>
where
    T: CacheValue + Default,
    K: KeyPart + Clone + Send + Sync + 'static,
{
    tokio::task::yield_now().await;
    let _ = id;
    (N > 0).then(T::default)
}

/// A parameter without a name for its type.
#[cached(key = "impl:<id.to_string()>", detach)]
pub async fn impl_argument(id: impl Display + Send + 'static) -> String {
    id.to_string()
}

/// Patterns that own what they name, and an argument that nothing reads.
#[cached(key = "pattern:<a>:<b>:<_unread>", ttl = |_| std::time::Duration::from_secs(61), detach)]
pub async fn pattern((a, mut b): (u64, u64), _unread: u64) -> u64 {
    b += a;
    b
}

/// Lives for ever.
#[cached(key = "static:<text>", condition = !text.is_empty(), detach)]
pub async fn forever(text: &'static str) -> String {
    text.to_owned()
}

fn spawnable<F: Future<Output: Send> + Send>(future: F) -> F {
    future
}

#[tokio::main]
async fn main() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    let users = Users { tenant: 7, cache };
    for _ in 0..2 {
        let by_ref = users.by_ref(1, "a", &[2, 3], &Tenant(4));
        assert_eq!(spawnable(by_ref).await, "a of 71241");
        assert_eq!(users.lifetime(" a ").await, 1);
        assert_eq!(users.clone().by_value("a".to_owned()).await, "a!7");
        assert_eq!(Arc::new(users.clone()).by_arc().await, 7);
        assert_eq!(Arc::new(users.clone()).by_arc_ref().await, 7);
        assert_eq!(Users::without("7").await, Ok(Some(7)));
        assert_eq!(Users::without("").await, Ok(None));
        assert!(Users::without("x").await.is_err());
        assert_eq!(spawnable(users.future(1, "ab")).await, 10);
        assert_eq!(users.boxed("abc").await, 3);
        assert_eq!(users.boxed("").await, 0);
        assert_eq!(users.find(1).await, Some(8));
        assert_eq!(users.find_default(1).await, 8);
        assert_eq!(users.get("a", String::new()).await.as_deref(), Ok("a of 7"));
        assert_eq!(users.get("", "b".to_owned()).await, Err("b".to_owned()));
        assert_eq!(factorial(5).await, 120);
        assert_eq!(generic::<u8, _, 1>(&1).await, Some(0));
        assert_eq!(impl_argument("a").await, "a");
        assert_eq!(pattern((1, 2), 3).await, 3);
        assert_eq!(forever("").await, "");
        assert_eq!(forever("a").await, "a");
    }
}
