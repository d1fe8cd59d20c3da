//! Code over sqlx: pools, connections, transactions, generic executors, repositories.

use std::collections::HashMap;

use cache_runtime::{CacheTag, KeyPart, cache_invalidate, cached};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::stub::sqlx::{
    self, Executor, PgConnection, PgExecutor, PgPool, Postgres, QueryBuilder, Transaction,
};
use super::{Rows, cache, is_cached_until};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, KeyPart)]
struct UserId(Uuid);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, KeyPart)]
struct ArticleId(i64);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    id: UserId,
    email: String,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Article {
    id: ArticleId,
    slug: String,
    author: String,
    title: String,
}

/// An error type as `thiserror` writes it.
#[derive(Debug)]
enum AppError {
    NotFound,
    Database(#[allow(dead_code, reason = "for the log")] sqlx::Error),
}

impl From<sqlx::Error> for AppError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

fn user_row(id: u128) -> serde_json::Value {
    let email = format!("user{id}@example.com");
    json!({ "id": Uuid::from_u128(id), "email": email, "name": "Ada" })
}

// Free functions over a pool.

#[cached(key = "sqlx:user:<id>", skip(pool), cache = cache())]
async fn get_user(pool: &PgPool, id: UserId) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as::<_, User>("SELECT id, email, name FROM users WHERE id = $1")
        .bind(id)
        .fetch_optional(pool)
        .await
}

#[cached(key = "sqlx:username:<user_id>", ttl = "5m", skip(pool), cache = cache())]
async fn get_username(user_id: Uuid, pool: &PgPool) -> Result<String, AppError> {
    let row = sqlx::query_scalar("SELECT name FROM users WHERE id = $1")
        .bind(user_id)
        .fetch_optional(pool)
        .await?;
    row.ok_or(AppError::NotFound)
}

#[cache_invalidate("sqlx:user:<id>", "sqlx:username:<id.0>", cache = cache())]
async fn rename_user(pool: &PgPool, id: UserId, name: &str) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE users SET name = $1 WHERE id = $2")
        .bind(name)
        .bind(id)
        .execute(pool)
        .await?;
    Ok(())
}

#[tokio::test]
async fn an_optional_row_by_id_is_cached() {
    let rows = Rows::default().with("users", user_row(1));
    let (pool, id) = (PgPool::new(&rows), UserId(Uuid::from_u128(1)));
    let read = async || get_user(&pool, id).await.unwrap();
    let update = async || rename_user(&pool, id, "Grace").await.unwrap();
    is_cached_until(&rows, read, update).await;
}

#[tokio::test]
async fn a_scalar_is_cached_and_an_error_is_not() {
    let rows = Rows::default().with("users", user_row(2));
    let (pool, id) = (PgPool::new(&rows), Uuid::from_u128(2));
    let read = async || get_username(id, &pool).await.unwrap();
    let update = async || rename_user(&pool, UserId(id), "Grace").await.unwrap();
    is_cached_until(&rows, read, update).await;
    let missing = get_username(Uuid::nil(), &pool).await;
    assert!(matches!(missing, Err(AppError::NotFound)));
}

#[cached(key = "sqlx:email:<email.as_ref().to_lowercase()>", skip(pool), cache = cache())]
async fn find_by_email(pool: PgPool, email: impl AsRef<str>) -> sqlx::Result<Option<User>> {
    let email = email.as_ref().to_lowercase();
    sqlx::query_as("SELECT * FROM users WHERE email = $1")
        .bind(email)
        .fetch_optional(&pool)
        .await
}

#[cache_invalidate("sqlx:email:<result.email.to_lowercase()>", cache = cache())]
async fn set_display_name(
    pool: &PgPool,
    id: UserId,
    name: impl Into<String>,
) -> Result<User, AppError> {
    let name: String = name.into();
    if name.is_empty() {
        return Err(AppError::NotFound);
    }
    let user = sqlx::query_as("UPDATE users SET name = $1 WHERE id = $2 RETURNING *")
        .bind(name)
        .bind(id)
        .fetch_one(pool)
        .await?;
    Ok(user)
}

#[tokio::test]
async fn an_argument_may_be_an_impl_trait() {
    let rows = Rows::default().with("users", user_row(3));
    let (pool, id) = (PgPool::new(&rows), UserId(Uuid::from_u128(3)));
    let read = async || {
        let user = find_by_email(pool.clone(), "User3@Example.com").await;
        user.unwrap().unwrap()
    };
    let update = async || {
        let user = set_display_name(&pool, id, "Grace").await;
        assert_eq!(user.unwrap().name, "Grace");
    };
    is_cached_until(&rows, read, update).await;
}

