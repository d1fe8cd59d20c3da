//! Waits that would never end, because the load that is waited for waits for the waiting caller.
//!
//! A call may be made inside of a load: that load does not end before the call does. If the call
//! then waits for a flight whose load, directly or through other waits, waits for the load that the
//! call is inside of, none of them ends. So before a call inside of a load waits, it looks for such
//! a circle. The call that would close one loads for itself instead.
//!
//! A thread knows which loads it polls. A task that a load spawns is not inside of that load.

use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The scheduler of the interleavings runs all its threads on one.
#[cfg(shuttle)]
use shuttle::thread_local;

use crate::sabotage::{self, Rule};

/// A flight, for as long as a caller holds it.
pub(super) type FlightId = usize;

thread_local! {
    /// The flights whose loads this thread polls, the outermost first.
    static POLLED: RefCell<Vec<FlightId>> = const { RefCell::new(Vec::new()) };
}

/// Which flights' loads wait for which other flights. Waits inside of loads are rare, so this is
/// nearly always empty.
static WAITS: Mutex<Vec<Wait>> = Mutex::new(Vec::new());

#[derive(Debug, Clone, Copy, PartialEq)]
struct Wait {
    load: FlightId,
    waits_for: FlightId,
}

/// While it lives, this thread polls the load of a flight.
pub(super) struct Polling;

impl Polling {
    #[inline]
    pub(super) fn begin(flight: FlightId) -> Self {
        // A thread that is ending has no thread-local values any more.
        let _ = POLLED.try_with(|polled| polled.borrow_mut().push(flight));
        Self
    }
}

impl Drop for Polling {
    #[inline]
    fn drop(&mut self) {
        let _ = POLLED.try_with(|polled| polled.borrow_mut().pop());
    }
}

/// While it lives, the loads that a caller is inside of wait for a flight.
#[derive(Debug)]
pub(super) struct Waiting(Vec<Wait>);

impl Waiting {
    /// Notes that the caller waits for `flight`. `None` if that would close a circle.
    pub(super) fn begin(flight: FlightId) -> Option<Self> {
        let loads = POLLED
            .try_with(|polled| polled.borrow().clone())
            .unwrap_or_default();
        if loads.is_empty() {
            return Some(Self(Vec::new()));
        }
        let mut waits = lock();
        if leads_to(&waits, flight, &loads) && sabotage::keeps(Rule::Circle) {
            return None;
        }
        let new = loads.into_iter().map(|load| Wait {
            load,
            waits_for: flight,
        });
        let new: Vec<_> = new.collect();
        waits.extend_from_slice(&new);
        Some(Self(new))
    }
}

/// Whether the load of `flight`, directly or through other waits, waits for one of these loads.
fn leads_to(waits: &[Wait], flight: FlightId, loads: &[FlightId]) -> bool {
    let mut reached = vec![flight];
    let mut at = 0;
    while let Some(&flight) = reached.get(at) {
        if loads.contains(&flight) {
            return true;
        }
        for wait in waits.iter().filter(|wait| wait.load == flight) {
            if !reached.contains(&wait.waits_for) {
                reached.push(wait.waits_for);
            }
        }
        at += 1;
    }
    false
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.0.is_empty() {
            return;
        }
        let mut waits = lock();
        for ended in &self.0 {
            // The same wait may be there twice, for two callers inside of one load.
            if let Some(at) = waits.iter().position(|wait| wait == ended) {
                waits.swap_remove(at);
            }
        }
    }
}

/// Nothing panics under this lock.
fn lock() -> MutexGuard<'static, Vec<Wait>> {
    WAITS.lock().unwrap_or_else(PoisonError::into_inner)
}
