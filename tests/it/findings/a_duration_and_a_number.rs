use std::time::Duration;

use cache_runtime::{cache_invalidate, cached};

#[cached(key = "visits:<window>")]
async fn visits(window: Duration) -> u64 {
    window.as_secs()
}

#[cache_invalidate("visits:<seconds>")]
async fn recount(seconds: u64) {
    println!("counting the last {seconds} s");
}
