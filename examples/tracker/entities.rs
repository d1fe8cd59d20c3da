//! The rows, and the types of their ids.

use cache_runtime::KeyPart;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

macro_rules! ids {
    ($($id:ident)*) => {$(
        #[derive(Debug, Clone, Copy, PartialEq, Eq, KeyPart, sqlx::Type, Serialize, Deserialize)]
        #[sqlx(transparent)]
        pub struct $id(pub i64);
    )*};
}

ids!(TenantId ProjectId IssueId UserId);

#[derive(Debug, Clone, FromRow, Serialize, Deserialize)]
pub struct Project {
    pub id: ProjectId,
    pub slug: String,
}

#[derive(Debug, Clone, FromRow, Serialize, Deserialize)]
pub struct Issue {
    pub id: IssueId,
    pub project: ProjectId,
    pub assignee: Option<UserId>,
    pub parent: Option<IssueId>,
    pub title: String,
    pub open: bool,
}

#[derive(Debug, Clone, FromRow, Serialize, Deserialize)]
pub struct Comment {
    pub id: i64,
    pub issue: IssueId,
    pub text: String,
}

/// What a list of issues is narrowed to.
#[derive(Debug, Clone, Copy, KeyPart)]
pub struct Filter {
    pub project: Option<ProjectId>,
    pub open: bool,
}
