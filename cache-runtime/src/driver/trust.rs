//! Until when a process has heard of every invalidation at a server.
//!
//! What is invalidated at a server is published there, and arrives over a connection that listens before
//! the answer to any request that the server gets later. So an answer shows that, when its request was
//! sent, nothing was still to be heard. A copy of what that server holds may be served for a moment longer:
//! for [`LAG`].

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{self, Moment, Now};
use crate::sabotage::{self, Rule};

/// The longest that another process may serve a copy after its invalidation has returned. Copies are
/// compared with the coarse clock, which may be half as much behind.
pub(crate) const LAG: Duration = Duration::from_millis(500);

/// What one connection that listens has shown. Copies are tied to it: a connection that is closed shows
/// nothing any more, and its copies end with it.
#[derive(Debug)]
pub(crate) struct Trust {
    /// When the connection began to listen.
    since: Moment,
    /// Until when copies are served.
    until: AtomicU64,
}

impl Trust {
    /// Of a connection that listens from now on.
    pub(crate) fn new() -> Self {
        Self {
            since: clock::monotonic(),
            until: AtomicU64::new(0),
        }
    }

    /// Whether the connection listened before that moment.
    pub(crate) fn began_before(&self, moment: Moment) -> bool {
        self.since < moment
    }

    /// Whether a copy may be served.
    #[inline]
    pub(crate) fn holds(&self, now: Now) -> bool {
        now.is_really_before(self.until.load(Acquire)) || !sabotage::keeps(Rule::TrustEnds)
    }

    /// A request was answered that was sent at that moment.
    pub(crate) fn answered(&self, sent: Moment) {
        self.until.fetch_max(sent + clock::millis(LAG), Release);
    }

    /// Whether a request was answered that was sent at most so long ago.
    pub(crate) fn was_answered_within(&self, age: Duration) -> bool {
        let until = self.until.load(Relaxed);
        clock::monotonic() + clock::millis(LAG) <= until.saturating_add(clock::millis(age))
    }

    /// What was copied is not served any more.
    pub(crate) fn end(&self) {
        self.until.store(0, Release);
    }
}

/// What must hold for an entry in front of a server to be served.
#[derive(Debug, Clone, Default)]
pub(crate) enum Trusts {
    /// Nothing.
    #[default]
    None,
    /// That of the only server that was asked for it.
    One(Arc<Trust>),
    /// One for each server that was asked for it. (A `Vec`, so that this takes no more room than one.)
    Each(Arc<Vec<Arc<Trust>>>),
    /// Nothing is heard: it is served until then.
    Until(Moment),
}

impl FromIterator<Arc<Trust>> for Trusts {
    fn from_iter<T: IntoIterator<Item = Arc<Trust>>>(trusts: T) -> Self {
        let mut each: Vec<Arc<Trust>> = Vec::with_capacity(1);
        for trust in trusts {
            if !each.iter().any(|it| Arc::ptr_eq(it, &trust)) {
                each.push(trust);
            }
        }
        match each.pop() {
            None => Self::None,
            Some(one) if each.is_empty() => Self::One(one),
            Some(last) => {
                each.push(last);
                Self::Each(each.into())
            }
        }
    }
}

impl Trusts {
    /// None must hold.
    pub(crate) const NONE: &Self = &Self::None;

    /// Of what is loaded from now on, and served for so long though nothing is heard.
    pub(crate) fn unheard_for(ttl: Duration) -> Self {
        Self::Until(clock::monotonic().saturating_add(clock::millis(ttl)))
    }

    pub(crate) fn are_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether each of the connections listened before that moment.
    pub(crate) fn began_before(&self, moment: Moment) -> bool {
        self.each().iter().all(|trust| trust.began_before(moment))
    }

    #[inline]
    pub(crate) fn hold(&self, now: Now) -> bool {
        match self {
            Self::None => true,
            Self::One(trust) => trust.holds(now),
            Self::Each(each) => each.iter().all(|trust| trust.holds(now)),
            Self::Until(until) => now.is_really_before(*until),
        }
    }