#[cached(
    key = "sqlx:subscriber:<subscription_token>",
    none_ttl = 30,
    skip(pool),
    cache = cache()
)]
async fn get_subscriber_id_from_token(
    pool: &PgPool,
    subscription_token: &str,
) -> Result<Option<Uuid>, sqlx::Error> {
    let result =
        sqlx::query_scalar("SELECT subscriber_id FROM tokens WHERE subscription_token = $1")
            .bind(subscription_token)
            .fetch_optional(pool)
            .await?;
    Ok(result)
}

#[cache_invalidate("sqlx:subscriber:<subscription_token>", cache = cache())]
async fn store_token(
    transaction: &mut Transaction<'_, Postgres>,
    subscriber_id: Uuid,
    subscription_token: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO tokens (subscription_token, subscriber_id) VALUES ($1, $2)")
        .bind(subscription_token)
        .bind(subscriber_id)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_none_is_cached_until_a_transaction_inserts() {
    let rows = Rows::default();
    let pool = PgPool::new(&rows);
    let read = async || get_subscriber_id_from_token(&pool, "t4").await.unwrap();
    let update = async || {
        let mut transaction = pool.begin().await.unwrap();
        let stored = store_token(&mut transaction, Uuid::from_u128(4), "t4").await;
        stored.unwrap();
        transaction.commit().await.unwrap();
    };
    is_cached_until(&rows, read, update).await;
}

#[cached(key = "sqlx:users", ttl = 60, invalidate_on = "sqlx:users", skip(pool), cache = cache())]
async fn list_users(pool: &PgPool) -> sqlx::Result<Vec<User>> {
    sqlx::query_as("SELECT * FROM users").fetch_all(pool).await
}

#[cache_invalidate("sqlx:users", on = ok, cache = cache())]
async fn create_user(pool: &PgPool, email: String, name: String) -> sqlx::Result<Uuid> {
    let user_id = Uuid::from_u128(5);
    sqlx::query("INSERT INTO users (id, email, name) VALUES ($1, $2, $3)")
        .bind(user_id)
        .bind(email)
        .bind(name)
        .execute(pool)
        .await?;
    Ok(user_id)
}

#[tokio::test]
async fn a_list_of_all_rows_is_cached() {
    let rows = Rows::default();
    let pool = PgPool::new(&rows);
    let read = async || list_users(&pool).await.unwrap();
    let update = async || {
        let id = create_user(&pool, "e".to_owned(), "Ada".to_owned()).await;
        assert_eq!(id.unwrap(), Uuid::from_u128(5));
    };
    is_cached_until(&rows, read, update).await;
}

// Generic executors.

#[cached(key = "sqlx:article:<slug>", skip(executor, E), cache = cache())]
async fn find_article<'e, E>(executor: E, slug: &str) -> Result<Article, AppError>
where
    E: Executor<'e, Database = Postgres>,
{
    sqlx::query_as("SELECT * FROM articles WHERE slug = $1")
        .bind(slug)
        .fetch_optional(executor)
        .await?
        .ok_or(AppError::NotFound)
}

#[cache_invalidate("sqlx:article:<slug>", cache = cache())]
async fn retitle<'e>(
    executor: impl PgExecutor<'e>,
    slug: &str,
    title: &str,
) -> Result<bool, sqlx::Error> {
    let changed = sqlx::query("UPDATE articles SET title = $1 WHERE slug = $2")
        .bind(title)
        .bind(slug)
        .execute(executor)
        .await?;
    Ok(changed > 0)
}

fn article_row(id: i64, author: &str) -> serde_json::Value {
    json!({ "id": id, "slug": format!("slug{id}"), "author": author, "title": "One" })
}

#[tokio::test]
async fn a_function_over_any_executor_has_one_entry() {
    let rows = Rows::default().with("articles", article_row(6, "ada"));
    let pool = PgPool::new(&rows);
    let mut connection = pool.acquire().await.unwrap();
    let read = async || find_article(&mut connection, "slug6").await.unwrap();
    let update = async || assert!(retitle(&pool, "slug6", "Two").await.unwrap());
    is_cached_until(&rows, read, update).await;
    let title = find_article(&pool, "slug6").await.unwrap().title;
    assert_eq!(title, "Two", "one entry for all executors");
}

// Associated functions with filters and pages.

#[derive(Default, KeyPart)]
struct ArticleFilter {
    author: Option<String>,
    title: Option<String>,
}

#[derive(Clone, Copy, KeyPart)]
struct Pagination {
    limit: u32,
    offset: u32,
}

#[derive(CacheTag)]
#[cache_tag("sqlx:author:<0>:articles")]
struct ArticlesOf<'a>(&'a str);

