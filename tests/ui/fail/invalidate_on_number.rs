use cache_runtime::cached;

#[cached(key = "user:<id>", invalidate_on = ["users", 7])]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {}
