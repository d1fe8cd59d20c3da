//! Options that `local` leaves nothing to say, and values that a process cannot keep.

use std::cell::Cell;

use cache_runtime::{Codec, cached};

#[cached(key = "a", local, codec = Codec::JSON)]
async fn never_written() -> u64 {
    1
}

#[cached(key = "b", local, local_ttl = 10)]
async fn no_copy() -> u64 {
    1
}

#[cached(key = "c:<id>", local, each(id in ids))]
async fn several(ids: &[u64]) -> Vec<(u64, u64)> {
    ids.iter().map(|id| (*id, *id)).collect()
}

#[cached(key = "d", local, invalidate_on = |value| [format!("of:{value}")])]
async fn told() -> u64 {
    1
}

#[cached(key = "e", local)]
async fn not_sync() -> Cell<u64> {
    Cell::new(1)
}

fn main() {}
