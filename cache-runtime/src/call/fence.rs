//! An update behind a fence: from before the body until its outcome is known, nothing of
//! what it changes is stored.
//!
//! ```text
//! fence ──> body ──> Ok:                    invalidate ──> leave the fence
//!             └────> Err, panic, dropped:   invalidate, and let the fence expire
//!             └────> the process dies:                  the fence expires
//! ```
//!
//! Without it, a process that dies between its commit and its invalidation leaves what it
//! replaced behind, until the ttl ends.

use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::invalidate::{InvalidateCallWithResult, ResultNames};
use crate::cache::{Cache, Tier};
use crate::error::Error;
use crate::key::Key;
use crate::sabotage::{self, Rule};
use crate::unique;
use crate::value::Shape;

/// A call of a `#[cache_invalidate(…, fence = …)]` function, before its body runs.
#[derive(Debug)]
pub struct FencedCall<S: Shape, N> {
    call: InvalidateCallWithResult<S, N>,
    length: Duration,
    /// What to return rather than run the body without a fence.
    refuse: Option<fn(Error) -> S::Return>,
}

impl<S, N> InvalidateCallWithResult<S, N>
where
    S: Shape,
    N: FnOnce(&S::Value, &mut ResultNames),
{
    /// Puts a fence around the names that depend on the arguments, while the body runs.
    #[must_use]
    pub fn fenced(self, length: Duration) -> FencedCall<S, N> {
        FencedCall {
            call: self,
            length,
            refuse: None,
        }
    }
}

impl<S, N> FencedCall<S, N>
where
    S: Shape,
    N: FnOnce(&S::Value, &mut ResultNames),
{
    /// Runs the body behind the fence only.
    #[must_use]
    pub fn required(mut self, refuse: fn(Error) -> S::Return) -> Self {
        self.refuse = Some(refuse);
        self
    }

    /// Places the fence, runs the body, invalidates and, after a clean end, leaves the fence.
    pub async fn run<F: Future<Output = S::Return>>(self, body: F) -> F::Output {
        let Self {
            mut call,
            length,
            refuse,
        } = self;
        let names = call.names_from_arguments();
        if names.is_empty() || length.is_zero() {
            return call.run(body).await;
        }
        let mut fence = Fence::new(call.cache(), names, length);
        if let Err(error) = fence.place().await {
            fence.cache.report_not_fenced(&fence.names, &error);
            if let Some(refuse) = refuse {
                fence.leave().await;
                call.forget();
                return refuse(error);
            }
        }
        fence.body_begins();
        call.leave_later(fence);
        call.run(body).await
    }
}

/// A return type that can say that there was no fence: a `Result` whose error can be made
/// from the cache's [`Error`].
///
/// ```
/// use cache_runtime::{RequiresFence, cache_invalidate};
///
/// #[derive(Debug)]
/// enum Refused { Cache(cache_runtime::Error) }
///
/// impl From<cache_runtime::Error> for Refused {
///     fn from(error: cache_runtime::Error) -> Self { Self::Cache(error) }
/// }
///
/// #[cache_invalidate("user:<id>", fence = "10s", fence_required)]
/// async fn rename(id: u64, name: &str) -> Result<(), Refused> {
///     println!("renaming {id} to {name}");
///     Ok(())
/// }
///
/// fn may_be_required<T: RequiresFence>() {}
/// may_be_required::<Result<(), Refused>>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`fence_required` returns an error of the cache, which `{Self}` cannot be made from",
    label = "the function returns `{Self}`",
    note = "help: return a `Result<…, E>` where `E: From<cache_runtime::Error>`, or leave `fence_required` \
            out, to run without a fence where there can be none"
)]
pub trait RequiresFence: Sized {
    /// What the function returns where the fence cannot be placed.
    fn from_cache_error(error: Error) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T, E: From<Error>> RequiresFence for Result<T, E> {
    fn from_cache_error(error: Error) -> Self {
        Err(error.into())
    }
}

/// A writer's place in the fences around its names. Dropped before its body began, the
/// writer leaves them; dropped afterwards, it may have written, so they stay until they expire.
#[derive(Debug)]
pub(super) struct Fence {
    cache: Cache,
    names: Vec<Key>,
    writer: u64,
    length: Duration,
    placed: Instant,
    phase: Phase,
}

#[derive(Debug, PartialEq)]
enum Phase {
    Placing,
    Writing,
    Left,
}

impl Fence {
    fn new(cache: &Cache, names: &[Key], length: Duration) -> Self {
        // Under a name that cannot be, there is nothing to keep out.
        let names = names.iter().filter(|name| name.check().is_ok());
        Self {
            cache: cache.clone(),
            names: names.cloned().collect(),
            writer: unique::number() >> 2,
            length,
            placed: Instant::now(),
            phase: Phase::Placing,
        }
    }

    async fn place(&mut self) -> Result<(), Error> {
        let Self { names, writer, .. } = self;
        if names.is_empty() || !sabotage::keeps(Rule::Fence) {
            return Ok(());
        }
        match self.cache.tier() {
            Tier::Off => {}
            Tier::Local(local) => local.fence(names, *writer),
            #[cfg(feature = "redis")]
            Tier::Shared(shared) => Box::pin(shared.fence(names, *writer, self.length)).await?,
        }
        Ok(())
    }

    /// From now on its names may be changing.
    fn body_begins(&mut self) {
        self.phase = Phase::Writing;
    }

    /// After a clean end and the invalidation. Of a fence that was placed in part, what was placed.
    pub(super) async fn leave(mut self) {
        match self.cache.tier() {
            Tier::Off => {}
            Tier::Local(local) => local.unfence(&self.names, self.writer),
            #[cfg(feature = "redis")]
            Tier::Shared(_) if self.names.is_empty() => {}
            #[cfg(feature = "redis")]
            Tier::Shared(shared) => {
                if let Err(error) = Box::pin(shared.unfence(&self.names, self.writer)).await {
                    tracing::debug!(%error, "a fence is left to expire");
                }
            }
        }
        self.phase = Phase::Left;
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        let phase = std::mem::replace(&mut self.phase, Phase::Left);
        match (phase, self.cache.tier()) {
            (Phase::Left, _) | (_, Tier::Off) => {}
            (Phase::Placing, Tier::Local(local)) => local.unfence(&self.names, self.writer),
            (Phase::Writing, Tier::Local(local)) => {
                let left = self.length.saturating_sub(self.placed.elapsed());
                local.abandon_fence(&self.names, self.writer, left);
            }
            #[cfg(feature = "redis")]
            (Phase::Placing, Tier::Shared(_)) => {
                if let Ok(runtime) = Handle::try_current() {
                    let fence = Self {
                        cache: self.cache.clone(),
                        names: std::mem::take(&mut self.names),
                        // Dropped again by a runtime that is shutting down, it expires.
                        phase: Phase::Writing,
                        writer: self.writer,
                        length: self.length,
                        placed: self.placed,
                    };
                    runtime.spawn(fence.leave());
                }
            }
            #[cfg(feature = "redis")]
            (Phase::Writing, Tier::Shared(_)) => {}
        }
    }
}
