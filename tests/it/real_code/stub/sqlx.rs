//! As much of sqlx as the fixtures use, and as much of SQL.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Filter, Row, Rows, from_row, to_value};

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug)]
pub(crate) enum Error {
    RowNotFound,
}

pub(crate) struct Postgres;

#[derive(Clone)]
pub(crate) struct PgPool(Rows);

pub(crate) struct PgConnection(Rows);

pub(crate) struct Transaction<'c, DB> {
    connection: PgConnection,
    _scope: PhantomData<(&'c mut (), DB)>,
}

impl PgPool {
    pub(crate) fn new(rows: &Rows) -> Self {
        Self(rows.clone())
    }

    #[allow(clippy::unused_async, reason = "it is in sqlx")]
    pub(crate) async fn acquire(&self) -> Result<PgConnection> {
        Ok(PgConnection(self.0.clone()))
    }

    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Postgres>> {
        Ok(Transaction {
            connection: self.acquire().await?,
            _scope: PhantomData,
        })
    }
}

impl Transaction<'_, Postgres> {
    #[allow(clippy::unused_async, reason = "it is in sqlx")]
    pub(crate) async fn commit(self) -> Result<()> {
        Ok(())
    }
}

impl Deref for Transaction<'_, Postgres> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Transaction<'_, Postgres> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

pub(crate) trait Executor<'c>: Send {
    type Database;

    fn rows(self) -> Rows;
}

pub(crate) trait PgExecutor<'c>: Executor<'c, Database = Postgres> {}

impl<'c, E: Executor<'c, Database = Postgres>> PgExecutor<'c> for E {}

impl Executor<'_> for &PgPool {
    type Database = Postgres;

    fn rows(self) -> Rows {
        self.0.clone()
    }
}

impl<'c> Executor<'c> for &'c mut PgConnection {
    type Database = Postgres;

    fn rows(self) -> Rows {
        self.0.clone()
    }
}

pub(crate) struct Query<DB> {
    sql: String,
    values: Vec<Value>,
    _database: PhantomData<fn() -> DB>,
}

pub(crate) struct QueryAs<DB, T>(Query<DB>, PhantomData<fn() -> T>);

pub(crate) struct QueryScalar<DB, T>(Query<DB>, PhantomData<fn() -> T>);

pub(crate) fn query<DB>(sql: &str) -> Query<DB> {
    Query {
        sql: sql.to_owned(),
        values: Vec::new(),
        _database: PhantomData,
    }
}

pub(crate) fn query_as<DB, T>(sql: &str) -> QueryAs<DB, T> {
    QueryAs(query(sql), PhantomData)
}

pub(crate) fn query_scalar<DB, T>(sql: &str) -> QueryScalar<DB, T> {
    QueryScalar(query(sql), PhantomData)
}

impl<DB> Query<DB> {
    pub(crate) fn bind(mut self, value: impl Serialize) -> Self {
        self.values.push(to_value(value));
        self
    }

    /// How many rows the query has changed.
    pub(crate) async fn execute<'e>(
        self,
        executor: impl Executor<'e, Database = DB>,
    ) -> Result<usize> {
        Ok(self.run(executor).await.len())
    }

    async fn run<'e>(self, executor: impl Executor<'e, Database = DB>) -> Vec<Row> {
        let rows = executor.rows();
        run(&self.sql, &self.values, &rows).await
    }
}

impl<DB, T: DeserializeOwned> QueryAs<DB, T> {
    pub(crate) fn bind(self, value: impl Serialize) -> Self {
        Self(self.0.bind(value), PhantomData)
    }

    pub(crate) async fn fetch_all<'e>(
        self,
        executor: impl Executor<'e, Database = DB>,
    ) -> Result<Vec<T>> {
        let rows = self.0.run(executor).await;
        Ok(rows.into_iter().map(from_row).collect())
    }

    pub(crate) async fn fetch_optional<'e>(
        self,
        executor: impl Executor<'e, Database = DB>,
    ) -> Result<Option<T>> {
        Ok(self.fetch_all(executor).await?.into_iter().next())
    }

    pub(crate) async fn fetch_one<'e>(
        self,
        executor: impl Executor<'e, Database = DB>,
    ) -> Result<T> {
        let row = self.fetch_optional(executor).await?;
        row.ok_or(Error::RowNotFound)
    }
}

impl<DB, T: DeserializeOwned> QueryScalar<DB, T> {
    pub(crate) fn bind(self, value: impl Serialize) -> Self {
        Self(self.0.bind(value), PhantomData)
    }

