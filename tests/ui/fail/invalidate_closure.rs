use cache_runtime::{CacheTag, cache_invalidate};

#[derive(CacheTag)]
#[cache_tag("issue:<0>")]
struct IssueTag(u64);

#[cache_invalidate(|issues| issues.iter().map(|id| IssueTag(*id)))]
async fn close_all() -> Vec<u64> {
    vec![1, 2]
}

fn main() {}