    fn each(&self) -> &[Arc<Trust>] {
        match self {
            Self::One(trust) => std::slice::from_ref(trust),
            Self::Each(each) => each,
            Self::None | Self::Until(_) => &[],
        }
    }
}

/// Equal means: over the same connections.
impl PartialEq for Trusts {
    fn eq(&self, other: &Self) -> bool {
        let (each, others) = (self.each().iter(), other.each().iter());
        let are_same = each.map(Arc::as_ptr).eq(others.map(Arc::as_ptr));
        are_same && self.are_none() == other.are_none()
    }
}

/// Whether a connection hears what is invalidated, and what that has shown.
#[derive(Debug, Default)]
pub(crate) struct Hearing {
    /// Whether a task makes it hear, and asks the server whenever no call does.
    is_kept: AtomicBool,
    /// Whether the server does not let it hear.
    is_refused: AtomicBool,
    /// Whether there is a trust.
    is_trusted: AtomicBool,
    trust: Mutex<Option<Arc<Trust>>>,
}

impl Hearing {
    /// What copies are tied to that are read now.
    pub(crate) fn trust(&self) -> Option<Arc<Trust>> {
        if self.is_trusted.load(Relaxed) {
            self.lock().clone()
        } else {
            None
        }
    }

    /// What is copied from now on is tied to another trust, or is not kept. What was copied before ends.
    pub(crate) fn replace_trust(&self, trust: Option<Arc<Trust>>) {
        let mut current = self.lock();
        self.is_trusted.store(trust.is_some(), Relaxed);
        if let Some(replaced) = std::mem::replace(&mut *current, trust) {
            replaced.end();
        }
    }

    /// Whether the caller is to keep it from now on.
    pub(crate) fn begin_to_keep(&self) -> bool {
        !self.is_kept.load(Relaxed) && !self.is_kept.swap(true, Relaxed)
    }

    /// It never hears anything: there is nothing to wait for.
    pub(crate) fn refuse(&self) {
        self.is_refused.store(true, Relaxed);
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.is_refused.load(Relaxed)
    }

    /// Another caller may keep it.
    pub(crate) fn stop_keeping(&self) {
        self.replace_trust(None);
        self.is_kept.store(false, Relaxed);
    }

    /// Nothing panics under this lock.
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Trust>>> {
        self.trust.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn an_answer_counts_from_when_its_request_was_sent() {
        let trust = Trust::new();
        let now = Clock::SYSTEM.now();
        assert!(!trust.holds(now), "nothing was answered");
        let sent = clock::monotonic();
        trust.answered(sent.saturating_sub(clock::millis(LAG)));
        assert!(!trust.holds(now), "what was sent then is too old by now");
        trust.answered(sent + 60_000);
        assert!(trust.holds(now));
        // Of two answers, that of the later request counts.
        trust.answered(sent);
        assert!(trust.holds(now));
        trust.end();
        assert!(!trust.holds(now));
    }

    #[test]
    fn a_trust_that_is_replaced_ends() {
        let hearing = Hearing::default();
        assert!(hearing.begin_to_keep() && !hearing.begin_to_keep());
        let trusts = [(); 2].map(|()| Arc::new(Trust::new()));
        for trust in &trusts {
            trust.answered(clock::monotonic() + 60_000);
            hearing.replace_trust(Some(trust.clone()));
        }
        let now = Clock::SYSTEM.now();
        assert!(!trusts[0].holds(now) && trusts[1].holds(now));
        assert!(Arc::ptr_eq(&hearing.trust().expect("a trust"), &trusts[1]));
        hearing.stop_keeping();
        assert!(!trusts[1].holds(now) && hearing.trust().is_none());
        assert!(hearing.begin_to_keep());
    }

    #[test]
    fn trusts_of_one_connection_are_one() {
        let [one, other] = [(); 2].map(|()| Arc::new(Trust::new()));
        let trusts: Trusts = [one.clone(), other.clone(), one.clone()]
            .into_iter()
            .collect();
        assert_eq!(trusts.each().len(), 2);
        assert_eq!(trusts, [one.clone(), other].into_iter().collect());
        assert_ne!(trusts, [one].into_iter().collect());
    }
}
