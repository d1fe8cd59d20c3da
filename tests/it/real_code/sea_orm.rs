//! Code over `sea_orm`: entities, models, pages, relations, connections of any kind.

use std::sync::Arc;

use cache_runtime::{cache_invalidate, cached};
use serde_json::json;

use self::post::Entity as Post;
use self::user::Entity as User;
use super::stub::sea_orm::ActiveValue::Set;
use super::stub::sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseConnection, DbConn, DbErr, EntityTrait,
    Related,
};
use super::{Rows, cache, is_cached_until};

super::stub::sea_orm::entity!(user, { id Id: i32, name Name: String });
super::stub::sea_orm::entity!(post, {
    id Id: i32,
    user_id UserId: i32,
    title Title: String,
    published Published: bool,
});

impl Related<User> for Post {
    const COLUMN: &'static str = "user_id";
}

fn with_post(id: i32, user_id: i32) -> Rows {
    Rows::default()
        .with("user", json!({ "id": user_id, "name": "Ada" }))
        .with(
            "post",
            json!({ "id": id, "user_id": user_id, "title": "One", "published": true }),
        )
}

// The queries in one struct, and the mutations in another.

struct Query;

impl Query {
    #[cached(key = "orm:post:<id>", skip(db), cache = cache())]
    async fn find_post_by_id(db: &DbConn, id: i32) -> Result<Option<post::Model>, DbErr> {
        Post::find_by_id(id).one(db).await
    }

    /// If ok, returns (post models, num pages).
    #[cached(
        key = "orm:posts:<user_id>:<page>:<posts_per_page>",
        invalidate_on = "orm:user:<user_id>:posts",
        skip(db),
        cache = cache()
    )]
    async fn find_posts_in_page(
        db: &DbConn,
        user_id: i32,
        page: u64,
        posts_per_page: u64,
    ) -> Result<(Vec<post::Model>, u64), DbErr> {
        let paginator = Post::find()
            .filter(post::Column::UserId.eq(user_id))
            .paginate(db, posts_per_page);
        let num_pages = paginator.num_pages().await?;
        paginator.fetch_page(page - 1).await.map(|p| (p, num_pages))
    }

    #[cached(
        key = "orm:posts-with-users:<user_ids>",
        invalidate_on = "orm:posts",
        skip(db),
        cache = cache()
    )]
    async fn find_posts_with_users(
        db: &DbConn,
        user_ids: Vec<i32>,
    ) -> Result<Vec<(post::Model, Option<user::Model>)>, DbErr> {
        Post::find()
            .filter(post::Column::UserId.is_in(user_ids))
            .find_also_related(User)
            .all(db)
            .await
    }

    #[cached(
        key = "orm:post-count:<published>",
        invalidate_on = "orm:posts",
        skip(db, C),
        cache = cache()
    )]
    async fn count_posts<C>(db: &C, published: Option<bool>) -> Result<u64, DbErr>
    where
        C: ConnectionTrait,
    {
        let mut select = Post::find();
        if let Some(published) = published {
            select = select.filter(post::Column::Published.eq(published));
        }
        select.count(db).await
    }
}

struct Mutation;

impl Mutation {
    #[cache_invalidate("orm:posts", "orm:user:<form_data.user_id>:posts", cache = cache())]
    async fn create_post(db: &DbConn, form_data: post::Model) -> Result<post::Model, DbErr> {
        post::ActiveModel {
            id: Set(form_data.id),
            user_id: Set(form_data.user_id),
            title: Set(form_data.title),
            published: Set(form_data.published),
        }
        .insert(db)
        .await
    }

    #[cache_invalidate(
        "orm:post:<id>",
        "orm:posts",
        "orm:user:<result.user_id>:posts",
        cache = cache()
    )]
    async fn update_post_by_id(
        db: &DbConn,
        id: i32,
        form_data: post::Model,
    ) -> Result<post::Model, DbErr> {
        let post = Post::find_by_id(id)
            .one(db)
            .await?
            .ok_or(DbErr::RecordNotFound("Cannot find post.".to_owned()))?;

        post::ActiveModel {
            id: Set(post.id),
            title: Set(form_data.title),
            ..Default::default()
        }
        .update(db)
        .await
    }

    #[cache_invalidate("orm:post:<id>", cache = cache())]
    async fn delete_post<C: ConnectionTrait>(db: &C, id: i32) -> Result<u64, DbErr> {
        let deleted = Post::delete_by_id(id).exec(db).await?;
        Ok(deleted.rows_affected)
    }
}

