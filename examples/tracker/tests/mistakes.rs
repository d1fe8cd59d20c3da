//! Mistakes that a comparison must notice. None of them is in the example: a caller makes them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use cache_runtime::{Cache, Event, Key};

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
    /// No writer names what is of this kind.
    LeavesOut(String),
}

impl Mistake {
    pub const ALL: [Self; 8] = [
        Self::OldLogin,
        Self::OldSlug,
        Self::OldAssignee,
        Self::OldProject,
        Self::OldParent,
        Self::RowsOfChildren,
        Self::RowsOfClosed,
        Self::RowsOfUnassigned,
    ];

    /// What the differences that it makes begin with.
    pub fn differing_reads(&self) -> &[&str] {
        match self {
            Self::OldLogin => &["Login("],
            Self::OldSlug => &["Slug("],
            Self::OldAssignee => &["AssignedTo("],
            Self::OldProject => &["InProject(", "Open("],
            Self::OldParent => &["Under("],
            Self::RowsOfChildren | Self::RowsOfClosed | Self::RowsOfUnassigned => &["Issue("],
            Self::LeavesOut(_) => &[""],
        }
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
