//! What the middleware does with the store.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use cache_runtime::Cache;
use cache_tests::{RedisServer, patient};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use super::{Payment, service};

/// A browser with one cookie.
struct Browser {
    service: Router,
    cookie: String,
}

impl Browser {
    async fn asks(&mut self, method: &str, path: &str) -> (StatusCode, String) {
        let answer = self.request(method, path).await;
        self.keep_cookie(&answer);
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn request(&self, method: &str, path: &str) -> impl Future<Output = Response> + use<> {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(COOKIE, &self.cookie).body(Body::empty());
        let service = self.service.clone();
        async move { service.oneshot(request.unwrap()).await.unwrap() }
    }

    fn keep_cookie(&mut self, answer: &Response) {
        if let Some(cookie) = answer.headers().get(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            self.cookie = cookie.split(';').next().unwrap().to_owned();
        }
    }

    fn session_id(&self) -> &str {
        self.cookie.strip_prefix("id=").unwrap()
    }
}

fn open(cache: &Cache) -> (Browser, mpsc::Receiver<Payment>) {
    let (payments, orders) = mpsc::channel(1);
    let browser = Browser {
        service: service(cache, payments).unwrap(),
        cookie: String::new(),
    };
    (browser, orders)
}

async fn users_log_in_and_out(cache: Cache) {
    let (mut browser, _orders) = open(&cache);
    assert_eq!(browser.asks("GET", "/me").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(browser.asks("POST", "/login/ada").await.0, StatusCode::OK);
    let me = browser.asks("GET", "/me").await;
    assert_eq!(me, (StatusCode::OK, "ada".to_owned()));

    // Another log-in takes another id, and the one before is gone.
    let before = browser.session_id().to_owned();
    browser.asks("POST", "/login/grace").await;
    assert_ne!(browser.session_id(), before);
    let texts = cache.strings("web").unwrap();
    assert_eq!(texts.get(&before).await.unwrap(), None);
    let stored = texts.get(browser.session_id()).await.unwrap().unwrap();
    assert!(
        stored.starts_with(r#"{"data":{"user":"grace"},"#),
        "{stored}"
    );

    // Another process, as after a deploy, with the same cookie.
    let (mut other, _orders) = open(&cache);
    other.cookie.clone_from(&browser.cookie);
    assert_eq!(other.asks("GET", "/me").await.1, "grace");

    let id = browser.session_id().to_owned();
    assert_eq!(browser.asks("POST", "/logout").await.0, StatusCode::OK);
    assert_eq!(texts.get(&id).await.unwrap(), None);
    assert_eq!(other.asks("GET", "/me").await.0, StatusCode::UNAUTHORIZED);
}

async fn a_log_out_during_a_slow_request_is_final(cache: Cache) {
    let (mut browser, mut orders) = open(&cache);
    browser.asks("POST", "/login/ada").await;
    let (cookie, id) = (browser.cookie.clone(), browser.session_id().to_owned());
    let paying = tokio::spawn(browser.request("POST", "/pay"));
    // The request has loaded its session, and waits.
    let payment = orders.recv().await.unwrap();
    assert_eq!(browser.asks("POST", "/logout").await.0, StatusCode::OK);
    payment.is_made.send(()).unwrap();

    let paid = paying.await.unwrap();
    assert_eq!(paid.status(), StatusCode::OK, "the payment was made");
    assert_eq!(cache.strings("web").unwrap().get(&id).await.unwrap(), None);
    // Neither the cookie from before nor the one that the slow request set is of a session.
    browser.keep_cookie(&paid);
    for cookie in [browser.cookie.clone(), cookie] {
        browser.cookie = cookie;
        assert_eq!(browser.asks("GET", "/me").await.0, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn users_log_in_and_out_in_the_process() {
    users_log_in_and_out(Cache::builder().url("memory:").build().unwrap()).await;
}

#[tokio::test]
async fn users_log_in_and_out_on_a_server() {
    let server = RedisServer::start();
    users_log_in_and_out(patient(&server.url()).build().unwrap()).await;
}

#[tokio::test]
async fn a_log_out_during_a_slow_request_is_final_in_the_process() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    a_log_out_during_a_slow_request_is_final(cache).await;
}

#[tokio::test]
async fn a_log_out_during_a_slow_request_is_final_on_a_server() {
    let server = RedisServer::start();
    a_log_out_during_a_slow_request_is_final(patient(&server.url()).build().unwrap()).await;
}

#[tokio::test]
async fn without_the_server_a_user_is_not_taken_for_logged_out() {
    let mut server = RedisServer::start();
    let (mut browser, _orders) = open(&patient(&server.url()).build().unwrap());
    browser.asks("POST", "/login/ada").await;
    let cookie = browser.cookie.clone();
    server.kill();
    let answer = browser.asks("GET", "/me").await;
    assert_eq!(answer.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(browser.cookie, cookie, "it is not taken away");
}

#[test]
fn without_a_cache_the_program_does_not_start() {
    let cache = Cache::builder().url("off:").build().unwrap();
    assert!(service(&cache, mpsc::channel(1).0).is_err());
}
