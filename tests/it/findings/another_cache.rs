use std::sync::LazyLock;

use cache_runtime::{Cache, cache_invalidate, cached};

static SESSIONS: LazyLock<Cache> = LazyLock::new(|| Cache::builder().build().unwrap());

#[cached(key = "session:<id>", cache = &*SESSIONS)]
async fn find(id: u64) -> Option<String> {
    Some(format!("session {id}"))
}

#[cache_invalidate("session:<id>")]
async fn end(id: u64) {
    println!("ending {id}");
}
