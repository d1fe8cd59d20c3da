//! An issue tracker for several tenants, with a cache in front of its database.
//!
//! Begin with `issues.rs`, `issue_changes.rs` and `tracker.rs`. This file and `tour.rs` call them, and
//! show what the cache counted. With the argument `serve`, it answers over HTTP instead: `http.rs`.

// The repositories read as they would in a library.
#![allow(unreachable_pub)]

mod comments;
mod database;
mod entities;
mod error;
mod http;
mod issue_changes;
mod issues;
mod labels;
mod members;
mod projects;
mod report;
mod repository;
#[cfg(test)]
mod tests;
mod tour;
mod tracker;
mod users;

use cache_runtime::Cache;
use tokio::net::TcpListener;

use crate::entities::TenantId;
use crate::http::App;
use crate::report::Report;
use crate::tour::Tour;
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
    if std::env::args().any(|argument| argument == "serve") {
        return serve(App { pool, cache }).await;
    }
    let tour = Tour {
        tracker: Tracker::new(TenantId(1), &pool, &cache),
        report: Report::new(&cache),
    };
    tour.assign_an_issue().await?;
    tour.rename_a_project().await?;
    tour.roll_back().await?;
    tour.delete_a_parent().await?;
    tour.delete_a_user().await?;
    tour.change_a_row_by_hand().await?;
    println!("\nThe code of it: examples/tracker/tracker.rs, and issue_changes.rs beside it");
    Ok(())
}

/// Answers requests until the program is stopped.
async fn serve(app: App) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!(
        "curl -H 'x-tenant: 1' -H 'x-user: 1' http://{}/issues",
        listener.local_addr()?
    );
    axum::serve(listener, http::router(app)).await?;
    Ok(())
}
