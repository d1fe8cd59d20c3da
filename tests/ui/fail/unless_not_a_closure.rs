use cache_runtime::cached;

#[cached(key = "user:<id>", unless = id == 0)]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {}
