//! The duty to give a lock back.

use std::mem;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::held::{self, Owner};
use crate::clock;
use crate::core::Core;
use crate::error::Error;
use crate::fallback;
use crate::sabotage::{self, Rule};
use crate::tier::Room;

/// The pause between two tries to give a lock back: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A lock that may be held by this owner. If it is dropped, the lock is given back: at once in this process, in
/// the background on a server.
pub(super) struct Claim {
    core: Arc<Core>,
    place: String,
    owner: String,
    ttl: Duration,
    given_back_by: By,
    /// Attempts that are under way, or whose answer was lost.
    attempts_of_unknown_outcome: u32,
    holder: Holder,
}

/// The process that holds a lock. A forked child has copies of its parent's guards, and none of its locks.
#[derive(Clone, Copy)]
pub(super) struct Holder(u32);

impl Holder {
    pub(super) fn here() -> Self {
        Self(process::id())
    }

    pub(super) fn is_here(self) -> bool {
        self.0 == process::id() || !sabotage::keeps(Rule::Forks)
    }
}

/// What gives a lock back whose claim is dropped.
#[derive(Debug, Clone, Copy)]
enum By {
    Task,
    /// The runtime of the task was shut down.
    Thread,
    /// There is nothing to give back, or nothing left that could.
    Nothing,
}

impl Claim {
    pub(super) fn new(core: &Arc<Core>, place: &str, owner: String, ttl: Duration) -> Self {
        Self {
            core: core.clone(),
            place: place.to_owned(),
            owner,
            ttl,
            given_back_by: By::Nothing,
            attempts_of_unknown_outcome: 0,
            holder: Holder::here(),
        }
    }

    /// A guard holds the lock by this, too.
    pub(super) fn name(&self) -> &str {
        &self.owner
    }

    pub(super) fn owner(&self) -> Owner<'_> {
        Owner::Unique(&self.owner)
    }

    /// There is nothing to give back.
    pub(super) fn settle(mut self) {
        self.given_back_by = By::Nothing;
    }

    /// An attempt begins: from now on, the lock may be held.
    pub(super) fn begin(&mut self) {
        self.attempts_of_unknown_outcome += 1;
        self.given_back_by = By::Task;
    }

    /// The attempt that began last was refused. There is nothing to give back, unless an earlier one may arrive
    /// after all.
    pub(super) fn is_refused(&mut self) {
        self.attempts_of_unknown_outcome -= 1;
        if self.attempts_of_unknown_outcome == 0 {
            self.given_back_by = By::Nothing;
        }
    }

    /// The attempt that began last was successful: the claim of its guard.
    pub(super) fn take(&mut self) -> Self {
        self.hand_on(By::Task)
    }

    /// Gives the lock back; whether it was still held. After an error, the background goes on.
    pub(super) async fn give_back(mut self) -> Result<bool, Error> {
        if !self.holder.is_here() {
            return Ok(false);
        }
        let released = held::release(&self.core, &self.place, &self.owner).await?;
        self.given_back_by = By::Nothing;
        self.core.lock_waits.released(&self.place);
        Ok(released)
    }

    /// Tries until it is given back, or has ended.
    async fn keep_giving_back(mut self) {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        while held::release(&self.core, &self.place, &self.owner)
            .await
            .is_err()
            && began.elapsed() < self.ttl
        {
            clock::pause(clock::around(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.given_back_by = By::Nothing;
        self.core.lock_waits.released(&self.place);
    }

    /// The same claim, with nothing left to give back in this one.
    fn hand_on(&mut self, given_back_by: By) -> Self {
        self.given_back_by = By::Nothing;
        Self {
            core: self.core.clone(),
            place: mem::take(&mut self.place),
            owner: mem::take(&mut self.owner),
            ttl: self.ttl,
            given_back_by,
            attempts_of_unknown_outcome: 0,
            holder: self.holder,
        }
    }

    fn give_back_on_a_thread(self) {
        fallback::run(self.keep_giving_back());
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let by = mem::replace(&mut self.given_back_by, By::Nothing);
        if !self.holder.is_here() {
            return;
        }
        let is_here = matches!(self.core.tier.room(), Room::InProcess(_));
        if is_here && !matches!(by, By::Nothing) {
            let memory = &self.core.memory;
            memory.at(&self.place, |place| held::release_here(place, &self.owner));
            self.core.lock_waits.released(&self.place);
            return;
        }
        let runtime = Handle::try_current().ok().filter(|_| !fallback::is_here());
        match (by, runtime) {
            (By::Nothing, _) => {}
            (By::Task, Some(runtime)) => {
                runtime.spawn(self.hand_on(By::Thread).keep_giving_back());
            }
            // If there is no thread to be had, the lock ends with its ttl.
            (By::Task, None) | (By::Thread, _) => {
                self.hand_on(By::Nothing).give_back_on_a_thread();
            }
        }
    }
}
