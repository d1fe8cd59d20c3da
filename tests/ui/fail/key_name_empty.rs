use cache_runtime::key_name;

#[key_name("")]
struct User;

fn main() {}
