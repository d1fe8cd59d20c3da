//! Random changes of a tenant's rows.

use cache_tests::Random;
use sqlx::{Sqlite, Transaction};

use super::mistakes::Mistake;
use super::reads::{LABELS, LOGINS, SLUGS};
use super::work::pick;
use crate::entities::{Comment, Filter, Issue, NewIssue, Project, User};
use crate::error::Error;
use crate::tracker::Tracker;

/// With so many issues, or so many users or projects, one is changed in the place of being inserted.
const MOST_ISSUES: usize = 10;
const MOST: usize = 4;
/// With fewer users or projects, one is inserted in the place of being deleted.
const FEWEST: usize = 3;

pub struct Changes<'a> {
    pub tracker: &'a Tracker,
    /// The same without a cache.
    pub off: &'a Tracker,
    pub mistake: Option<&'a Mistake>,
    pub random: &'a mut Random,
}

impl Changes<'_> {
    /// A change within a transaction. Some violate a constraint, or find no row.
    pub async fn make(&mut self, tx: &mut Transaction<'_, Sqlite>) -> Result<(), Error> {
        match self.random.below(24) {
            0 => self.insert_user(tx).await,
            1 => self.rename_user(tx).await,
            2 => self.delete_user(tx).await,
            3 => self.insert_project(tx).await,
            4 => self.rename_project(tx).await,
            5 => self.delete_project(tx).await,
            6 | 7 => self.insert_issue(tx).await,
            8..=15 => self.change_issue(tx).await,
            16 => self.delete_issue(tx).await,
            17 => self.close_all(tx).await,
            18 | 19 => self.add_labels(tx).await,
            20 => self.remove_labels(tx).await,
            21 => self.grant(tx).await,
            _ => self.insert_comment(tx).await,
        }
    }

    /// A change by a single statement, which commits by itself.
    pub async fn make_by_itself(&mut self, comment: &Comment) -> Result<(), Error> {
        let comments = &self.tracker.comments;
        let text = format!("edited {}", self.random.below(1_000));
        if self.has(&Mistake::NamesOfResult) {
            comments.edit_by_result(comment, &text).await?;
        } else if self.random.below(3) == 0 {
            comments.delete(comment).await?;
        } else {
            comments.edit(comment, &text).await?;
        }
        Ok(())
    }

    pub async fn comment(&mut self) -> Result<Comment, Error> {
        let issue = self.issue().await?;
        let comments = self.off.comments.of(issue.id).await?;
        pick(self.random, &comments).cloned().ok_or(Error::NotFound)
    }

    async fn user(&mut self) -> Result<User, Error> {
        let users = self.off.users.all().await?;
        pick(self.random, &users).cloned().ok_or(Error::NotFound)
    }

    async fn project(&mut self) -> Result<Project, Error> {
        let projects = self.off.projects.all().await?;
        pick(self.random, &projects).cloned().ok_or(Error::NotFound)
    }

    async fn issues(&self) -> Result<Vec<Issue>, Error> {
        let (project, open) = (None, None);
        Ok(self.off.issues.list(Filter { project, open }).await?)
    }

    async fn issue(&mut self) -> Result<Issue, Error> {
        let issues = self.issues().await?;
        pick(self.random, &issues).cloned().ok_or(Error::NotFound)
    }

    fn has(&self, mistake: &Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    async fn insert_user(&mut self, tx: &mut Transaction<'_, Sqlite>) -> Result<(), Error> {
        if self.off.users.all().await?.len() >= MOST {
            return self.rename_user(tx).await;
        }
        let login = pick(self.random, &LOGINS).unwrap();
        self.tracker.users.insert(tx, login).await?;
        Ok(())
    }

    async fn rename_user(&mut self, tx: &mut Transaction<'_, Sqlite>) -> Result<(), Error> {
        let id = self.user().await?.id;
        let login = *pick(self.random, &LOGINS).unwrap();
        let mut old = self.tracker.users.current(tx, id).await?;
        if self.has(&Mistake::OldLogin) {
            login.clone_into(&mut old.login);
        }
        Ok(self.tracker.users.rename(tx, &old, login).await?)
    }

    async fn delete_user(&mut self, tx: &mut Transaction<'_, Sqlite>) -> Result<(), Error> {
        if self.off.users.all().await?.len() < FEWEST {
            return self.insert_user(tx).await;
        }
        let id = self.user().await?.id;
        if self.has(&Mistake::RowsOfUnassigned) {
            self.off.issues.unassign_all(tx, id).await?;
        }
        self.tracker.delete_user(tx, id).await
    }

    async fn insert_project(&mut self, tx: &mut Transaction<'_, Sqlite>) -> Result<(), Error> {
        if self.off.projects.all().await?.len() >= MOST {
            return self.rename_project(tx).await;
        }
        let slug = pick(self.random, &SLUGS).unwrap();
        self.tracker.projects.insert(tx, slug).await?;
        Ok(())
    }

    async fn rename_project(&mut self, tx: &mut Transaction<'_, Sqlite>) -> Result<(), Error> {
        let id = self.project().await?.id;
        let slug = *pick(self.random, &SLUGS).unwrap();
        let mut old = self.tracker.projects.current(tx, id).await?;
        if self.has(&Mistake::OldSlug) {
            slug.clone_into(&mut old.slug);
        }
        Ok(self.tracker.projects.rename(tx, &old, slug).await?)
    }

    async fn delete_project(&mut self, tx: &mut Transaction<'_, Sqlite>) -> Result<(), Error> {
        if self.off.projects.all().await?.len() < FEWEST {
            return self.insert_project(tx).await;
        }
        let id = self.project().await?.id;
        self.tracker.delete_project(tx, id).await
    }

    async fn insert_issue(&mut self, tx: &mut Transaction<'_, Sqlite>) -> Result<(), Error> {
        if self.issues().await?.len() >= MOST_ISSUES {
            return self.change_issue(tx).await;
        }
        let issue = NewIssue {
            project: self.project().await?.id,
            assignee: self.user().await.ok().map(|user| user.id),
            parent: self.issue().await.ok().map(|parent| parent.id),
            title: format!("issue {}", self.random.below(1_000)),
        };
        self.tracker.issues.insert(tx, &issue).await?;
        Ok(())
    }

    async fn change_issue(&mut self, tx: &mut Transaction<'_, Sqlite>) -> Result<(), Error> {
        let id = self.issue().await?.id;
        let mut old = self.tracker.issues.current(tx, id).await?;
        let mut new = old.clone();
        match self.random.below(7) {
            0 => new.title = format!("retitled {}", self.random.below(1_000)),
            1 => new.open = !old.open,
            2 => new.project = self.project().await?.id,
            3 => new.assignee = Some(self.user().await?.id),
            4 => new.assignee = None,
            5 => new.parent = Some(self.issue().await?.id),
            _ => new.parent = None,
        }
        match self.mistake {
            Some(Mistake::OldAssignee) => old.assignee = new.assignee,
            Some(Mistake::OldProject) => old.project = new.project,
            Some(Mistake::OldParent) => old.parent = new.parent,
            _ => {}
        }
        self.tracker.issues.update(tx, &old, &new).await?;
        Ok(())
    }

    async fn delete_issue(&mut self, tx: &mut Transaction<'_, Sqlite>) -> Result<(), Error> {
        let id = self.issue().await?.id;
        if self.has(&Mistake::RowsOfChildren) {
            self.off.issues.orphan_all(tx, id).await?;
        }
        self.tracker.delete_issue(tx, id).await
    }

    async fn close_all(&mut self, tx: &mut Transaction<'_, Sqlite>) -> Result<(), Error> {
        let project = self.project().await?.id;
        if self.has(&Mistake::RowsOfClosed) {
            self.off.issues.close_all(tx, project).await?;
        }
        self.tracker.issues.close_all(tx, project).await?;
        Ok(())
    }

    async fn add_labels(&mut self, tx: &mut Transaction<'_, Sqlite>) -> Result<(), Error> {
        let issues = [self.issue().await?.id, self.issue().await?.id];
        let mut label = || *pick(self.random, &LABELS).unwrap();
        let labels = [label(), label()];
        Ok(self.tracker.labels.add(tx, &issues, &labels).await?)
    }

    async fn remove_labels(&mut self, tx: &mut Transaction<'_, Sqlite>) -> Result<(), Error> {
        let issue = self.issue().await?.id;
        self.tracker.labels.remove_all(tx, issue).await?;
        Ok(())
    }

    async fn grant(&mut self, tx: &mut Transaction<'_, Sqlite>) -> Result<(), Error> {
        let (project, user) = (self.project().await?.id, self.user().await?.id);
        Ok(self.tracker.members.grant(tx, project, user).await?)
    }

    async fn insert_comment(&mut self, tx: &mut Transaction<'_, Sqlite>) -> Result<(), Error> {
        let issue = self.issue().await?.id;
        let text = format!("comment {}", self.random.below(1_000));
        self.tracker.comments.insert(tx, issue, &text).await?;
        Ok(())
    }
}
