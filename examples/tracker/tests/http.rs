//! The service, asked as a client asks it.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use cache_runtime::Cache;
use cache_tests::RedisServer;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::cache;
use crate::database;
use crate::entities::{ProjectId, TenantId, UserId};
use crate::http::{App, router};
use crate::tracker::Tracker;

const MOST_BYTES: usize = 100_000;

struct Client {
    service: Router,
    user: i64,
}

impl Client {
    async fn ask(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        self.ask_as(1, method, path, body).await
    }

    async fn ask_as(
        &self,
        tenant: i64,
        method: Method,
        path: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("x-tenant", tenant)
            .header("x-user", self.user)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let answer = self.service.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let bytes = to_bytes(answer.into_body(), MOST_BYTES).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, value) = self.ask(Method::GET, path, Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        value
    }

    async fn project(&self, slug: &str) -> ProjectId {
        let project = self.get(&format!("/projects/{slug}")).await;
        ProjectId(project["id"].as_i64().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_seen_by_the_next_request_in_a_process() {
    let cache = cache("memory:");
    a_change_is_seen_by_the_next_request(cache.clone(), cache).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_seen_by_the_next_request_on_a_server() {
    let server = RedisServer::start();
    a_change_is_seen_by_the_next_request(cache(&server.url()), cache(&server.url())).await;
}

/// `other` is the cache of a process that changes permissions.
async fn a_change_is_seen_by_the_next_request(cache: Cache, other: Cache) {
    let directory = tempfile::tempdir().unwrap();
    let pool = database::open(&directory.path().join("tracker.sqlite"))
        .await
        .unwrap();
    let app = App {
        pool: pool.clone(),
        cache: cache.clone(),
    };
    let client = Client {
        service: router(app),
        user: 1,
    };
    let website = client.project("website").await;
    let issue = client.get("/issues/1").await;
    assert_eq!(client.get("/issues/1").await, issue);
    assert!(cache.stats().hits > 0, "{:?}", cache.stats());
    let app = client.project("app").await;
    assert_eq!(issue["project"], app.0, "{issue}");
    let in_website = format!("/issues?project={}", website.0);
    let in_app = format!("/issues?project={}", app.0);

    let change = json!({ "title": "Another title", "project": website });
    let forbidden = client.ask(Method::PATCH, "/issues/1", change.clone()).await;
    assert_eq!(forbidden.0, StatusCode::FORBIDDEN);
    let tracker = Tracker::new(TenantId(1), &pool, &other);
    let grant = async |project| {
        let members = &tracker.members;
        let grant =
            tracker.transaction(async |tx| Ok(members.grant(tx, project, UserId(1)).await?));
        grant.await.unwrap();
    };
    grant(app).await;
    grant(website).await;
    assert_eq!(client.get(&in_app).await, json!([issue]));
    let changed = client.ask(Method::PATCH, "/issues/1", change).await;
    assert_eq!(changed.0, StatusCode::OK);
    assert_eq!(client.get("/issues/1").await["title"], "Another title");
    assert_eq!(client.get(&in_app).await, json!([]));
    assert_eq!(client.get(&in_website).await.as_array().unwrap().len(), 2);

    assert_eq!(client.get("/issues/1/labels").await, json!([]));
    let all = client.get(&in_website).await;
    let ids: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|issue| &issue["id"])
        .collect();
    let labels = json!({ "issues": ids, "labels": ["bug", "idea"] });
    let labelled = client.ask(Method::PATCH, "/labels", labels).await;
    assert_eq!(labelled.0, StatusCode::NO_CONTENT);
    let expected = json!([{ "name": "bug" }, { "name": "idea" }]);
    assert_eq!(client.get("/issues/1/labels").await, expected);

    let close = format!("/projects/{}/close", website.0);
    let closed = client.ask(Method::POST, &close, Value::Null).await;
    assert_eq!(closed, (StatusCode::OK, json!(2)));
    assert_eq!(client.get("/issues/1").await["open"], false);
    assert_eq!(client.get("/issues?open=true").await, json!([]));

    let removed = client
        .ask(Method::DELETE, "/projects/app", Value::Null)
        .await;
    assert_eq!(removed.0, StatusCode::NO_CONTENT);
    let removed = client.ask(Method::GET, "/projects/app", Value::Null).await;
    assert_eq!(removed.0, StatusCode::NOT_FOUND);

    let of_another_tenant = client
        .ask_as(2, Method::GET, "/issues/1", Value::Null)
        .await;
    assert_eq!(of_another_tenant.0, StatusCode::NOT_FOUND);
    let members = &tracker.members;
    let revoke = tracker.transaction(async |tx| Ok(members.revoke_user(tx, UserId(1)).await?));
    assert_eq!(revoke.await.unwrap().len(), 1);
    let forbidden = client.ask(Method::POST, &close, Value::Null).await;
    assert_eq!(forbidden.0, StatusCode::FORBIDDEN);
}
