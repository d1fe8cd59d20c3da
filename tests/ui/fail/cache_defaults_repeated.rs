use cache_runtime::{cache_defaults, cached};

struct Users;

#[cache_defaults(ttl = 60)]
#[cache_defaults(skip(trace))]
impl Users {
    #[cached(key = "user:<id>")]
    async fn get(&self, id: u64, trace: &str) -> u64 {
        id + trace.len() as u64
    }
}

fn main() {}
