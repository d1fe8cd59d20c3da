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
        if names.is_empty() {
            return false;
        }
        let at = Instant::now() + self.settle;
        let mut state = self.lock();
        for name in names {
            if state.due.len() < self.capacity || state.due.contains_key(name) {
                state.due.insert(name.clone(), at);
            } else {
                // Not put off by those who come later: in a storm it would never be due.
                state.everything.get_or_insert(at);
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
        let attendant = Attendant {
            cache: self.clone(),
            is_last: false,
            has_left: false,
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(attendant.wait())),
            Err(_) => attendant.wait_on_a_thread(),
        }
    }

    /// Carries out at once, or hands to those who do, what would be due later.
    pub(crate) fn settle_now(&self) {
        let (names, everything) = {
            let mut state = self.unsettled().lock();
            (take(&mut state.due), state.everything.take())
        };
        if everything.is_some() {
            self.clear_later();
        } else {
            let names: Vec<Key> = names.into_keys().collect();
            self.invalidate_later(&names);
        }
    }
}

/// Waits for what is due.
struct Attendant {
    cache: Cache,
    /// Whether nobody is to take its place.
    is_last: bool,
    /// Whether it has left because nothing was due any more.
    has_left: bool,
}

impl Attendant {
    async fn wait(mut self) {
        loop {
            match self.cache.unsettled().next() {
                Ok(Due::Nothing) => {
                    self.has_left = true;
                    return;
                }
                Ok(Due::Names(names)) => {
                    self.cache.invalidate_or_report(&names).await;
                }
                Ok(Due::Everything) => self.cache.clear_later(),
                Err(pause) => clock::pause(pause).await,
            }
        }
    }

    /// The same outside of a runtime.
    fn wait_on_a_thread(mut self) {
        let wait = move || {
            loop {
                match self.cache.unsettled().next() {
                    Ok(Due::Nothing) => {
                        self.has_left = true;
                        return;
                    }
                    Ok(Due::Names(names)) => self.cache.invalidate_later(&names),
                    Ok(Due::Everything) => self.cache.clear_later(),
                    Err(pause) => std::thread::sleep(pause),
                }
            }
        };
        // If there is no thread to be had, this drops `self`.
        drop(std::thread::Builder::new().spawn(wait));
    }
}

/// Its runtime was shut down: a thread takes its place, and where there is none, what is due
/// later is carried out now.
impl Drop for Attendant {
    fn drop(&mut self) {
        if self.has_left {
            return;
        }
        {
            let mut state = self.cache.unsettled().lock();
            let is_due = !state.due.is_empty() || state.everything.is_some();
            if self.is_last || !is_due {
                // The next update that fails finds that nobody waits.
                state.attended = false;
            }
            if !is_due {
                return;
            }
        }
        if self.is_last {
            return self.cache.settle_now();
        }
        let next = Attendant {
            cache: self.cache.clone(),
            is_last: true,
            has_left: false,
        };
        next.wait_on_a_thread();
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

    /// It was dropped with names that it had taken out: nothing is due, and nobody waits.
    #[test]
    fn an_attendant_that_is_dropped_is_missed() {
        let cache = Cache::builder().url("memory:").build().unwrap();
        assert!(cache.unsettled().add(&["a".into()]));
        take(&mut cache.unsettled().lock().due);
        drop(Attendant {
            cache: cache.clone(),
            is_last: false,
            has_left: false,
        });
        assert!(cache.unsettled().add(&["b".into()]));
    }
}
