//! What a cache did, as lines that a test compares.

use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};

use cache_runtime::CacheBuilder;
use tokio::sync::Notify;

use crate::LIMIT;

/// Records the events of a cache, one line each. Clones are one log.
///
/// ```
/// use cache_runtime::{Cache, Options};
/// use cache_tests::EventLog;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
/// let events = EventLog::default();
/// let cache = events.record(Cache::builder().url("memory:")).build()?;
/// cache.delete("user:7").await?;
/// assert_eq!(events.take(), ["delete user:7: absent"]);
/// assert!(events.take().is_empty());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct EventLog(Arc<Recorded>);

#[derive(Debug, Default)]
struct Recorded {
    /// Locked for as long as one line takes, so the cache's calls do not wait for the test.
    lines: Mutex<Vec<String>>,
    /// Notified after each line.
    grown: Notify,
}

impl EventLog {
    /// Makes the cache that `builder` builds record its events here.
    pub fn record(&self, builder: CacheBuilder) -> CacheBuilder {
        let log = self.clone();
        builder.on_event(move |event| log.push(event.to_string()))
    }

    fn push(&self, line: String) {
        self.with(|lines| lines.push(line));
        self.0.grown.notify_waiters();
    }

    /// The events since the last [`take`](Self::take).
    pub fn lines(&self) -> Vec<String> {
        self.with(|lines| lines.clone())
    }

    /// The events since the last call of this: the log is empty afterwards.
    pub fn take(&self) -> Vec<String> {
        self.with(std::mem::take)
    }

    /// [`take`](Self::take) for concurrent callers, whose events have no order.
    pub fn take_sorted(&self) -> Vec<String> {
        let mut lines = self.take();
        lines.sort_unstable();
        lines
    }

    /// [`take`](Self::take) without the error or the reason that a line ends with, which may name
    /// a port.
    pub fn take_without_reasons(&self) -> Vec<String> {
        let without = |line: String| match line.split_once(": ") {
            Some((event, _reason)) => event.to_owned(),
            None => line,
        };
        self.take().into_iter().map(without).collect()
    }

    /// Waits until this event was recorded.
    ///
    /// # Panics
    ///
    /// If it was not recorded after [`LIMIT`].
    #[track_caller]
    pub fn until(&self, line: &str) -> impl Future<Output = ()> {
        self.until_count(line, 1)
    }

    /// Waits until this event was recorded so many times.
    ///
    /// # Panics
    ///
    /// If it was not recorded so often after [`LIMIT`].
    #[track_caller]
    pub fn until_count(&self, line: &str, count: usize) -> impl Future<Output = ()> {
        self.until_lines(move |lines| lines.iter().filter(|it| *it == line).count() >= count)
    }

    /// Waits until the recorded events are as expected.
    ///
    /// # Panics
    ///
    /// If they are not after [`LIMIT`].
    #[track_caller]
    pub fn until_lines(&self, expected: impl Fn(&[String]) -> bool) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            let grown = async {
                loop {
                    let grown = self.0.grown.notified();
                    let mut grown = std::pin::pin!(grown);
                    // Registered before the lines are read, so that no line between is missed.
                    grown.as_mut().enable();
                    if self.with(|lines| expected(lines)) {
                        return;
                    }
                    grown.await;
                }
            };
            let waited = tokio::time::timeout(LIMIT, grown).await;
            assert!(
                waited.is_ok(),
                "the events that {caller} waits for are not there after {LIMIT:?}, but these: {:#?}",
                self.lines()
            );
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<String>) -> T) -> T {
        act(&mut self.0.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
