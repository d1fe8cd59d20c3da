use cache_runtime::cached;

#[cached(key = "user:<id>", invalidate_on = ["users", "team:<taem>"], skip(team))]
async fn get_user(id: u64, team: u64) -> u64 {
    id + team
}

fn main() {}
