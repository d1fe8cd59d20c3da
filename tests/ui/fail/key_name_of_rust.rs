use cache_runtime::key_name;

#[key_name("u64")]
struct UserId(u64);

fn main() {}
