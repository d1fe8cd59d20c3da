//! Options that `local` leaves nothing to say.

use cache_runtime::cached;

#[cached(key = "a", local, codec = cache_runtime::Codec::JSON)]
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

fn main() {}
