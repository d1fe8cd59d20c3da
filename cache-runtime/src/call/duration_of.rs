//! Durations that an option of an attribute computes.

use std::time::Duration;

/// What an expression in `ttl` or `fence` yields.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a duration",
    label = "expected a `Duration`",
    note = "write one integer of seconds, `600`, a string, `\"10m\"`, or a `Duration`: `Duration::from_secs(…)`"
)]
pub trait IsDuration {
    /// Gives it back.
    fn duration(self) -> Duration;
}

impl IsDuration for Duration {
    #[inline]
    fn duration(self) -> Duration {
        self
    }
}

/// Carries the bound, so that the compiler blames the expression.
#[inline]
pub fn duration<D: IsDuration>(duration: D) -> Duration {
    duration.duration()
}
