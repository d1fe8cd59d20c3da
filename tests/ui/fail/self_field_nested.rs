use cache_runtime::cached;

struct Config {
    tenant: String,
    timeout: f64,
}

struct Users {
    config: Config,
}

impl Users {
    #[cached(key = "user:<id>")]
    async fn get(&self, id: u64) -> Option<String> {
        if self.config.timeout < 1.0 {
            return None;
        }
        let names = (0..id).map(|_| self.config.tenant.clone());
        Some(names.collect())
    }
}

fn main() {}
