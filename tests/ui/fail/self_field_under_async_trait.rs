use async_trait::async_trait;
use cache_runtime::cached;

#[async_trait]
trait Find {
    async fn find(&self, id: u64) -> u64;
}

struct Users {
    tenant: u64,
}

#[async_trait]
impl Find for Users {
    #[cached(key = "user:<id>")]
    async fn find(&self, id: u64) -> u64 {
        id + self.tenant
    }
}

fn main() {}
