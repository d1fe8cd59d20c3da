use cache_runtime::cached;

#[cached(key = "users:<name>", detach)]
async fn count_users(name: Option<&str>) -> usize {
    name.map_or(0, str::len)
}

fn main() {}
