use cache_runtime::cached;

struct Users {
    offset: u64,
}

impl Users {
    #[cached(key = "user:<self.offset>:<id>", detach)]
    async fn find(&self, id: u64) -> u64 {
        self.offset + id
    }
}

fn main() {}
