//! Whether requests may use the network: the breaker's states, without a clock or a task.
//!
//! ```text
//! each runtime:  Idle ──> Connecting ──> Up ──> Idle     a connection that failed is dropped
//! the server:    Closed ──> Open                         no connection can be made, or requests keep failing
//!                  └──<──────┘                           a connection was made, mostly by the keeper task
//! ```
//!
//! A connection, and an attempt to make one, belong to one runtime: a task of that runtime drives
//! them, and they stand still while it does not run. So no request waits for those of another
//! runtime. What the requests of all runtimes show of the server is one verdict: open or closed, its
//! strikes, and a refusal.
//!
//! While the breaker is open, a request whose runtime has no connection fails at once. A runtime
//! that has one goes on to use it: that another runtime cannot connect may be because the server
//! takes no more connections. A connection that fails is dropped, and then the verdict holds for
//! its runtime too.
//!
//! A *refusal* is apart from that: the server answers, and does not carry out what it is asked.
//! Requests then go on.

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

/// The state of connections of type `C`, which attempts of type `A` make, to one server. Each
/// runtime, of type `R`, has one connection at most.
#[derive(Debug)]
pub(crate) struct Breaker<R, C, A> {
    limits: Limits,
    /// The runtimes that are not idle. Most programs have one.
    runtimes: Vec<(R, RuntimeState<C, A>)>,
    /// Why the breaker is open, while it is.
    open: Option<Error>,
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
enum RuntimeState<C, A> {
    Connecting { since: Instant, attempt: A },
    Up(C),
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

impl<R: Copy + PartialEq, C: Clone, A: Clone> Breaker<R, C, A> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            runtimes: Vec::new(),
            open: None,
            strikes: 0,
            struck_at: None,
            refusal: None,
            refusal_logged_at: None,
            refusal_logged: false,
            changes: Vec::new(),
        }
    }

    /// `None` if the runtime is idle.
    fn state(&self, runtime: R) -> Option<&RuntimeState<C, A>> {
        let mut states = self.runtimes.iter();
        states.find_map(|(of, state)| (*of == runtime).then_some(state))
    }

    fn set_state(&mut self, runtime: R, state: RuntimeState<C, A>) {
        self.runtimes.retain(|(of, _)| *of != runtime);
        self.runtimes.push((runtime, state));
    }

    /// The connection of a runtime, if it has one.
    pub(crate) fn connection(&self, runtime: R) -> Option<C> {
        match self.state(runtime) {
            Some(RuntimeState::Up(connection)) => Some(connection.clone()),
            _ => None,
        }
    }

    pub(crate) fn advise(&self, runtime: R, now: Instant) -> Advice<C, A> {
        match (self.state(runtime), &self.open) {
            (Some(RuntimeState::Up(connection)), _) => Advice::Use(connection.clone()),
            (_, Some(error)) if sabotage::keeps(Rule::Breaker) => {
                Advice::Fail(Failing::Open(error.clone()))
            }
            (Some(RuntimeState::Connecting { since, attempt }), _)
                if !self.is_lost(*since, now) =>
            {
                let waited = now.duration_since(*since);
                if waited > self.limits.operation && sabotage::keeps(Rule::Breaker) {
                    return Advice::Fail(Failing::TooLate);
                }
                Advice::Wait(attempt.clone())
            }
            _ => Advice::Connect,
        }
    }

    /// An attempt that is older than one may take began before its runtime stood still.
    fn is_lost(&self, since: Instant, now: Instant) -> bool {
        now.duration_since(since) > self.limits.connect
    }

    pub(crate) fn begin_attempt(&mut self, runtime: R, attempt: A, now: Instant) {
        let since = now;
        self.set_state(runtime, RuntimeState::Connecting { since, attempt });
    }

    /// The attempt that the requests of a runtime wait for, unless it is lost.
    pub(crate) fn attempt(&self, runtime: R, now: Instant) -> Option<&A> {
        match self.state(runtime) {
            Some(RuntimeState::Connecting { since, attempt }) if !self.is_lost(*since, now) => {
                Some(attempt)
            }
            _ => None,
        }
    }

    /// Whether `is_it` holds of an attempt that requests wait for.
    pub(crate) fn is_attempting(&self, is_it: impl Fn(&A) -> bool) -> bool {
        let mut states = self.runtimes.iter();
        states.any(|(_, state)| state.is_attempt(&is_it))
    }

    /// An attempt has made a connection: its runtime uses it, unless it has one already. The server
    /// can be reached.
    pub(crate) fn connected(&mut self, runtime: R, connection: C) {
        if self.open.take().is_some() {
            self.changes.push(Change::Closed);
        }
        if self.connection(runtime).is_none() {
            self.set_state(runtime, RuntimeState::Up(connection));
        }
    }

    /// Opens because of what a runtime has met, unless that runtime has a connection; whether it is
    /// open now.
    pub(crate) fn open(&mut self, runtime: R, error: Error) -> bool {
        if self.connection(runtime).is_some() {
            return false;
        }
        // An attempt that still runs is of no use to requests: from now on they fail at once.
        self.runtimes.retain(|(of, _)| *of != runtime);
        if self.open.is_none() {
            self.changes.push(Change::Opened(error.clone()));
        }
        self.open = Some(error);
        true
    }

    /// Drops the connection that `is_it` holds of.
    pub(crate) fn discard(&mut self, is_it: impl Fn(&C) -> bool) {
        self.runtimes.retain(|(_, state)| !state.is_up(&is_it));
    }

    /// Forgets the attempt that `is_it` holds of: it ended without a result.
    pub(crate) fn forget_attempt(&mut self, is_it: impl Fn(&A) -> bool) {
        self.runtimes.retain(|(_, state)| !state.is_attempt(&is_it));
    }

    /// A request was answered.
    pub(crate) fn answered(&mut self) {
        self.strikes = 0;
    }

    /// A request of a runtime that began at `begun` has failed; whether that opened the breaker.
    /// Requests that were under way at the same time count once.
    pub(crate) fn strike(
        &mut self,
        runtime: R,
        begun: Instant,
        now: Instant,
        error: &Error,
    ) -> bool {
        if self.struck_at.is_some_and(|struck_at| begun < struck_at) {
            return false;
        }
        self.struck_at = Some(now);
        self.strikes += 1;
        self.strikes >= MAX_STRIKES && self.open(runtime, error.clone())
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

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether it is open because the server cannot be reached, rather than because it refuses.
    pub(crate) fn is_away(&self) -> bool {
        self.open.as_ref().is_some_and(Error::is_unavailable)
    }

    /// Whether it is closed, and no runtime has a connection or is making one.
    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_none() && self.runtimes.is_empty()
    }

    /// Whether nothing is left to mend.
    pub(crate) fn is_well(&self) -> bool {
        self.open.is_none() && self.refusal.is_none()
    }

    pub(crate) fn status(&self) -> Status {
        if let Some(error) = self.open.as_ref().or(self.refusal.as_ref()) {
            return Status::of(error);
        }
        let mut states = self.runtimes.iter();
        if states.any(|(_, state)| state.is_up(|_| true)) {
            Status::Working
        } else {
            Status::Unknown
        }
    }

    /// The changes since the last call, oldest first.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        mem::take(&mut self.changes)
    }
}

