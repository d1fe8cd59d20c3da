use cache_runtime::CacheTag;

#[derive(CacheTag)]
#[cache_tag("price:<0>")]
struct Price(f64);

fn main() {}
