//! The rows, and the types of their ids.
//!
//! A type with a name of its own keeps its keys when it moves to another module.

use cache_runtime::{KeyPart, key_name};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

macro_rules! ids {
    ($($id:ident)*) => {$(
        #[derive(Debug, Clone, Copy, PartialEq, Eq, KeyPart, sqlx::Type, Serialize, Deserialize)]
        #[sqlx(transparent)]
        pub struct $id(pub i64);
    )*};
}

// With a type for each, an issue's id in the place of a user's does not compile.
ids!(TenantId UserId ProjectId IssueId CommentId);

#[key_name("user")]
#[derive(Debug, Clone, FromRow, Serialize, Deserialize)]
pub struct User {
    pub id: UserId,
    pub login: String,
}

#[key_name("project")]
#[derive(Debug, Clone, FromRow, Serialize, Deserialize)]
pub struct Project {
    pub id: ProjectId,
    pub slug: String,
}

#[key_name("issue")]
#[derive(Debug, Clone, FromRow, Serialize, Deserialize)]
pub struct Issue {
    pub id: IssueId,
    pub project: ProjectId,
    pub assignee: Option<UserId>,
    pub parent: Option<IssueId>,
    pub title: String,
    pub open: bool,
}

#[key_name("comment")]
#[derive(Debug, Clone, FromRow, Serialize, Deserialize)]
pub struct Comment {
    pub id: CommentId,
    pub issue: IssueId,
    pub text: String,
}

/// A label that issues have.
#[key_name("label")]
#[derive(Debug, Clone, FromRow, Serialize, Deserialize)]
pub struct Label {
    pub name: String,
}

/// A user who may edit the issues of a project.
#[key_name("member")]
#[derive(Debug, Clone, FromRow, Serialize, Deserialize)]
pub struct Member {
    pub project: ProjectId,
    pub user: UserId,
}

/// An issue that has no id yet.
#[derive(Debug, Clone)]
pub struct NewIssue {
    pub project: ProjectId,
    pub assignee: Option<UserId>,
    pub parent: Option<IssueId>,
    pub title: String,
}

/// Which issues a list has.
#[derive(Debug, Clone, Copy, KeyPart)]
pub struct Filter {
    pub project: Option<ProjectId>,
    pub open: Option<bool>,
}
