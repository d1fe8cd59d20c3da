use cache_runtime::cached;

struct UserId(u64);

#[cached(key = "user:<id>")]
async fn get_user(id: UserId) -> u64 {
    id.0
}

fn main() {}
