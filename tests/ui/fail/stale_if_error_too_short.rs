//! An old value in the place of an error, where it is served anyway.

#[cache_runtime::cached(key = "report:<id>", stale_while_revalidate = "1h", stale_if_error = "10m")]
async fn report(id: u64) -> Result<String, String> {
    Ok(format!("report {id}"))
}

fn main() {}
