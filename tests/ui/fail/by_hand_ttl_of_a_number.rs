use cache_runtime::Strings;

fn store(tokens: &Strings) {
    drop(tokens.set("reset", "8f14e45f", 600));
}

fn main() {}
