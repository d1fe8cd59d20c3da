//! Which refreshes of one cache are under way, and which keys are left alone for a while.
//!
//! A hit of an entry that is past its ttl asks here first. So while a key is refreshed, by this
//! process or another, its hits cost no further request to the server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;

use crate::clock::{Clock, Moment};
use crate::key::Key;

/// The refreshes of one cache. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Refreshes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The most refreshes that are under way at once.
    most: usize,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    keys: HashMap<Key, Note>,
    under_way: usize,
    /// The number of keys at which those are removed that are not left alone any more.
    sweep_at: usize,
}

#[derive(Debug, Clone, Copy)]
enum Note {
    UnderWay,
    /// Left alone until then.
    NotBefore(Moment, Why),
}

/// Why a key is left alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Why {
    /// Another process refreshes it.
    Elsewhere,
    /// Its load failed.
    Failed {
        /// Whether its old value is served in the place of the error.
        excused: bool,
    },
}

/// Why a caller is not to refresh a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Refused {
    /// It is refreshed, or its last refresh failed a moment ago.
    NotNow,
    /// As many refreshes are under way as may be.
    TooMany,
}

/// The right to refresh a key. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    refreshes: Refreshes,
    key: Key,
    not_before: Option<(Moment, Why)>,
}

impl Refreshes {
    pub(crate) fn new(most: usize, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            most,
            clock,
            state: Mutex::default(),
        }))
    }

    /// The right to refresh a key.
    pub(crate) fn begin(&self, key: &Key) -> Result<Ticket, Refused> {
        let now = self.0.clock.now();
        let mut state = self.lock();
        match state.keys.get(key) {
            Some(Note::UnderWay) => return Err(Refused::NotNow),
            Some(Note::NotBefore(until, _)) if now.is_before(*until) => {
                return Err(Refused::NotNow);
            }
            _ => {}
        }
        if state.under_way >= self.0.most {
            return Err(Refused::TooMany);
        }
        state.under_way += 1;
        state.keys.insert(key.clone(), Note::UnderWay);
        Ok(Ticket {
            refreshes: self.clone(),
            key: key.clone(),
            not_before: None,
        })
    }

    /// Notes that a key is to be left alone for so long.
    pub(crate) fn leave_alone(&self, key: &Key, length: Duration, why: Why) {
        let until = self.0.clock.expiry(length);
        let now = self.0.clock.now();
        let mut state = self.lock();
        if let Some(Note::UnderWay) = state.keys.get(key) {
            return;
        }
        state.sweep(|note| matches!(note, Note::NotBefore(until, _) if !now.is_before(*until)));
        state.keys.insert(key.clone(), Note::NotBefore(until, why));
    }

    /// A load of a key has ended well: no note of one that failed is left.
    pub(crate) fn forget_failure(&self, key: &Key) {
        let mut state = self.lock();
        if let Some(Note::NotBefore(_, Why::Failed { .. })) = state.keys.get(key) {
            state.keys.remove(key);
        }
    }

    /// Whether the last load of a key failed a moment ago; and then, whether its old value is served in the
    /// place of the error.
    pub(crate) fn has_failed(&self, key: &Key) -> Option<bool> {
        match self.lock().keys.get(key)? {
            Note::NotBefore(until, Why::Failed { excused })
                if self.0.clock.now().is_before(*until) =>
            {
                Some(*excused)
            }
            _ => None,
        }
    }

    /// How long a key is still left alone since its load failed; and whether its old value is served in the
    /// place of the error.
    pub(crate) fn failure(&self, key: &Key) -> Option<(Duration, bool)> {
        match *self.lock().keys.get(key)? {
            Note::NotBefore(until, Why::Failed { excused })
                if self.0.clock.now().is_before(until) =>
            {
                Some((self.0.clock.until(until), excused))
            }
            _ => None,
        }
    }

    /// How many are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.lock().under_way
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Removes what is over, each time the map has doubled.
    fn sweep(&mut self, is_over: impl Fn(&Note) -> bool) {
        if self.keys.len() < self.sweep_at {
            return;
        }
        self.keys.retain(|_, note| !is_over(note));
        self.sweep_at = (self.keys.len() * 2).max(1024);
    }
}

impl Ticket {
    /// When this is dropped, the key is left alone for so long.
    pub(crate) fn leave_alone(&mut self, length: Duration, why: Why) {
        self.not_before = Some((self.refreshes.0.clock.expiry(length), why));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.refreshes.lock();
        state.under_way -= 1;
        match self.not_before {
            Some((until, why)) => {
                state
                    .keys
                    .insert(self.key.clone(), Note::NotBefore(until, why));
            }
            None => {
                state.keys.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn refreshes(most: usize) -> Refreshes {
        Refreshes::new(most, Clock::SYSTEM)
    }

    #[test]
    fn a_key_is_refreshed_by_one_caller_at_a_time_and_only_so_many_keys() {
        let refreshes = refreshes(2);
        let [one, two, three] = ["1", "2", "3"].map(Key::from);
        let first = refreshes.begin(&one).unwrap();
        assert_eq!(refreshes.begin(&one).unwrap_err(), Refused::NotNow);
        let _second = refreshes.begin(&two).unwrap();
        assert_eq!(refreshes.begin(&three).unwrap_err(), Refused::TooMany);
        drop(first);
        assert!(refreshes.begin(&three).is_ok());
        assert!(refreshes.begin(&one).is_ok());
    }

    #[test]
    fn a_key_whose_refresh_failed_is_left_alone_for_a_while() {
        let refreshes = refreshes(2);
        let key = Key::from("1");
        let why = Why::Failed { excused: true };
        refreshes.begin(&key).unwrap().leave_alone(LONG, why);
        assert_eq!(refreshes.begin(&key).unwrap_err(), Refused::NotNow);
        assert_eq!(refreshes.has_failed(&key), Some(true));
        refreshes.leave_alone(&key, Duration::ZERO, why);
        assert_eq!(refreshes.has_failed(&key), None);
        assert!(refreshes.begin(&key).is_ok());
    }

    #[test]
    fn keys_that_are_not_left_alone_any_more_take_no_room() {
        let refreshes = refreshes(2);
        for n in 0..10_000 {
            let key = Key::from(n.to_string());
            refreshes.leave_alone(&key, Duration::ZERO, Why::Elsewhere);
        }
        assert!(refreshes.lock().keys.len() <= 1024);
    }
}
