//! The printed report: one line for each step.

use cache_runtime::Cache;

use crate::entities::{Issue, Project, User};
use crate::error::Error;

/// Runs steps, and prints what the cache counted during each.
pub struct Report {
    cache: Cache,
}

impl Report {
    pub fn new(cache: &Cache) -> Self {
        let cache = cache.clone();
        Self { cache }
    }

    /// Runs a step and prints its line.
    pub async fn step<T: Shown, E: Into<Error>>(
        &self,
        step: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        let before = self.cache.stats();
        let answer = work.await.map_err(Into::into);
        let after = self.cache.stats();
        let counted = match (after.hits - before.hits, after.loads - before.loads) {
            (0, 0) => "",
            (_, 0) => "hit",
            (_, _) => "load",
        };
        println!("  {step:<28}{counted:<6}{}", answer.shown());
        answer
    }
}

/// Says what the next steps show.
pub fn title(title: &str) {
    println!("\n{title}\n");
}

/// An answer, on one line.
pub trait Shown {
    fn shown(&self) -> String;
}

impl Shown for () {
    fn shown(&self) -> String {
        "done".to_owned()
    }
}

impl Shown for i64 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for User {
    fn shown(&self) -> String {
        self.login.clone()
    }
}

impl Shown for Project {
    fn shown(&self) -> String {
        self.slug.clone()
    }
}

impl Shown for Issue {
    fn shown(&self) -> String {
        let parent = self
            .parent
            .map_or("no parent".to_owned(), |id| format!("parent {}", id.0));
        format!("issue {}, {parent}", self.id.0)
    }
}

impl<T> Shown for Vec<T> {
    fn shown(&self) -> String {
        format!("{} of them", self.len())
    }
}

impl<T: Shown> Shown for Option<T> {
    fn shown(&self) -> String {
        self.as_ref().map_or("none".to_owned(), Shown::shown)
    }
}

impl<T: Shown> Shown for Result<T, Error> {
    fn shown(&self) -> String {
        self.as_ref().map_or_else(Error::to_string, Shown::shown)
    }
}
