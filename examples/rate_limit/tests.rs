//! What clients are told.

use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use cache_runtime::Cache;
use cache_tests::{RedisServer, patient};
use serde_json::Value;
use tower::ServiceExt as _;

use super::service;

async fn ask(service: &Router, address: u8, user: &str, path: &str) -> Response {
    let mut request = Request::get(path).header("x-user", user);
    let address = SocketAddr::from(([203, 0, 113, address], 1));
    request = request.extension(ConnectInfo(address));
    let request = request.body(Body::empty()).unwrap();
    service.clone().oneshot(request).await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    let value = response.headers().get(name)?;
    Some(value.to_str().unwrap())
}

/// Of each member of the list `RateLimit`: its name, what is left, and the window.
fn limits(response: &Response) -> Vec<(String, u32, u64)> {
    let list = header(response, "ratelimit").unwrap();
    let limit = |item: &str| {
        let (name, rest) = item.strip_prefix('"').unwrap().split_once("\";r=").unwrap();
        let (left, window) = rest.split_once(";t=").unwrap();
        let (left, window) = (left.parse().unwrap(), window.parse().unwrap());
        (name.to_owned(), left, window)
    };
    list.split(", ").map(limit).collect()
}

fn left(response: &Response) -> Vec<(String, u32)> {
    let limits = limits(response).into_iter();
    limits.map(|(name, left, _)| (name, left)).collect()
}

fn named(limits: &[(&str, u32)]) -> Vec<(String, u32)> {
    let limits = limits.iter();
    limits
        .map(|(name, left)| ((*name).to_owned(), *left))
        .collect()
}

/// The policy that refused, and after how many seconds it says to try again.
async fn refused(response: Response) -> (String, Option<u64>) {
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let kind = header(&response, "content-type");
    assert_eq!(kind, Some("application/problem+json"));
    let after = header(&response, "retry-after").map(|after| after.parse().unwrap());
    let limits = limits(&response);
    let [(name, _, window)] = &limits[..] else {
        panic!("it tells of the one that refused: {limits:?}")
    };
    assert!(after.is_none_or(|after| after == *window && after > 0));
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let problem: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["violated-policies"][0], **name);
    (name.clone(), after)
}

async fn all_are_told_what_is_left(cache: Cache) {
    let service = service(&cache);
    let first = ask(&service, 1, "ada", "/search/a").await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(
        header(&first, "ratelimit-policy"),
        Some(r#""address";q=100;w=3600, "user";q=20;w=3600, "route";q=60;w=3600"#)
    );
    let expected = named(&[("address", 99), ("user", 19), ("route", 59)]);
    assert_eq!(left(&first), expected);
    assert!(limits(&first).iter().all(|(_, _, window)| *window > 0));
    assert_eq!(header(&first, "retry-after"), None);

    // Another user at the same address, and another route.
    let other = ask(&service, 1, "grace", "/exports/7").await;
    let expected = named(&[("address", 98), ("user", 13), ("route", 59)]);
    assert_eq!(left(&other), expected);
    // What the router does not know has no route, and is limited by address all the same.
    let unknown = ask(&service, 1, "", "/none").await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert_eq!(left(&unknown)[0], ("address".to_owned(), 97));
}

async fn each_limit_refuses(cache: Cache) {
    let service = service(&cache);
    for _ in 0..20 {
        let answer = ask(&service, 1, "ada", "/search/a").await;
        assert_eq!(answer.status(), StatusCode::OK);
    }
    let (policy, after) = refused(ask(&service, 1, "ada", "/search/b").await).await;
    assert!(policy == "user" && after.is_some());
    // From any address.
    let (policy, _) = refused(ask(&service, 2, "ada", "/search/b").await).await;
    assert_eq!(policy, "user");

    // Others go on, up to the limit of the route.
    for nth in 0..40 {
        let user = format!("user{nth}");
        let answer = ask(&service, 3, &user, "/search/a").await;
        assert_eq!(answer.status(), StatusCode::OK);
    }
    let (policy, after) = refused(ask(&service, 3, "grace", "/search/c").await).await;
    assert!(policy == "route" && after.is_some());
    let other_route = ask(&service, 3, "grace", "/exports/1").await;
    assert_eq!(other_route.status(), StatusCode::OK);

    // This address has asked 42 times, refused or not.
    for _ in 42..100 {
        ask(&service, 3, "grace", "/search/d").await;
    }
    let (policy, _) = refused(ask(&service, 3, "joan", "/exports/1").await).await;
    assert_eq!(policy, "address");
}

async fn what_is_never_allowed_is_not_to_be_tried_again(cache: Cache) {
    let service = service(&cache);
    let never = ask(&service, 1, "ada", "/exports/21").await;
    assert_eq!(left(&never), named(&[("user", 20)]));
    assert_eq!(refused(never).await, ("user".to_owned(), None));
    // It has counted for nothing, so this much is allowed.
    let most = ask(&service, 1, "ada", "/exports/20").await;
    assert_eq!(most.status(), StatusCode::OK);
    let (policy, after) = refused(ask(&service, 1, "ada", "/exports/20").await).await;
    assert!(policy == "user" && after.is_some());
}

macro_rules! in_process_and_on_a_server {
    ($($test:ident)+) => {
        mod in_process {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Cache::builder().url("memory:").build().unwrap()).await;
            })+
        }

        mod on_a_server {
            $(#[tokio::test]
            async fn $test() {
                let server = super::RedisServer::start();
                super::$test(super::patient(&server.url()).build().unwrap()).await;
            })+
        }
    };
}

in_process_and_on_a_server! {
    all_are_told_what_is_left
    each_limit_refuses
    what_is_never_allowed_is_not_to_be_tried_again
}

#[tokio::test]
async fn processes_count_together_and_each_for_itself_without_the_server() {
    let mut server = RedisServer::start();
    let cache = || patient(&server.url()).build().unwrap();
    let [one, other] = [service(&cache()), service(&cache())];
    for nth in 1..=10 {
        for service in [&one, &other] {
            ask(service, 1, "ada", "/search/a").await;
        }
        let asked = ask(&one, 1, "grace", "/none").await;
        assert_eq!(left(&asked)[0], ("address".to_owned(), 100 - 3 * nth));
    }
    let (policy, _) = refused(ask(&other, 1, "ada", "/search/a").await).await;
    assert_eq!(policy, "user");
    server.kill();
    for service in [&one, &other] {
        for _ in 0..20 {
            let answer = ask(service, 2, "ada", "/search/a").await;
            assert_eq!(answer.status(), StatusCode::OK);
        }
        let (policy, _) = refused(ask(service, 2, "ada", "/search/a").await).await;
        assert_eq!(policy, "user");
    }
}
