use cache_runtime::cached;

#[cached(key = "keyed:<K>:<id>")]
async fn keyed<K>(id: K) -> u64 {
    drop(id);
    1
}

fn main() {}
