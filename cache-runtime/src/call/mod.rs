//! One cached call and one invalidation, top to bottom.
//!
//! `#[cached]` expands to a [`CachedCall::start`], to a `return` of its
//! [`answer`](CachedCall::answer), and to `call.resolve(async move { body }).await`;
//! [`future`] says to what for functions that return a future.
//! [`CachedCall::start`] borrows the arguments, and answers from the local tier
//! if it can: then the body's future is not even made. Else the body is the
//! call's *load*, and [`CachedCall::resolve`] runs it in one of three ways:
//!
//! * *led*: this caller loads and stores, others wait for it;
//! * *boarded*: this caller waits for another's load, and drops its own;
//! * *alone*: it loads for itself and stores nothing.

mod after_commit;
mod fence;
mod future;
mod invalidate;
mod local;
#[cfg(feature = "redis")]
mod shared;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

pub use self::after_commit::after_commit;
pub(crate) use self::after_commit::{distrusts, hold_names};
pub use self::fence::RequiresFence;
pub use self::future::{BoxedFuture, Returned, future_of, returned_future};
pub use self::invalidate::InvalidateCall;
#[cfg(feature = "redis")]
pub(crate) use self::shared::decode_outcome;
use crate::cache::{Cache, Tier};
use crate::clock;
use crate::codec::Codec;
use crate::key::{Key, Name, Names, Parts};
use crate::stats::{CallSite, Counters};
use crate::value::{CacheValue, Outcome, Shape, SharedValue, outcome, to_return};

/// A call of a `#[cached]` function, before its body runs.
#[derive(Debug)]
pub struct CachedCall<S: Shape>(Started<S::Hit>);

#[derive(Debug)]
enum Started<H> {
    Hit(H),
    Miss(Box<Request>),
    Bypass,
}

/// What is asked of the cache, owned: the body takes the arguments.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) cache: Cache,
    pub(crate) site: Option<&'static CallSite>,
    pub(crate) key: Key,
    pub(crate) tags: Vec<Key>,
    pub(crate) ttl: Option<Duration>,
    /// How long a `None` is cached; not at all without it.
    pub(crate) none_ttl: Option<Duration>,
    /// How its value is written on a server; as the cache says without it.
    pub(crate) codec: Option<Codec>,
    /// Which meaning its values have; others are not served.
    pub(crate) version: u32,
}

/// How long one value is cached.
#[derive(Debug, Clone, Copy)]
pub enum Keep {
    /// As long as the call says.
    Default,
    /// This long.
    For(Duration),
    /// Not at all.
    Not,
}

/// Only what ends a call asks for a [`CacheValue`], so that a type that is none is
/// one error, and not one for each method.
impl<S: Shape> CachedCall<S> {
    /// Borrows the arguments: answers from the local tier, or renders what will be asked.
    #[expect(
        clippy::inline_always,
        reason = "where it is called, its key's literals are known"
    )]
    #[inline(always)]
    pub fn start<P: Parts, N: Names>(
        site: &'static CallSite,
        cache: &Cache,
        _shape: S,
        key: Name<P>,
        tags: N,
    ) -> Self
    where
        S::Value: 'static,
    {
        if let Tier::Local(local) = cache.tier()
            && let Some(entry) = local.find(&key)
            && entry.observed.suits(&tags, site.schema)
            && !(after_commit::is_open() && Self::is_distrusted(cache, &key, &tags))
            && let Some(hit) = S::hit(entry.value)
        {
            cache.counters(Some(site)).hit();
            return Self(Started::Hit(hit));
        }
        Self::miss(site, cache, &key, &tags)
    }

    /// A call that leaves the cache alone.
    pub fn bypass(_shape: S) -> Self {
        Self(Started::Bypass)
    }

    /// Sets how long this call's value is cached, if it is going to be.
    #[must_use]
    pub fn ttl(mut self, ttl: impl FnOnce() -> Duration) -> Self {
        if let Started::Miss(request) = &mut self.0 {
            request.ttl = Some(ttl());
        }
        self
    }

    /// Sets how this call's value is written on a server.
    #[must_use]
    pub fn codec(mut self, codec: impl FnOnce() -> Codec) -> Self {
        if let Started::Miss(request) = &mut self.0 {
            request.codec = Some(codec());
        }
        self
    }

    /// Borrows the arguments for a call that looks at the cache when its future is polled:
    /// what is invalidated until then is not served.
    pub fn defer<P: Parts, N: Names>(
        site: &'static CallSite,
        cache: &Cache,
        _shape: S,
        key: Name<P>,
        tags: N,
    ) -> Self {
        Self::miss(site, cache, &key, &tags)
    }

    /// Whether it is in a scope that changes what it reads.
    #[cold]
    fn is_distrusted<P: Parts, N: Names>(cache: &Cache, key: &Name<P>, tags: &N) -> bool {
        let mut names = vec![key.render()];
        tags.render_into(&mut names);
        distrusts(cache, names.iter())
    }

    /// In a box: what a hit drags along stays small.
    #[cold]
    fn miss<P: Parts, N: Names>(
        site: &'static CallSite,
        cache: &Cache,
        key: &Name<P>,
        tags: &N,
    ) -> Self {
        Self(Started::Miss(Box::new(Request::new(
            site, cache, key, tags,
        ))))
    }

    /// The answer, if there is one already; else the call goes on.
    ///
    /// # Errors
    ///
    /// With the call.
    #[expect(
        clippy::inline_always,
        reason = "a value is cloned to where it is returned"
    )]
    #[inline(always)]
    pub fn answer(self) -> Result<S::Return, Self>
    where
        S::Value: CacheValue,
    {
        match self.0 {
            Started::Hit(hit) => S::from_hit(hit).ok_or(Self(Started::Bypass)),
            started => Err(Self(started)),
        }
    }

    /// What others load, or else what the body yields.
    pub fn resolve<F>(self, load: F) -> impl Future<Output = S::Return>
    where
        S::Value: CacheValue,
        F: Future<Output = S::Return>,
    {
        self.resolve_keeping(|_| Keep::Default, load)
    }

    /// The same, where the value itself decides how long it is cached.
    ///
    /// Here and below, no `S::Return` is in scope, not even as the `None` of an
    /// `Option`, while anything is waited for: an error need not be `Send`.
    pub async fn resolve_keeping<K, F>(self, keep: K, load: F) -> S::Return
    where
        S::Value: CacheValue,
        K: Fn(&S::Value) -> Keep,
        F: Future<Output = S::Return>,
    {
        match self.0 {
            // Pinned once, and passed on by reference: the body's state is often large.
            Started::Miss(request) => request.get_or_load::<S, _>(keep, pin!(load)).await,
            // A hit that nobody asked for, or a call that leaves the cache alone.
            Started::Hit(_) | Started::Bypass => load.await,
        }
    }
}

