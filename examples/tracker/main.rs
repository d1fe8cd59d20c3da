//! An issue tracker for several tenants, with a cache in front of its database.
//!
//! Begin with `issues.rs`. This file moves an issue, and prints what the cache counted.

// The repositories read as they would in a library.
#![allow(unreachable_pub)]

mod database;
mod entities;
mod issues;
mod repository;
#[cfg(test)]
mod tests;

use std::error::Error;

use cache_runtime::{Cache, after_commit};

use crate::entities::{Comment, Issue, IssueId, Project, ProjectId, TenantId, UserId};
use crate::repository::Repository;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::current_exe()?.with_extension("sqlite");
    let pool = database::open(&file).await?;
    let url = std::env::var("CACHE_URL").unwrap_or_else(|_| "memory:".to_owned());
    let cache = Cache::builder().url(url).namespace("tracker").build()?;
    cache.clear().await?;
    let issues = Repository::<Issue>::new(TenantId(1), &pool, &cache);
    let issue = Issue {
        id: IssueId(1),
        project: ProjectId(11),
        assignee: None,
        parent: None,
        title: "The first".to_owned(),
        open: true,
    };
    issues.insert(&mut *pool.acquire().await?, &issue).await?;
    for step in ["before the move, cold", "again"] {
        println!(
            "{step}: {} unassigned, {} loads",
            issues.of(None).await?.len(),
            cache.stats().loads
        );
    }
    after_commit(async {
        let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
        issues
            .relocate(&mut tx, &issue, ProjectId(12), Some(UserId(7)))
            .await?;
        tx.commit().await
    })
    .await?;
    let project = Repository::<Project>::new(issues.tenant, &pool, &cache)
        .get(12)
        .await?;
    println!(
        "it is in {}",
        project.map_or_else(String::new, |project| project.slug)
    );
    println!(
        "after it: {} unassigned, {} of user 7, {} loads",
        issues.of(None).await?.len(),
        issues.of(Some(UserId(7))).await?.len(),
        cache.stats().loads
    );
    let comments = Repository::<Comment>::new(issues.tenant, &pool, &cache);
    println!("{} comments", comments.count().await?);
    Ok(())
}
