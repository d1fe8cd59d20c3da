use cache_runtime::cached;

#[cached(key = "user:<id>")]
fn get_user(id: u64) -> impl Future<Output = String> {
    async move { id }
}

fn main() {}
