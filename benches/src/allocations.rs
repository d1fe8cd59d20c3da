//! Counts allocations and live bytes, only while [`count`] runs.
//!
//! The usual crates for this count always, in shared counters. Each allocation then takes
//! three atomic operations, which would be part of the measured times.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);

/// The system's allocator, with counters.
#[derive(Debug)]
pub(crate) struct Counting;

fn grown_by(bytes: i64) {
    LIVE_BYTES.fetch_add(bytes, Relaxed);
}

// SAFETY: every call is passed unchanged to the system's allocator; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTING.load(Relaxed) {
            ALLOCATIONS.fetch_add(1, Relaxed);
            grown_by(layout.size() as i64);
        }
        // SAFETY: the caller keeps the contract of this method, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if COUNTING.load(Relaxed) {
            grown_by(-(layout.size() as i64));
        }
        // SAFETY: the caller keeps the contract of this method, which is the same there.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if COUNTING.load(Relaxed) {
            ALLOCATIONS.fetch_add(1, Relaxed);
            grown_by(new_size as i64 - layout.size() as i64);
        }
        // SAFETY: the caller keeps the contract of this method, which is the same there.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

/// How many allocations `run` makes, in all threads, and by how many bytes the heap grows.
pub(crate) fn count<T>(run: impl FnOnce() -> T) -> (T, u64, i64) {
    let (allocations, bytes) = (ALLOCATIONS.load(Relaxed), LIVE_BYTES.load(Relaxed));
    COUNTING.store(true, Relaxed);
    let value = run();
    COUNTING.store(false, Relaxed);
    (
        value,
        ALLOCATIONS.load(Relaxed) - allocations,
        LIVE_BYTES.load(Relaxed) - bytes,
    )
}
