//! A pause after a failed load, where each call loads anyway.

#[cache_runtime::cached(key = "report:<id>", retry_after = "10s")]
async fn report(id: u64) -> Result<String, String> {
    Ok(format!("report {id}"))
}

fn main() {}
