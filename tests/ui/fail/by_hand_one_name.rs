use cache_runtime::Cache;

fn forget(cache: &Cache) {
    drop(cache.invalidate("users"));
}

fn main() {}
