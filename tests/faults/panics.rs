//! Counts the panics of this process, in all its tasks.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

static SEEN: AtomicU64 = AtomicU64::new(0);

/// Counts each panic from now on, and prints the first messages as before.
pub(crate) fn count() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // Hundreds of panics of one kind would say no more.
        if SEEN.fetch_add(1, SeqCst) < 3 {
            print(panic);
        }
    }));
}

pub(crate) fn seen() -> u64 {
    SEEN.load(SeqCst)
}
