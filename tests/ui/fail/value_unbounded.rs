use cache_runtime::cached;

#[cached(key = "default:<T>")]
async fn default<T: Default>() -> T {
    T::default()
}

fn main() {}