impl Article {
    #[cached(
        key = "sqlx:articles:<filter>:<page>",
        invalidate_on = "sqlx:articles",
        skip(conn),
        cache = cache()
    )]
    async fn list(
        filter: &ArticleFilter,
        page: Pagination,
        conn: &mut PgConnection,
    ) -> sqlx::Result<(Vec<Self>, i64)> {
        let mut query = QueryBuilder::new("SELECT * FROM articles");
        let mut separator = " WHERE ";
        if let Some(author) = &filter.author {
            query.push(separator).push("author = ").push_bind(author);
            separator = " AND ";
        }
        if let Some(title) = filter.title.as_deref() {
            query.push(separator).push("title = ").push_bind(title);
        }
        query.push(" LIMIT ").push_bind(page.limit);
        query.push(" OFFSET ").push_bind(page.offset);
        let articles = query.build_query_as().fetch_all(&mut *conn).await?;
        let total = sqlx::query_scalar("SELECT count(*) FROM articles")
            .fetch_one(conn)
            .await?;
        Ok((articles, total))
    }

    #[cached(
        key = "sqlx:by:<author>:<title>",
        invalidate_on = [ArticlesOf(author), "sqlx:articles"],
        skip(pool),
        cache = cache()
    )]
    async fn by_author(
        pool: &PgPool,
        author: &str,
        title: Option<&str>,
    ) -> sqlx::Result<Vec<ArticleId>> {
        let articles: Vec<Self> = match title {
            None => {
                let query = sqlx::query_as("SELECT * FROM articles WHERE author = $1");
                query.bind(author).fetch_all(pool).await?
            }
            Some(title) => {
                sqlx::query_as("SELECT * FROM articles WHERE author = $1 AND title = $2")
                    .bind(author)
                    .bind(title)
                    .fetch_all(pool)
                    .await?
            }
        };
        Ok(articles.into_iter().map(|article| article.id).collect())
    }

    #[cached(key = "sqlx:titles:<ids>", invalidate_on = "sqlx:articles", skip(pool), cache = cache())]
    async fn titles(
        pool: &PgPool,
        ids: &[ArticleId],
    ) -> Result<HashMap<ArticleId, String>, sqlx::Error> {
        let articles = sqlx::query_as("SELECT * FROM articles WHERE id = ANY($1)")
            .bind(ids)
            .fetch_all(pool)
            .await?;
        let titles = articles.into_iter();
        Ok(titles
            .map(|article: Article| (article.id, article.title))
            .collect())
    }

    #[cache_invalidate(
        "sqlx:articles",
        "sqlx:article:<self.slug>",
        ArticlesOf(&self.author),
        cache = cache()
    )]
    async fn insert(&self, conn: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::query("INSERT INTO articles (id, slug, author, title) VALUES ($1, $2, $3, $4)")
            .bind(self.id)
            .bind(&self.slug)
            .bind(&self.author)
            .bind(&self.title)
            .execute(conn)
            .await?;
        Ok(())
    }

    #[cache_invalidate(ArticlesOf(&result.author), cache = cache())]
    async fn delete(self, tx: &mut Transaction<'static, Postgres>) -> sqlx::Result<Option<Self>> {
        let deleted = sqlx::query("DELETE FROM articles WHERE id = $1")
            .bind(self.id)
            .execute(&mut **tx)
            .await?;
        Ok((deleted > 0).then_some(self))
    }
}

fn article(id: i64, author: &str) -> Article {
    serde_json::from_value(article_row(id, author)).unwrap()
}

