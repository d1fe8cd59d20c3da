//! As much of `diesel_async` as the fixtures use.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Filter, Row, Rows, from_row, to_value};

pub(crate) type QueryResult<T> = Result<T, Error>;

#[derive(Debug, PartialEq)]
pub(crate) enum Error {
    NotFound,
}

pub(crate) struct AsyncPgConnection(Rows);

impl AsyncPgConnection {
    pub(crate) fn new(rows: &Rows) -> Self {
        Self(rows.clone())
    }
}

/// A table, and the query of its rows.
pub(crate) struct Select<T> {
    filters: Vec<Filter>,
    _table: PhantomData<fn() -> T>,
}

pub(crate) trait Table: Sized {
    const NAME: &'static str;

    fn all(self) -> Select<Self> {
        Select {
            filters: Vec::new(),
            _table: PhantomData,
        }
    }

    fn find(self, id: impl Serialize) -> Select<Self> {
        self.filter(Filter::new("id", vec![to_value(id)]))
    }

    fn filter(self, filter: Filter) -> Select<Self> {
        self.all().filter(filter)
    }

    fn count(self) -> Count<Self> {
        self.all().count()
    }
}

/// A column's name.
pub(crate) trait Column {
    const NAME: &'static str;

    fn eq(self, value: impl Serialize) -> Filter
    where
        Self: Sized,
    {
        Filter::new(Self::NAME, vec![to_value(value)])
    }

    fn eq_any(self, values: impl IntoIterator<Item = impl Serialize>) -> Filter
    where
        Self: Sized,
    {
        Filter::new(Self::NAME, values.into_iter().map(to_value).collect())
    }
}

impl<T: Table> Select<T> {
    pub(crate) fn filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    pub(crate) fn count(self) -> Count<T> {
        Count(self)
    }

    pub(crate) async fn load<U: DeserializeOwned>(
        self,
        conn: &mut AsyncPgConnection,
    ) -> QueryResult<Vec<U>> {
        let rows = conn.0.select(T::NAME, &self.filters).await;
        Ok(rows.into_iter().map(from_row).collect())
    }

    pub(crate) async fn first<U: DeserializeOwned>(
        self,
        conn: &mut AsyncPgConnection,
    ) -> QueryResult<U> {
        let rows: Vec<U> = self.load(conn).await?;
        rows.into_iter().next().ok_or(Error::NotFound)
    }
}

pub(crate) struct Count<T>(Select<T>);

impl<T: Table> Count<T> {
    pub(crate) async fn get_result(self, conn: &mut AsyncPgConnection) -> QueryResult<i64> {
        let rows = conn.0.select(T::NAME, &self.0.filters).await;
        Ok(i64::try_from(rows.len()).unwrap())
    }
}

pub(crate) trait OptionalExtension<T> {
    fn optional(self) -> QueryResult<Option<T>>;
}

impl<T> OptionalExtension<T> for QueryResult<T> {
    fn optional(self) -> QueryResult<Option<T>> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(Error::NotFound) => Ok(None),
        }
    }
}

pub(crate) struct Update<T> {
    select: Select<T>,
    set: Row,
}

pub(crate) fn update<T: Table>(select: Select<T>) -> Update<T> {
    let set = Row::new();
    Update { select, set }
}

impl<T: Table> Update<T> {
    /// An assignment is written like a filter.
    pub(crate) fn set(mut self, mut column: Filter) -> Self {
        let value = column.values.remove(0);
        self.set.insert(column.column, value);
        self
    }

    pub(crate) async fn get_result<U: DeserializeOwned>(
        self,
        conn: &mut AsyncPgConnection,
    ) -> QueryResult<U> {
        let rows = conn.0.update(T::NAME, self.set, &self.select.filters).await;
        rows.into_iter().next().map(from_row).ok_or(Error::NotFound)
    }

    pub(crate) async fn execute(self, conn: &mut AsyncPgConnection) -> QueryResult<usize> {
        let rows = conn.0.update(T::NAME, self.set, &self.select.filters).await;
        Ok(rows.len())
    }
}

pub(crate) async fn insert<T: Table>(
    _table: T,
    row: impl Serialize,
    conn: &mut AsyncPgConnection,
) -> QueryResult<usize> {
    conn.0.insert(T::NAME, super::to_row(row)).await;
    Ok(1)
}

pub(crate) async fn delete<T: Table>(
    select: Select<T>,
    conn: &mut AsyncPgConnection,
) -> QueryResult<usize> {
    Ok(conn.0.delete(T::NAME, &select.filters).await)
}

macro_rules! table {
    ($name:ident { $($column:ident),+ $(,)? }) => {
        mod $name {
            #![allow(non_camel_case_types, reason = "they are called so in diesel")]
            use $crate::real_code::stub::diesel::{Column, Table};

            pub(super) struct table;

            impl Table for table {
                const NAME: &'static str = stringify!($name);
            }

            $(pub(super) struct $column;

            impl Column for $column {
                const NAME: &'static str = stringify!($column);
            })+
        }
    };
}
pub(crate) use table;
