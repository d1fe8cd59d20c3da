use cache_runtime::cached;

#[cached(key = "user:'<login>'")]
async fn get_user(login: &str) -> String {
    login.to_owned()
}

fn main() {}
