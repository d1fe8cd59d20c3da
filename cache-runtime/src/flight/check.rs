//! The timer's check of a flight: whether its load moves.

use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::{Flight, lock};
use crate::clock;

/// How often a flight with waiters is checked.
const CHECK_PAUSE: Duration = Duration::from_millis(50);

impl<Evidence: Send + Sync + 'static> Flight<Evidence> {
    /// Has the timer check this flight for as long as it has waiters.
    pub(super) fn check_for(self: &Arc<Self>, hedge: Duration) {
        let mut state = lock(&self.state);
        state.hedge = state.hedge.min(hedge);
        if !std::mem::replace(&mut state.is_checked, true) {
            drop(state);
            let check = Check(Arc::downgrade(self));
            clock::wake_at(Instant::now() + CHECK_PAUSE, Waker::from(Arc::new(check)));
        }
    }

    /// Lets a waiter begin an attempt if the newest does not move.
    fn check(&self) -> Checked {
        let mut state = lock(&self.state);
        if state.phase.is_over() || state.waiters == 0 {
            state.is_checked = false;
            return Checked::Over;
        }
        let now = clock::real();
        if state.is_hung(now) {
            state.take_over();
        }
        // If the newest attempt is set aside, the first waiter that is polled takes over. If it
        // is only late, as everything on a busy runtime is, it is polled before the waiters: they are
        // woken after it.
        if state.wanted > 0 || state.is_set_aside(now) {
            Checked::WakeWaiters
        } else {
            Checked::Moves
        }
    }
}

/// What a check of a flight shows.
enum Checked {
    /// There is nothing to check any more.
    Over,
    /// The newest attempt moves.
    Moves,
    /// One of the waiters takes over.
    WakeWaiters,
}

/// What the timer wakes to check a flight. It runs without a caller's help, since that caller's
/// future may not be polled either.
struct Check<Evidence>(Weak<Flight<Evidence>>);

impl<Evidence: Send + Sync + 'static> Wake for Check<Evidence> {
    fn wake(self: Arc<Self>) {
        let Some(flight) = self.0.upgrade() else {
            return;
        };
        let checked = flight.check();
        if let Checked::Over = checked {
            return;
        }
        // Before the waiters are woken: a waker may run any code, and panic.
        clock::wake_at(Instant::now() + CHECK_PAUSE, Waker::from(self));
        if let Checked::WakeWaiters = checked {
            flight.changed.notify_waiters();
        }
    }
}

#[cfg(all(test, shuttle))]
impl<Evidence: Send + Sync + 'static> super::Flights<Evidence> {
    /// Checks the flight for `key` as the timer does.
    pub(crate) fn check(&self, key: &crate::key::Key) {
        let flight = self.lock(key).map.get(key).cloned();
        if let Some(flight) = flight
            && let Checked::WakeWaiters = flight.check()
        {
            flight.changed.notify_waiters();
        }
    }
}
