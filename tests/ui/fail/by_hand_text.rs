use cache_runtime::{Cache, Options};

fn store(cache: &Cache) {
    drop(cache.set("greeting", "hello", Options::new()));
}

fn main() {}
