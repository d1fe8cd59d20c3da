use cache_runtime::{KeyPart, cached};

#[derive(KeyPart)]
struct User {
    id: u64,
}

impl User {
    #[cached(key = "friends:<self>", skip(self))]
    async fn friends(&self) -> Vec<u64> {
        vec![self.id]
    }
}

fn main() {}
