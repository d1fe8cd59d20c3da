use cache_runtime::cached;

struct Users {
    reads: u64,
}

impl Users {
    #[cached(key = "user:<id>", detach)]
    async fn find(&mut self, id: u64) -> u64 {
        self.reads += 1;
        id
    }
}

fn main() {}
