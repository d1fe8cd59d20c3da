//! What stands before every request and behind every response: the authoriser, the check of where a
//! change comes from, and the headers that keep a browser from doing more than the page needs.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, REFERRER_POLICY,
    VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::authorise::{Authorise, Verdict};
use crate::problem::Problem;

/// Nothing is loaded from elsewhere, no script or style stands in the page, and no other page frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 9] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_FRAME_OPTIONS, "DENY"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "no-referrer"),
    (VARY, "authorization, cookie"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
];

pub(crate) async fn guard(
    State(authorise): State<Arc<dyn Authorise>>,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    let verdict = authorise.authorise(&head);
    let mut response = if !verdict.is_allowed() {
        refused(&head, &verdict)
    } else if let Err(problem) = check_origin(&head) {
        problem.into_response()
    } else {
        next.run(Request::from_parts(head, body)).await
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A request that may change something must come from the dashboard's own page, or from a client that is
/// no browser. Else a page of another site could have a browser send it, with the credentials that the
/// browser keeps.
///
/// `Sec-Fetch-Site` is the browser's own word, and no page can set it. A browser sends it to `https` and to
/// `localhost`; elsewhere, the `Origin` must be the host that was asked. And a page of another site
/// cannot send JSON without being asked first (CORS), which this router never answers.
fn check_origin(head: &Parts) -> Result<(), Problem> {
    if matches!(head.method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let at = head.uri.path();
    let denied = |what: &str| {
        let how_to_mend = "send it from the dashboard's own page, or from a program that sets \
                           `Content-Type: application/json` and no `Origin`";
        Err(Problem::new(StatusCode::FORBIDDEN, at, what, how_to_mend))
    };
    let text = |name: HeaderName| {
        head.headers
            .get(name)
            .map(|value| value.to_str().unwrap_or("?"))
    };
    match text(HeaderName::from_static("sec-fetch-site")) {
        Some("same-origin") => {}
        Some(_) => return denied("the request comes from another site"),
        None => {
            if let Some(origin) = text(ORIGIN) {
                let authority = origin.split_once("://").map(|(_, authority)| authority);
                let host = text(HOST).or_else(|| head.uri.authority().map(Authority::as_str));
                if authority.is_none() || authority != host {
                    return denied("the request comes from another origin");
                }
            }
        }
    }
    let content_type = text(CONTENT_TYPE).unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return denied("the request is not JSON");
    }
    Ok(())
}

/// A person gets a page, and a program JSON. The page has no style: its style sheet is refused, too.
fn refused(head: &Parts, verdict: &Verdict) -> Response {
    let status = match verdict.scheme() {
        Some(_) => StatusCode::UNAUTHORIZED,
        None => StatusCode::FORBIDDEN,
    };
    let what = "the request is not authorised";
    let mut problem = Problem::new(status, head.uri.path(), what, verdict.how_to_mend());
    problem.scheme = verdict.scheme();
    let mut response = problem.into_response();
    if accepts_html(&head.headers) {
        let page = include_str!("../assets/refused.html");
        let page = page.replace("{how_to_mend}", &escaped(verdict.how_to_mend()));
        *response.body_mut() = page.into();
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, html);
    }
    response
}

fn accepts_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}
