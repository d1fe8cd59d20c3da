use cache_runtime::cached;

trait Repository<B> {
    #[cached(key = "count:<B>")]
    async fn count(&self) -> u64 {
        1
    }
}

fn main() {}
