//! `doctor`: what is wrong with the servers, and how to mend it.

use cache_runtime::{Cache, Severity};

use crate::{End, Ended, output};

pub(crate) async fn run(cache: &Cache, json: bool) -> Ended {
    let diagnosis = cache.diagnose().await;
    if json {
        output::print_json(&serde_json::to_value(&diagnosis)?)?;
    } else {
        output::print(&diagnosis.to_string())?;
    }
    Ok(match diagnosis.worst() {
        Severity::Problem => End::Unwell,
        _ => End::Well,
    })
}
