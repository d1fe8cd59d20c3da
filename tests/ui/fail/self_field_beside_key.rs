use cache_runtime::{KeyPart, cached};

#[derive(KeyPart)]
struct Config {
    tenant: u64,
    region: u64,
}

struct Users {
    config: Config,
}

impl Users {
    #[cached(key = "user:<self.config.tenant>:<id>")]
    async fn get(&self, id: u64) -> u64 {
        id + self.config.tenant + self.config.region
    }
}

fn main() {}
