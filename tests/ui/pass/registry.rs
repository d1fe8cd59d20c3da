//! Every annotated function is known at link time, called or not.
#![deny(deprecated)]

use std::time::Duration;

use cache_runtime::registry::{self, Function, Role};
use cache_runtime::{CacheTag, KeyPart, cache_invalidate, cached, key};

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct User {
    id: u64,
}

#[derive(KeyPart)]
struct UserId(u64);

#[derive(CacheTag)]
#[cache_tag("team:<0>")]
struct Team(u32);

struct Users<T>(T);

impl<T> Users<T> {
    #[cached(key = "user:<id>", ttl = 60, none_ttl = 5, skip(team), invalidate_on = Team(team))]
    async fn find(&self, id: UserId, team: u32) -> std::io::Result<Option<User>> {
        let _ = team;
        Ok(Some(User { id: id.0 }))
    }

    #[cache_invalidate("user:<id>", Team(team), on = ok)]
    async fn remove(&self, id: u64, team: u32) -> std::io::Result<()> {
        let _ = (id, team);
        Ok(())
    }
}

fn lifetime<A, B>(n: usize) -> Duration {
    Duration::from_secs(size_of::<(A, B)>() as u64 + n as u64)
}

#[cached(
    key = "page:<T>:<n>",
    ttl = lifetime::<u8, Vec<u8>>(n.len() ),
    version=2,
    invalidate_on = ["pages", "lists"],
)]
async fn page<'a, T>(n: &'a [u32]) -> Vec<std::sync::Arc<User>> {
    let _ = n;
    Vec::new()
}

#[cache_invalidate("pagse")]
async fn clear() {}

fn function(name: &str) -> &'static Function {
    let mut functions = registry::all();
    functions
        .find(|function| function.path.ends_with(name))
        .unwrap()
}

#[allow(dead_code)]
#[deprecated]
#[derive(KeyPart)]
struct OldId(u64);

#[allow(dead_code)]
#[deprecated]
#[derive(CacheTag)]
#[cache_tag("old:<id>")]
struct OldTag {
    id: u64,
}

fn main() {
    assert_eq!(registry::all().count(), 4);

    let find = function("::find");
    assert_eq!((find.line, find.cache), (24, None));
    assert!(find.file.ends_with("registry.rs"), "{}", find.file);
    assert_eq!(find.options, ["ttl = 60", "none_ttl = 5", "skip(team)"]);
    let Role::Caches {
        key, value, tags, ..
    } = find.role
    else {
        panic!("{find:?}");
    };
    assert_eq!(
        (key.text, key.types, value),
        ("user:<id>", &["UserId"][..], "User")
    );
    assert_eq!((tags[0].text, tags[0].typed), ("Team", true));

    let page = function("::page");
    let Role::Caches { key, value, .. } = page.role else {
        panic!("{page:?}");
    };
    assert_eq!(
        (key.types, value),
        (&["type", "[u32]"][..], "Vec<Arc<User>>")
    );

    assert_eq!(
        page.options,
        ["ttl = lifetime::<u8, Vec<u8>>(n.len())", "version = 2"]
    );

    let findings = registry::check().unwrap_err();
    let names: Vec<_> = findings.iter().map(registry::Finding::name).collect();
    assert_eq!(names, ["pagse", "pages"], "{findings}");

    // Done by hand, it is done.
    assert_eq!(key!("lists").as_str(), "lists");

    // Nothing of it has run.
    drop(Users("of any type").find(UserId(1), 2));
    drop(Users("of any type").remove(1, 2));
    drop(self::page::<u8>(&[]));
    drop(clear());
}
