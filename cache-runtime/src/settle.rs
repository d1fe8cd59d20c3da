//! The second invalidation: some time after an update whose outcome is not known.
//!
//! An update that returned an error, panicked or was dropped may have its commit still
//! under way in the database. A read that comes after the first invalidation and before
//! that commit stores what is about to be replaced, and nobody would know. So the
//! names are invalidated once more, when such a commit has happened or never will.

use std::collections::HashMap;
use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::cache::{Cache, Tier};
use crate::clock;
use crate::key::Key;
use crate::sabotage::{self, Rule};

/// Names that are to be invalidated again.
#[derive(Debug)]
pub(crate) struct Unsettled {
    settle: Duration,
    /// So many names are kept; where there are more, the whole namespace is cleared.
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    due: HashMap<Key, Instant>,
    everything: Option<Instant>,
    /// Whether somebody waits until they are due.
    attended: bool,
}

/// What is due now.
enum Due {
    Names(Vec<Key>),
    Everything,
    Nothing,
}

impl Unsettled {
    pub(crate) fn new(settle: Duration, capacity: usize) -> Self {
        Self {
            settle,
            capacity,
            state: Mutex::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().due.len()
    }

    /// Whether it is for the caller to wait until they are due.
    fn add(&self, names: &[Key]) -> bool {
        let at = Instant::now() + self.settle;
        let mut state = self.lock();
        for name in names {
            if state.due.len() < self.capacity || state.due.contains_key(name) {
                state.due.insert(name.clone(), at);
            } else {
                state.everything = Some(at);
            }
        }
        !std::mem::replace(&mut state.attended, true)
    }

    /// Takes out what is due; or else says how long until something is, if ever.
    fn next(&self) -> Result<Due, Duration> {
        let now = Instant::now();
        let mut state = self.lock();
        if state.everything.is_some_and(|at| at <= now) {
            state.everything = None;
            state.due.retain(|_, at| *at > now);
            return Ok(Due::Everything);
        }
        let names: Vec<Key> = state
            .due
            .extract_if(|_, at| *at <= now)
            .map(|(name, _)| name)
            .collect();
        if !names.is_empty() {
            return Ok(Due::Names(names));
        }
        if let Some(at) = state.due.values().copied().chain(state.everything).min() {
            return Err(at - now);
        }
        state.attended = false;
        Ok(Due::Nothing)
    }

    /// Nothing panics under this lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    /// Invalidates names a second time, once the update has settled.
    pub(crate) fn invalidate_again(&self, names: &[Key]) {
        let unsettled = self.unsettled();
        let is_off = matches!(self.tier(), Tier::Off) || unsettled.settle.is_zero();
        if is_off || !sabotage::keeps(Rule::SecondInvalidation) || !unsettled.add(names) {
            return;
        }
        let attendant = Attendant(self.clone());
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(attendant.wait())),
            Err(_) => drop(std::thread::spawn(move || attendant.block())),
        }
    }

    /// Carries out at once what would be due later.
    pub(crate) async fn settle_now(&self) {
        let (names, everything) = {
            let mut state = self.unsettled().lock();
            (take(&mut state.due), state.everything.take())
        };
        let names: Vec<Key> = names.into_keys().collect();
        self.carry_out(match everything {
            Some(_) => Due::Everything,
            None => Due::Names(names),
        })
        .await;
    }

    async fn carry_out(&self, due: Due) {
        match due {
            Due::Names(names) => {
                self.invalidate_or_report(&names).await;
            }
            Due::Everything => {
                if let Err(error) = self.clear().await {
                    tracing::error!(%error, "not cleared: old data may be served until its ttl ends");
                }
            }
            Due::Nothing => {}
        }
    }
}

/// Waits for what is due. The next takes its place if its runtime is shut down.
struct Attendant(Cache);

impl Attendant {
    async fn wait(self) {
        loop {
            match self.0.unsettled().next() {
                Ok(Due::Nothing) => return,
                Ok(due) => self.0.carry_out(due).await,
                Err(pause) => clock::pause(pause).await,
            }
        }
    }

    /// Outside of a runtime, where there is the local tier only.
    fn block(self) {
        loop {
            match self.0.unsettled().next() {
                Ok(Due::Nothing) => return,
                Ok(Due::Names(names)) => self.0.invalidate_later(&names),
                Ok(Due::Everything) => self.0.clear_at_once(),
                Err(pause) => std::thread::sleep(pause),
            }
        }
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        let mut state = self.0.unsettled().lock();
        if !state.due.is_empty() || state.everything.is_some() {
            state.attended = false;
        }
    }
}

/// The cache is gone before they were due.
impl Drop for Unsettled {
    fn drop(&mut self) {
        let names = self.len();
        if names > 0 {
            tracing::warn!(
                names,
                "not invalidated a second time: an update that failed may have changed the data since"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(5);

    fn unsettled(names: &[&str]) -> Unsettled {
        let unsettled = Unsettled::new(SETTLE, 2);
        let names: Vec<Key> = names.iter().map(|&name| name.into()).collect();
        assert!(unsettled.add(&names));
        unsettled
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_due_once_and_when_they_have_settled() {
        let unsettled = unsettled(&["a", "b", "a"]);
        assert!(matches!(unsettled.next(), Err(pause) if pause == SETTLE));
        tokio::time::advance(SETTLE).await;
        assert!(matches!(unsettled.next(), Ok(Due::Names(names)) if names.len() == 2));
        assert!(matches!(unsettled.next(), Ok(Due::Nothing)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_due_after_the_last_update() {
        let unsettled = unsettled(&["a"]);
        tokio::time::advance(SETTLE / 2).await;
        assert!(!unsettled.add(&["a".into()]));
        tokio::time::advance(SETTLE / 2).await;
        assert!(unsettled.next().is_err());
        tokio::time::advance(SETTLE / 2).await;
        assert!(matches!(unsettled.next(), Ok(Due::Names(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn more_names_than_are_kept_are_all_names() {
        let unsettled = unsettled(&["a", "b", "c"]);
        assert_eq!(unsettled.len(), 2);
        tokio::time::advance(SETTLE).await;
        assert!(matches!(unsettled.next(), Ok(Due::Everything)));
        assert!(matches!(unsettled.next(), Ok(Due::Nothing)));
    }
}
