use cache_runtime::cached;

#[derive(Clone, serde::Serialize)]
struct User(u64);

struct Users(Vec<User>);

impl Users {
    #[cached(key = "users", skip(self))]
    async fn all(&self) -> Option<Vec<&User>> {
        Some(self.0.iter().collect())
    }
}

fn main() {}
