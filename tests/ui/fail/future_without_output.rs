use cache_runtime::cached;

trait Load: Future<Output = u64> {}
impl<F: Future<Output = u64>> Load for F {}

#[cached(key = "user:<id>")]
fn get_user(id: u64) -> impl Load {
    async move { id }
}

fn main() {}
