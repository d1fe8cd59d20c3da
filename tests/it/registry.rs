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
    pub(super) async fn change(status: self::Status) {
        let _ = status;
    }
}

use self::ids::{IssueId, Name};

#[derive(KeyPart)]
enum Status {
    Closed,
}

type Loaded<T> = Result<T, std::fmt::Error>;

mod values {
    pub(super) type Titles = Vec<String>;
    pub(super) type Loaded = super::Loaded<Vec<String>>;
}

#[derive(CacheTag)]
#[cache_tag("registry:of:<0>")]
struct Of(IssueId);

/// Its type parameters have the names of types elsewhere.
struct Repository<IssueIds, const N: usize>(IssueIds);

impl<IssueIds: KeyPart + Sync, const N: usize> Repository<IssueIds, N> {
    #[cached(key = "registry:generic:<id>", ttl = 60, skip(buffer, self.0))]
    async fn find(&self, id: &IssueIds, buffer: [u8; N]) -> Loaded<Vec<String>> {
        let _ = (id, buffer, &self.0);
        Ok(Vec::new())
    }

    #[cache_invalidate("registry:generic:<id>")]
    async fn change(id: IssueIds) {
        drop(id);
    }
}

#[cached(key = "registry:issue:<id>", ttl = 60, invalidate_on = Of(id))]
async fn find(id: IssueId) -> values::Loaded {
    let _ = id;
    Ok(Vec::new())
}

#[cached(key = "registry:issue:<id>", ttl = 60, invalidate_on = Of(id))]
async fn find_again(id: i64) -> Result<self::values::Titles, std::fmt::Error> {
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
async fn with_status(status: &self::Status) -> u64 {
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

/// The attribute does not see which of two types of one name is meant.
#[test]
fn a_name_without_a_path_may_be_any_type() {
    mod kinds {
        pub(super) enum Kind {
            Team,
            Page,
        }
    }
    use kinds::Kind::{self, Page, Team};

    fn in_a_function() {
        #[derive(KeyPart)]
        struct Team(u64);
        #[derive(Clone, serde::Serialize, serde::Deserialize)]
        struct Page<T>(T);

        #[cached(key = "registry-local:<id>", ttl = 60)]
        async fn find(id: Team) -> Page<u64> {
            Page(id.0)
        }

        #[cache_invalidate("registry-local:<id>")]
        async fn change(id: Team) {
            let _ = id;
        }

        drop(find(Team(1)));
        drop(change(Team(1)));
    }

    #[cache_invalidate("registry-local:<id>")]
    async fn change(id: IssueId) {
        let _ = id;
    }

    in_a_function();
    drop(change(1));
    assert!(matches!((Team, Page), (Kind::Team, Kind::Page)));
    assert_eq!(about("registry-local:"), []);
}

/// The names of its type parameters are those of a trait and of another type.
mod parameters {
    use cache_runtime::{KeyPart, cached};

    trait Store {}

    #[derive(KeyPart)]
    struct Row(u64);

    struct Repository<Store, Row>(Store, Row);

    impl<Store: self::Store + KeyPart + Sync, Row: KeyPart + Sync> Repository<Store, Row> {
        #[cached(key = "registry-parameters:<store>:<row>", ttl = 60, skip(self))]
        async fn find(&self, store: &Store, row: &Row) -> u64 {
            let _ = (store, row, &self.0, &self.1);
            7
        }
    }

    #[derive(KeyPart)]
    struct Memory(u8);

    impl Store for Memory {}

    #[tokio::test]
    async fn a_type_parameter_may_have_the_name_of_a_trait_or_a_type() {
        let repository = Repository(Memory(1), Row(2));
        assert_eq!(repository.find(&Memory(3), &Row(4)).await, 7);
    }
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
