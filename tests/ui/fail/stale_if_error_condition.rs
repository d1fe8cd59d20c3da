//! A condition that is no closure.

#[cache_runtime::cached(key = "report:<id>", stale_if_error("1h", if = is_outage(id)))]
async fn report(id: u64) -> Result<String, String> {
    Ok(format!("report {id}"))
}

#[cache_runtime::cached(key = "reports:<id>", stale_if_error("1h", |error| error.is_empty()))]
async fn reports(id: u64) -> Result<String, String> {
    Ok(format!("report {id}"))
}

fn main() {}