#[tokio::test]
async fn a_page_with_the_total_is_cached() {
    let rows = Rows::default().with("articles", article_row(7, "page"));
    let pool = PgPool::new(&rows);
    let mut conn = pool.acquire().await.unwrap();
    let filter = ArticleFilter {
        author: Some("page".to_owned()),
        title: Some("One".to_owned()),
    };
    let page = Pagination {
        limit: 10,
        offset: 0,
    };
    let read = async || Article::list(&filter, page, &mut conn).await.unwrap();
    let update = async || {
        let mut tx = pool.begin().await.unwrap();
        article(8, "page").insert(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
    };
    is_cached_until(&rows, read, update).await;
    let (articles, total) = Article::list(&ArticleFilter::default(), page, &mut conn)
        .await
        .unwrap();
    assert_eq!((articles.len(), total), (2, 2));
}

#[tokio::test]
async fn a_filter_may_be_absent() {
    let rows = Rows::default().with("articles", article_row(9, "filter"));
    let pool = PgPool::new(&rows);
    for title in [None, Some("One")] {
        let read = async || Article::by_author(&pool, "filter", title).await.unwrap();
        let update = async || {
            let mut conn = pool.acquire().await.unwrap();
            article(10, "filter").insert(&mut conn).await.unwrap();
        };
        is_cached_until(&rows, read, update).await;
    }
}

#[tokio::test]
async fn a_tag_may_come_from_the_deleted_row() {
    let rows = Rows::default().with("articles", article_row(11, "gone"));
    let pool = PgPool::new(&rows);
    let read = async || Article::by_author(&pool, "gone", None).await.unwrap();
    let update = async || {
        let mut tx = pool.begin().await.unwrap();
        let deleted = article(11, "gone").delete(&mut tx).await.unwrap();
        assert!(deleted.is_some());
        tx.commit().await.unwrap();
    };
    is_cached_until(&rows, read, update).await;
}

#[tokio::test]
async fn a_map_by_a_slice_of_ids_is_cached() {
    let rows = Rows::default().with("articles", article_row(12, "map"));
    let pool = PgPool::new(&rows);
    let ids = [ArticleId(12), ArticleId(13)];
    let read = async || Article::titles(&pool, &ids).await.unwrap();
    let update = async || {
        let mut conn = pool.acquire().await.unwrap();
        article(13, "map").insert(&mut conn).await.unwrap();
    };
    is_cached_until(&rows, read, update).await;
}

// A repository that holds the pool, behind a trait.

trait FollowRepository {
    async fn is_following(&self, follower: UserId, followed: UserId) -> Result<bool, AppError>;
    async fn count_followers(&self, followed: UserId) -> sqlx::Result<i64>;
    async fn follow(&self, follower: UserId, followed: UserId) -> Result<(), AppError>;
}

#[derive(Clone)]
struct PgFollowRepository {
    pool: PgPool,
}

impl FollowRepository for PgFollowRepository {
    #[cached(key = "sqlx:follows:<follower>:<followed>", cache = cache())]
    async fn is_following(&self, follower: UserId, followed: UserId) -> Result<bool, AppError> {
        if follower == followed {
            return Ok(false);
        }
        let exists = sqlx::query_scalar(
            "SELECT exists(SELECT 1 FROM follows WHERE follower = $1 AND followed = $2)",
        )
        .bind(follower)
        .bind(followed)
        .fetch_one(&self.pool)
        .await?;
        Ok(exists)
    }

    #[cached(key = "sqlx:followers:<followed>", ttl = 10, cache = cache())]
    async fn count_followers(&self, followed: UserId) -> sqlx::Result<i64> {
        sqlx::query_scalar("SELECT count(*) FROM follows WHERE followed = $1")
            .bind(followed)
            .fetch_one(&self.pool)
            .await
    }

    #[cache_invalidate(
        "sqlx:follows:<follower>:<followed>",
        "sqlx:followers:<followed>",
        condition = follower != followed,
        cache = cache()
    )]
    async fn follow(&self, follower: UserId, followed: UserId) -> Result<(), AppError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("INSERT INTO follows (follower, followed) VALUES ($1, $2)")
            .bind(follower)
            .bind(followed)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

#[tokio::test]
async fn methods_behind_a_trait_are_cached() {
    let rows = Rows::default();
    let repository = PgFollowRepository {
        pool: PgPool::new(&rows),
    };
    let [one, two, three] = [14, 15, 16].map(|id| UserId(Uuid::from_u128(id)));
    let read = async || repository.is_following(one, two).await.unwrap();
    let update = async || repository.follow(one, two).await.unwrap();
    is_cached_until(&rows, read, update).await;
    let read = async || repository.count_followers(two).await.unwrap();
    let update = async || repository.follow(three, two).await.unwrap();
    is_cached_until(&rows, read, update).await;
}

/// A trait of which each entity implements its query.
trait SelectBySlug: Sized {
    const QUERY: &'static str;

    async fn select_by_slug<'e, E: PgExecutor<'e>>(
        executor: E,
        slug: &str,
    ) -> Result<Option<Self>, sqlx::Error>;
}

impl SelectBySlug for Article {
    const QUERY: &'static str = "SELECT * FROM articles WHERE slug = $1";

    #[cached(key = "sqlx:slug:<slug>", invalidate_on = "sqlx:article:<slug>", skip(executor, E), cache = cache())]
    async fn select_by_slug<'e, E: PgExecutor<'e>>(
        executor: E,
        slug: &str,
    ) -> Result<Option<Self>, sqlx::Error> {
        let query = sqlx::query_as(Self::QUERY).bind(slug);
        query.fetch_optional(executor).await
    }
}

#[tokio::test]
async fn a_generic_function_of_a_trait_is_cached() {
    let rows = Rows::default().with("articles", article_row(17, "trait"));
    let pool = PgPool::new(&rows);
    let read = async || Article::select_by_slug(&pool, "slug17").await.unwrap();
    let update = async || assert!(retitle(&pool, "slug17", "Two").await.unwrap());
    is_cached_until(&rows, read, update).await;
}
