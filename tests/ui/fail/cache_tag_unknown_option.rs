use cache_runtime::CacheTag;

#[derive(CacheTag)]
#[cache_tag("users:<0>", ttl = 60)]
struct Users(u64);

fn main() {}
