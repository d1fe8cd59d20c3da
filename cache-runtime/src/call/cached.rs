//! What `#[cached]` expands to: the arguments, borrowed; a local hit, answered at once.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::compare::{Compare, Values};
use super::detach::{self, ReturnedByTask};
use super::fresh;
use super::of_value::WithTags;
use super::order::{self, Begin};
use super::receiver::Receiver;
use super::request::{Keep, Keeping, Request};
use super::scope;
use super::shape::Shape;
use super::site::CallSite;
use super::transaction::GivenTransaction;
use crate::codec::Codec;
use crate::context::{self, default_cache, mode};
use crate::core::Core;
use crate::freshness::Freshness;
use crate::key::{Key, Name, Names, Parts};
use crate::type_name::{self, ValueType};
use crate::value::CacheValue;

/// A call of a `#[cached]` function, before its body runs.
#[derive(Debug)]
pub struct CachedCall<S: Shape>(Started<S::Checked>);

#[derive(Debug)]
enum Started<V> {
    /// A local hit, of the right type.
    Answered(V),
    /// Boxed to keep [`CachedCall`] small for hits.
    Miss(Box<Request>),
    Bypass,
}

/// Only the methods that end a call ask for a [`CacheValue`], so that a type that cannot be
/// cached is one error, and not one for each method.
impl<S: Shape> CachedCall<S> {
    /// Borrows the arguments: answers from the local tier, or renders what will be asked.
    #[expect(
        clippy::inline_always,
        reason = "where it is called, its key's literals are known"
    )]
    #[inline(always)]
    pub fn start<P: Parts, N: Names>(
        site: &'static CallSite,
        core: &Arc<Core>,
        _shape: S,
        key: Name<P>,
        tags: N,
        receiver: Receiver,
    ) -> Self
    where
        S::Value: 'static,
    {
        if context::is_open()
            && let Some(started) = Self::start_in_context(site, core, &key, &tags, receiver)
        {
            return started;
        }
        if let Some(local) = core.tier.as_local(site)
            && site.other_receiver(receiver).is_none()
            && let Some(entry) = local.find(&key)
            && entry.basis.suits(&tags, site.schema)
            && let Some(value) = S::check(entry.value)
        {
            core.observer.hit(Some(site), || key.render());
            return Self(Started::Answered(value));
        }
        Self::miss(site, core, &key, &tags, receiver)
    }

    /// As [`start`](Self::start), of a function whose options say something of old values. An
    /// entry is served at once only if it is not one of those, and is not perhaps to be refreshed.
    #[inline]
    pub fn start_fresh<P: Parts, N: Names>(
        site: &'static CallSite,
        core: &Arc<Core>,
        _shape: S,
        key: Name<P>,
        tags: N,
        receiver: Receiver,
    ) -> Self
    where
        S::Value: 'static,
    {
        if context::is_open()
            && let Some(started) = Self::start_in_context(site, core, &key, &tags, receiver)
        {
            return started;
        }
        if let Some(local) = core.tier.as_local(site)
            && site.other_receiver(receiver).is_none()
            && let Some(entry) = local.find(&key)
            && entry.basis.suits_at_any_age(&tags, site.schema)
            && local.is_fresh(site.fresh.as_ref().unwrap_or(&Freshness::NONE), &entry)
            && let Some(value) = S::check(entry.value)
        {
            core.observer.hit(Some(site), || key.render());
            return Self(Started::Answered(value));
        }
        Self::miss(site, core, &key, &tags, receiver)
    }

    /// As [`start_fresh`](Self::start_fresh), of a function with arguments that may be transactions.
    #[inline]
    pub fn start_fresh_given<P: Parts, N: Names>(
        site: &'static CallSite,
        core: &Arc<Core>,
        shape: S,
        key: Name<P>,
        tags: N,
        receiver: Receiver,
        given: GivenTransaction,
    ) -> Self
    where
        S::Value: 'static,
    {
        if given != GivenTransaction::None {
            return Self::defer_given(site, core, shape, key, tags, receiver, given);
        }
        Self::start_fresh(site, core, shape, key, tags, receiver)
    }

    /// A call that leaves the cache alone.
    pub fn bypass(_shape: S) -> Self {
        Self(Started::Bypass)
    }

    /// Borrows the arguments for a call that looks at the cache when its future is polled:
    /// what is invalidated until then is not served.
    pub fn defer<P: Parts, N: Names>(
        site: &'static CallSite,
        core: &Arc<Core>,
        _shape: S,
        key: Name<P>,
        tags: N,
        receiver: Receiver,
    ) -> Self {
        Self::miss(site, core, &key, &tags, receiver)
    }

    /// As [`start`](Self::start), of a function with arguments that may be transactions. If one
    /// is, the call leaves the cache alone.
    #[expect(clippy::inline_always, reason = "as `start`")]
    #[inline(always)]
    pub fn start_given<P: Parts, N: Names>(
        site: &'static CallSite,
        core: &Arc<Core>,
        shape: S,
        key: Name<P>,
        tags: N,
        receiver: Receiver,
        given: GivenTransaction,
    ) -> Self
    where
        S::Value: 'static,
    {
        if given != GivenTransaction::None {
            return Self::defer_given(site, core, shape, key, tags, receiver, given);
        }
        Self::start(site, core, shape, key, tags, receiver)
    }

    /// As [`defer`](Self::defer), of a function with arguments that may be transactions.
    #[cold]
    pub fn defer_given<P: Parts, N: Names>(
        site: &'static CallSite,
        core: &Arc<Core>,
        _shape: S,
        key: Name<P>,
        tags: N,
        receiver: Receiver,
        given: GivenTransaction,
    ) -> Self {
        let mut call = Self::miss(site, core, &key, &tags, receiver);
        if let Started::Miss(request) = &mut call.0 {
            request.in_transaction = given != GivenTransaction::None;
        }
        call
    }

    /// Has the first poll of its future decide which cache it uses: the function names none, and returns
    /// the future.
    #[must_use]
    pub fn in_default_cache(mut self) -> Self {
        if let Started::Miss(request) = &mut self.0 {
            request.defaults.cache = true;
        }
        self
    }

    /// Sets how long this call's value is cached, if it is going to be.
    #[must_use]
    pub fn ttl(mut self, ttl: impl FnOnce() -> Duration) -> Self {
        if let Started::Miss(request) = &mut self.0 {
            request.query.ttl = ttl();
            request.defaults.ttl = false;
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

    /// Asks for the type of its values.
    pub fn values(&self) -> Values<S::Value> {
        Values::NEW
    }

    /// Sets how a value is compared with what would come back.
    #[must_use]
    pub fn compared(mut self, compare: Compare) -> Self {
        if let Started::Miss(request) = &mut self.0 {
            request.compare = compare;
        }
        self
    }

    /// The call, if what the thread knows of the future that it polls keeps it from an answer of the
    /// local tier.
    #[cold]
    fn start_in_context<P: Parts, N: Names>(
        site: &'static CallSite,
        core: &Arc<Core>,
        key: &Name<P>,
        tags: &N,
        receiver: Receiver,
    ) -> Option<Self> {
        let is_kept = scope::is_uncommitted() || mode::current().is_some() || order::is_given();
        is_kept.then(|| Self::miss(site, core, key, tags, receiver))
    }

    #[cold]
    fn miss<P: Parts, N: Names>(
        site: &'static CallSite,
        core: &Arc<Core>,
        key: &Name<P>,
        tags: &N,
        receiver: Receiver,
    ) -> Self {
        let mut names = Vec::new();
        tags.render_into(&mut names);
        let mut request = Request::at_site(site, core, key.render(), names, receiver);
        request.query.learns_tags = N::LEARNS;
        request.query.value_type = value_type::<S>(core, receiver);
        Self(Started::Miss(Box::new(request)))
    }

    /// The answer, if there is one already; else the call goes on.
    ///
    /// # Errors
    ///
    /// The call itself, unchanged, for [`resolve`](Self::resolve).
    #[inline]
    pub fn answer(self) -> Result<Answer<S>, Self> {
        match self.0 {
            Started::Answered(value) => Ok(Answer(value)),
            started => Err(Self(started)),
        }
    }

    /// The cached value, or what another caller's load or this call's own load yields.
    pub fn resolve<F>(self, load: F) -> impl Future<Output = S::Return>
    where
        S::Value: CacheValue,
        F: Future<Output = S::Return>,
    {
        self.resolve_keeping(|_| Keep::Default, load)
    }

    /// As [`resolve`](Self::resolve), where the value itself decides how long it is cached.
    ///
    /// Here and below, no `S::Return` is in scope, not even as the `None` of an
    /// `Option`, while anything is awaited: an error need not be `Send`.
    pub fn resolve_keeping<K, F>(self, keep: K, load: F) -> impl Future<Output = S::Return>
    where
        S::Value: CacheValue,
        K: Fn(&S::Value) -> Keep,
        F: Future<Output = S::Return>,
    {
        self.run(keep, load)
    }

    /// As [`resolve_keeping`](Self::resolve_keeping), where the value tells tags, too.
    pub fn resolve_telling<K, T, F>(
        self,
        keep: K,
        tags: T,
        load: F,
    ) -> impl Future<Output = S::Return>
    where
        S::Value: CacheValue,
        K: Fn(&S::Value) -> Keep,
        T: Fn(&S::Value) -> Vec<Key>,
        F: Future<Output = S::Return>,
    {
        self.run(WithTags { keep, tags }, load)
    }

    /// As [`resolve_keeping`](Self::resolve_keeping), of a function whose options say something of
    /// old values. `excuses` says of an error whether an old value may be served in its place.
    pub fn resolve_fresh<K, X, F>(
        self,
        keep: K,
        excuses: X,
        load: F,
    ) -> impl Future<Output = S::Return>
    where
        S::Value: CacheValue,
        K: Fn(&S::Value) -> Keep,
        X: Fn(&S::Return) -> bool,
        F: Future<Output = S::Return>,
    {
        self.run_fresh(keep, excuses, load)
    }

    /// As [`resolve_fresh`](Self::resolve_fresh), where the value tells tags, too.
    pub fn resolve_fresh_telling<K, T, X, F>(
        self,
        keep: K,
        tags: T,
        excuses: X,
        load: F,
    ) -> impl Future<Output = S::Return>
    where
        S::Value: CacheValue,
        K: Fn(&S::Value) -> Keep,
        T: Fn(&S::Value) -> Vec<Key>,
        X: Fn(&S::Return) -> bool,
        F: Future<Output = S::Return>,
    {
        self.run_fresh(WithTags { keep, tags }, excuses, load)
    }

    async fn run_fresh<K, X, F>(self, keep: K, excuses: X, load: F) -> S::Return
    where
        S::Value: CacheValue,
        K: Keeping<S::Value>,
        X: Fn(&S::Return) -> bool,
        F: Future<Output = S::Return>,
    {
        match self.begin(&keep) {
            Begin::On(Some(request)) => {
                fresh::get_or_load::<S, _>(&request, keep, excuses, pin!(load)).await
            }
            Begin::On(None) => load.await,
            Begin::Stay => pending().await,
        }
    }

    async fn run<K, F>(self, keep: K, load: F) -> S::Return
    where
        S::Value: CacheValue,
        K: Keeping<S::Value>,
        F: Future<Output = S::Return>,
    {
        match self.begin(&keep) {
            // Pinned once, and passed on by reference: the body's state is often large.
            Begin::On(Some(request)) => request.get_or_load::<S, _>(keep, pin!(load)).await,
            Begin::On(None) => load.await,
            Begin::Stay => pending().await,
        }
    }

    /// What the call does. It is asked when the call is first polled.
    fn begin(self, keep: &impl Keeping<S::Value>) -> Begin
    where
        S::Value: CacheValue,
    {
        let mut request = match self.0 {
            Started::Miss(request) => Some(request),
            // A local hit whose answer was not taken, or a call that leaves the cache alone.
            Started::Answered(_) | Started::Bypass => None,
        };
        if context::is_open() {
            if let Some(request) = &mut request
                && request.defaults.cache
                && let Some(core) = default_cache::current()
            {
                let receiver = request.receiver;
                request.query.value_type = value_type::<S>(&core, receiver);
                request.move_to(core);
            }
            order::obey::<S>(request, keep)
        } else {
            Begin::On(request)
        }
    }

    /// As [`begin`](Self::begin), with a load that runs in a task of its own: see [`detach`](super::detach).
    /// `load` is called only if this call loads.
    pub fn resolve_detached<K, L, F>(self, keep: K, load: L) -> impl Future<Output = S::Return>
    where
        S: 'static,
        S::Value: CacheValue,
        S::Return: ReturnedByTask,
        K: Fn(&S::Value) -> Keep + Send + 'static,
        L: FnOnce() -> F,
        F: Future<Output = S::Return> + Send + 'static,
    {
        self.run_detached(keep, load)
    }

    /// As [`resolve_detached`](Self::resolve_detached), where the value tells tags, too.
    pub fn resolve_detached_telling<K, T, L, F>(
        self,
        keep: K,
        tags: T,
        load: L,
    ) -> impl Future<Output = S::Return>
    where
        S: 'static,
        S::Value: CacheValue,
        S::Return: ReturnedByTask,
        K: Fn(&S::Value) -> Keep + Send + 'static,
        T: Fn(&S::Value) -> Vec<Key> + Send + 'static,
        L: FnOnce() -> F,
        F: Future<Output = S::Return> + Send + 'static,
    {
        self.run_detached(WithTags { keep, tags }, load)
    }

    /// As [`resolve_detached`](Self::resolve_detached), of a function whose options say something
    /// of old values.
    pub fn resolve_detached_fresh<K, X, L, F>(
        self,
        keep: K,
        excuses: X,
        load: L,
    ) -> impl Future<Output = S::Return>
    where
        S: 'static,
        S::Value: CacheValue,
        S::Return: ReturnedByTask,
        K: Fn(&S::Value) -> Keep + Send + 'static,
        X: Fn(&S::Return) -> bool + Send + Sync + 'static,
        L: FnOnce() -> F,
        F: Future<Output = S::Return> + Send + 'static,
    {
        self.run_detached_fresh(keep, excuses, load)
    }

    /// As [`resolve_detached_fresh`](Self::resolve_detached_fresh), where the value tells tags, too.
    pub fn resolve_detached_fresh_telling<K, T, X, L, F>(
        self,
        keep: K,
        tags: T,
        excuses: X,
        load: L,
    ) -> impl Future<Output = S::Return>
    where
        S: 'static,
        S::Value: CacheValue,
        S::Return: ReturnedByTask,
        K: Fn(&S::Value) -> Keep + Send + 'static,
        T: Fn(&S::Value) -> Vec<Key> + Send + 'static,
        X: Fn(&S::Return) -> bool + Send + Sync + 'static,
        L: FnOnce() -> F,
        F: Future<Output = S::Return> + Send + 'static,
    {
        self.run_detached_fresh(WithTags { keep, tags }, excuses, load)
    }

    async fn run_detached_fresh<K, X, L, F>(self, keep: K, excuses: X, load: L) -> S::Return
    where
        S: 'static,
        S::Value: CacheValue,
        S::Return: ReturnedByTask,
        K: Keeping<S::Value> + Send + 'static,
        X: Fn(&S::Return) -> bool + Send + Sync + 'static,
        L: FnOnce() -> F,
        F: Future<Output = S::Return> + Send + 'static,
    {
        match self.begin(&keep) {
            Begin::On(Some(request)) => {
                let request = Arc::from(request);
                fresh::get_or_load_detached::<S, _, _, _, _>(request, keep, excuses, load).await
            }
            Begin::On(None) => load().await,
            Begin::Stay => pending().await,
        }
    }

    async fn run_detached<K, L, F>(self, keep: K, load: L) -> S::Return
    where
        S: 'static,
        S::Value: CacheValue,
        S::Return: ReturnedByTask,
        K: Keeping<S::Value> + Send + 'static,
        L: FnOnce() -> F,
        F: Future<Output = S::Return> + Send + 'static,
    {
        match self.begin(&keep) {
            Begin::On(Some(request)) => {
                let request = Arc::from(request);
                detach::get_or_load::<S, _, _, _>(request, keep, load).await
            }
            Begin::On(None) => load().await,
            Begin::Stay => pending().await,
        }
    }
}

/// What an entry says of the type of its value.
pub(super) fn value_type<S: Shape>(core: &Core, receiver: Receiver) -> Option<ValueType> {
    let is_local = core.tier.is_in_process();
    (!is_local).then(|| type_name::of::<S::Value>(receiver.name()))
}

/// A local hit, of the right type, whose value is not cloned yet.
#[derive(Debug)]
pub struct Answer<S: Shape>(S::Checked);

impl<S: Shape<Value: CacheValue>> Answer<S> {
    /// What the call returns.
    ///
    /// An expansion calls this in its `return` statement, past each branch that yields something
    /// else. If the clone came before such a branch, the compiler would keep it in pieces and
    /// move it twice more, which is a tenth of the time of a hit on 160 bytes.
    #[expect(
        clippy::inline_always,
        reason = "a value is cloned to where it is returned"
    )]
    #[inline(always)]
    pub fn into_return(self) -> S::Return {
        S::from_checked(self.0)
    }
}

/// Tells the compiler what a closure of the user's takes.
pub fn ask<V, T>(value: &V, question: impl FnOnce(&V) -> T) -> T {
    question(value)
}