    pub(crate) async fn fetch_optional<'e>(
        self,
        executor: impl Executor<'e, Database = DB>,
    ) -> Result<Option<T>> {
        let column = column(&self.0.sql);
        let row = self.0.run(executor).await.into_iter().next();
        Ok(row.map(|mut row| {
            let value = row.remove(&column).expect("the column is there");
            serde_json::from_value(value).unwrap()
        }))
    }

    pub(crate) async fn fetch_one<'e>(
        self,
        executor: impl Executor<'e, Database = DB>,
    ) -> Result<T> {
        let value = self.fetch_optional(executor).await?;
        value.ok_or(Error::RowNotFound)
    }
}

/// SQL that grows as filters are added.
pub(crate) struct QueryBuilder<DB>(Query<DB>);

impl<DB> QueryBuilder<DB> {
    pub(crate) fn new(sql: &str) -> Self {
        Self(query(sql))
    }

    pub(crate) fn push(&mut self, sql: &str) -> &mut Self {
        self.0.sql.push_str(sql);
        self
    }

    pub(crate) fn push_bind(&mut self, value: impl Serialize) -> &mut Self {
        self.0.values.push(to_value(value));
        let placeholder = format!("${}", self.0.values.len());
        self.push(&placeholder)
    }

    pub(crate) fn build_query_as<T>(self) -> QueryAs<DB, T> {
        QueryAs(self.0, PhantomData)
    }
}

fn words(sql: &str) -> Vec<&str> {
    sql.split(|c: char| c.is_whitespace() || "(),".contains(c))
        .filter(|word| !word.is_empty())
        .collect()
}

/// The column that a scalar is read from.
fn column(sql: &str) -> String {
    words(sql)[1].to_owned()
}

/// Knows `SELECT … FROM`, `SELECT count(*)`, `SELECT exists(…)`, `INSERT INTO`,
/// `UPDATE` and `DELETE FROM`, with `WHERE a = $1 AND b = ANY($2)`, `LIMIT` and `OFFSET`.
async fn run(sql: &str, values: &[Value], database: &Rows) -> Vec<Row> {
    let words = words(sql);
    let at = |word| words.iter().position(|found| *found == word);
    let value = |placeholder: &str| {
        let index: usize = placeholder[1..].parse().unwrap();
        values[index - 1].clone()
    };
    let number = |word| {
        let number = value(words[at(word)? + 1]).as_u64().unwrap();
        Some(usize::try_from(number).unwrap())
    };
    let (head, condition) = words.split_at(at("WHERE").unwrap_or(words.len()));
    let filters: Vec<_> = assignments(condition)
        .map(|assignment| match *assignment {
            [column, _, "ANY", list] => {
                Filter::new(column, value(list).as_array().unwrap().clone())
            }
            [column, _, one, ..] => Filter::new(column, vec![value(one)]),
            _ => unreachable!(),
        })
        .collect();
    match *head {
        ["SELECT", what, ..] => {
            let rows = database.select(words[at("FROM").unwrap() + 1], &filters);
            let rows = rows.await.into_iter();
            match what {
                "count" => vec![Row::from_iter([("count".to_owned(), rows.len().into())])],
                "exists" => vec![Row::from_iter([(
                    "exists".to_owned(),
                    (rows.len() > 0).into(),
                )])],
                _ => rows
                    .skip(number("OFFSET").unwrap_or(0))
                    .take(number("LIMIT").unwrap_or(usize::MAX))
                    .collect(),
            }
        }
        ["INSERT", _, table, ref columns @ ..] => {
            let columns = columns.iter().take_while(|word| **word != "VALUES");
            let row = columns
                .zip(values)
                .map(|(column, value)| ((*column).to_owned(), value.clone()));
            let row: Row = row.collect();
            database.insert(table, row.clone()).await;
            vec![row]
        }
        ["UPDATE", table, ref set @ ..] => {
            let set = assignments(set).map(|set| (set[0].to_owned(), value(set[2])));
            database.update(table, set.collect(), &filters).await
        }
        ["DELETE", _, table] => {
            let count = database.delete(table, &filters).await;
            vec![Row::new(); count]
        }
        _ => panic!("not SQL that is known: {sql}"),
    }
}

/// The words of each `column = …`.
fn assignments<'a>(words: &'a [&'a str]) -> impl Iterator<Item = &'a [&'a str]> {
    let equals = words.iter().enumerate().filter(|(_, word)| **word == "=");
    equals.map(|(index, _)| &words[index - 1..words.len().min(index + 3)])
}
