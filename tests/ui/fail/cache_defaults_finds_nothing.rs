use cache_runtime::cache_defaults;
use cache_runtime::cached as remembered;

struct Users;

#[cache_defaults(ttl = 60)]
impl Users {
    #[remembered(key = "user:<id>")]
    async fn get(&self, id: u64) -> u64 {
        id
    }
}

fn main() {}