fn form(id: i32, user_id: i32) -> post::Model {
    post::Model {
        id,
        user_id,
        title: "Two".to_owned(),
        published: false,
    }
}

#[tokio::test]
async fn a_model_by_id_is_cached() {
    let rows = with_post(1, 1);
    let db = DatabaseConnection::new(&rows);
    let read = async || Query::find_post_by_id(&db, 1).await.unwrap();
    let update = async || {
        let updated = Mutation::update_post_by_id(&db, 1, form(1, 1)).await;
        assert_eq!(updated.unwrap().title, "Two");
    };
    is_cached_until(&rows, read, update).await;
}

#[tokio::test]
async fn a_deletion_in_a_transaction_invalidates() {
    let rows = with_post(2, 2);
    let db = DatabaseConnection::new(&rows);
    let read = || Query::find_post_by_id(&db, 2);
    assert!(read().await.unwrap().is_some());
    let txn = db.begin().await.unwrap();
    assert_eq!(Mutation::delete_post(&txn, 2).await, Ok(1));
    txn.commit().await.unwrap();
    assert_eq!(read().await, Ok(None));
    let missing = Mutation::update_post_by_id(&db, 2, form(2, 2)).await;
    assert!(matches!(missing, Err(DbErr::RecordNotFound(_))));
}

#[tokio::test]
async fn a_page_of_models_is_cached() {
    let rows = with_post(3, 3);
    let db = DatabaseConnection::new(&rows);
    let read = async || Query::find_posts_in_page(&db, 3, 1, 1).await.unwrap();
    let update = async || {
        let created = Mutation::create_post(&db, form(4, 3)).await;
        assert!(created.is_ok());
    };
    is_cached_until(&rows, read, update).await;
    let (posts, pages) = Query::find_posts_in_page(&db, 3, 2, 1).await.unwrap();
    assert_eq!((posts[0].id, pages), (4, 2));
}

#[tokio::test]
async fn models_with_their_related_models_are_cached() {
    let rows = with_post(5, 5);
    let db = DatabaseConnection::new(&rows);
    let read = async || Query::find_posts_with_users(&db, vec![5, 6]).await.unwrap();
    let update = async || {
        Mutation::create_post(&db, form(6, 6)).await.unwrap();
    };
    is_cached_until(&rows, read, update).await;
}

#[tokio::test]
async fn a_count_over_any_connection_is_cached() {
    let rows = with_post(7, 7);
    let db = DatabaseConnection::new(&rows);
    let txn = db.begin().await.unwrap();
    for published in [None, Some(false)] {
        let read = async || Query::count_posts(&txn, published).await.unwrap();
        let update = async || {
            Mutation::create_post(&db, form(8, 7)).await.unwrap();
        };
        is_cached_until(&rows, read, update).await;
    }
}

// A repository generic over its connection, and a service over it.

struct UserRepository<C> {
    db: Arc<C>,
}

impl<C: ConnectionTrait> UserRepository<C> {
    #[cached(key = "orm:user:<id>", cache = cache())]
    async fn find(&self, id: i32) -> Result<user::Model, DbErr> {
        let user = User::find_by_id(id).one(&*self.db).await?;
        user.ok_or_else(|| DbErr::RecordNotFound(format!("user {id}")))
    }

    #[cached(key = "orm:name-taken:<name>", cache = cache())]
    async fn name_taken(&self, name: &str) -> Result<bool, DbErr> {
        let user = User::find()
            .filter(user::Column::Name.eq(name))
            .one(&*self.db);
        Ok(user.await?.is_some())
    }

    #[cache_invalidate("orm:user:<user.id>", "orm:name-taken:<name>", cache = cache())]
    async fn rename(&self, user: user::Model, name: String) -> Result<user::Model, DbErr> {
        let user = user::ActiveModel {
            id: Set(user.id),
            name: Set(name),
        };
        user.update(&*self.db).await
    }
}

#[tokio::test]
async fn a_method_of_a_generic_repository_is_cached() {
    let rows = with_post(9, 9);
    let users = UserRepository {
        db: Arc::new(DatabaseConnection::new(&rows)),
    };
    let model = users.find(9).await.unwrap();
    let read = async || users.name_taken("Grace").await.unwrap();
    let update = async || {
        let renamed = users.rename(model, "Grace".to_owned()).await;
        assert_eq!(renamed.unwrap().name, "Grace");
    };
    is_cached_until(&rows, read, update).await;
    assert_eq!(users.find(9).await.unwrap().name, "Grace");
}
