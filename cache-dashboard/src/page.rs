//! The page, and what it is made of. All of it is in the program.

use axum::extract::OriginalUri;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};

/// The page. Its addresses are relative, since a proxy may have taken a part of the path away. A router that
/// is nested at `/ops/cache` is asked for that path, without a `/` at its end. From there, what the page
/// is made of is in `cache/`.
pub(crate) async fn page(OriginalUri(uri): OriginalUri) -> Response {
    let last = uri.path().rsplit('/').next().unwrap_or_default();
    let folder = if last.is_empty() {
        String::new()
    } else {
        // With a dot, since a name may have a colon in it, as a scheme has.
        format!("./{}/", last.replace('&', "&amp;").replace('"', "&quot;"))
    };
    let page = include_str!("../assets/page.html").replace("{folder}", &folder);
    asset("text/html; charset=utf-8", page)
}

pub(crate) async fn script() -> Response {
    let script = include_str!("../assets/page.js");
    asset("text/javascript; charset=utf-8", script)
}

pub(crate) async fn style() -> Response {
    let style = include_str!("../assets/page.css");
    asset("text/css; charset=utf-8", style)
}

pub(crate) async fn icon() -> Response {
    asset("image/svg+xml", include_str!("../assets/icon.svg"))
}

fn asset(kind: &'static str, text: impl Into<axum::body::Body>) -> Response {
    (
        [(CONTENT_TYPE, HeaderValue::from_static(kind))],
        text.into(),
    )
        .into_response()
}
