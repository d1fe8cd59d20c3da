//! The connections of a session that carry no request.
//!
//! To open one takes several round trips, often more than the time that a caller has. So it is opened
//! by a task of its own: what its caller gives up is there for the next one.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::address::Address;
use super::http::Socket;
use crate::clock;
use crate::driver::redis::stream::Stage;
use crate::error::Error;

/// So many are kept.
const MOST_IDLE: usize = 16;

/// So many are opened at a time.
const MOST_OPENING: usize = 16;

pub(super) struct Pool {
    address: Arc<Address>,
    /// How long it may take to open one.
    limit: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The one that was used last is at the end.
    idle: Vec<Socket>,
    /// Those that wait for one.
    waiting: VecDeque<oneshot::Sender<Result<Socket, Error>>>,
    opening: usize,
}

impl Pool {
    pub(super) fn new(address: Arc<Address>, limit: Duration) -> Self {
        Self {
            address,
            limit,
            state: Mutex::default(),
        }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// An idle connection, the first that becomes idle, or a new one.
    pub(super) async fn take(self: &Arc<Self>) -> Result<Socket, Error> {
        let arrival = {
            let mut state = self.lock();
            while let Some(socket) = state.idle.pop() {
                if socket.is_open() {
                    return Ok(socket);
                }
            }
            let (arrived, arrival) = oneshot::channel();
            state.waiting.retain(|waiting| !waiting.is_closed());
            state.waiting.push_back(arrived);
            if state.opening < state.waiting.len().min(MOST_OPENING) {
                state.opening += 1;
                tokio::spawn(self.clone().open());
            }
            arrival
        };
        arrival.await.unwrap_or_else(|_| {
            let reason = "the thread of its session has ended";
            Err(Error::unavailable(self.address.shown(), &reason))
        })
    }

    async fn open(self: Arc<Self>) {
        let stage = Stage::default();
        let opened = clock::within(self.limit, pin!(Socket::open(&self.address, &stage))).await;
        let opened = opened.unwrap_or_else(|| Err(not_in_time(&self.address, &stage, self.limit)));
        self.lock().opening -= 1;
        match opened {
            Ok(socket) => self.put(socket),
            // As many fail as are opened: the others may have more luck.
            Err(error) => {
                let waiting = self.lock().waiting.pop_front();
                if let Some(waiting) = waiting {
                    let _ = waiting.send(Err(error));
                }
            }
        }
    }

    /// Puts a connection back whose last answer was read to its end.
    pub(super) fn put(&self, socket: Socket) {
        if !socket.is_open() {
            return;
        }
        let mut state = self.lock();
        let mut arrival = Ok(socket);
        while let Some(waiting) = state.waiting.pop_front() {
            match waiting.send(arrival) {
                Ok(()) => return,
                Err(unused) => arrival = unused,
            }
        }
        if let Ok(socket) = arrival
            && state.idle.len() < MOST_IDLE
        {
            state.idle.push(socket);
        }
    }

    /// Closes the idle ones: something is wrong with one, and so perhaps with all.
    pub(super) fn clear(&self) {
        // Dropped after the lock.
        let _idle = std::mem::take(&mut self.lock().idle);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What there was no time for.
pub(super) fn not_in_time(address: &Address, stage: &Stage, limit: Duration) -> Error {
    if stage.is_handshake() {
        Error::no_handshake_over(address.shown(), limit, super::address::PLAIN)
    } else {
        Error::timeout(address.shown(), limit)
    }
}
