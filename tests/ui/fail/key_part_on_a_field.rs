use cache_runtime::KeyPart;

#[derive(KeyPart)]
struct Session {
    user: u64,
    #[key_part(skip)]
    trace: u64,
}

fn main() {}
