//! How many bytes of answers may be under way on one connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::sabotage::{self, Rule};
use crate::tier::shared::window::Window;

/// The first room. On a link of 4 MiB a second so much takes 60 ms.
const FIRST: usize = 256 * 1024;

/// The least room. A command that is the only one of its line is sent however large it is.
const LEAST: usize = 64 * 1024;

/// The most room of a line. A connection has two, so 4 MiB are under way, or one value. A server
/// closes a connection that listens when the answers it has not taken yet have more than 32 MiB, or
/// more than 8 MiB for a minute.
const MOST: usize = 2 * 1024 * 1024;

/// The room for the answers of one line, in bytes as they are [expected](super::sizes::Sizes). All
/// connections share it: they lead over the same network.
pub(super) struct Room {
    window: Window,
    /// How often the room was made smaller.
    shrunk: AtomicU64,
}

/// What a command that was sent says about the room once it ends.
pub(super) struct Measure {
    under_way: usize,
    shrunk: u64,
    begun: Instant,
}

impl Room {
    pub(super) fn new() -> Self {
        Self {
            window: Window::new(FIRST, LEAST, MOST),
            shrunk: AtomicU64::new(0),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        if !sabotage::keeps(Rule::Room) {
            return usize::MAX;
        }
        self.window.size()
    }

    /// To be called when a command is sent: so much is under way on its connection, its own answer
    /// included. `None` if that is so little that how long it takes is not for lack of room.
    pub(super) fn measure(&self, under_way: usize) -> Option<Measure> {
        (under_way >= LEAST / 2).then(|| Measure {
            under_way,
            shrunk: self.shrunk.load(Ordering::Relaxed),
            begun: Instant::now(),
        })
    }

    /// A command has ended so, of which `limit` is the longest time allowed.
    pub(super) fn ended(&self, measure: &Measure, error: Option<&Error>, limit: Duration) {
        let took = measure.begun.elapsed();
        let is_late = match error {
            None => took > limit / 2,
            // A deadline that was near when the command was sent says nothing.
            Some(error) if error.is_timeout() => took >= limit / 2,
            // The server may have closed the connection because of the bytes that wait in it.
            Some(error) if error.is_unavailable() => true,
            Some(_) => return,
        };
        if !is_late {
            if error.is_none() {
                self.window.answered(measure.under_way, took, limit);
            }
            return;
        }
        // Commands that were sent before the room shrank have met the same congestion. If each of
        // them made the room smaller, one late answer would make it the least.
        let next = measure.shrunk + 1;
        let is_first = self.shrunk.compare_exchange(
            measure.shrunk,
            next,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if is_first.is_ok() {
            self.window.timed_out(measure.under_way);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);

    /// A command that was sent so long ago.
    fn sent(room: &Room, under_way: usize, ago: Duration) -> Measure {
        let mut measure = room.measure(under_way).expect("enough to be measured");
        measure.begun -= ago;
        measure
    }

    fn too_late() -> Error {
        Error::timeout("redis://test", LIMIT)
    }

    #[test]
    fn commands_that_were_under_way_together_shrink_it_once() {
        let room = Room::new();
        let late: Vec<_> = (1..=4).map(|n| sent(&room, n * FIRST / 4, LIMIT)).collect();
        for measure in late.iter().rev() {
            room.ended(measure, Some(&too_late()), LIMIT);
        }
        assert_eq!(room.bytes(), FIRST / 2);
        room.ended(&sent(&room, FIRST / 2, LIMIT), None, LIMIT);
        assert_eq!(room.bytes(), FIRST / 4);
    }

    #[test]
    fn it_grows_after_early_answers_up_to_the_most() {
        let room = Room::new();
        for _ in 0..8 {
            room.ended(&sent(&room, room.bytes(), Duration::ZERO), None, LIMIT);
        }
        assert_eq!(room.bytes(), MOST);
    }

    #[test]
    fn small_commands_and_near_deadlines_say_nothing() {
        let room = Room::new();
        assert!(room.measure(1000).is_none());
        let brief = sent(&room, FIRST, LIMIT / 10);
        room.ended(&brief, Some(&too_late()), LIMIT);
        assert_eq!(room.bytes(), FIRST);
    }
}
