use cache_runtime::key;

fn main() {
    key!("user:<0>");
}
