//! The database: one file with the countries of ISO 3166.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{QueryBuilder, Sqlite, SqlitePool};

/// Opens the database, and creates it if it does not exist.
pub async fn open(file: &Path) -> sqlx::Result<SqlitePool> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        // One copy of this program can read while another writes.
        .journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePool::connect_with(options).await?;
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS country (
             alpha2 TEXT PRIMARY KEY,
             alpha3 TEXT NOT NULL,
             numeric INTEGER NOT NULL,
             name TEXT NOT NULL
         );
         CREATE TABLE IF NOT EXISTS subdivision (
             code TEXT PRIMARY KEY,
             country TEXT NOT NULL REFERENCES country,
             name TEXT NOT NULL,
             kind TEXT NOT NULL
         );",
    )
    .execute(&pool)
    .await?;
    let countries: u32 = sqlx::query_scalar("SELECT count(*) FROM country")
        .fetch_one(&pool)
        .await?;
    if countries == 0 {
        fill(&pool).await?;
    }
    Ok(pool)
}

/// Restores the data of ISO 3166. The file stays in place, so that another copy of this program
/// can keep it open.
pub async fn fill(pool: &SqlitePool) -> sqlx::Result<()> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql("DELETE FROM subdivision; DELETE FROM country;")
        .execute(&mut *transaction)
        .await?;
    QueryBuilder::<Sqlite>::new("INSERT INTO country ")
        .push_values(rust_iso3166::ALL, |mut row, country| {
            row.push_bind(country.alpha2)
                .push_bind(country.alpha3)
                .push_bind(country.numeric)
                .push_bind(country.name);
        })
        .build()
        .execute(&mut *transaction)
        .await?;
    for country in rust_iso3166::ALL {
        let Some(subdivisions) = country.subdivisions() else {
            continue;
        };
        QueryBuilder::<Sqlite>::new("INSERT INTO subdivision ")
            .push_values(subdivisions, |mut row, subdivision| {
                row.push_bind(subdivision.code)
                    .push_bind(subdivision.country_code)
                    .push_bind(subdivision.name)
                    .push_bind(subdivision.subdivision_type);
            })
            .build()
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}
