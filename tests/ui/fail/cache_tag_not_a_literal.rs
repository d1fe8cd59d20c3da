use cache_runtime::CacheTag;

#[derive(CacheTag)]
#[cache_tag = "users"]
struct Users;

#[derive(CacheTag)]
#[cache_tag(template = "posts")]
struct Posts;

fn main() {}
