//! The router, asked without a connection: what it answers to which requests.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::request::Builder;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cache_dashboard::{Authorise, Dashboard, Open, basic_auth, bearer, loopback_only};
use cache_runtime::{Cache, Options, cached};
use cache_tests::RedisServer;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt as _;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    age: u32,
}

#[cached(key = "user:<id>", ttl = 60, version = 3, invalidate_on = "users", cache = cache, skip(cache))]
async fn find_user(id: u64, cache: &Cache) -> User {
    User {
        name: format!("user {id}"),
        age: 36,
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert_eq!(
            self.headers["content-type"], "application/json",
            "{}",
            self.text
        );
        serde_json::from_str(&self.text).expect(&self.text)
    }

    /// The parts of an error, none of which is empty.
    fn error(&self) -> (StatusCode, String) {
        let error = &self.json()["error"];
        for part in ["what", "where", "how_to_mend"] {
            assert!(
                error[part].as_str().is_some_and(|it| !it.is_empty()),
                "{}",
                self.text
            );
        }
        (
            self.status,
            error["what"].as_str().unwrap_or_default().to_owned(),
        )
    }
}

async fn send(app: &Router, request: Builder, body: &str) -> Answer {
    let request = request
        .body(Body::from(body.to_owned()))
        .expect("a request");
    let response = app.clone().oneshot(request).await.expect("an answer");
    let (head, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.expect("a body");
    Answer {
        status: head.status,
        headers: head.headers,
        text: String::from_utf8(bytes.to_vec()).expect("text"),
    }
}

async fn get(app: &Router, path: &str) -> Answer {
    send(app, Request::get(path).header("host", "localhost"), "").await
}

async fn post(app: &Router, path: &str, body: Value) -> Answer {
    let request = Request::post(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("origin", "http://localhost")
        .header("sec-fetch-site", "same-origin");
    send(app, request, &body.to_string()).await
}

fn in_process() -> Cache {
    Cache::builder()
        .url("memory:")
        .jitter(0.0)
        .build()
        .expect("a cache")
}

fn at(server: &RedisServer) -> Cache {
    Cache::builder()
        .url(server.url())
        .jitter(0.0)
        .build()
        .expect("a cache")
}

/// A dashboard that may do everything.
fn whole(cache: &Cache) -> Router {
    Dashboard::new(cache.clone(), Open)
        .show_values(true)
        .editable(true)
        .router()
}

const PATHS: [&str; 9] = [
    "/",
    "/page.js",
    "/page.css",
    "/icon.svg",
    "/api/stats",
    "/api/health",
    "/api/functions",
    "/api/servers",
    "/api/inspect?name=user%3A42",
];

#[tokio::test]
async fn the_authoriser_is_asked_before_anything_is_answered() {
    let refuse: [Box<dyn Fn() -> Router>; 4] = [
        Box::new(|| {
            Dashboard::new(in_process(), |_: &_| false)
                .editable(true)
                .router()
        }),
        Box::new(|| Dashboard::new(in_process(), basic_auth("ops", "secret")).router()),
        Box::new(|| Dashboard::new(in_process(), bearer("secret")).router()),
        Box::new(|| Dashboard::new(in_process(), loopback_only()).router()),
    ];
    for (at, app) in refuse.iter().enumerate() {
        let app = app();
        for path in PATHS
            .into_iter()
            .chain(["/nothing/is/here", "/api/invalidate"])
        {
            for method in [
                Method::GET,
                Method::POST,
                Method::HEAD,
                Method::OPTIONS,
                Method::DELETE,
            ] {
                let request = Request::builder().method(method.clone()).uri(path);
                let answer = send(&app, request, "{\"clear\":true}").await;
                let expected = if at == 1 || at == 2 {
                    StatusCode::UNAUTHORIZED
                } else {
                    StatusCode::FORBIDDEN
                };
                assert_eq!(answer.status, expected, "{method} {path}");
                assert_eq!(
                    answer.headers.contains_key("www-authenticate"),
                    at == 1 || at == 2
                );
                if method != Method::HEAD {
                    assert!(answer.error().1.contains("not authorised"));
                }
                assert_headers(&answer);
            }
        }
    }
}

#[tokio::test]
async fn a_person_that_is_refused_gets_a_page_without_any_of_the_dashboard() {
    let app = Dashboard::new(in_process(), |_: &_| {
        cache_dashboard::Verdict::deny("<b>sign in</b>")
    });
    let app: Router = app.router();
    let answer = send(&app, Request::get("/").header("accept", "text/html"), "").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.text.contains("&lt;b&gt;sign in&lt;/b&gt;") && !answer.text.contains("page.js"));
    assert_headers(&answer);
}

#[tokio::test]
async fn credentials_let_a_request_in() {
    let app: Router = Dashboard::new(in_process(), basic_auth("ops", "secret")).router();
    let with = |header: &'static str| Request::get("/api/stats").header("authorization", header);
    assert_eq!(
        send(&app, with("Basic b3BzOnNlY3JldA=="), "").await.status,
        StatusCode::OK
    );
    assert_eq!(
        send(&app, with("Basic b3BzOnNlY3JlVA=="), "").await.status,
        StatusCode::UNAUTHORIZED
    );

    let app: Router = Dashboard::new(in_process(), loopback_only()).router();
    let peer: SocketAddr = "127.0.0.1:4000".parse().expect("an address");
    let from_here = |host| {
        Request::get("/")
            .header("host", host)
            .extension(ConnectInfo(peer))
    };
    assert_eq!(
        send(&app, from_here("localhost:3000"), "").await.status,
        StatusCode::OK
    );
    assert_eq!(
        send(&app, from_here("evil.example"), "").await.status,
        StatusCode::FORBIDDEN
    );
}

fn assert_headers(answer: &Answer) {
    let policy = answer.headers["content-security-policy"]
        .to_str()
        .expect("text");
    assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert!(!policy.contains("unsafe"));
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(answer.headers[name], value);
    }
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn every_response_has_the_headers_and_is_of_its_kind() {
    let app = whole(&in_process());
    for (path, kind) in
        PATHS
            .into_iter()
            .zip(["text/html", "text/javascript", "text/css", "image/svg"])
    {
        let answer = get(&app, path).await;
        assert!(
            answer.headers["content-type"]
                .to_str()
                .expect("text")
                .starts_with(kind),
            "{path}"
        );
    }
    for path in PATHS {
        let answer = get(&app, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        assert_headers(&answer);
        // With a body, or without one.
        let head = send(&app, Request::head(path), "").await;
        assert_eq!(
            (head.status, head.text.as_str()),
            (StatusCode::OK, ""),
            "{path}"
        );
    }
    for answer in [
        get(&app, "/nothing").await,
        get(&app, "/api/set").await,
        post(&app, "/api/set", json!({})).await,
        get(&app, "/api/inspect").await,
    ] {
        assert_headers(&answer);
        answer.error();
    }
    let page = get(&app, "/").await.text;
    for inline in [
        "<style",
        "style=",
        "onclick",
        "javascript:",
        "http://",
        "https://",
    ] {
        assert!(!page.contains(inline), "{inline}");
    }
    assert!(!page.contains("=\"/"), "its addresses are relative");
}

/// The headers of a request, and whether it may change something.
const ORIGINS: [(&[(&str, &str)], bool); 11] = [
    // What another site can have a browser send.
    (
        &[
            ("host", "dash"),
            ("content-type", "application/json"),
            ("sec-fetch-site", "cross-site"),
        ],
        false,
    ),
    (
        &[
            ("host", "dash"),
            ("content-type", "application/json"),
            ("sec-fetch-site", "same-site"),
        ],
        false,
    ),
    (
        &[
            ("host", "dash"),
            ("content-type", "application/json"),
            ("sec-fetch-site", "none"),
        ],
        false,
    ),
    (
        &[
            ("host", "dash"),
            ("content-type", "application/json"),
            ("origin", "http://evil"),
        ],
        false,
    ),
    (
        &[
            ("host", "dash"),
            ("content-type", "application/json"),
            ("origin", "null"),
        ],
        false,
    ),
    (
        &[
            ("host", "dash"),
            ("content-type", "application/json"),
            ("origin", "http://dash:81"),
        ],
        false,
    ),
    (
        &[
            ("host", "dash"),
            ("content-type", "text/plain"),
            ("origin", "http://dash"),
        ],
        false,
    ),
    (
        &[
            ("host", "dash"),
            ("content-type", "application/x-www-form-urlencoded"),
        ],
        false,
    ),
    (&[("host", "dash")], false),
    // The page, behind a proxy that names another host; and a program.
    (
        &[
            ("host", "inner"),
            ("content-type", "application/json"),
            ("origin", "https://dash"),
            ("sec-fetch-site", "same-origin"),
        ],
        true,
    ),
    (
        &[
            ("host", "dash"),
            ("content-type", "application/json; charset=utf-8"),
        ],
        true,
    ),
];

#[tokio::test]
async fn another_site_changes_nothing() {
    let cache = in_process();
    cache.set("user:42", &1, Options::new()).await.expect("set");
    let app = whole(&cache);
    let body = r#"{"clear":true}"#;
    for (headers, is_allowed) in ORIGINS {
        let request = headers
            .iter()
            .fold(Request::post("/api/invalidate"), |it, (name, value)| {
                it.header(*name, *value)
            });
        let answer = send(&app, request, body).await;
        if is_allowed {
            assert_eq!(
                answer.status,
                StatusCode::OK,
                "{headers:?}: {}",
                answer.text
            );
            cache.set("user:42", &1, Options::new()).await.expect("set");
        } else {
            assert_eq!(answer.error().0, StatusCode::FORBIDDEN, "{headers:?}");
        }
        assert!(cache.exists("user:42").await.expect("asked"), "{headers:?}");
    }
}

#[tokio::test]
async fn it_shows_no_value_and_changes_nothing_unless_it_is_told_to() {
    let cache = in_process();
    cache
        .set("user:42", &"personal".to_owned(), Options::new())
        .await
        .expect("set");
    let app: Router = Dashboard::new(cache.clone(), Open).router();
    let answer = get(&app, "/api/inspect?name=user%3A42").await;
    assert!(!answer.text.contains("personal"));
    assert_eq!(answer.json()["entry"]["value"]["form"], "hidden");
    for (path, body) in [
        ("/api/invalidate", json!({ "names": ["user:42"] })),
        ("/api/expire", json!({ "names": ["user:42"] })),
        ("/api/set", json!({ "name": "user:42", "json": "1" })),
    ] {
        let (status, what) = post(&app, path, body).await.error();
        assert_eq!(
            (status, what.as_str()),
            (StatusCode::FORBIDDEN, "this dashboard changes nothing")
        );
    }
    assert!(cache.exists("user:42").await.expect("asked"));
    let app = whole(&cache);
    let shown = get(&app, "/api/inspect?name=user%3A42").await.json();
    assert_eq!(shown["entry"]["value"]["text"], "\"personal\"");
}

#[tokio::test]
async fn it_may_be_nested_at_any_path() {
    for (prefix, folder) in [
        ("/cache", "./cache/"),
        ("/ops/tools/cache%20%22a:b", "./cache%20%22a:b/"),
    ] {
        let app: Router = Router::new().nest(prefix, whole(&in_process()));
        let page = get(&app, prefix).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.text.contains(&format!("src=\"{folder}page.js\"")));
        for path in &PATHS[1..] {
            let answer = get(&app, &format!("{prefix}{path}")).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
        }
        let nothing = get(&app, &format!("{prefix}/nothing")).await;
        assert_eq!(nothing.error().0, StatusCode::NOT_FOUND);
    }
    // As a service, it is asked for both.
    let app: Router = Router::new().nest_service("/cache", whole(&in_process()));
    for (path, script) in [("/cache", "./cache/page.js"), ("/cache/", "page.js")] {
        let page = get(&app, path).await.text;
        assert!(page.contains(&format!("src=\"{script}\"")), "{path}");
    }
    assert!(
        get(&whole(&in_process()), "/")
            .await
            .text
            .contains("src=\"page.js\"")
    );
}

#[tokio::test]
async fn requests_that_make_no_sense_are_told_what_would() {
    let app = whole(&in_process());
    for (path, body) in [
        ("/api/invalidate", json!({})),
        ("/api/invalidate", json!({ "names": [] })),
        ("/api/invalidate", json!({ "names": ["a"], "clear": true })),
        ("/api/invalidate", json!({ "clear": false })),
        ("/api/invalidate", json!({ "name": "a" })),
        ("/api/expire", json!({ "names": 7 })),
        ("/api/set", json!({ "name": "a", "json": "1", "ttl": 0 })),
        ("/api/set", json!({ "name": "a", "json": "1", "ttl": -1 })),
    ] {
        assert_eq!(
            post(&app, path, body.clone()).await.error().0,
            StatusCode::BAD_REQUEST,
            "{path} {body}"
        );
    }
    assert_eq!(
        post(&app, "/api/expire", json!({ "names": [""] }))
            .await
            .error()
            .0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        get(&app, "/api/inspect?name=").await.error().0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        get(&app, "/api/clear").await.error().0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        get(&app, "/api/invalidate").await.error().0,
        StatusCode::METHOD_NOT_ALLOWED
    );
    let large = json!({ "names": ["x".repeat(2 << 20)] });
    assert_eq!(
        post(&app, "/api/invalidate", large).await.error().0,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let (status, what) = post(&app, "/api/set", json!({ "name": "a", "json": "1" }))
        .await
        .error();
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        what.contains("in this process it is a Rust value"),
        "{what}"
    );
}

#[tokio::test]
async fn an_edited_value_is_served_to_the_function_with_its_tags_type_and_schema() {
    let server = RedisServer::start();
    let cache = at(&server);
    let app = whole(&cache);
    find_user(7, &cache).await;
    let shown = get(&app, "/api/inspect?name=user%3A7").await.json();
    assert_eq!(shown["entry"]["schema"], 3);
    assert!(
        shown["entry"]["value_type"]
            .as_str()
            .expect("a type")
            .ends_with("User")
    );
    assert_eq!(shown["entry"]["tags"][0]["name"], "users");

    let json = r#"{ "name": "Ada <script>alert(1)</script>", "age": 4294967295 }"#;
    let set = post(
        &app,
        "/api/set",
        json!({ "name": "user:7", "json": json, "ttl": 30 }),
    )
    .await;
    assert!(
        set.json()["why"]
            .as_str()
            .expect("text")
            .starts_with("It would be served"),
        "{}",
        set.text
    );
    let user = find_user(7, &cache).await;
    assert_eq!(
        (user.name.as_str(), user.age),
        ("Ada <script>alert(1)</script>", u32::MAX)
    );
    assert_eq!(cache.stats().loads, 1, "it was a hit");

    post(&app, "/api/invalidate", json!({ "names": ["users"] }))
        .await
        .json();
    let shown = get(&app, "/api/inspect?name=user%3A7").await.json();
    assert_eq!(shown["would_be_served"], false);
    assert_eq!(
        shown["why"],
        "It would not be served: the tag `users` was invalidated after it was loaded."
    );
    assert_eq!(find_user(7, &cache).await.age, 36);

    for invalid in ["{", "1 2", ""] {
        let set = post(
            &app,
            "/api/set",
            json!({ "name": "user:7", "json": invalid }),
        )
        .await;
        assert_eq!(set.error().0, StatusCode::UNPROCESSABLE_ENTITY);
    }
    // What the function cannot read is replaced by what it loads.
    post(&app, "/api/set", json!({ "name": "user:7", "json": "[1]" }))
        .await
        .json();
    assert_eq!(find_user(7, &cache).await.age, 36);
}

#[tokio::test]
async fn names_are_invalidated_by_key_tag_pattern_and_all_at_once() {
    let server = RedisServer::start();
    for cache in [in_process(), at(&server)] {
        let app = whole(&cache);
        for (body, expected) in [
            (json!({ "names": ["user:1"] }), json!({ "invalidated": 1 })),
            (json!({ "names": ["users"] }), json!({ "invalidated": 1 })),
            (json!({ "pattern": "user:*" }), json!({ "removed": 1 })),
            (json!({ "clear": true }), json!({ "cleared": true })),
        ] {
            find_user(1, &cache).await;
            assert_eq!(
                post(&app, "/api/invalidate", body.clone()).await.json(),
                expected
            );
            assert!(!cache.exists("user:1").await.expect("asked"), "{body}");
        }
        find_user(1, &cache).await;
        assert_eq!(
            post(&app, "/api/expire", json!({ "names": ["user:1"] }))
                .await
                .json(),
            json!({ "expired": 1 })
        );
        assert!(!cache.exists("user:1").await.expect("asked"));
    }
}

#[tokio::test]
async fn no_response_has_a_secret() {
    const SECRET: &str = "s3cretpassword";
    let server = RedisServer::builder().password(SECRET).start();
    let right = server.url();
    assert!(right.contains(SECRET));
    let port = server.port();
    let urls = [
        right,
        format!("redis://user:{SECRET}@127.0.0.1:{port}"),
        format!("redis://:wrong{SECRET}@127.0.0.1:{port}"),
        format!("redis://:{SECRET}@127.0.0.1:1"),
        format!("redis-cluster://:{SECRET}@127.0.0.1:1"),
    ];
    for (at, url) in urls.iter().enumerate() {
        let built = Cache::builder()
            .url(url)
            .op_timeout(Duration::from_secs(2))
            .build();
        let Ok(cache) = built else {
            continue;
        };
        let app = whole(&cache);
        find_user(1, &cache).await;
        for path in PATHS {
            let answer = get(&app, path).await;
            assert!(!answer.text.contains(SECRET), "{path}: {}", answer.text);
        }
        for (path, body) in [
            ("/api/invalidate", json!({ "names": ["user:1"] })),
            ("/api/invalidate", json!({ "pattern": "user:*" })),
            ("/api/invalidate", json!({ "clear": true })),
            ("/api/expire", json!({ "names": ["user:1"] })),
            ("/api/set", json!({ "name": "user:1", "json": "1" })),
        ] {
            let answer = post(&app, path, body).await;
            assert!(!answer.text.contains(SECRET), "{path}: {}", answer.text);
            if at > 0 {
                assert_eq!(answer.error().0, StatusCode::BAD_GATEWAY, "{url} {path}");
            }
        }
        let health = get(&app, "/api/health").await.json();
        assert_eq!(health["how_to_mend"].is_null(), at == 0, "{health}");
        assert!(!format!("{cache:?}").contains(SECRET));
    }
}

#[tokio::test]
async fn a_cache_that_is_off_says_so() {
    let app = whole(&Cache::builder().url("off:").build().expect("a cache"));
    assert_eq!(get(&app, "/api/servers").await.json()["is_off"], true);
    let shown = get(&app, "/api/inspect?name=a").await.json();
    assert!(
        shown["why"]
            .as_str()
            .expect("text")
            .contains("this cache is off")
    );
}

/// The documentation's examples have the fields of the answers, and of the same kinds.
#[tokio::test]
async fn the_documentation_shows_what_is_answered() {
    let server = RedisServer::start();
    let cache = at(&server);
    let app = whole(&cache);
    find_user(42, &cache).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let text = include_str!("../docs/api.md");
    let mut seen = 0;
    let mut asked = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("```json\n") {
        let (example, after) = after.split_once("```").expect("the end of an example");
        rest = after;
        let named = before
            .split('`')
            .find(|it| it.starts_with("GET ") || it.starts_with("POST "));
        if let Some(named) = named {
            asked = named.to_owned();
        }
        let expected: Value = serde_json::from_str(example).expect(example);
        let answer = if expected.get("error").is_some() {
            post(
                &Dashboard::new(cache.clone(), Open).router(),
                "/api/set",
                json!({}),
            )
            .await
        } else if let Some(path) = asked.strip_prefix("GET ") {
            get(&app, &format!("/{path}")).await
        } else {
            let path = asked.strip_prefix("POST ").expect("a method");
            let body = match (
                path,
                expected
                    .as_object()
                    .and_then(|it| it.keys().next())
                    .map(String::as_str),
            ) {
                ("api/invalidate", Some("invalidated")) => json!({ "names": ["user:42", "users"] }),
                ("api/invalidate", Some("removed")) => json!({ "pattern": "user:*" }),
                ("api/invalidate", _) => json!({ "clear": true }),
                ("api/expire", _) => json!({ "names": ["user:42"] }),
                _ => {
                    json!({ "name": "user:42", "json": "{ \"name\": \"Ada\" }", "ttl": 60, "tags": [] })
                }
            };
            post(&app, &format!("/{path}"), body).await
        };
        let mut answer = answer.json();
        // Those of the tests' library were not called.
        if let Some(Value::Array(functions)) = answer.get_mut("functions") {
            functions.retain(|function| function["called"] == true);
        }
        assert_same_shape(&asked, &expected, &answer);
        seen += 1;
    }
    assert_eq!(seen, 11);
}

fn assert_same_shape(at: &str, example: &Value, answer: &Value) {
    match (example, answer) {
        (Value::Object(example), Value::Object(answer)) => {
            let keys = |object: &serde_json::Map<String, Value>| {
                object.keys().cloned().collect::<Vec<_>>()
            };
            assert_eq!(keys(example), keys(answer), "{at}");
            for (key, value) in example {
                assert_same_shape(&format!("{at}.{key}"), value, &answer[key]);
            }
        }
        (Value::Array(example), Value::Array(answer)) => {
            for (one, other) in example.iter().zip(answer) {
                assert_same_shape(at, one, other);
            }
        }
        (Value::Null, _) | (_, Value::Null) => {}
        (example, answer) => {
            assert_eq!(
                std::mem::discriminant(example),
                std::mem::discriminant(answer),
                "{at}: {example} {answer}"
            );
        }
    }
}

/// The picture in the documentation is the one in the README.
#[test]
fn both_pictures_are_one() {
    let text = include_str!("../docs/overview.base64");
    assert!(STANDARD.encode(include_bytes!("../docs/overview.png")) == text);
}

/// An authoriser may be a type of the program's own.
#[tokio::test]
async fn an_authoriser_may_be_a_type() {
    struct Sessions;
    impl Authorise for Sessions {
        fn authorise(&self, request: &axum::http::request::Parts) -> cache_dashboard::Verdict {
            (request
                .headers
                .get("cookie")
                .is_some_and(|it| it == "session=7"))
            .into()
        }
    }
    let app: Router = Dashboard::new(in_process(), Sessions).router();
    let with = Request::get("/").header("cookie", "session=7");
    assert_eq!(send(&app, with, "").await.status, StatusCode::OK);
    assert_eq!(get(&app, "/").await.status, StatusCode::FORBIDDEN);
}
