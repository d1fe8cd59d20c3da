//! What the registry knows of types, and what it says of this program.
#![deny(warnings, clippy::pedantic, unused)]

use cache_runtime::registry::{self, Finding};
use cache_runtime::{CacheTag, KeyPart, cache_invalidate, cached};

mod ids {
    use cache_runtime::KeyPart;

    pub(super) type IssueId = i64;

    #[derive(KeyPart)]
    pub(super) struct Name<'a>(pub(super) &'a str);
}

mod other {
    use cache_runtime::{KeyPart, cache_invalidate};

    #[derive(KeyPart)]
    pub(super) enum Status {
        Open,
    }

    #[cache_invalidate("registry:status:<status>")]
    pub(super) async fn change(status: Status) {
        let _ = status;
    }
}

use self::ids::{IssueId, Name};

#[derive(KeyPart)]
enum Status {
    Closed,
}

type Loaded<T> = Result<T, std::fmt::Error>;
type Titles = Vec<String>;

#[derive(CacheTag)]
#[cache_tag("registry:of:<0>")]
struct Of(IssueId);

/// Its type parameters have the names of types elsewhere.
struct Repository<IssueIds, const N: usize>(IssueIds);

impl<IssueIds: KeyPart + Sync, const N: usize> Repository<IssueIds, N> {
    #[cached(key = "registry:generic:<id>", ttl = 60, skip(buffer, self.0))]
    async fn find(&self, id: &IssueIds, buffer: [u8; N]) -> Loaded<Titles> {
        let _ = (id, buffer, &self.0);
        Ok(Vec::new())
    }

    #[cache_invalidate("registry:generic:<id>")]
    async fn change(id: IssueIds) {
        drop(id);
    }
}

#[cached(key = "registry:issue:<id>", ttl = 60, invalidate_on = Of(id))]
async fn find(id: IssueId) -> Loaded<Titles> {
    let _ = id;
    Ok(Vec::new())
}

#[cached(key = "registry:issue:<id>", ttl = 60, invalidate_on = Of(id))]
async fn find_again(id: i64) -> Result<Vec<String>, std::fmt::Error> {
    find(id).await
}

#[cache_invalidate("registry:issue:<id>", Of(id))]
async fn change(id: ids::IssueId) {
    let _ = id;
}

#[cached(key = "registry:name:<name>:<others>", ttl = 60)]
async fn named<'a>(name: &Name<'a>, others: Option<&[ids::Name<'a>]>) -> String {
    let _ = (name, others);
    String::new()
}

#[cache_invalidate("registry:name:<name>:<others>")]
async fn rename(name: &str, others: Option<Vec<String>>) {
    let _ = (name, others);
}

#[cached(key = "registry:status:<status>", ttl = 60)]
async fn with_status(status: &Status) -> u64 {
    let _ = status;
    0
}

/// The findings about the templates that begin so.
fn about(start: &str) -> Vec<Finding> {
    let findings = registry::check().expect_err("this program has mistakes on purpose");
    let about = findings
        .iter()
        .filter(|found| found.name().starts_with(start));
    about.cloned().collect()
}

#[tokio::test]
async fn types_are_what_the_compiler_takes_them_for() {
    let ids = about("registry:");
    let ids: Vec<_> = ids.iter().map(Finding::id).collect();
    let [id] = ids[..] else {
        panic!("{ids:?}");
    };
    assert!(
        id.starts_with("parameter types registry:status:<status> "),
        "{id}"
    );

    // Each of them is called, so that none is dead code.
    let repository = Repository::<u64, 1>(1);
    assert_eq!(repository.find(&1, [0]).await, Ok(Vec::new()));
    Repository::<u64, 1>::change(1).await;
    assert_eq!(find_again(7).await, Ok(Vec::new()));
    change(7).await;
    assert_eq!(named(&Name("a"), None).await, "");
    rename("a", None).await;
    assert_eq!(with_status(&Status::Closed).await, 0);
    other::change(other::Status::Open).await;
}

#[test]
fn types_in_the_body_of_a_function_are_compared_by_their_text() {
    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    struct Local<T>(T);
    #[derive(KeyPart)]
    struct LocalId(u64);

    #[cached(key = "registry-local:<id>", ttl = 60)]
    async fn find(id: LocalId) -> Local<u64> {
        Local(id.0)
    }

    #[cache_invalidate("registry-local:<id>")]
    async fn change(id: LocalId) {
        let _ = id;
    }

    drop(find(LocalId(1)));
    drop(change(LocalId(1)));
    assert_eq!(about("registry-local:"), []);
}

#[test]
fn code_as_users_write_it_has_no_findings() {
    let findings = registry::check().expect_err("this program has mistakes on purpose");
    let of_fixtures: Vec<_> = findings
        .iter()
        .map(ToString::to_string)
        .filter(|found| found.contains("real_code"))
        .collect();
    assert!(of_fixtures.is_empty(), "{}", of_fixtures.join("\n\n"));
}
