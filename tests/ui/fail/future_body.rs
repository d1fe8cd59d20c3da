use cache_runtime::cached;

#[cached(key = "user:<id>")]
fn get_user(id: u64) -> impl Future<Output = u64> {
    id
}

fn main() {}
