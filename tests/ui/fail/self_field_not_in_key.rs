use cache_runtime::cached;

struct Users {
    tenant: u64,
}

impl Users {
    #[cached(key = "user:<id>")]
    async fn get(&self, id: u64) -> String {
        format!("user {id} of tenant {}", self.tenant)
    }
}

fn main() {}
