//! A process can keep what its threads can share.

use std::cell::Cell;

#[cache_runtime::cached(key = "counter", local)]
async fn counter() -> Cell<u64> {
    Cell::new(1)
}

fn main() {}
