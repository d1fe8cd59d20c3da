//! A server's wall clock, as a connection to it can tell it.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::clock::{self, Moment};

/// A server's wall clock. It was read once, and goes on by this machine's monotonic clock, so that
/// the wall clocks of two machines are never compared. Where the server does not tell its time, it is
/// this machine's wall clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ServerClock {
    /// By how many milliseconds it is ahead of this machine's monotonic clock.
    ahead: Option<i64>,
}

impl ServerClock {
    /// Of a server that does not tell its time.
    pub(crate) const UNTOLD: Self = Self { ahead: None };

    /// It showed these microseconds, in an answer to what was asked at `asked`. That the answer took a
    /// while makes it fast by no more than that, and never slow.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "without a driver, no server tells its time")
    )]
    pub(crate) fn showed(micros: u64, asked: Moment) -> Self {
        let shown = i64::try_from(micros / 1000);
        let asked = i64::try_from(asked);
        let ahead = shown.ok().zip(asked.ok());
        Self {
            ahead: ahead.map(|(shown, asked)| shown.saturating_sub(asked)),
        }
    }

    /// Milliseconds since 1970.
    pub(crate) fn now(self) -> u64 {
        self.ahead
            .and_then(|ahead| clock::monotonic().checked_add_signed(ahead))
            .unwrap_or_else(system_now)
    }
}

fn system_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    clock::millis(now.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_goes_on_from_what_it_showed() {
        let asked = clock::monotonic();
        let shown = 1_700_000_000_000;
        let clock = ServerClock::showed(shown * 1000 + 999, asked);
        let now = clock.now();
        assert!((shown..shown + 60_000).contains(&now), "{now}");
        assert!(clock.now() >= now);
        let behind = ServerClock::showed(1000, asked);
        assert!(behind.now() < 60_000);
    }

    #[test]
    fn without_an_answer_it_is_the_clock_of_this_machine() {
        let before = system_now();
        assert!(ServerClock::UNTOLD.now() >= before);
    }
}
