use cache_runtime::cached;

struct Users {
    tenant: u64,
}

impl Users {
    #[cached(key = "user:<self.tenant>:<id>", skip(self.tenant))]
    async fn get(&self, id: u64) -> u64 {
        id + self.tenant
    }
}

fn main() {}
