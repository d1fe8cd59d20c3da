//! Waits until a condition is true.

use std::panic::Location;
use std::time::{Duration, Instant};

/// Longer than anything takes that works; a wait reaches it only in a test that fails.
pub const LIMIT: Duration = Duration::from_secs(20);

const PAUSE: Duration = Duration::from_millis(1);

/// Asks for `condition` again and again, with a short pause in between, until it is true.
///
/// # Panics
///
/// If the condition is still false after [`LIMIT`].
#[track_caller]
pub fn until(mut condition: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let wait = Wait::new();
    async move {
        while !condition().await {
            wait.check();
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// [`until`] for a test that runs outside of a Tokio runtime.
///
/// # Panics
///
/// If the condition is still false after [`LIMIT`].
#[track_caller]
pub fn until_blocking(mut condition: impl FnMut() -> bool) {
    let wait = Wait::new();
    while !condition() {
        wait.check();
        std::thread::sleep(PAUSE);
    }
}

/// A wait, and the line of the test that waits.
struct Wait {
    began: Instant,
    caller: &'static Location<'static>,
}

impl Wait {
    #[track_caller]
    fn new() -> Self {
        Self {
            began: Instant::now(),
            caller: Location::caller(),
        }
    }

    fn check(&self) {
        let caller = self.caller;
        assert!(
            self.began.elapsed() < LIMIT,
            "the condition at {caller} is still false after {LIMIT:?}"
        );
    }
}
