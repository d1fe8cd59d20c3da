use cache_runtime::{KeyPart, cached};

struct Repository<K> {
    kind: K,
}

impl<K: KeyPart + ToString + Sync> Repository<K> {
    #[cached(key = "name:<Self>:<id>")]
    async fn name(&self, id: u64) -> String {
        self.kind.to_string() + &id.to_string()
    }
}

fn main() {}
