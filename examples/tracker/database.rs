//! The database: one `SQLite` file, with three tenants.

use std::path::Path;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

/// Opens the database, and empties it.
pub async fn open(file: &Path) -> sqlx::Result<SqlitePool> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .synchronous(SqliteSynchronous::Off)
        .journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePool::connect_with(options).await?;
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS comment;
         DROP TABLE IF EXISTS issue;
         DROP TABLE IF EXISTS project;
         CREATE TABLE project (
             id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, slug TEXT NOT NULL,
             UNIQUE (tenant, slug)
         );
         CREATE TABLE issue (
             id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL,
             project INTEGER NOT NULL REFERENCES project,
             assignee INTEGER, parent INTEGER REFERENCES issue,
             title TEXT NOT NULL, open BOOLEAN NOT NULL
         );
         CREATE TABLE comment (
             id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL,
             issue INTEGER NOT NULL REFERENCES issue, text TEXT NOT NULL
         );
         INSERT INTO project SELECT t * 10 + p, t, 'project-' || p
             FROM (SELECT 1 t UNION SELECT 2 UNION SELECT 3),
                  (SELECT 1 p UNION SELECT 2 UNION SELECT 3);",
    )
    .execute(&pool)
    .await?;
    Ok(pool)
}
