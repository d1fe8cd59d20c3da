use cache_runtime::cached;

struct Users;

impl Users {
    #[cached(key = "count:<Self>:<Tenant>")]
    async fn count(&self) -> u64 {
        1
    }
}

fn main() {}
