//! As much of `sea_orm` as the fixtures use.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Filter, Row, Rows, from_row, to_value};

#[derive(Debug, PartialEq)]
pub(crate) enum DbErr {
    RecordNotFound(String),
    RecordNotUpdated,
}

#[derive(Clone)]
pub(crate) struct DatabaseConnection(Rows);

pub(crate) struct DatabaseTransaction(Rows);

pub(crate) type DbConn = DatabaseConnection;

impl DatabaseConnection {
    pub(crate) fn new(rows: &Rows) -> Self {
        Self(rows.clone())
    }

    #[allow(clippy::unused_async, reason = "it is in sea_orm")]
    pub(crate) async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        Ok(DatabaseTransaction(self.0.clone()))
    }
}

impl DatabaseTransaction {
    #[allow(clippy::unused_async, reason = "it is in sea_orm")]
    pub(crate) async fn commit(self) -> Result<(), DbErr> {
        Ok(())
    }
}

pub(crate) trait ConnectionTrait: Sync {
    fn rows(&self) -> &Rows;
}

impl ConnectionTrait for DatabaseConnection {
    fn rows(&self) -> &Rows {
        &self.0
    }
}

impl ConnectionTrait for DatabaseTransaction {
    fn rows(&self) -> &Rows {
        &self.0
    }
}

pub(crate) trait EntityTrait: Sized {
    type Model: DeserializeOwned + Send;
    const TABLE: &'static str;

    fn find() -> Select<Self> {
        Select {
            filters: Vec::new(),
            _entity: PhantomData,
        }
    }

    fn find_by_id(id: impl Serialize) -> Select<Self> {
        Self::find().filter(Filter::new("id", vec![to_value(id)]))
    }

    fn delete_by_id(id: impl Serialize) -> Delete<Self> {
        Delete(Self::find_by_id(id))
    }
}

/// The related entity, and the column that holds its `id`.
pub(crate) trait Related<R: EntityTrait>: EntityTrait {
    const COLUMN: &'static str;
}

pub(crate) trait ColumnTrait: Sized {
    fn name(&self) -> &'static str;

    fn eq(&self, value: impl Serialize) -> Filter {
        Filter::new(self.name(), vec![to_value(value)])
    }

    fn is_in(&self, values: impl IntoIterator<Item = impl Serialize>) -> Filter {
        let values = values.into_iter().map(to_value);
        Filter::new(self.name(), values.collect())
    }
}

pub(crate) struct Select<E> {
    filters: Vec<Filter>,
    _entity: PhantomData<fn() -> E>,
}

impl<E: EntityTrait> Select<E> {
    pub(crate) fn filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    pub(crate) async fn all(self, db: &impl ConnectionTrait) -> Result<Vec<E::Model>, DbErr> {
        let rows = db.rows().select(E::TABLE, &self.filters).await;
        Ok(rows.into_iter().map(from_row).collect())
    }

    pub(crate) async fn one(self, db: &impl ConnectionTrait) -> Result<Option<E::Model>, DbErr> {
        Ok(self.all(db).await?.into_iter().next())
    }

    pub(crate) async fn count(self, db: &impl ConnectionTrait) -> Result<u64, DbErr> {
        let rows = db.rows().select(E::TABLE, &self.filters).await;
        Ok(rows.len() as u64)
    }

    pub(crate) fn paginate<C>(self, db: &C, page_size: u64) -> Paginator<'_, C, E> {
        Paginator {
            db,
            select: self,
            page_size: usize::try_from(page_size).unwrap(),
        }
    }

    pub(crate) fn find_also_related<R: EntityTrait>(self, _related: R) -> SelectTwo<E, R>
    where
        E: Related<R>,
    {
        SelectTwo(self, PhantomData)
    }
}

pub(crate) struct Paginator<'db, C, E> {
    db: &'db C,
    select: Select<E>,
    page_size: usize,
}

impl<C: ConnectionTrait, E: EntityTrait> Paginator<'_, C, E> {
    pub(crate) async fn num_pages(&self) -> Result<u64, DbErr> {
        let rows = self.db.rows().select(E::TABLE, &self.select.filters).await;
        Ok(rows.len().div_ceil(self.page_size) as u64)
    }

    pub(crate) async fn fetch_page(self, page: u64) -> Result<Vec<E::Model>, DbErr> {
        let models = self.select.all(self.db).await?;
        let page = usize::try_from(page).unwrap();
        let models = models.into_iter().skip(page * self.page_size);
        Ok(models.take(self.page_size).collect())
    }
}

