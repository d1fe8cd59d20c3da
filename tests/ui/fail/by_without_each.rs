//! What tells the element of a value, where there are no elements.

#[cache_runtime::cached(key = "user:<id>", by = |user| *user)]
async fn user(id: u64) -> u64 {
    id
}

fn main() {}
