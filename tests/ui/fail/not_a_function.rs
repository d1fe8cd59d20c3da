use cache_runtime::cached;

#[cached(key = "user")]
struct User;

fn main() {}
