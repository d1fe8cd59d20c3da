//! Code over `diesel_async`: connections by `&mut`, pools that may be a single connection, traits
//! with the query in their default methods, models that save themselves.

use cache_runtime::{CacheValue, KeyPart, cache_invalidate, cached};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::stub::diesel::{
    self, AsyncPgConnection, Column, Error, OptionalExtension, QueryResult, Table,
};
use super::{Rows, cache, is_cached_until};

diesel::table!(crates { name, downloads });
diesel::table!(versions {
    crate_id,
    num,
    yanked
});
diesel::table!(communities { id, title });
diesel::table!(devices {
    uuid,
    user_uuid,
    push_token
});

// Models with associated functions over a connection.

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Crate {
    id: i32,
    name: String,
    downloads: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Version {
    id: i32,
    crate_id: i32,
    num: String,
    yanked: bool,
}

impl Crate {
    #[cached(key = "diesel:crate:<name>", skip(conn), cache = cache())]
    async fn by_name(conn: &mut AsyncPgConnection, name: &str) -> QueryResult<Crate> {
        crates::table
            .filter(crates::name.eq(name))
            .first(conn)
            .await
    }

    #[cached(key = "diesel:crate:<self.id>:versions", skip(conn), cache = cache())]
    async fn versions(&self, conn: &mut AsyncPgConnection) -> QueryResult<Vec<Version>> {
        versions::table
            .filter(versions::crate_id.eq(self.id))
            .filter(versions::yanked.eq(false))
            .load(conn)
            .await
    }

    #[cached(
        key = "diesel:crate:<self.id>:version:<num>",
        invalidate_on = "diesel:crate:<self.id>:versions",
        skip(conn),
        cache = cache()
    )]
    async fn find_version(
        &self,
        conn: &mut AsyncPgConnection,
        num: &str,
    ) -> QueryResult<Option<Version>> {
        versions::table
            .filter(versions::crate_id.eq(self.id))
            .filter(versions::num.eq(num))
            .first(conn)
            .await
            .optional()
    }

    #[cached(key = "diesel:crates:count", ttl = 300, skip(conn), cache = cache())]
    async fn count(conn: &mut AsyncPgConnection) -> QueryResult<i64> {
        crates::table.count().get_result(conn).await
    }

    #[cache_invalidate("diesel:crate:<result.name>", cache = cache())]
    async fn set_downloads(
        id: i32,
        downloads: i64,
        conn: &mut AsyncPgConnection,
    ) -> QueryResult<Crate> {
        diesel::update(crates::table.find(id))
            .set(crates::downloads.eq(downloads))
            .get_result(conn)
            .await
    }
}

/// A new row: its columns are borrowed, and those with defaults are left out.
#[derive(Serialize)]
struct NewCrate<'a> {
    id: i32,
    name: &'a str,
}

impl NewCrate<'_> {
    #[cache_invalidate("diesel:crates:count", cache = cache())]
    async fn create(&self, conn: &mut AsyncPgConnection) -> QueryResult<()> {
        diesel::insert(crates::table, self, conn).await?;
        Ok(())
    }
}

impl Version {
    #[cache_invalidate("diesel:crate:<self.crate_id>:versions", cache = cache())]
    async fn yank(&mut self, conn: &mut AsyncPgConnection) -> QueryResult<usize> {
        self.yanked = true;
        diesel::update(versions::table.find(self.id))
            .set(versions::yanked.eq(true))
            .execute(conn)
            .await
    }
}

fn with_crate(id: i32) -> (Rows, Crate, Version) {
    let krate = Crate {
        id,
        name: format!("crate{id}"),
        downloads: 0,
    };
    let version = Version {
        id,
        crate_id: id,
        num: "1.0.0".to_owned(),
        yanked: false,
    };
    let rows = Rows::default()
        .with("crates", &krate)
        .with("versions", &version);
    (rows, krate, version)
}

#[tokio::test]
async fn a_row_read_by_a_connection_is_cached() {
    let (rows, krate, _) = with_crate(1);
    let mut conn = AsyncPgConnection::new(&rows);
    let read = async || Crate::by_name(&mut conn, &krate.name).await.unwrap();
    let update = async || {
        let mut conn = AsyncPgConnection::new(&rows);
        let updated = Crate::set_downloads(1, 7, &mut conn).await;
        assert_eq!(updated.unwrap().downloads, 7);
    };
    is_cached_until(&rows, read, update).await;
    let missing = Crate::by_name(&mut conn, "missing").await;
    assert_eq!(missing, Err(Error::NotFound));
}

