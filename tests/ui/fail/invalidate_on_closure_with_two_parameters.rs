use cache_runtime::{CacheTag, cached};

#[derive(CacheTag)]
#[cache_tag("issue:<0>")]
struct IssueTag(u64);

#[cached(key = "page:<nr>", invalidate_on = ["pages", |page, nr| page.iter().map(|id| IssueTag(*id))])]
async fn page(nr: u64) -> Vec<u64> {
    vec![nr]
}

fn main() {}
