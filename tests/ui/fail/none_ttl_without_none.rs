use cache_runtime::cached;

type Fallible<T> = Result<T, String>;

#[cached(key = "user:<id>", ttl = "1h", none_ttl = 5)]
async fn get_user(id: u64) -> Fallible<u64> {
    Ok(id)
}

fn main() {}
