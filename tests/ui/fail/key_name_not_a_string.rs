use cache_runtime::key_name;

#[key_name(user)]
struct User;

fn main() {}
