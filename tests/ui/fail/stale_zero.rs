//! Old values for no time, and a refresh that is not eager at all.

#[cache_runtime::cached(key = "report:<id>", stale_while_revalidate = 0)]
async fn report(id: u64) -> String {
    format!("report {id}")
}

#[cache_runtime::cached(key = "reports:<id>", early_refresh = 0.0)]
async fn reports(id: u64) -> String {
    format!("report {id}")
}

fn main() {}
