//! Whether requests may use the network: the breaker's states, without a clock or a task.
//!
//! ```text
//! Idle ──> Connecting ──> Up ──> Idle      a connection that failed is dropped
//!             └──> Open <──┘               no connection can be made, or requests keep failing
//!                   └────> Up              the keeper task has connected
//! ```
//!
//! While the breaker is open, requests fail at once. A *refusal* is apart from that: the server
//! answers, and does not carry out what it is asked. Requests then go on.

use std::mem;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::health::Status;
use crate::sabotage::{self, Rule};

/// After so many failed requests in a row, the breaker opens.
const MAX_STRIKES: u32 = 3;

/// The shortest time between two log lines about refusals. A server may refuse now and then, such
/// as one command of many. Between two lines, only the health and the stats show that.
const REFUSAL_LOG_PAUSE: Duration = Duration::from_secs(30);

/// How long one operation may take, and one attempt to connect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) operation: Duration,
    pub(crate) connect: Duration,
}

/// The state of a connection of type `C`, which attempts of type `A` make.
#[derive(Debug)]
pub(crate) struct Breaker<C, A> {
    limits: Limits,
    state: BreakerState<C, A>,
    /// Requests that failed since the last one that was answered.
    strikes: u32,
    /// When the last strike was counted.
    struck_at: Option<Instant>,
    /// Set while the server answers and refuses something.
    refusal: Option<Error>,
    refusal_logged_at: Option<Instant>,
    /// Whether the log says that the server refuses something.
    refusal_logged: bool,
    changes: Vec<Change>,
}

#[derive(Debug)]
enum BreakerState<C, A> {
    Idle,
    Connecting { since: Instant, attempt: A },
    Up(C),
    Open(Error),
}

/// A change of state, to be reported once the lock around the breaker is released.
#[derive(Debug)]
pub(crate) enum Change {
    /// The breaker opened.
    Opened(Error),
    /// The breaker closed.
    Closed,
    /// The server began to refuse something. `log` is false shortly after the last such change.
    Refused { error: Error, log: bool },
    /// The server refuses nothing any more, and the log said that it did.
    Accepted,
}

/// What a request does next.
#[derive(Debug, PartialEq)]
pub(crate) enum Advice<C, A> {
    /// Send over this connection.
    Use(C),
    /// Wait for this attempt to connect.
    Wait(A),
    /// Begin an attempt to connect.
    Connect,
    /// Fail: the breaker is open, or an attempt has taken as long as a request may.
    Fail(Failing),
}

/// Why a request fails without being sent.
#[derive(Debug)]
pub(crate) enum Failing {
    Open(Error),
    TooLate,
}

/// For tests: an [`Error`] has no equality.
impl PartialEq for Failing {
    fn eq(&self, other: &Self) -> bool {
        matches!(
            (self, other),
            (Self::Open(_), Self::Open(_)) | (Self::TooLate, Self::TooLate)
        )
    }
}

