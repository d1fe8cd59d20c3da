use async_trait::async_trait;
use cache_runtime::cached;

struct Users;

#[async_trait]
trait Find {
    async fn find(&self, range: (u64, u64)) -> u64;
}

#[async_trait]
impl Find for Users {
    #[cached(key = "users:<from>:<to>")]
    async fn find(&self, (from, to): (u64, u64)) -> u64 {
        from + to
    }
}

fn main() {}
