use cache_runtime::cached;

struct Users {
    tenant: u64,
}

impl Users {
    #[cached(key = "user:<id>", skip(self.tennant))]
    async fn get(&self, id: u64) -> u64 {
        id + self.tenant
    }
}

fn main() {}
