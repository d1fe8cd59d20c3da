//! What the toolkit keeps in the process, where there is no server: texts with a ttl, by key.
//!
//! Each verb of the toolkit that is a script on a server is a function on one place of this map, under its
//! lock. So it is as atomic as the script.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Moment};

/// Later than anything ends.
const NEVER: Moment = Moment::MAX;

/// So few places are not worth a search for dead ones.
const FEW: usize = 64;

#[derive(Debug)]
pub(crate) struct Memory {
    clock: Clock,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    held: HashMap<String, Held>,
    /// The number of places at which dead ones are searched for.
    sweep_at: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct Held {
    text: String,
    ends: Moment,
}

/// One place, under the lock.
pub(super) struct Place<'a> {
    clock: &'a Clock,
    held: Option<Held>,
}

impl Memory {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            places: Mutex::default(),
        }
    }

    pub(super) fn moment(&self) -> Moment {
        self.clock.moment()
    }

    /// Runs a verb on one place. It must not panic, and none of it is the user's code.
    pub(super) fn at<R>(&self, key: &str, verb: impl FnOnce(&mut Place<'_>) -> R) -> R {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.moment();
        let held = places.held.remove(key).filter(|held| now < held.ends);
        let mut place = Place {
            clock: &self.clock,
            held,
        };
        let returned = verb(&mut place);
        if let Some(held) = place.held {
            places.sweep(now);
            places.held.insert(key.to_owned(), held);
        }
        returned
    }
}

impl Places {
    /// Removes what is dead, each time that the map has doubled.
    fn sweep(&mut self, now: Moment) {
        if self.held.len() < self.sweep_at {
            return;
        }
        self.held.retain(|_, held| now < held.ends);
        self.sweep_at = (self.held.len() * 2).max(FEW);
    }
}

impl Place<'_> {
    pub(super) fn text(&self) -> Option<&str> {
        self.held.as_ref().map(|held| &*held.text)
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.moment()
    }

    /// When what is held for so long from now on ends.
    pub(super) fn end_of(&self, ttl: Duration) -> Moment {
        self.clock.expiry(ttl)
    }

    /// Without a ttl, the text is kept as long as the process runs.
    pub(super) fn set(&mut self, text: &str, ttl: Option<Duration>) {
        let text = text.to_owned();
        let ends = self.end(ttl);
        self.held = Some(Held { text, ends });
    }

    /// As [`set`](Self::set), with the ttl that is there.
    pub(super) fn replace(&mut self, text: String, ttl: Option<Duration>) {
        let ends = self.end(ttl);
        let held = self.held.get_or_insert(Held {
            text: String::new(),
            ends: NEVER,
        });
        held.text = text;
        if held.ends == NEVER {
            held.ends = ends;
        }
    }

    pub(super) fn take(&mut self) -> Option<String> {
        self.held.take().map(|held| held.text)
    }

    /// How long it is still kept: `None` if there is nothing, or for ever.
    pub(super) fn ttl(&self) -> Option<Duration> {
        let held = self.held.as_ref().filter(|held| held.ends != NEVER)?;
        Some(self.clock.until(held.ends))
    }

    /// Whether there is something.
    pub(super) fn expire(&mut self, ttl: Duration) -> bool {
        let ends = self.end(Some(ttl));
        let held = self.held.as_mut();
        held.map(|held| held.ends = ends).is_some()
    }

    fn end(&self, ttl: Option<Duration>) -> Moment {
        ttl.map_or(NEVER, |ttl| self.clock.expiry(ttl))
    }
}