#[tokio::test]
async fn rows_that_belong_to_a_model_are_cached() {
    let (rows, krate, mut version) = with_crate(2);
    let mut conn = AsyncPgConnection::new(&rows);
    let read = async || krate.versions(&mut conn).await.unwrap();
    let update = async || {
        let mut conn = AsyncPgConnection::new(&rows);
        assert_eq!(version.yank(&mut conn).await, Ok(1));
    };
    is_cached_until(&rows, read, update).await;
}

#[tokio::test]
async fn an_optional_row_of_a_model_is_cached() {
    let (rows, krate, mut version) = with_crate(3);
    let mut conn = AsyncPgConnection::new(&rows);
    let read = async || krate.find_version(&mut conn, "1.0.0").await.unwrap();
    let update = async || {
        let mut conn = AsyncPgConnection::new(&rows);
        assert_eq!(version.yank(&mut conn).await, Ok(1));
    };
    is_cached_until(&rows, read, update).await;
    assert_eq!(krate.find_version(&mut conn, "2.0.0").await, Ok(None));
}

#[tokio::test]
async fn a_count_is_cached() {
    let rows = Rows::default();
    let mut conn = AsyncPgConnection::new(&rows);
    let read = async || Crate::count(&mut conn).await.unwrap();
    let update = async || {
        let mut conn = AsyncPgConnection::new(&rows);
        let new = NewCrate { id: 4, name: "new" };
        new.create(&mut conn).await.unwrap();
    };
    is_cached_until(&rows, read, update).await;
}

// A pool that may be a single connection, and the query in a trait.

struct ActualDbPool(Rows);

enum DbPool<'a> {
    Pool(&'a ActualDbPool),
    Conn(&'a mut AsyncPgConnection),
}

enum DbConn<'a> {
    Pool(AsyncPgConnection),
    Conn(&'a mut AsyncPgConnection),
}

impl std::ops::Deref for DbConn<'_> {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        match self {
            Self::Pool(conn) => conn,
            Self::Conn(conn) => conn,
        }
    }
}

impl std::ops::DerefMut for DbConn<'_> {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        match self {
            Self::Pool(conn) => conn,
            Self::Conn(conn) => conn,
        }
    }
}

#[allow(clippy::unused_async, reason = "a pool may have to wait")]
async fn get_conn<'a, 'b: 'a>(pool: &'a mut DbPool<'b>) -> QueryResult<DbConn<'a>> {
    Ok(match pool {
        DbPool::Pool(pool) => DbConn::Pool(AsyncPgConnection::new(&pool.0)),
        DbPool::Conn(conn) => DbConn::Conn(conn),
    })
}

#[derive(Debug)]
struct LemmyError(#[allow(dead_code, reason = "for the log")] Error);

type LemmyResult<T> = Result<T, LemmyError>;

impl From<Error> for LemmyError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KeyPart)]
struct CommunityId(i32);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Community {
    id: CommunityId,
    title: String,
}

trait Crud: CacheValue {
    type IdType: KeyPart + Serialize + Send;
    type TableType: Table + Send;

    fn table() -> Self::TableType;

    #[cached(key = "diesel:crud:<Self>:<id>", skip(pool), cache = cache())]
    async fn read(pool: &mut DbPool<'_>, id: Self::IdType) -> LemmyResult<Self> {
        let conn = &mut get_conn(pool).await?;
        let row = Self::table().find(id).first(conn).await?;
        Ok(row)
    }

    #[cache_invalidate("diesel:crud:<Self>:<id>", cache = cache())]
    async fn remove(pool: &mut DbPool<'_>, id: Self::IdType) -> LemmyResult<usize> {
        let conn = &mut get_conn(pool).await?;
        Ok(diesel::delete(Self::table().find(id), conn).await?)
    }
}

impl Crud for Community {
    type IdType = CommunityId;
    type TableType = communities::table;

    fn table() -> communities::table {
        communities::table
    }
}

impl Community {
    #[cached(
        key = "diesel:communities:<ids>:<title>",
        invalidate_on = "diesel:communities",
        skip(pool),
        cache = cache()
    )]
    async fn list(
        pool: &mut DbPool<'_>,
        ids: &[CommunityId],
        title: Option<&str>,
    ) -> LemmyResult<Vec<Self>> {
        let conn = &mut get_conn(pool).await?;
        let mut query = communities::table.filter(communities::id.eq_any(ids));
        if let Some(title) = title {
            query = query.filter(communities::title.eq(title));
        }
        Ok(query.load::<Self>(conn).await?)
    }

    #[cache_invalidate(
        "diesel:communities",
        "diesel:crud:<Self>:<community_id>",
        on = ok,
        cache = cache()
    )]
    async fn update(
        pool: &mut DbPool<'_>,
        community_id: CommunityId,
        title: &str,
    ) -> LemmyResult<Self> {
        let conn = &mut get_conn(pool).await?;
        let updated = diesel::update(communities::table.find(community_id))
            .set(communities::title.eq(title))
            .get_result(conn)
            .await?;
        Ok(updated)
    }
}

