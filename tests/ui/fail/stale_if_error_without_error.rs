//! An old value in the place of an error, of a function that returns none.

#[cache_runtime::cached(key = "report:<id>", stale_if_error = "1h")]
async fn report(id: u64) -> String {
    format!("report {id}")
}

fn main() {}
