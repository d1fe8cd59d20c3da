use cache_runtime::cached;

#[cached(key = "user:<id>", skip(pol))]
async fn get_user(pool: &str, id: u64) -> u64 {
    id + pool.len() as u64
}

fn main() {}
