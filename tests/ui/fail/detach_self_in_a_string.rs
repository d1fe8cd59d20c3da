use cache_runtime::cached;

#[derive(Clone, Debug)]
struct Users;

impl Users {
    #[cached(key = "user:<id>", detach)]
    async fn find(&self, id: u64) -> String {
        format!("{self:?} {id}")
    }
}

fn main() {}
