use cache_runtime::CacheTag;

#[derive(CacheTag)]
#[cache_tag("users")]
#[cache_tag("posts")]
struct Users;

fn main() {}
