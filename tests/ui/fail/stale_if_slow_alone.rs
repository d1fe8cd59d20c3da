//! An old value for slow loads, without one that is kept, and without a task for the load.

#[cache_runtime::cached(key = "report:<id>", stale_if_slow = "200ms")]
async fn report(id: u64) -> Result<String, String> {
    Ok(format!("report {id}"))
}

fn main() {}
