use std::collections::HashSet;

use cache_runtime::{cache_invalidate, cached};

#[cached(key = "labelled:<labels>")]
async fn with_labels(labels: &HashSet<String>) -> Vec<u64> {
    vec![labels.len() as u64]
}

#[cache_invalidate("labelled:<labels>")]
async fn relabel(labels: &[String]) {
    println!("{labels:?}");
}
