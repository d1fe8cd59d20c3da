//! What can go wrong.

use std::fmt;

#[derive(Debug)]
pub enum Error {
    Database(sqlx::Error),
    /// A key that a body made by hand was invalid, or the cache did not take an invalidation.
    Cache(cache_runtime::Error),
    NotFound,
    /// The user may not do this.
    Forbidden,
    /// The caller wants its transaction rolled back.
    RolledBack,
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<cache_runtime::Error> for Error {
    fn from(error: cache_runtime::Error) -> Self {
        Self::Cache(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => write!(f, "the database: {error}"),
            Self::Cache(error) => write!(f, "the cache: {error}"),
            Self::NotFound => f.write_str("there is no such row"),
            Self::Forbidden => f.write_str("you may not do this"),
            Self::RolledBack => f.write_str("rolled back"),
        }
    }
}

impl std::error::Error for Error {}
