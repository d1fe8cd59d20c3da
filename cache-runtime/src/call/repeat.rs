//! The second invalidation: some time after an update whose outcome is not known.
//!
//! An update that returned an error, panicked or was dropped may have its commit still
//! under way in the database. A read that comes after the first invalidation and before
//! that commit stores what is about to be replaced, and nothing would remove it. So the
//! names are invalidated once more, when such a commit has happened or never will.

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;

use crate::clock;
use crate::core::Core;
use crate::fallback;
use crate::key::Key;
use crate::sabotage::{self, Rule};
use crate::tier::Store as _;
use crate::unsettled::{Names, Next};

/// Invalidates names a second time, once the update has settled.
pub(crate) fn invalidate_again(core: &Arc<Core>, names: &[Key]) {
    let is_on = !core.tier.is_off() && core.unsettled.is_enabled();
    if !is_on
        || !sabotage::keeps(Rule::SecondInvalidation)
        || !core.unsettled.add(names, Instant::now())
    {
        return;
    }
    let attendant = Attendant::new(core, false);
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn(attendant.wait())),
        Err(_) => attendant.wait_on_a_thread(),
    }
}

/// Invalidates now, or as soon as that can be done, what would be due later.
pub(crate) fn settle_now(core: &Core) {
    let Names { names, buckets } = core.unsettled.take();
    core.tier.invalidate_buckets_later(buckets);
    core.invalidate_later(&names);
}

/// The task that waits for what is due; without a runtime, a thread.
struct Attendant {
    core: Arc<Core>,
    /// True on the fallback thread; nothing replaces it.
    is_last: bool,
    /// Whether it has ended because nothing was due any more.
    has_ended: bool,
}

impl Attendant {
    fn new(core: &Arc<Core>, is_last: bool) -> Self {
        Self {
            core: core.clone(),
            is_last,
            has_ended: false,
        }
    }

    async fn wait(mut self) {
        loop {
            match self.core.unsettled.next(Instant::now()) {
                Ok(Next::Nothing) => {
                    self.has_ended = true;
                    return;
                }
                Ok(Next::Due(Names { names, buckets })) => {
                    self.core.tier.invalidate_buckets_later(buckets);
                    self.core.invalidate_or_report(&names).await;
                }
                Err(pause) => clock::pause(pause).await,
            }
        }
    }

    fn wait_on_a_thread(self) {
        // If there is no thread to be had, this drops `self`.
        fallback::run(self.wait());
    }
}

/// The runtime of the task was shut down: a thread takes its place. Where there is no thread,
/// what is due later is invalidated now.
impl Drop for Attendant {
    fn drop(&mut self) {
        if self.has_ended || !self.core.unsettled.unattended(self.is_last) {
            return;
        }
        if self.is_last {
            settle_now(&self.core);
        } else {
            Attendant::new(&self.core, true).wait_on_a_thread();
        }
    }
}
