//! A writer's place in the fences around its names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::core::Core;
use crate::error::Error;
use crate::key::Key;
use crate::observe::Event;
use crate::sabotage::{self, Rule};
use crate::tier::Store as _;
use crate::unique;

/// A writer's place in the fences around its names. If it is dropped before the body began, the
/// writer leaves the fences. If it is dropped later, the body may have written, so the fences stand
/// until their deadline.
#[derive(Debug)]
pub(super) struct Fence {
    core: Arc<Core>,
    names: Vec<Key>,
    /// Never 0, which stands for writers that a fence does not name.
    writer: u64,
    length: Duration,
    /// When it began to be placed.
    begun: Instant,
    /// Whether all of it was placed.
    is_placed: bool,
    phase: Phase,
}

#[derive(Debug, PartialEq)]
enum Phase {
    Placing,
    Writing,
    Left,
}

impl Fence {
    pub(super) fn new(core: &Arc<Core>, names: &[Key], length: Duration) -> Self {
        // Under an invalid name there is nothing to keep out.
        let names = names.iter().filter(|name| name.check().is_ok());
        Self {
            core: core.clone(),
            names: names.cloned().collect(),
            writer: (unique::number() >> 2).max(1),
            length,
            begun: Instant::now(),
            is_placed: false,
            phase: Phase::Placing,
        }
    }

    /// Places the writer in the fences.
    pub(super) async fn place(&mut self) -> Result<(), Error> {
        let Self { names, writer, .. } = self;
        if names.is_empty() || !sabotage::keeps(Rule::Fence) {
            return Ok(());
        }
        let placed = self.core.tier.fence(names, *writer, self.length).await;
        let event = match &placed {
            Ok(()) => Event::Fence { names },
            Err(error) => Event::NotFenced { names, error },
        };
        self.core.observer.observe(None, event);
        self.is_placed = placed.is_ok();
        placed
    }

    /// From now on its names may be changing.
    pub(super) fn body_begins(&mut self) {
        self.phase = Phase::Writing;
    }

    /// Leaves the fences, after a clean end and the invalidation. If the fence was placed in part,
    /// the writer leaves that part.
    pub(super) async fn leave(mut self) {
        let names = &self.names;
        if !names.is_empty() {
            let left = self.core.tier.unfence(names, self.writer).await;
            match &left {
                Ok(()) if !self.is_placed => {}
                Ok(()) => self.core.observer.observe(None, Event::Unfence { names }),
                Err(error) => {
                    let event = Event::NotUnfenced { names, error };
                    self.core.observer.observe(None, event);
                }
            }
        }
        self.phase = Phase::Left;
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        let tier = &self.core.tier;
        match std::mem::replace(&mut self.phase, Phase::Left) {
            Phase::Left => {}
            Phase::Writing => {
                let left = self.length.saturating_sub(self.begun.elapsed());
                tier.abandon_fence(&self.names, self.writer, left);
            }
            Phase::Placing => {
                if tier.unfence_now(&self.names, self.writer) {
                    return;
                }
                if let Ok(runtime) = Handle::try_current() {
                    let fence = Self {
                        core: self.core.clone(),
                        names: std::mem::take(&mut self.names),
                        // If a runtime that shuts down drops it again, it is left to expire.
                        phase: Phase::Writing,
                        ..*self
                    };
                    runtime.spawn(fence.leave());
                }
            }
        }
    }
}