impl Request {
    fn new<P: Parts, N: Names>(
        site: &'static CallSite,
        cache: &Cache,
        key: &Name<P>,
        tags: &N,
    ) -> Self {
        let mut names = Vec::new();
        tags.render_into(&mut names);
        Self {
            cache: cache.clone(),
            site: Some(site),
            key: key.render(),
            tags: names,
            ttl: site.ttl,
            none_ttl: site.none_ttl,
            codec: None,
            version: site.schema,
        }
    }

    pub(crate) async fn get_or_load<S, F>(
        &self,
        keep: impl Fn(&S::Value) -> Keep,
        load: F,
    ) -> S::Return
    where
        S: Shape<Value: CacheValue>,
        F: Future<Output = S::Return>,
    {
        if let Err(error) = self.check_names() {
            tracing::debug!(%error, "not cached");
            self.counters().error();
            return self.run(load).await;
        }
        // Not even shared: what is loaded here is not committed yet.
        if self.is_distrusted() {
            return self.run(load).await;
        }
        match self.cache.tier() {
            Tier::Off => self.run(load).await,
            Tier::Local(local) => self.get_or_load_local::<S, F>(local, keep, load).await,
            #[cfg(feature = "redis")]
            Tier::Shared(shared) => self.get_or_load_shared::<S, F>(shared, keep, load).await,
        }
    }

    fn check_names(&self) -> Result<(), crate::Error> {
        self.key.check()?;
        self.tags.iter().try_for_each(Key::check)
    }

    /// Whether it is in a scope that changes what it reads.
    fn is_distrusted(&self) -> bool {
        distrusts(&self.cache, self.tags.iter().chain([&self.key]))
    }

    pub(crate) fn counters(&self) -> Counters<'_> {
        self.cache.counters(self.site)
    }

    /// A hit, if the value is of this function's type.
    pub(crate) fn hit<S: Shape<Value: CacheValue>>(
        &self,
        value: &SharedValue,
    ) -> Option<S::Return> {
        let value = take::<S>(value)?;
        self.counters().hit();
        Some(value)
    }

    /// The value of a load that was shared, if it is of this function's type.
    pub(crate) fn boarded<S: Shape<Value: CacheValue>>(
        &self,
        value: &SharedValue,
    ) -> Option<S::Return> {
        let value = take::<S>(value)?;
        self.counters().miss();
        Some(value)
    }

    /// Runs the load, and counts it.
    pub(crate) async fn run<F: Future>(&self, load: F) -> F::Output {
        self.counters().miss();
        self.counters().load();
        load.await
    }

    /// How long an outcome is cached, jitter included; `None` for not at all.
    pub(crate) fn lifetime<V>(
        &self,
        outcome: &Outcome<V>,
        keep: impl Fn(&V) -> Keep,
    ) -> Option<Duration> {
        let ttl = match outcome {
            Outcome::Value(value) => match keep(value) {
                Keep::Default => self.value_ttl(),
                Keep::For(ttl) => ttl,
                Keep::Not => return None,
            },
            Outcome::None => self.none_ttl?,
        };
        (!ttl.is_zero()).then(|| clock::jittered(ttl, self.cache.jitter()))
    }

    fn value_ttl(&self) -> Duration {
        self.ttl.unwrap_or(self.cache.default_ttl())
    }

    #[cfg(feature = "redis")]
    fn codec(&self) -> Codec {
        self.codec.unwrap_or(self.cache.codec())
    }

    /// The longest that anything this call stores may be served.
    #[cfg(feature = "redis")]
    pub(crate) fn longest_ttl(&self) -> Duration {
        self.value_ttl().max(self.none_ttl.unwrap_or_default())
    }
}

/// A copy of the value, if it is of this shape's type.
pub(crate) fn take<S: Shape<Value: CacheValue>>(value: &SharedValue) -> Option<S::Return> {
    to_return::<S>(outcome(value)?)
}

/// Lets the compiler know what a closure of the user's takes.
pub fn ask<V, T>(value: &V, question: impl FnOnce(&V) -> T) -> T {
    question(value)
}

/// A copy of the value for others.
fn to_shared<S: Shape<Value: CacheValue>>(outcome: &Outcome<S::Value>) -> SharedValue {
    match outcome {
        Outcome::Value(value) => S::share(value),
        Outcome::None => Arc::new(Outcome::<S::Value>::None),
    }
}

/// What a load returned, once it is no longer needed in pieces.
fn put_together<S: Shape>(outcome: Outcome<S::Value>) -> S::Return {
    to_return::<S>(outcome).expect("the outcome was made from a value of this type")
}
