//! The page, and what it is made of. All of it is in the program.

use axum::extract::{OriginalUri, Request};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};

use crate::api::not_found;

/// The page. Its addresses are relative, so it must be at a path that ends in `/`: a router that is nested
/// at `/cache` is asked for `/cache` first.
pub(crate) async fn page(OriginalUri(uri): OriginalUri) -> Response {
    let path = uri.path();
    if let Some((_, last)) = path.rsplit_once('/')
        && !last.is_empty()
    {
        // Relative, since a proxy may have taken a part of the path away.
        if let Ok(location) = HeaderValue::try_from(format!("./{last}/")) {
            return (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, location)]).into_response();
        }
    }
    asset(
        "text/html; charset=utf-8",
        include_str!("../assets/page.html"),
    )
}

/// What is asked for at no other path. A nested router is asked for its own path with `/` here.
pub(crate) async fn page_or_nothing(uri: OriginalUri, request: Request) -> Response {
    let path = request.uri().path();
    if matches!(path, "" | "/") && matches!(*request.method(), Method::GET | Method::HEAD) {
        return page(uri).await;
    }
    not_found(request).await.into_response()
}

pub(crate) async fn script() -> Response {
    asset(
        "text/javascript; charset=utf-8",
        include_str!("../assets/page.js"),
    )
}

pub(crate) async fn style() -> Response {
    asset(
        "text/css; charset=utf-8",
        include_str!("../assets/page.css"),
    )
}

pub(crate) async fn icon() -> Response {
    asset("image/svg+xml", include_str!("../assets/icon.svg"))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}
