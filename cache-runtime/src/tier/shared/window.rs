//! How much to send at once, so that its answer comes well before its deadline.
//!
//! A deadline bounds how long a request may take. On a slow link, that bounds how much one request
//! may carry, and no setting knows how slow the link is. So a window grows while answers come early,
//! and shrinks when they come late or not at all. What does not fit into it waits for the next
//! request, which has a deadline of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A size, in units of its owner (names, bytes), between a least and a most.
#[derive(Debug)]
pub(super) struct Window {
    size: AtomicUsize,
    least: usize,
    most: usize,
}

impl Window {
    pub(super) const fn new(first: usize, least: usize, most: usize) -> Self {
        Self {
            size: AtomicUsize::new(first),
            least,
            most,
        }
    }

    /// How much may be sent now.
    pub(super) fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// So much was answered, after a time of which `limit` is the longest allowed. The window grows
    /// after an early answer to a request that filled half of it, and shrinks after a late one.
    pub(super) fn answered(&self, sent: usize, took: Duration, limit: Duration) {
        self.change(|size| {
            if took > limit / 2 {
                size.min(sent) / 2
            } else if took < limit / 4 && sent >= size / 2 {
                size.saturating_mul(2)
            } else {
                size
            }
        });
    }

    /// So much was not answered in time.
    pub(super) fn timed_out(&self, sent: usize) {
        self.change(|size| size.min(sent) / 2);
    }

    /// Requests that end at the same time may overwrite each other's change: the next one corrects it.
    fn change(&self, change: impl Fn(usize) -> usize) {
        let size = change(self.size()).clamp(self.least, self.most);
        self.size.store(size, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);

    fn window() -> Window {
        Window::new(32, 1, 500)
    }

    #[test]
    fn early_answers_to_full_requests_widen_it() {
        let window = window();
        for expected in [64, 128, 256, 500, 500] {
            window.answered(window.size(), LIMIT / 10, LIMIT);
            assert_eq!(window.size(), expected);
        }
        window.answered(10, LIMIT / 10, LIMIT);
        assert_eq!(window.size(), 500);
    }

    #[test]
    fn an_early_answer_to_a_small_request_says_nothing() {
        let window = window();
        window.answered(1, LIMIT / 100, LIMIT);
        assert_eq!(window.size(), 32);
    }

    #[test]
    fn late_answers_and_time_outs_narrow_it() {
        let window = window();
        window.answered(32, LIMIT * 3 / 4, LIMIT);
        assert_eq!(window.size(), 16);
        window.timed_out(16);
        assert_eq!(window.size(), 8);
        window.timed_out(2);
        assert_eq!(window.size(), 1);
        window.timed_out(1);
        assert_eq!(window.size(), 1);
    }
}
