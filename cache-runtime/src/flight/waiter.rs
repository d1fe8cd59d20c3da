//! A caller that waits for another caller's load, and begins an attempt if that does not move.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::circle::Waiting;
use super::leader::Leader;
use super::state::Phase;
use super::{AfterLock, Flight, Flights, lock};
use crate::clock;
use crate::key::Key;
use crate::sabotage;
use crate::value::{SharedError, SharedValue};

/// How waiting ends.
#[derive(Debug)]
pub(crate) enum Landing<Evidence> {
    Value(SharedValue),
    Error(SharedError),
    /// This caller begins an attempt.
    Lead(Leader<Evidence>),
    /// The caller loads for itself: the load failed, or took longer than this caller waits, or does
    /// not end before this caller does.
    Alone,
    /// The store may show something new: the caller looks again.
    Dissolved {
        /// Whether the flight's load had begun.
        has_begun: bool,
    },
}

/// How long a waiter waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// At most this long.
    pub(crate) limit: Duration,
    /// For an attempt that is not woken, only this long.
    pub(crate) hedge: Duration,
}

/// A caller that waits for another caller's load.
#[derive(Debug)]
pub(crate) struct Waiter<Evidence> {
    pub(super) flights: Flights<Evidence>,
    pub(super) key: Key,
    pub(super) flight: Arc<Flight<Evidence>>,
    pub(super) boarded: bool,
    /// Whether the load had begun when this caller boarded.
    pub(super) is_late: bool,
}

impl<Evidence: Send + Sync + 'static> Waiter<Evidence> {
    /// Waits for the value.
    pub(crate) async fn wait(mut self, patience: Patience) -> Landing<Evidence> {
        let flight = self.flight.clone();
        let Some(_waiting) = Waiting::begin(flight.id()) else {
            return Landing::Alone;
        };
        flight.check_for(patience.hedge);
        // Pinned here: a function that takes a future by value has room for it twice.
        let landing = pin!(async {
            // An attempt that was woken before this caller came may be behind it in the queue of
            // their runtime.
            if self.is_set_aside() {
                clock::let_others_run().await;
            }
            flight.until(|| self.look()).await
        });
        clock::within(sabotage::wait_limit(patience.limit), landing)
            .await
            .unwrap_or(Landing::Alone)
    }

    fn is_set_aside(&self) -> bool {
        lock(&self.flight.state).is_set_aside(clock::real())
    }

    fn look(&mut self) -> Option<Landing<Evidence>> {
        let mut state = lock(&self.flight.state);
        if state.is_set_aside(clock::real()) {
            state.take_over();
        }
        let landing = match &state.phase {
            Phase::Landed(landed) if landed.is_for(self.is_late) => {
                Landing::Value(landed.value.clone())
            }
            Phase::Landed(_) => Landing::Dissolved { has_begun: true },
            Phase::FailedWith(error) => Landing::Error(error.clone()),
            Phase::Failed => Landing::Alone,
            Phase::Dissolved => Landing::Dissolved {
                has_begun: state.has_begun,
            },
            Phase::Boarding | Phase::Loading => {
                if !state.begin_wanted() {
                    return None;
                }
                let generation = state.generation;
                Landing::Lead(Leader::new(
                    &self.flights,
                    &self.key,
                    &self.flight,
                    generation,
                    self.is_late,
                ))
            }
        };
        state.waiters -= 1;
        self.boarded = false;
        if let Landing::Dissolved { .. } = landing {
            // This waiter may have dissolved the flight.
            drop(state);
            self.flight.changed.notify_waiters();
        }
        Some(landing)
    }
}

impl<Evidence> Drop for Waiter<Evidence> {
    fn drop(&mut self) {
        if !self.boarded {
            return;
        }
        let mut shard = self.flights.lock(&self.key);
        let mut state = lock(&self.flight.state);
        state.waiters -= 1;
        if state.phase.is_over() {
            return;
        }
        // If no attempt moves, the next caller begins one.
        let at_least = usize::from(state.moving == 0);
        state.wanted = state.wanted.min(state.waiters).max(at_least);
        state.end_if_abandoned();
        if state.phase.is_over() {
            let previous = state.previous.take();
            let after = AfterLock::of(&mut state);
            drop(state);
            shard.forget_flight(&self.key, &self.flight, previous);
            drop(shard);
            after.tell(&self.flight);
        }
    }
}
