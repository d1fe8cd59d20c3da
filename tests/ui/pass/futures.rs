//! Functions that return a future: as silent under lints as an `async fn`, and
//! as free of bounds as they were.
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

use std::pin::Pin;
use std::rc::Rc;

use cache_runtime::{cache_invalidate, cached};

/// As in `futures`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// As in `futures`.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;
/// A future by a name that says something else.
pub type Result<'a, T> = BoxFuture<'a, std::result::Result<T, String>>;

/// Where users are.
#[derive(Debug, Default)]
pub struct Users {
    /// Whose they are.
    pub tenant: u64,
}

impl Users {
    /// Without a name.
    #[cached(key = "impl:<self.tenant>:<id>")]
    pub fn unnamed(&self, id: u64) -> impl Future<Output = u64> + Send + '_ {
        async move { self.tenant + id }
    }

    /// On one line.
    #[cached(key = "line:<id>")]
    pub fn line(&self, id: u64) -> impl Future<Output = u64> + use<> {
        std::future::ready(id)
    }

    /// With early returns, a mutable parameter and attributes.
    #[cached(key = "early:<self.tenant>:<name>", unless = |length| *length > 100)]
    #[must_use = "it was asked for"]
    #[inline]
    pub fn early(&self, mut name: String) -> BoxFuture<'_, usize> {
        #![allow(clippy::inline_always)]
        if name.is_empty() {
            return Box::pin(std::future::ready(0));
        }
        name.push('!');
        Box::pin(async move { name.len() })
    }

    /// Outlives its receiver.
    #[cached(key = "static:<self.tenant>")]
    pub fn owned(&self) -> BoxFuture<'static, u64> {
        let tenant = self.tenant;
        Box::pin(async move { tenant })
    }

    /// Reborrows its receiver.
    #[cached(key = "mut:<self.tenant>")]
    pub fn exclusive(&mut self) -> impl Future<Output = u64> + Send {
        Self::count(&mut self.tenant)
    }

    async fn count(tenant: &mut u64) -> u64 {
        *tenant += 1;
        std::future::ready(()).await;
        *tenant
    }

    /// Not `Send`.
    #[cached(key = "local:<self.tenant>:<id>")]
    pub fn local(&self, id: Rc<u64>) -> LocalBoxFuture<'_, u64> {
        Box::pin(async move { *id + self.tenant })
    }

    /// On one line.
    #[cache_invalidate("local:<id>")]
    pub fn change_local(id: Rc<u64>) -> impl Future<Output = Rc<u64>> {
        async { id }
    }

    /// Reads the result.
    #[cache_invalidate("impl:<self.tenant>:<result>", "local:<id>", on = ok)]
    pub fn change<'a>(&'a self, id: &'a str) -> Result<'a, u64> {
        Box::pin(async move { Ok(id.parse().unwrap_or(self.tenant)) })
    }

    /// A value that has no name.
    #[cache_invalidate("local:<id>")]
    pub fn letters(id: &str) -> impl Future<Output = impl Iterator<Item = char>> {
        let letters: Vec<_> = id.chars().collect();
        async { letters.into_iter() }
    }
}

/// Any type parameter, any lifetime.
#[cached(key = "generic:<T>:<N>:<id>", skip(K))]
pub fn generic<'a, T, K, const N: usize>(id: &'a K) -> impl Future<Output = Option<T>> + Send + 'a
where
    T: cache_runtime::CacheValue + Default,
    K: cache_runtime::KeyPart + Sync,
{
    async move {
        let _ = id;
        (N > 0).then(T::default)
    }
}

fn spawnable<F: Future<Output: Send> + Send + 'static>(future: F) -> F {
    future
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut users = Users { tenant: 7 };
    assert_eq!(users.unnamed(1).await, 8);
    assert_eq!(spawnable(users.line(1)).await, 1);
    assert_eq!(users.early("a".to_owned()).await, 2);
    assert_eq!(users.early(String::new()).await, 0);
    assert_eq!(spawnable(users.owned()).await, 7);
    assert_eq!(users.exclusive().await, 8);
    assert_eq!(users.local(Rc::new(1)).await, 9);
    assert_eq!(*Users::change_local(Rc::new(1)).await, 1);
    assert_eq!(users.change("x").await, Ok(8));
    assert_eq!(Users::letters("ab").await.count(), 2);
    assert_eq!(generic::<u8, _, 1>(&1).await, Some(0));
}
