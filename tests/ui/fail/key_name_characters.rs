use cache_runtime::key_name;

#[key_name("app::User")]
struct User;

fn main() {}
