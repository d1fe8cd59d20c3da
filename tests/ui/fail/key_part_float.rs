use cache_runtime::cached;

#[cached(key = "near:<latitude>")]
async fn near(latitude: f64) -> u64 {
    latitude as u64
}

fn main() {}
