//! Mistakes that a comparison must notice. None of them is in the example: the test makes them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use cache_runtime::{Cache, Event, Key, cache_defaults, cache_invalidate};

use crate::entities::Comment;
use crate::repository::Repository;

#[derive(Debug, Clone, PartialEq)]
pub enum Mistake {
    /// What a writer is given as the old row has the new value, so the old value is not named.
    OldLogin,
    OldSlug,
    OldAssignee,
    OldProject,
    OldParent,
    /// The rows are changed before the writer looks for them, so it names none of them.
    RowsOfChildren,
    RowsOfClosed,
    RowsOfUnassigned,
    /// A single statement names its result, which a caller that gives up does not get.
    NamesOfResult,
    /// Transactions run outside of `after_commit`.
    WithoutScope,
    /// No writer names what is of this kind.
    LeavesOut(String),
}

impl Mistake {
    pub const ALL: [Self; 10] = [
        Self::OldLogin,
        Self::OldSlug,
        Self::OldAssignee,
        Self::OldProject,
        Self::OldParent,
        Self::RowsOfChildren,
        Self::RowsOfClosed,
        Self::RowsOfUnassigned,
        Self::NamesOfResult,
        Self::WithoutScope,
    ];

    /// Whether a read can show the mistake. A difference begins with its read.
    pub fn shows(&self, read: &str) -> bool {
        let reads: &[&str] = match self {
            Self::OldLogin => &["Login("],
            Self::OldSlug => &["Slug("],
            Self::OldAssignee => &["AssignedTo("],
            Self::OldProject => &["InProject(", "Open("],
            Self::OldParent => &["Under("],
            Self::RowsOfChildren | Self::RowsOfClosed | Self::RowsOfUnassigned => &["Issue("],
            Self::NamesOfResult => &["Comment"],
            Self::WithoutScope | Self::LeavesOut(_) => &[""],
        };
        reads.iter().any(|start| read.starts_with(start))
    }
}

#[cache_defaults(cache = self.cache)]
impl Repository<Comment> {
    #[cache_invalidate(
        "<Self>:<self.tenant>:<result.id>",
        "comments:<self.tenant>:<result.issue>"
    )]
    pub async fn edit_by_result(
        &self,
        comment: &Comment,
        text: &str,
    ) -> sqlx::Result<Option<Comment>> {
        sqlx::query_as("UPDATE comment SET text = ? WHERE tenant = ? AND id = ? RETURNING *")
            .bind(text)
            .bind(self.tenant)
            .bind(comment.id)
            .fetch_optional(&self.pool)
            .await
    }
}

/// A cache that keeps nothing, and notes what writers invalidate in it. The test passes that on to
/// the cache that readers use, but for the names that a mistake leaves out.
pub struct Noted {
    pub cache: Cache,
    names: Arc<Mutex<Vec<Key>>>,
}

impl Noted {
    pub fn new() -> Self {
        let names = Arc::new(Mutex::new(Vec::new()));
        let noted = names.clone();
        let cache = Cache::builder()
            .url("memory:")
            .on_event(move |event| {
                if let Event::Invalidate { names, .. } = event {
                    noted.lock().unwrap().extend_from_slice(names);
                }
            })
            .build()
            .unwrap();
        Self { cache, names }
    }

    pub async fn pass_on(&self, cache: &Cache, left_out: &str, kinds: &Mutex<BTreeSet<String>>) {
        let mut names = std::mem::take(&mut *self.names.lock().unwrap());
        kinds.lock().unwrap().extend(names.iter().map(kind));
        names.retain(|name| kind(name) != left_out);
        cache.invalidate(names).await.unwrap();
    }
}

/// `issues:*:assignee:*` of `issues:1:assignee:7`
fn kind(name: &Key) -> String {
    let parts = name.as_str().split(':').map(|part| {
        let is_type = part.starts_with("'rows<");
        let is_value = part.starts_with(|c: char| c.is_ascii_digit() || "'(".contains(c));
        if is_value && !is_type { "*" } else { part }
    });
    parts.collect::<Vec<_>>().join(":")
}