impl<C, A> RuntimeState<C, A> {
    /// Whether it is a connection that `is_it` holds of.
    fn is_up(&self, is_it: impl Fn(&C) -> bool) -> bool {
        matches!(self, Self::Up(connection) if is_it(connection))
    }

    /// Whether it is an attempt that `is_it` holds of.
    fn is_attempt(&self, is_it: impl Fn(&A) -> bool) -> bool {
        matches!(self, Self::Connecting { attempt, .. } if is_it(attempt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Runtime::{Other, Ours};

    const LIMITS: Limits = Limits {
        operation: Duration::from_millis(100),
        connect: Duration::from_millis(500),
    };
    const MOMENT: Duration = Duration::from_millis(1);

    type TestBreaker = Breaker<Runtime, &'static str, &'static str>;

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Runtime {
        Ours,
        Other,
    }

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
        assert_eq!(breaker.advise(Ours, now), Advice::Connect);
        breaker.begin_attempt(Ours, "first", now);
        assert_eq!(breaker.advise(Ours, now + MOMENT), Advice::Wait("first"));
        breaker.connected(Ours, "a");
        assert_eq!(breaker.advise(Ours, now + MOMENT), Advice::Use("a"));
        assert!(breaker.take_changes().is_empty());
    }

    #[test]
    fn an_attempt_is_waited_for_as_long_as_a_request_may_take_and_then_is_lost() {
        let (mut breaker, now) = breaker();
        breaker.begin_attempt(Ours, "slow", now);
        let late = now + LIMITS.operation;
        assert_eq!(breaker.advise(Ours, late), Advice::Wait("slow"));
        assert_eq!(
            breaker.advise(Ours, late + MOMENT),
            Advice::Fail(Failing::TooLate)
        );
        let end = now + LIMITS.connect;
        assert_eq!(breaker.attempt(Ours, end), Some(&"slow"));
        let lost = end + MOMENT;
        assert_eq!(breaker.attempt(Ours, lost), None);
        assert_eq!(breaker.advise(Ours, lost), Advice::Connect);
    }

    #[test]
    fn an_attempt_that_fails_opens_it_and_a_connection_closes_it() {
        let (mut breaker, now) = breaker();
        breaker.begin_attempt(Ours, "first", now);
        assert!(breaker.open(Ours, away()));
        assert!(breaker.open(Ours, away()));
        let open = Advice::Fail(Failing::Open(away()));
        assert_eq!(breaker.advise(Ours, now + LIMITS.connect * 9), open);
        assert!(breaker.is_away() && !breaker.is_well());
        assert!(matches!(breaker.status(), Status::Unreachable(_)));
        breaker.connected(Ours, "b");
        assert_eq!(breaker.advise(Ours, now), Advice::Use("b"));
        assert!(breaker.is_well());
        assert_eq!(names(breaker.take_changes()), ["opened", "closed"]);
    }

    #[test]
    fn it_stays_closed_while_there_is_a_connection() {
        let (mut breaker, now) = breaker();
        breaker.connected(Ours, "a");
        for strike in 0..5 {
            let at = now + MOMENT * strike;
            assert!(!breaker.strike(Ours, at, at, &away()), "{strike}");
        }
        assert!(!breaker.open(Ours, away()));
        assert_eq!(breaker.connection(Ours), Some("a"));
    }

    #[test]
    fn three_failures_in_a_row_open_it_and_simultaneous_ones_count_once() {
        let (mut breaker, now) = breaker();
        let strike = |breaker: &mut TestBreaker, begun: u32, ended: u32| {
            breaker.strike(Ours, now + MOMENT * begun, now + MOMENT * ended, &away())
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
        assert!(!breaker.strike(Ours, at(0), at(1), &away()));
        assert!(!breaker.strike(Ours, at(2), at(3), &away()));
        breaker.answered();
        assert!(!breaker.strike(Ours, at(4), at(5), &away()));
        assert!(!breaker.strike(Ours, at(6), at(7), &away()));
        assert!(breaker.strike(Ours, at(8), at(9), &away()));
    }

    #[test]
    fn only_the_connection_that_failed_is_discarded() {
        let (mut breaker, now) = breaker();
        breaker.connected(Ours, "a");
        breaker.discard(|connection| *connection == "an older one");
        assert_eq!(breaker.connection(Ours), Some("a"));
        breaker.discard(|connection| *connection == "a");
        assert!(breaker.is_idle());
        assert_eq!(breaker.advise(Ours, now), Advice::Connect);
        assert!(matches!(breaker.status(), Status::Unknown));
    }

    #[test]
    fn only_the_attempt_that_ended_is_forgotten() {
        let (mut breaker, now) = breaker();
        breaker.begin_attempt(Ours, "second", now);
        breaker.forget_attempt(|attempt| *attempt == "first");
        assert_eq!(breaker.attempt(Ours, now), Some(&"second"));
        breaker.forget_attempt(|attempt| *attempt == "second");
        assert!(breaker.is_idle());
    }

    #[test]
    fn a_runtime_uses_no_connection_and_waits_for_no_attempt_of_another() {
        let (mut breaker, now) = breaker();
        breaker.begin_attempt(Other, "other's", now);
        assert_eq!(breaker.advise(Ours, now), Advice::Connect);
        assert_eq!(breaker.attempt(Ours, now), None);
        breaker.connected(Other, "theirs");
        assert_eq!(breaker.advise(Ours, now), Advice::Connect);
        assert_eq!(breaker.connection(Ours), None);
        breaker.begin_attempt(Ours, "our attempt", now);
        assert_eq!(breaker.advise(Ours, now), Advice::Wait("our attempt"));
        assert_eq!(breaker.advise(Other, now), Advice::Use("theirs"));
        breaker.connected(Ours, "ours");
        assert_eq!(breaker.advise(Ours, now), Advice::Use("ours"));
        breaker.discard(|connection| *connection == "ours");
        assert_eq!(breaker.advise(Ours, now), Advice::Connect);
        assert_eq!(breaker.advise(Other, now), Advice::Use("theirs"));
    }

    #[test]
    fn it_opens_for_all_runtimes_without_a_connection() {
        let (mut breaker, now) = breaker();
        let open = Advice::Fail(Failing::Open(away()));
        breaker.connected(Other, "theirs");
        assert!(breaker.open(Ours, away()));
        assert_eq!(breaker.advise(Ours, now), open);
        assert_eq!(breaker.advise(Other, now), Advice::Use("theirs"));
        assert!(matches!(breaker.status(), Status::Unreachable(_)));
        breaker.discard(|connection| *connection == "theirs");
        assert_eq!(breaker.advise(Other, now), open);
        // One connection shows that the server is back.
        breaker.connected(Ours, "ours");
        assert_eq!(breaker.advise(Other, now), Advice::Connect);
        assert_eq!(names(breaker.take_changes()), ["opened", "closed"]);
    }

    #[test]
    fn a_connection_closes_it_for_a_runtime_that_has_another() {
        let (mut breaker, now) = breaker();
        breaker.connected(Ours, "a");
        assert!(breaker.open(Other, away()));
        breaker.connected(Ours, "b");
        assert!(breaker.is_well());
        assert_eq!(breaker.advise(Ours, now), Advice::Use("a"));
    }

    #[test]
    fn failures_of_several_runtimes_in_a_row_open_it() {
        let (mut breaker, now) = breaker();
        let strike = |breaker: &mut TestBreaker, runtime: Runtime, begun: u32| {
            let (begun, ended) = (now + MOMENT * begun, now + MOMENT * (begun + 1));
            breaker.strike(runtime, begun, ended, &away())
        };
        assert!(!strike(&mut breaker, Ours, 0));
        assert!(!strike(&mut breaker, Other, 2));
        assert!(strike(&mut breaker, Ours, 4));
    }

    #[test]
    fn a_refusal_leaves_the_connection_in_use_and_is_logged_now_and_then() {
        let (mut breaker, now) = breaker();
        breaker.connected(Ours, "a");
        breaker.refused(&denied(), now);
        breaker.refused(&denied(), now + MOMENT);
        assert_eq!(breaker.advise(Ours, now), Advice::Use("a"));
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
