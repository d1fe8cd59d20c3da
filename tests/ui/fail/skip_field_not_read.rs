use cache_runtime::cached;

struct Users {
    tenant: u64,
}

impl Users {
    fn tenant(&self) -> u64 {
        self.tenant
    }

    #[cached(key = "user:<id>", skip(self.tenant))]
    async fn get(&self, id: u64) -> u64 {
        id + self.tenant()
    }
}

fn main() {}
