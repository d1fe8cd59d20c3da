use cache_runtime::cached;

#[cached(key = "user:<id>")]
async fn get_user() -> u64 {
    1
}

fn main() {}
