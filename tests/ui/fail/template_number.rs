use cache_runtime::cached;

#[cached(key = "api:2:<id>")]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {}
