use cache_runtime::cached;

struct Filter {
    r#type: u8,
}

#[cached(key = "search:<filter.type>")]
async fn search(filter: Filter) -> u8 {
    filter.r#type
}

fn main() {}
