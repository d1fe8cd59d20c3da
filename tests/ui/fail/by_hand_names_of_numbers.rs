use cache_runtime::Cache;

fn forget(cache: &Cache, ids: Vec<u64>) {
    drop(cache.invalidate(ids));
}

fn main() {}