impl<C: Clone, A: Clone> Breaker<C, A> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: BreakerState::Idle,
            strikes: 0,
            struck_at: None,
            refusal: None,
            refusal_logged_at: None,
            refusal_logged: false,
            changes: Vec::new(),
        }
    }

    /// The connection, if there is one.
    pub(crate) fn connection(&self) -> Option<C> {
        match &self.state {
            BreakerState::Up(connection) => Some(connection.clone()),
            _ => None,
        }
    }

    pub(crate) fn advise(&self, now: Instant) -> Advice<C, A> {
        match &self.state {
            BreakerState::Up(connection) => Advice::Use(connection.clone()),
            BreakerState::Open(error) if sabotage::keeps(Rule::Breaker) => {
                Advice::Fail(Failing::Open(error.clone()))
            }
            BreakerState::Connecting { since, attempt } if !self.is_lost(*since, now) => {
                let waited = now.duration_since(*since);
                if waited > self.limits.operation && sabotage::keeps(Rule::Breaker) {
                    return Advice::Fail(Failing::TooLate);
                }
                Advice::Wait(attempt.clone())
            }
            _ => Advice::Connect,
        }
    }

    /// An attempt that is older than one may take runs on a runtime that is not driven.
    fn is_lost(&self, since: Instant, now: Instant) -> bool {
        now.duration_since(since) > self.limits.connect
    }

    pub(crate) fn begin_attempt(&mut self, attempt: A, now: Instant) {
        self.state = BreakerState::Connecting {
            since: now,
            attempt,
        };
    }

    /// The attempt that requests wait for, unless it is lost.
    pub(crate) fn attempt(&self, now: Instant) -> Option<&A> {
        match &self.state {
            BreakerState::Connecting { since, attempt } if !self.is_lost(*since, now) => {
                Some(attempt)
            }
            _ => None,
        }
    }

    /// Whether `is_it` holds of the attempt that requests wait for.
    pub(crate) fn is_attempting(&self, is_it: impl FnOnce(&A) -> bool) -> bool {
        matches!(&self.state, BreakerState::Connecting { attempt, .. } if is_it(attempt))
    }

    /// An attempt has made a connection: it is used, unless there is one already.
    pub(crate) fn connected(&mut self, connection: C) {
        match self.state {
            BreakerState::Up(_) => return,
            BreakerState::Open(_) => self.changes.push(Change::Closed),
            BreakerState::Idle | BreakerState::Connecting { .. } => {}
        }
        self.state = BreakerState::Up(connection);
    }

    /// Opens, unless there is a connection; whether it is open now.
    pub(crate) fn open(&mut self, error: Error) -> bool {
        match self.state {
            BreakerState::Up(_) => return false,
            BreakerState::Open(_) => {}
            BreakerState::Idle | BreakerState::Connecting { .. } => {
                self.changes.push(Change::Opened(error.clone()));
            }
        }
        self.state = BreakerState::Open(error);
        true
    }

    /// Drops the connection, if `is_it` holds of it.
    pub(crate) fn discard(&mut self, is_it: impl FnOnce(&C) -> bool) {
        if matches!(&self.state, BreakerState::Up(connection) if is_it(connection)) {
            self.state = BreakerState::Idle;
        }
    }

    /// Forgets the attempt that requests wait for, if `is_it` holds of it: it ended without a
    /// result.
    pub(crate) fn forget_attempt(&mut self, is_it: impl FnOnce(&A) -> bool) {
        if self.is_attempting(is_it) {
            self.state = BreakerState::Idle;
        }
    }

    /// A request was answered.
    pub(crate) fn answered(&mut self) {
        self.strikes = 0;
    }

    /// A request that began at `begun` has failed; whether that opened the breaker. Requests that
    /// were under way at the same time count once.
    pub(crate) fn strike(&mut self, begun: Instant, now: Instant, error: &Error) -> bool {
        if self.struck_at.is_some_and(|struck_at| begun < struck_at) {
            return false;
        }
        self.struck_at = Some(now);
        self.strikes += 1;
        self.strikes >= MAX_STRIKES && self.open(error.clone())
    }

    /// The server answered, and refused.
    pub(crate) fn refused(&mut self, error: &Error, now: Instant) {
        if self.refusal.is_none() {
            let is_due = |at: Instant| now.duration_since(at) > REFUSAL_LOG_PAUSE;
            let log = self.refusal_logged_at.is_none_or(is_due);
            if log {
                self.refusal_logged_at = Some(now);
                self.refusal_logged = true;
            }
            let error = error.clone();
            self.changes.push(Change::Refused { error, log });
        }
        self.refusal = Some(error.clone());
    }

    /// The server carried out what it had refused, or was found to.
    pub(crate) fn accepted(&mut self) {
        if self.refusal.take().is_some() && mem::take(&mut self.refusal_logged) {
            self.changes.push(Change::Accepted);
        }
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// Whether it is open because the server cannot be reached, rather than because it refuses.
    pub(crate) fn is_away(&self) -> bool {
        matches!(&self.state, BreakerState::Open(error) if error.is_unavailable())
    }

    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, BreakerState::Idle)
    }

    /// Whether nothing is left to mend.
    pub(crate) fn is_well(&self) -> bool {
        matches!(self.state, BreakerState::Up(_) | BreakerState::Idle) && self.refusal.is_none()
    }

    pub(crate) fn status(&self) -> Status {
        match (&self.state, &self.refusal) {
            (BreakerState::Open(error), _) | (_, Some(error)) => Status::of(error),
            (BreakerState::Up(_), None) => Status::Working,
            (BreakerState::Idle | BreakerState::Connecting { .. }, None) => Status::Unknown,
        }
    }

    /// The changes since the last call, oldest first.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        mem::take(&mut self.changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        operation: Duration::from_millis(100),
        connect: Duration::from_millis(500),
    };
    const MOMENT: Duration = Duration::from_millis(1);

    type TestBreaker = Breaker<&'static str, &'static str>;

    fn breaker() -> (TestBreaker, Instant) {
        (Breaker::new(LIMITS), Instant::now())
    }

    fn away() -> Error {
        Error::unavailable("server", &"gone")
    }

    fn denied() -> Error {
        Error::denied("server", &"wrong password")
    }

    fn names(changes: Vec<Change>) -> Vec<&'static str> {
        let name = |change: Change| match change {
            Change::Opened(_) => "opened",
            Change::Closed => "closed",
            Change::Refused { log: true, .. } => "refused",
            Change::Refused { log: false, .. } => "refused quietly",
            Change::Accepted => "accepted",
        };
        changes.into_iter().map(name).collect()
    }

    #[test]
    fn the_first_request_connects_and_the_others_wait_for_it() {
        let (mut breaker, now) = breaker();
        assert_eq!(breaker.advise(now), Advice::Connect);
        breaker.begin_attempt("first", now);
        assert_eq!(breaker.advise(now + MOMENT), Advice::Wait("first"));
        breaker.connected("a");
        assert_eq!(breaker.advise(now + MOMENT), Advice::Use("a"));
        assert!(breaker.take_changes().is_empty());
    }

    #[test]
    fn an_attempt_is_waited_for_as_long_as_a_request_may_take_and_then_is_lost() {
        let (mut breaker, now) = breaker();
        breaker.begin_attempt("slow", now);
        let late = now + LIMITS.operation;
        assert_eq!(breaker.advise(late), Advice::Wait("slow"));
        assert_eq!(
            breaker.advise(late + MOMENT),
            Advice::Fail(Failing::TooLate)
        );
        let end = now + LIMITS.connect;
        assert_eq!(breaker.attempt(end), Some(&"slow"));
        let lost = end + MOMENT;
        assert_eq!(breaker.attempt(lost), None);
        assert_eq!(breaker.advise(lost), Advice::Connect);
    }

    #[test]
    fn an_attempt_that_fails_opens_it_and_a_connection_closes_it() {
        let (mut breaker, now) = breaker();
        breaker.begin_attempt("first", now);
        assert!(breaker.open(away()));
        assert!(breaker.open(away()));
        let open = Advice::Fail(Failing::Open(away()));
        assert_eq!(breaker.advise(now + LIMITS.connect * 9), open);
        assert!(breaker.is_away() && !breaker.is_well());
        assert!(matches!(breaker.status(), Status::Unreachable(_)));
        breaker.connected("b");
        assert_eq!(breaker.advise(now), Advice::Use("b"));
        assert!(breaker.is_well());
        assert_eq!(names(breaker.take_changes()), ["opened", "closed"]);
    }

    #[test]
    fn it_stays_closed_while_there_is_a_connection() {
        let (mut breaker, now) = breaker();
        breaker.connected("a");
        for strike in 0..5 {
            let at = now + MOMENT * strike;
            assert!(!breaker.strike(at, at, &away()), "{strike}");
        }
        assert!(!breaker.open(away()));
        assert_eq!(breaker.connection(), Some("a"));
    }

    #[test]
    fn three_failures_in_a_row_open_it_and_simultaneous_ones_count_once() {
        let (mut breaker, now) = breaker();
        let strike = |breaker: &mut TestBreaker, begun: u32, ended: u32| {
            breaker.strike(now + MOMENT * begun, now + MOMENT * ended, &away())
        };
        assert!(!strike(&mut breaker, 0, 10));
        // Both were under way when the first was counted.
        assert!(!strike(&mut breaker, 1, 11));
        assert!(!strike(&mut breaker, 9, 19));
        assert!(!strike(&mut breaker, 20, 30));
        assert!(strike(&mut breaker, 31, 41));
        assert_eq!(names(breaker.take_changes()), ["opened"]);
    }

    #[test]
    fn an_answer_forgives_the_failures_before_it() {
        let (mut breaker, now) = breaker();
        let at = |moment: u32| now + MOMENT * moment;
        assert!(!breaker.strike(at(0), at(1), &away()));
        assert!(!breaker.strike(at(2), at(3), &away()));
        breaker.answered();
        assert!(!breaker.strike(at(4), at(5), &away()));
        assert!(!breaker.strike(at(6), at(7), &away()));
        assert!(breaker.strike(at(8), at(9), &away()));
    }

    #[test]
    fn only_the_connection_that_failed_is_discarded() {
        let (mut breaker, now) = breaker();
        breaker.connected("a");
        breaker.discard(|connection| *connection == "an older one");
        assert_eq!(breaker.connection(), Some("a"));
        breaker.discard(|connection| *connection == "a");
        assert!(breaker.is_idle());
        assert_eq!(breaker.advise(now), Advice::Connect);
        assert!(matches!(breaker.status(), Status::Unknown));
    }

    #[test]
    fn only_the_attempt_that_ended_is_forgotten() {
        let (mut breaker, now) = breaker();
        breaker.begin_attempt("second", now);
        breaker.forget_attempt(|attempt| *attempt == "first");
        assert_eq!(breaker.attempt(now), Some(&"second"));
        breaker.forget_attempt(|attempt| *attempt == "second");
        assert!(breaker.is_idle());
    }

    #[test]
    fn a_refusal_leaves_the_connection_in_use_and_is_logged_now_and_then() {
        let (mut breaker, now) = breaker();
        breaker.connected("a");
        breaker.refused(&denied(), now);
        breaker.refused(&denied(), now + MOMENT);
        assert_eq!(breaker.advise(now), Advice::Use("a"));
        assert!(breaker.is_refused() && !breaker.is_well() && !breaker.is_away());
        assert!(matches!(breaker.status(), Status::Denied(_)));
        breaker.accepted();
        breaker.accepted();
        assert!(breaker.is_well());
        assert_eq!(names(breaker.take_changes()), ["refused", "accepted"]);

        // Soon after, neither this refusal nor its end is logged.
        breaker.refused(&denied(), now + REFUSAL_LOG_PAUSE);
        breaker.accepted();
        assert_eq!(names(breaker.take_changes()), ["refused quietly"]);

        breaker.refused(&denied(), now + REFUSAL_LOG_PAUSE + MOMENT);
        breaker.accepted();
        assert_eq!(names(breaker.take_changes()), ["refused", "accepted"]);
    }
}
