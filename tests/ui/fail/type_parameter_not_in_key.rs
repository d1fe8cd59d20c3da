use cache_runtime::{CacheValue, cached};

#[cached(key = "default")]
async fn default<T: Default + CacheValue>() -> T {
    T::default()
}

fn main() {}
