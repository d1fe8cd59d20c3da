use cache_runtime::cached;

#[cached(key = "user:<name>")]
async fn find_user(name: impl Into<String>) -> Option<String> {
    Some(name.into())
}

#[cached(key = "login:<login>")]
async fn find_login(login: impl AsRef<str> + Send) -> Option<String> {
    Some(login.as_ref().to_owned())
}

#[cached(key = "id:<id>")]
async fn find_id(id: impl Copy + Send) -> Option<String> {
    let _ = id;
    None
}

fn main() {}
