//! The reads that are compared: every cached function, with every argument.

use std::fmt;

use cache_tests::Random;
use sqlx::SqlitePool;

use super::work::pick;
use crate::entities::{CommentId, Filter, IssueId, ProjectId, UserId};
use crate::error::Error;
use crate::tracker::Tracker;

pub const LOGINS: [&str; 6] = ["ada", "grace", "edsger", "barbara", "tony", "alan"];
pub const LABELS: [&str; 3] = ["bug", "idea", "question"];
pub const SLUGS: [&str; 6] = ["website", "app", "backend", "docs", "tools", "blog"];

#[derive(Debug, Clone, Copy)]
pub enum Read {
    User(UserId),
    Users,
    UserCount,
    Login(&'static str),
    Project(ProjectId),
    Projects,
    ProjectCount,
    Slug(&'static str),
    Issue(IssueId),
    IssueCount,
    AssignedTo(Option<UserId>),
    InProject(ProjectId),
    Under(Option<IssueId>),
    List(Filter),
    Page(Filter, u32),
    Open(ProjectId),
    Comment(CommentId),
    CommentCount,
    Comments(IssueId),
    Labels(IssueId),
    Labelled(&'static str),
    MayEdit(ProjectId, UserId),
}

impl Read {
    /// All reads of a tenant, also of rows that other tenants have, that were deleted, or that are
    /// not there yet.
    pub async fn all(pool: &SqlitePool) -> Vec<Self> {
        let ids = async |query| {
            let highest: i64 = sqlx::query_scalar(query).fetch_one(pool).await.unwrap();
            1..=highest + 1
        };
        let users = ids("SELECT coalesce(max(id), 0) FROM user").await;
        let projects = ids("SELECT coalesce(max(id), 0) FROM project").await;
        let issues = ids("SELECT coalesce(max(id), 0) FROM issue").await;
        let comments = ids("SELECT coalesce(max(id), 0) FROM comment").await;
        let mut reads = vec![
            Self::Users,
            Self::UserCount,
            Self::Projects,
            Self::ProjectCount,
            Self::IssueCount,
            Self::CommentCount,
            Self::AssignedTo(None),
            Self::Under(None),
        ];
        for open in [None, Some(true), Some(false)] {
            let project = None;
            let filter = Filter { project, open };
            reads.extend([
                Self::List(filter),
                Self::Page(filter, 0),
                Self::Page(filter, 1),
            ]);
        }
        reads.extend(LABELS.map(Self::Labelled));
        reads.extend(LOGINS.map(Self::Login));
        reads.extend(SLUGS.map(Self::Slug));
        for id in users.map(UserId) {
            reads.extend([Self::User(id), Self::AssignedTo(Some(id))]);
            reads.extend(
                projects
                    .clone()
                    .map(|project| Self::MayEdit(ProjectId(project), id)),
            );
        }
        for id in projects.map(ProjectId) {
            reads.extend([Self::Project(id), Self::InProject(id), Self::Open(id)]);
            for open in [None, Some(true)] {
                let project = Some(id);
                reads.push(Self::List(Filter { project, open }));
            }
        }
        for id in issues.map(IssueId) {
            reads.extend([Self::Issue(id), Self::Under(Some(id))]);
            reads.extend([Self::Comments(id), Self::Labels(id)]);
        }
        reads.extend(comments.map(CommentId).map(Self::Comment));
        reads
    }

    pub fn random(reads: &[Self], random: &mut Random) -> Self {
        *pick(random, reads).unwrap()
    }

    pub async fn answer(self, tracker: &Tracker) -> Result<String, Error> {
        let Tracker {
            users,
            projects,
            issues,
            comments,
            labels,
            members,
            ..
        } = tracker;
        Ok(match self {
            Self::User(id) => text(users.get(id).await?),
            Self::Users => text(users.all().await?),
            Self::UserCount => text(users.count().await?),
            Self::Login(login) => text(users.by_login(login).await?),
            Self::Project(id) => text(projects.get(id).await?),
            Self::Projects => text(projects.all().await?),
            Self::ProjectCount => text(projects.count().await?),
            Self::Slug(slug) => text(projects.by_slug(slug).await?),
            Self::Issue(id) => text(issues.get(id).await?),
            Self::IssueCount => text(issues.count().await?),
            Self::AssignedTo(assignee) => text(issues.assigned_to(assignee).await?),
            Self::InProject(project) => text(issues.in_project(project).await?),
            Self::Under(parent) => text(issues.under(parent).await?),
            Self::List(filter) => text(issues.list(filter).await?),
            Self::Page(filter, page) => text(issues.page(filter, page).await?),
            Self::Open(project) => text(issues.count_open(project).await?),
            Self::Comment(id) => text(comments.get(id).await?),
            Self::CommentCount => text(comments.count().await?),
            Self::Comments(issue) => text(comments.of(issue).await?),
            Self::Labels(issue) => text(labels.of(issue).await?),
            Self::Labelled(label) => text(labels.issues(label).await?),
            Self::MayEdit(project, user) => text(members.may_edit(project, user).await?),
        })
    }
}

fn text(answer: impl fmt::Debug) -> String {
    format!("{answer:?}")
}
