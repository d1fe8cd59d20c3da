//! What the tracker does, step by step.

use cache_runtime::refresh;

use crate::entities::{Filter, Issue, NewIssue, User};
use crate::error::Error;
use crate::report::{Report, title};
use crate::tracker::Tracker;

pub struct Tour {
    pub tracker: Tracker,
    pub report: Report,
}

impl Tour {
    pub async fn assign_an_issue(&self) -> Result<(), Error> {
        let Self { tracker, report } = self;
        let Tracker { issues, .. } = tracker;
        let ada = self.user("ada").await?;

        title("An update is seen at once, in the old list and in the new one");
        let unassigned = report
            .step("unassigned issues", issues.assigned_to(None))
            .await?;
        report.step("again", issues.assigned_to(None)).await?;
        let ada_s = issues.assigned_to(Some(ada.id));
        report.step("issues of ada", ada_s).await?;
        let assign = tracker.transaction(async |tx| {
            let assign = |issue: &mut Issue| issue.assignee = Some(ada.id);
            tracker.change_issue(tx, unassigned[0].id, assign).await
        });
        report.step("assign one to ada", assign).await?;
        report
            .step("unassigned issues", issues.assigned_to(None))
            .await?;
        let ada_s = issues.assigned_to(Some(ada.id));
        report.step("issues of ada", ada_s).await?;
        Ok(())
    }

    pub async fn rename_a_project(&self) -> Result<(), Error> {
        let Self { tracker, report } = self;
        let Tracker { projects, .. } = tracker;

        title("A renamed project is found under its new slug only");
        let app = report.step("slug app", projects.by_slug("app")).await?;
        let app = app.ok_or(Error::NotFound)?.id;
        let mobile = projects.by_slug("mobile");
        report.step("slug mobile", mobile).await?;
        let rename = tracker.transaction(async |tx| {
            let old = projects.current(tx, app).await?;
            Ok(projects.rename(tx, &old, "mobile").await?)
        });
        report.step("rename app to mobile", rename).await?;
        report.step("slug app", projects.by_slug("app")).await?;
        let mobile = projects.by_slug("mobile");
        report.step("slug mobile", mobile).await?;
        Ok(())
    }

    pub async fn roll_back(&self) -> Result<(), Error> {
        let Self { tracker, report } = self;
        let Tracker { issues, .. } = tracker;
        let project = tracker.projects.all().await?[0].id;

        title("A row that is rolled back was never in the cache");
        report.step("count of issues", issues.count()).await?;
        let insert = tracker.transaction(async |tx| {
            let issue = NewIssue {
                project,
                assignee: None,
                parent: None,
                title: "never committed".to_owned(),
            };
            let inserted = issues.insert(tx, &issue).await?;
            let within = issues.current(tx, inserted.id);
            report.step("  within the transaction", within).await?;
            // In a transaction, cached functions leave the cache alone.
            report.step("  count of issues", issues.count()).await?;
            Err::<(), _>(Error::RolledBack)
        });
        // The error is what this step is to show.
        let _ = report.step("insert an issue", insert).await;
        report.step("count of issues", issues.count()).await?;
        report.step("again", issues.count()).await?;
        Ok(())
    }

    pub async fn delete_a_parent(&self) -> Result<(), Error> {
        let Self { tracker, report } = self;
        let Tracker {
            issues, comments, ..
        } = tracker;
        let (project, open) = (None, Some(true));
        let list = issues.list(Filter { project, open }).await?;
        let parent = list[0].clone();

        title("With an issue go its comments, and its sub-issue loses its parent");
        let insert = tracker.transaction(async |tx| {
            comments.insert(tx, parent.id, "me too").await?;
            let issue = NewIssue {
                project: parent.project,
                assignee: parent.assignee,
                parent: Some(parent.id),
                title: "a part of it".to_owned(),
            };
            Ok(issues.insert(tx, &issue).await?)
        });
        let child = report.step("insert a sub-issue", insert).await?;
        report.step("the sub-issue", issues.get(child.id)).await?;
        let of_parent = comments.of(parent.id);
        report.step("comments of its parent", of_parent).await?;
        let delete = tracker.transaction(async |tx| tracker.delete_issue(tx, parent.id).await);
        report.step("delete its parent", delete).await?;
        report.step("the sub-issue", issues.get(child.id)).await?;
        let of_parent = comments.of(parent.id);
        report.step("comments of its parent", of_parent).await?;
        Ok(())
    }

    pub async fn delete_a_user(&self) -> Result<(), Error> {
        let Self { tracker, report } = self;
        let Tracker { issues, users, .. } = tracker;
        let ada = self.user("ada").await?;

        title("The issues of a deleted user are unassigned");
        let ada_s = issues.assigned_to(Some(ada.id));
        report.step("issues of ada", ada_s).await?;
        let delete = tracker.transaction(async |tx| tracker.delete_user(tx, ada.id).await);
        report.step("delete ada", delete).await?;
        report.step("login ada", users.by_login("ada")).await?;
        report
            .step("unassigned issues", issues.assigned_to(None))
            .await?;
        Ok(())
    }

    pub async fn change_a_row_by_hand(&self) -> Result<(), Error> {
        let Self { tracker, report } = self;
        let Tracker { projects, .. } = tracker;
        projects.warm().await?;
        let id = projects.all().await?[0].id;

        title("A change by hand names nothing, so what it changed is refreshed");
        report.step("a project", projects.get(id)).await?;
        sqlx::query("UPDATE project SET slug = 'by-hand' WHERE id = ?")
            .bind(id)
            .execute(&projects.pool)
            .await?;
        report.step("after the change", projects.get(id)).await?;
        let refreshed = refresh(projects.get(id));
        report.step("refreshed", refreshed).await?;
        report.step("again", projects.get(id)).await?;
        Ok(())
    }

    async fn user(&self, login: &str) -> Result<User, Error> {
        let user = self.tracker.users.by_login(login).await?;
        user.ok_or(Error::NotFound)
    }
}
