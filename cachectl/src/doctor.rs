//! `doctor`: what on the servers would hurt.

use cache_runtime::{Cache, Severity};

use crate::{End, Ended};

pub(crate) async fn run(cache: &Cache, json: bool) -> Ended {
    let diagnosis = cache.diagnose().await;
    if json {
        println!("{}", serde_json::to_string_pretty(&diagnosis)?);
    } else {
        println!("{diagnosis}");
    }
    Ok(match diagnosis.worst() {
        Severity::Problem => End::Unwell,
        _ => End::Well,
    })
}
