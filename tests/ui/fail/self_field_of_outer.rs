use cache_runtime::{KeyPart, cached};

#[derive(KeyPart)]
struct Tenant {
    id: u64,
    region: String,
}

struct Users {
    tenant: Tenant,
}

impl Users {
    #[cached(key = "user:<id>")]
    async fn get(&self, id: u64) -> String {
        format!("{id} of {} in {}", self.tenant.id, self.tenant.region)
    }
}

fn main() {}
