use cache_runtime::{CacheTag, cache_invalidate};

#[derive(CacheTag)]
#[cache_tag("team:<0>:user:<1>")]
struct TeamUser(u64, u64);

#[cache_invalidate(TeamUser(team, *result))]
async fn update_user(team: u64) -> u64 {
    team
}

fn main() {}
