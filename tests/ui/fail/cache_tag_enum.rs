use cache_runtime::CacheTag;

#[derive(CacheTag)]
#[cache_tag("users")]
enum Users {
    All,
}

fn main() {}
