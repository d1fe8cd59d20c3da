//! A database in memory that counts its queries, and as much of sqlx, `sea_orm`, `diesel_async`
//! and axum as the fixtures use.

pub(super) mod axum;
pub(super) mod diesel;
pub(super) mod sea_orm;
pub(super) mod sqlx;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Tables of rows. Clones are the same database.
#[derive(Clone, Default)]
pub(super) struct Rows(Arc<Inner>);

#[derive(Default)]
struct Inner {
    tables: Mutex<HashMap<String, Vec<Row>>>,
    queries: AtomicUsize,
}

pub(super) type Row = Map<String, Value>;

/// Rows whose column holds one of the values.
pub(super) struct Filter {
    column: String,
    values: Vec<Value>,
}

impl Filter {
    pub(super) fn new(column: &str, values: Vec<Value>) -> Self {
        let column = column.to_owned();
        Self { column, values }
    }
}

impl Rows {
    pub(super) fn queries(&self) -> usize {
        self.0.queries.load(Ordering::Relaxed)
    }

    /// Adds a row, before the test begins.
    pub(super) fn with(self, table: &str, row: impl Serialize) -> Self {
        self.tables()
            .entry(table.to_owned())
            .or_default()
            .push(to_row(row));
        self
    }

    pub(super) async fn select(&self, table: &str, filters: &[Filter]) -> Vec<Row> {
        self.query(table, |rows| {
            let rows = rows.iter().filter(|row| fits(row, filters));
            rows.cloned().collect()
        })
        .await
    }

    pub(super) async fn insert(&self, table: &str, row: Row) {
        self.query(table, |rows| rows.push(row)).await;
    }

    pub(super) async fn update(&self, table: &str, set: Row, filters: &[Filter]) -> Vec<Row> {
        self.query(table, |rows| {
            let rows = rows.iter_mut().filter(|row| fits(row, filters));
            rows.map(|row| {
                row.extend(set.clone());
                row.clone()
            })
            .collect()
        })
        .await
    }

    pub(super) async fn delete(&self, table: &str, filters: &[Filter]) -> usize {
        self.query(table, |rows| {
            let before = rows.len();
            rows.retain(|row| !fits(row, filters));
            before - rows.len()
        })
        .await
    }

    async fn query<T>(&self, table: &str, ask: impl FnOnce(&mut Vec<Row>) -> T) -> T {
        tokio::task::yield_now().await;
        self.0.queries.fetch_add(1, Ordering::Relaxed);
        ask(self.tables().entry(table.to_owned()).or_default())
    }

    fn tables(&self) -> MutexGuard<'_, HashMap<String, Vec<Row>>> {
        self.0.tables.lock().unwrap()
    }
}

fn fits(row: &Row, filters: &[Filter]) -> bool {
    filters
        .iter()
        .all(|filter| filter.values.contains(&row[&filter.column]))
}

pub(super) fn to_value(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

pub(super) fn to_row(row: impl Serialize) -> Row {
    match to_value(row) {
        Value::Object(row) => row,
        other => panic!("not a row: {other}"),
    }
}

fn from_row<T: DeserializeOwned>(row: Row) -> T {
    serde_json::from_value(Value::Object(row)).unwrap()
}
