//! The database: one `SQLite` file, with three tenants.

use std::path::Path;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

/// Opens the database, empties it, and fills it.
///
/// A foreign key has the tenant in it, so a row of one tenant cannot refer to a row of another.
pub async fn open(file: &Path) -> sqlx::Result<SqlitePool> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        // Readers go on while a transaction writes.
        .journal_mode(SqliteJournalMode::Wal)
        // Made anew at each start, so it need not outlive a power cut.
        .synchronous(SqliteSynchronous::Off);
    let pool = SqlitePool::connect_with(options).await?;
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS member;
         DROP TABLE IF EXISTS label;
         DROP TABLE IF EXISTS comment;
         DROP TABLE IF EXISTS issue;
         DROP TABLE IF EXISTS project;
         DROP TABLE IF EXISTS user;
         CREATE TABLE user (
             id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, login TEXT NOT NULL,
             UNIQUE (tenant, id), UNIQUE (tenant, login)
         );
         CREATE TABLE project (
             id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, slug TEXT NOT NULL,
             UNIQUE (tenant, id), UNIQUE (tenant, slug)
         );
         CREATE TABLE issue (
             id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL,
             project INTEGER NOT NULL, assignee INTEGER, parent INTEGER,
             title TEXT NOT NULL, open BOOLEAN NOT NULL DEFAULT TRUE,
             UNIQUE (tenant, id),
             FOREIGN KEY (tenant, project) REFERENCES project (tenant, id),
             FOREIGN KEY (tenant, assignee) REFERENCES user (tenant, id),
             FOREIGN KEY (tenant, parent) REFERENCES issue (tenant, id)
         );
         CREATE TABLE comment (
             id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, issue INTEGER NOT NULL,
             text TEXT NOT NULL,
             FOREIGN KEY (tenant, issue) REFERENCES issue (tenant, id)
         );
         CREATE TABLE label (
             tenant INTEGER NOT NULL, issue INTEGER NOT NULL, name TEXT NOT NULL,
             PRIMARY KEY (tenant, issue, name),
             FOREIGN KEY (tenant, issue) REFERENCES issue (tenant, id)
         );
         CREATE TABLE member (
             tenant INTEGER NOT NULL, project INTEGER NOT NULL, user INTEGER NOT NULL,
             PRIMARY KEY (tenant, project, user),
             FOREIGN KEY (tenant, project) REFERENCES project (tenant, id),
             FOREIGN KEY (tenant, user) REFERENCES user (tenant, id)
         );
         CREATE TEMPORARY TABLE n AS SELECT 1 AS tenant UNION SELECT 2 UNION SELECT 3;
         INSERT INTO user (tenant, login)
             SELECT tenant, login
             FROM n, (SELECT 'ada' AS login UNION SELECT 'grace' UNION SELECT 'edsger');
         INSERT INTO project (tenant, slug)
             SELECT tenant, slug FROM n, (SELECT 'website' AS slug UNION SELECT 'app');
         INSERT INTO issue (tenant, project, title)
             SELECT tenant, id, 'The first issue of ' || slug FROM project;
         DROP TABLE n;",
    )
    .execute(&pool)
    .await?;
    Ok(pool)
}
