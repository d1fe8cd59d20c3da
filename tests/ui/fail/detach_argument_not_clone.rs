use cache_runtime::cached;

struct Pool;

#[cached(key = "user:<id>", skip(pool), detach)]
async fn get_user(pool: &Pool, id: u64) -> u64 {
    let _ = pool;
    id
}

fn main() {}