#[tokio::test]
async fn a_default_method_of_a_trait_is_cached() {
    let rows = Rows::default().with("communities", json!({ "id": 5, "title": "One" }));
    let pool = ActualDbPool(rows.clone());
    let id = CommunityId(5);
    let read = async || {
        let community = Community::read(&mut DbPool::Pool(&pool), id).await;
        community.unwrap()
    };
    let update = async || {
        let mut conn = AsyncPgConnection::new(&rows);
        let updated = Community::update(&mut DbPool::Conn(&mut conn), id, "Two").await;
        assert_eq!(updated.unwrap().title, "Two");
    };
    is_cached_until(&rows, read, update).await;
    let removed = Community::remove(&mut DbPool::Pool(&pool), id).await;
    assert_eq!(removed.unwrap(), 1);
    let read = Community::read(&mut DbPool::Pool(&pool), id).await;
    assert!(read.is_err());
}

#[tokio::test]
async fn rows_by_a_slice_of_ids_and_a_filter_are_cached() {
    let rows = Rows::default().with("communities", json!({ "id": 6, "title": "One" }));
    let mut conn = AsyncPgConnection::new(&rows);
    let ids = [CommunityId(6), CommunityId(7)];
    let read = async || {
        let pool = &mut DbPool::Conn(&mut conn);
        Community::list(pool, &ids, Some("One")).await.unwrap()
    };
    let update = async || {
        let pool = ActualDbPool(rows.clone());
        let updated = Community::update(&mut DbPool::Pool(&pool), ids[0], "Two").await;
        assert!(updated.is_ok());
    };
    is_cached_until(&rows, read, update).await;
}

// Models that save themselves, with strings for ids.

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KeyPart)]
struct DeviceId(String);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KeyPart)]
struct UserId(String);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Device {
    uuid: DeviceId,
    user_uuid: UserId,
    push_token: Option<String>,
}

type EmptyResult = Result<(), Error>;

impl Device {
    #[cached(
        key = "diesel:device:<uuid>:<user_uuid>",
        invalidate_on = "diesel:user:<user_uuid>:devices",
        skip(conn),
        cache = cache()
    )]
    async fn find_by_uuid_and_user(
        uuid: &DeviceId,
        user_uuid: &UserId,
        conn: &mut AsyncPgConnection,
    ) -> Option<Self> {
        devices::table
            .filter(devices::uuid.eq(uuid))
            .filter(devices::user_uuid.eq(user_uuid))
            .first::<Self>(conn)
            .await
            .ok()
    }

    #[cached(key = "diesel:user:<user_uuid>:devices", skip(conn), cache = cache())]
    async fn find_by_user(user_uuid: &UserId, conn: &mut AsyncPgConnection) -> Vec<Self> {
        devices::table
            .filter(devices::user_uuid.eq(user_uuid))
            .load::<Self>(conn)
            .await
            .expect("Error loading devices")
    }

    #[cache_invalidate("diesel:user:<self.user_uuid>:devices", cache = cache())]
    async fn save(&mut self, conn: &mut AsyncPgConnection) -> EmptyResult {
        self.push_token = self.push_token.take().filter(|token| !token.is_empty());
        let id = devices::uuid.eq(&self.uuid);
        diesel::update(devices::table.filter(id))
            .set(devices::push_token.eq(&self.push_token))
            .execute(conn)
            .await?;
        Ok(())
    }
}

#[tokio::test]
async fn a_model_that_saves_itself_invalidates() {
    let mut device = Device {
        uuid: DeviceId("d8".to_owned()),
        user_uuid: UserId("u8".to_owned()),
        push_token: None,
    };
    let rows = Rows::default().with("devices", &device);
    let (uuid, user_uuid) = (device.uuid.clone(), device.user_uuid.clone());
    let mut save = async |token: &str| {
        let mut conn = AsyncPgConnection::new(&rows);
        device.push_token = Some(token.to_owned());
        device.save(&mut conn).await.unwrap();
    };

    let mut conn = AsyncPgConnection::new(&rows);
    let read = async || {
        let device = Device::find_by_uuid_and_user(&uuid, &user_uuid, &mut conn).await;
        device.unwrap()
    };
    is_cached_until(&rows, read, async || save("t1").await).await;
    let read = async || Device::find_by_user(&user_uuid, &mut conn).await;
    is_cached_until(&rows, read, async || save("").await).await;
}
