//! An issue tracker for several tenants, with a cache in front of its database.
//!
//! Begin with `issues.rs` and `issue_changes.rs`. This file calls them, and prints what the cache
//! counted.

// The repositories read as they would in a library.
#![allow(unreachable_pub)]

mod comments;
mod database;
mod entities;
mod error;
mod issue_changes;
mod issues;
mod projects;
mod repository;
#[cfg(test)]
mod tests;
mod tracker;
mod users;

use cache_runtime::{Cache, refresh};

use crate::entities::{Issue, NewIssue, Project, TenantId, User};
use crate::error::Error;
use crate::tracker::Tracker;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::current_exe()?.with_extension("sqlite");
    let pool = database::open(&file).await?;
    let url = std::env::var("CACHE_URL").unwrap_or_else(|_| "memory:".to_owned());
    let cache = Cache::builder().url(url).namespace("tracker").build()?;
    // The database is a new one, and the cache may have entries of an earlier run.
    if let Err(error) = cache.clear().await {
        println!("The cache cannot be reached, so every read is a load: {error}");
    }
    let tracker = Tracker::new(TenantId(1), &pool, &cache);
    let ada = tracker.users.by_login("ada").await?.ok_or(Error::NotFound)?;
    let tour = Tour { tracker, cache };
    tour.assign_an_issue(&ada).await?;
    tour.rename_a_project().await?;
    tour.roll_back(&ada).await?;
    tour.delete_a_parent(&ada).await?;
    tour.change_a_row_by_hand().await?;
    Ok(())
}

struct Tour {
    tracker: Tracker,
    cache: Cache,
}

impl Tour {
    async fn assign_an_issue(&self, ada: &User) -> Result<(), Error> {
        let Self { tracker, .. } = self;
        println!("\nAn update is seen at once");
        let issues = self
            .step("unassigned", tracker.issues.assigned_to(None))
            .await?;
        self.step("again", tracker.issues.assigned_to(None)).await?;
        let assign = tracker.transaction(async |tx| {
            let assign = |issue: &mut Issue| issue.assignee = Some(ada.id);
            tracker.change_issue(tx, issues[0].id, assign).await
        });
        self.step("assign one to ada", assign).await?;
        self.step("unassigned", tracker.issues.assigned_to(None))
            .await?;
        self.step("of ada", tracker.issues.assigned_to(Some(ada.id)))
            .await?;
        Ok(())
    }

    async fn rename_a_project(&self) -> Result<(), Error> {
        let Self { tracker, .. } = self;
        println!("\nA project with a new slug is not found under the old one");
        let app = self
            .step("slug app", tracker.projects.by_slug("app"))
            .await?
            .ok_or(Error::NotFound)?;
        self.step("slug mobile", tracker.projects.by_slug("mobile"))
            .await?;
        let rename = tracker.transaction(async |tx| {
            let old = tracker.projects.current(tx, app.id).await?;
            Ok(tracker.projects.rename(tx, &old, "mobile").await?)
        });
        self.step("rename app to mobile", rename).await?;
        self.step("slug app", tracker.projects.by_slug("app"))
            .await?;
        self.step("slug mobile", tracker.projects.by_slug("mobile"))
            .await?;
        Ok(())
    }

    async fn roll_back(&self, ada: &User) -> Result<(), Error> {
        let Self { tracker, .. } = self;
        println!("\nA transaction that is rolled back leaves nothing in the cache");
        let project = tracker.projects.all().await?[0].id;
        let insert = tracker.transaction(async |tx| {
            let issue = NewIssue {
                project,
                assignee: Some(ada.id),
                parent: None,
                title: "never committed".to_owned(),
            };
            let inserted = tracker.issues.insert(tx, &issue).await?;
            // Within the transaction, nothing comes from the cache and nothing goes there.
            let within = tracker.issues.current(tx, inserted.id).await;
            self.step("within: the new one", async { within }).await?;
            self.step("within: of ada", tracker.issues.assigned_to(Some(ada.id)))
                .await?;
            Err::<Issue, _>(Error::RolledBack)
        });
        let outcome = insert.await.map(|issue| issue.title);
        println!("  {:<24}{outcome:?}", "the transaction");
        self.step("of ada", tracker.issues.assigned_to(Some(ada.id)))
            .await?;
        Ok(())
    }

    async fn delete_a_parent(&self, ada: &User) -> Result<(), Error> {
        let Self { tracker, .. } = self;
        println!("\nWith an issue go its comments, and its sub-issues lose their parent");
        let parent = tracker.issues.assigned_to(Some(ada.id)).await?[0].clone();
        let insert = tracker.transaction(async |tx| {
            tracker.comments.insert(tx, parent.id, "me too").await?;
            let issue = NewIssue {
                project: parent.project,
                assignee: None,
                parent: Some(parent.id),
                title: "a sub-issue".to_owned(),
            };
            Ok(tracker.issues.insert(tx, &issue).await?)
        });
        let child = self.step("insert a sub-issue", insert).await?;
        self.step("the sub-issue", tracker.issues.get(child.id))
            .await?;
        self.step("the comments", tracker.comments.of(parent.id))
            .await?;
        let delete = tracker.transaction(async |tx| tracker.delete_issue(tx, parent.id).await);
        self.step("delete the parent", delete).await?;
        self.step("the sub-issue", tracker.issues.get(child.id))
            .await?;
        self.step("the comments", tracker.comments.of(parent.id))
            .await?;
        Ok(())
    }

    async fn change_a_row_by_hand(&self) -> Result<(), Error> {
        let Self { tracker, .. } = self;
        println!("\nA change that no annotated function made is seen after a refresh");
        tracker.projects.warm().await?;
        let id = tracker.projects.all().await?[0].id;
        self.step("a project, warmed", tracker.projects.get(id))
            .await?;
        sqlx::query("UPDATE project SET slug = 'by-hand' WHERE id = ?")
            .bind(id)
            .execute(&tracker.projects.pool)
            .await?;
        self.step("after the change", tracker.projects.get(id))
            .await?;
        self.step("refreshed", refresh(tracker.projects.get(id)))
            .await?;
        self.step("again", tracker.projects.get(id)).await?;
        Ok(())
    }

    /// Runs a step, and prints what the cache counted meanwhile, and what the step returned.
    async fn step<T: Shown, E: Into<Error>>(
        &self,
        title: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        let before = self.cache.stats();
        let answer = work.await.map_err(Into::into)?;
        let after = self.cache.stats();
        let counted = format!(
            "{} hit, {} load",
            after.hits - before.hits,
            after.loads - before.loads
        );
        println!("  {title:<24}{counted:<18}{}", answer.shown());
        Ok(answer)
    }
}

/// An answer, on one line.
trait Shown {
    fn shown(&self) -> String;
}

impl Shown for () {
    fn shown(&self) -> String {
        "done".to_owned()
    }
}

impl Shown for Project {
    fn shown(&self) -> String {
        self.slug.clone()
    }
}

impl Shown for Issue {
    fn shown(&self) -> String {
        let parent = if self.parent.is_some() {
            "has a parent"
        } else {
            "no parent"
        };
        format!("{:?}, {parent}", self.title)
    }
}

impl<T: Shown> Shown for Option<T> {
    fn shown(&self) -> String {
        self.as_ref().map_or("none".to_owned(), Shown::shown)
    }
}

impl<T> Shown for Vec<T> {
    fn shown(&self) -> String {
        format!("{} of them", self.len())
    }
}
