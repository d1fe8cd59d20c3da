//! Polls a future by hand.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Polls `future` once. Nothing wakes it later, so this also works outside of a runtime.
pub fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