pub(crate) struct SelectTwo<E, R>(Select<E>, PhantomData<fn() -> R>);

impl<E: Related<R>, R: EntityTrait> SelectTwo<E, R> {
    pub(crate) async fn all(
        self,
        db: &impl ConnectionTrait,
    ) -> Result<Vec<(E::Model, Option<R::Model>)>, DbErr> {
        let rows = db.rows().select(E::TABLE, &self.0.filters).await;
        let mut pairs = Vec::new();
        for row in rows {
            let id = Filter::new("id", vec![row[E::COLUMN].clone()]);
            let related = db.rows().select(R::TABLE, &[id]).await;
            let related = related.into_iter().next().map(from_row);
            pairs.push((from_row(row), related));
        }
        Ok(pairs)
    }
}

pub(crate) struct Delete<E>(Select<E>);

impl<E: EntityTrait> Delete<E> {
    pub(crate) async fn exec(self, db: &impl ConnectionTrait) -> Result<DeleteResult, DbErr> {
        let rows_affected = db.rows().delete(E::TABLE, &self.0.filters).await as u64;
        Ok(DeleteResult { rows_affected })
    }
}

pub(crate) struct DeleteResult {
    pub(crate) rows_affected: u64,
}

#[derive(Default)]
pub(crate) enum ActiveValue<T> {
    Set(T),
    #[default]
    NotSet,
}

impl<T: Serialize> ActiveValue<T> {
    pub(crate) fn put_into(self, row: &mut Row, column: &str) {
        if let Self::Set(value) = self {
            row.insert(column.to_owned(), to_value(value));
        }
    }
}

pub(crate) trait ActiveModelTrait: Sized {
    type Entity: EntityTrait;

    fn into_row(self) -> Row;

    async fn insert(
        self,
        db: &impl ConnectionTrait,
    ) -> Result<<Self::Entity as EntityTrait>::Model, DbErr> {
        let row = self.into_row();
        db.rows().insert(Self::Entity::TABLE, row.clone()).await;
        Ok(from_row(row))
    }

    async fn update(
        self,
        db: &impl ConnectionTrait,
    ) -> Result<<Self::Entity as EntityTrait>::Model, DbErr> {
        let row = self.into_row();
        let id = Filter::new("id", vec![row["id"].clone()]);
        let updated = db.rows().update(Self::Entity::TABLE, row, &[id]).await;
        let updated = updated.into_iter().next().map(from_row);
        updated.ok_or(DbErr::RecordNotUpdated)
    }
}

/// Entities as `sea-orm-cli generate entity` writes them.
macro_rules! entity {
    ($name:ident, { $($column:ident $Column:ident: $type:ty),+ $(,)? }) => {
        pub(super) mod $name {
            use serde::{Deserialize, Serialize};
            use $crate::real_code::stub::Row;
            use $crate::real_code::stub::sea_orm::{
                ActiveModelTrait, ActiveValue, ColumnTrait, EntityTrait,
            };

            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
            pub(in super::super) struct Model {
                $(pub(in super::super) $column: $type),+
            }

            #[derive(Default)]
            #[allow(dead_code, reason = "not every entity is inserted")]
            pub(in super::super) struct ActiveModel {
                $(pub(in super::super) $column: ActiveValue<$type>),+
            }

            #[allow(dead_code, reason = "not every column is asked for")]
            pub(in super::super) enum Column {
                $($Column),+
            }

            pub(in super::super) struct Entity;

            impl EntityTrait for Entity {
                type Model = Model;
                const TABLE: &'static str = stringify!($name);
            }

            impl ColumnTrait for Column {
                fn name(&self) -> &'static str {
                    match self {
                        $(Self::$Column => stringify!($column)),+
                    }
                }
            }

            impl ActiveModelTrait for ActiveModel {
                type Entity = Entity;

                fn into_row(self) -> Row {
                    let mut row = Row::new();
                    $(self.$column.put_into(&mut row, stringify!($column));)+
                    row
                }
            }
        }
    };
}
pub(crate) use entity;
