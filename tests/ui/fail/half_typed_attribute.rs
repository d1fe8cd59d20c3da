use cache_runtime::cached;

struct Users;

impl Users {
    #[cached]
    async fn find(&self, id: u64) -> Result<Option<String>, String> {
        Ok(Some(id.to_string()))
    }
}

async fn name_length(users: &Users) -> Result<usize, String> {
    let name = users.find(1).await?;
    Ok(name.map_or(0, |name| name.len()))
}

fn main() {
    drop(name_length(&Users));
}
