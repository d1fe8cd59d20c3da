use cache_runtime::cached;

struct Users;

impl Users {
    #[cached(key = "user:<id>", handle)]
    async fn find(&self, id: u64) -> u64 {
        id
    }
}

fn main() {}
