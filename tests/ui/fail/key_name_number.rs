use cache_runtime::key_name;

#[key_name("7up")]
struct Drink;

fn main() {}
