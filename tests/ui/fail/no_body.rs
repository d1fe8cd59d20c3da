use cache_runtime::cached;

trait Users {
    #[cached(key = "user:<id>")]
    async fn find(&self, id: u64) -> u64;
}

fn main() {}
