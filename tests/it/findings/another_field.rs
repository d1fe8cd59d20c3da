use cache_runtime::{KeyPart, cache_invalidate, cached};

#[derive(KeyPart)]
struct Project {
    id: u64,
}

#[cached(key = "project:<project>")]
async fn size(project: &Project) -> u64 {
    project.id
}

#[cache_invalidate("project:<project.id>")]
async fn grow(project: &Project) {
    println!("{}", project.id);
}
