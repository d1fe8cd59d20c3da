use cache_runtime::key;

fn main() {
    let id = 7;
    key!("user<id>");
    key!(id);
    key!("user:<uid>");
}
