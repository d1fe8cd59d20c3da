use async_trait::async_trait;
use cache_runtime::cache_invalidate;

struct Users;

#[async_trait]
trait Change {
    async fn change(&self, pair: (u64, u64)) -> u64;
}

#[async_trait]
impl Change for Users {
    #[cache_invalidate("user:<id>")]
    async fn change(&self, (id, team): (u64, u64)) -> u64 {
        id + team
    }
}

fn main() {}
