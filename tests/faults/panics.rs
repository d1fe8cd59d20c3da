//! Panics of this process, in whichever task they are.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

static SEEN: AtomicU64 = AtomicU64::new(0);

/// From now on each one is counted; the message is printed as before.
pub(crate) fn count() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // One that has hundreds of reasons has one message.
        if SEEN.fetch_add(1, SeqCst) < 3 {
            print(panic);
        }
    }));
}

pub(crate) fn seen() -> u64 {
    SEEN.load(SeqCst)
}
