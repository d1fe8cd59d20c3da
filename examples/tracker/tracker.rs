//! The service: transactions, and changes of several tables.

use cache_runtime::{Cache, after_commit};
use sqlx::{Sqlite, SqlitePool, Transaction};

use crate::entities::{
    Comment, Issue, IssueId, Label, Member, Project, ProjectId, TenantId, User, UserId,
};
use crate::error::Error;
use crate::repository::Repository;

/// The issues of one tenant, and what belongs to them.
#[derive(Debug, Clone)]
pub struct Tracker {
    pub users: Repository<User>,
    pub projects: Repository<Project>,
    pub issues: Repository<Issue>,
    pub comments: Repository<Comment>,
    pub labels: Repository<Label>,
    pub members: Repository<Member>,
    pool: SqlitePool,
}

impl Tracker {
    pub fn new(tenant: TenantId, pool: &SqlitePool, cache: &Cache) -> Self {
        Self {
            users: Repository::new(tenant, pool, cache),
            projects: Repository::new(tenant, pool, cache),
            issues: Repository::new(tenant, pool, cache),
            comments: Repository::new(tenant, pool, cache),
            labels: Repository::new(tenant, pool, cache),
            members: Repository::new(tenant, pool, cache),
            pool: pool.clone(),
        }
    }

    /// Runs `work` in a transaction: commits if it succeeds, and rolls back if it fails.
    ///
    /// What the functions within it invalidate is invalidated after the commit.
    pub async fn transaction<T>(
        &self,
        work: impl AsyncFnOnce(&mut Transaction<'_, Sqlite>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        after_commit(async {
            // A transaction that reads first and writes later could be refused the write.
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            let done = work(&mut tx).await?;
            tx.commit().await?;
            Ok(done)
        })
        .await
    }

    /// Changes one issue: its title, state, project, assignee or parent.
    pub async fn change_issue(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        id: IssueId,
        change: impl FnOnce(&mut Issue),
    ) -> Result<Issue, Error> {
        let old = self.issues.current(tx, id).await?;
        let mut new = old.clone();
        change(&mut new);
        Ok(self.issues.update(tx, &old, &new).await?)
    }

    /// Deletes an issue with its comments and labels. Its sub-issues stay, without a parent.
    pub async fn delete_issue(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        id: IssueId,
    ) -> Result<(), Error> {
        let issue = self.issues.current(tx, id).await?;
        self.comments.delete_all(tx, id).await?;
        self.labels.remove_all(tx, id).await?;
        self.issues.orphan_all(tx, id).await?;
        Ok(self.issues.delete(tx, &issue).await?)
    }

    /// Deletes a project and the permissions for it. The database refuses that while the project has
    /// issues.
    pub async fn delete_project(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        id: ProjectId,
    ) -> Result<(), Error> {
        let project = self.projects.current(tx, id).await?;
        self.members.revoke_project(tx, id).await?;
        Ok(self.projects.delete(tx, &project).await?)
    }

    /// Deletes a user and the user's permissions. The user's issues stay, without an assignee.
    pub async fn delete_user(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        id: UserId,
    ) -> Result<(), Error> {
        let user = self.users.current(tx, id).await?;
        self.issues.unassign_all(tx, id).await?;
        self.members.revoke_user(tx, id).await?;
        Ok(self.users.delete(tx, &user).await?)
    }
}
