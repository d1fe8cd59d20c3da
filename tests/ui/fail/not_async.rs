use cache_runtime::cached;

#[cached(key = "user:<id>", ttl = 60)]
fn get_user(id: u64) -> String {
    id.to_string()
}

fn main() {}
