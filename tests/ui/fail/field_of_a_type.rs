use cache_runtime::{CacheValue, cached};

#[cached(key = "default:<T.name>")]
async fn default<T: Default + CacheValue>() -> T {
    T::default()
}

fn main() {}
