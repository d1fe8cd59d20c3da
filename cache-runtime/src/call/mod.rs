//! One cached call and one invalidation, top to bottom.
//!
//! `#[cached]` expands to `CachedCall::start(…).or_load(async move { body }).await`.
//! [`CachedCall::start`] borrows the arguments, and answers from the local tier
//! if it can: then the body is dropped without having been polled. Else the body
//! is the call's *load*, and [`CachedCall::or_load`] runs it in one of three ways:
//!
//! * *led*: this caller loads and stores, others wait for it;
//! * *boarded*: this caller waits for another's load, and drops its own;
//! * *alone*: it loads for itself and stores nothing.

mod invalidate;
mod local;
#[cfg(feature = "redis")]
mod shared;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

pub use self::invalidate::InvalidateCall;
#[cfg(feature = "redis")]
pub(crate) use self::shared::decode_outcome;
use crate::cache::{Cache, Tier};
use crate::clock;
use crate::flight::SharedValue;
use crate::key::{Key, Name, Names, Parts};
use crate::stats::{CallSite, Counters};
use crate::value::{CacheValue, Outcome, Shape, View, to_return};

/// A call of a `#[cached]` function, before its body runs.
pub struct CachedCall<S: Shape>(Started<S>);

enum Started<S: Shape> {
    Hit(S::Return),
    Miss(Request),
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
}

impl<S: Shape> CachedCall<S>
where
    S::Value: CacheValue,
{
    /// Borrows the arguments: answers from the local tier, or renders what will be asked.
    pub fn start<P: Parts, N: Names>(
        site: &'static CallSite,
        cache: &Cache,
        _shape: S,
        key: Name<P>,
        tags: N,
    ) -> Self {
        if let Tier::Local(local) = cache.tier()
            && let Some(entry) = key.with_text(|text| local.get(text, &tags))
            && let Some(value) = take::<S>(&entry.value)
        {
            cache.counters(Some(site)).hit();
            return Self(Started::Hit(value));
        }
        let mut names = Vec::new();
        tags.render_into(&mut names);
        Self(Started::Miss(Request {
            cache: cache.clone(),
            site: Some(site),
            key: key.render(),
            tags: names,
            ttl: site.ttl,
            none_ttl: site.none_ttl,
        }))
    }

    /// The answer, or else what the body yields; the body of a hit is never polled.
    pub async fn or_load<F: Future<Output = S::Return>>(self, load: F) -> S::Return {
        match self.0 {
            Started::Hit(value) => value,
            Started::Miss(request) => request.get_or_load::<S, F>(load).await,
        }
    }
}

impl Request {
    pub(crate) async fn get_or_load<S, F>(&self, load: F) -> S::Return
    where
        S: Shape<Value: CacheValue>,
        F: Future<Output = S::Return>,
    {
        if let Err(error) = self.check_names() {
            tracing::warn!(%error, "not cached");
            self.counters().error();
            return self.run(load).await;
        }
        match self.cache.tier() {
            Tier::Off => self.run(load).await,
            Tier::Local(local) => self.get_or_load_local::<S, F>(local, load).await,
            #[cfg(feature = "redis")]
            Tier::Shared(shared) => self.get_or_load_shared::<S, F>(shared, load).await,
        }
    }

    fn check_names(&self) -> Result<(), crate::Error> {
        self.key.check()?;
        self.tags.iter().try_for_each(Key::check)
    }

    pub(crate) fn counters(&self) -> &Counters {
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
    pub(crate) fn lifetime<V>(&self, outcome: &View<'_, V>) -> Option<Duration> {
        let ttl = match outcome {
            View::Value(_) => self.value_ttl(),
            View::None => self.none_ttl?,
            View::Error => return None,
        };
        (!ttl.is_zero()).then(|| clock::jittered(ttl, self.cache.jitter()))
    }

    fn value_ttl(&self) -> Duration {
        self.ttl.unwrap_or(self.cache.default_ttl())
    }

    /// The longest that anything this call stores may be served.
    #[cfg(feature = "redis")]
    pub(crate) fn longest_ttl(&self) -> Duration {
        self.value_ttl().max(self.none_ttl.unwrap_or_default())
    }
}

/// A copy of the value, if it is of this shape's type.
pub(crate) fn take<S: Shape<Value: CacheValue>>(value: &SharedValue) -> Option<S::Return> {
    let value: &(dyn Any + Send + Sync) = &**value;
    to_return::<S>(value.downcast_ref::<Outcome<S::Value>>()?.clone())
}

/// A copy of the value for others; `None` for an error, which others do not share.
pub(crate) fn to_shared<V: CacheValue>(outcome: &View<'_, V>) -> Option<SharedValue> {
    let outcome = match outcome {
        View::Value(value) => Outcome::Value(V::clone(value)),
        View::None => Outcome::None,
        View::Error => return None,
    };
    Some(Arc::new(outcome))
}
