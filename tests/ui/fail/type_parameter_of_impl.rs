use cache_runtime::{CacheValue, cached};

struct Repository<T>(Vec<T>);

impl<T: CacheValue> Repository<T> {
    #[cached(key = "entity:<T>:<index>", skip(self.0))]
    async fn get(&self, index: usize) -> Option<T> {
        self.0.get(index).cloned()
    }
}

fn main() {}
