//! A layer for any `tower` service over HTTP: requests above a limit are answered with `429 Too Many
//! Requests`, and all are told what is left, by the headers of draft-ietf-httpapi-ratelimit-headers-11.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use cache_runtime::{Cache, Decision, OnError, Rate, RateLimit};
use serde_json::json;
use tower::{Layer, Service};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// One limit, and what it counts.
pub(crate) struct Policy {
    name: &'static str,
    /// As `RateLimit-Policy` tells it.
    text: String,
    limit: RateLimit,
    subject: fn(&Parts) -> Option<String>,
    cost: fn(&Parts) -> u32,
}

impl Policy {
    /// So many in a window of at least a second, for each subject. A request without a subject is not limited
    /// by this policy. The name is that of the limit in the cache too.
    pub(crate) fn new(
        cache: &Cache,
        name: &'static str,
        count: u32,
        window: Duration,
        subject: fn(&Parts) -> Option<String>,
    ) -> Self {
        let rate = Rate::new(count, window);
        Self {
            name,
            text: format!("\"{name}\";q={count};w={}", window.as_secs()),
            // While the server is away, each process limits what it gets itself: it is neither without
            // limits nor without service.
            limit: cache.rate_limit(name, rate).on_error(OnError::Local),
            subject,
            cost: |_| 1,
        }
    }

    /// For requests that count as several.
    pub(crate) fn cost(mut self, cost: fn(&Parts) -> u32) -> Self {
        self.cost = cost;
        self
    }
}

/// Applies policies in their order, up to the first that refuses. Those before it have counted the request
/// then: begin with the one that a client should not get around by being refused.
#[derive(Clone)]
pub(crate) struct RateLimitLayer(Arc<[Policy]>);

impl RateLimitLayer {
    pub(crate) fn new(policies: impl IntoIterator<Item = Policy>) -> Self {
        Self(policies.into_iter().collect())
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimited<S>;

    fn layer(&self, inner: S) -> RateLimited<S> {
        let policies = self.0.clone();
        RateLimited { inner, policies }
    }
}

#[derive(Clone)]
pub(crate) struct RateLimited<S> {
    inner: S,
    policies: Arc<[Policy]>,
}

impl<S, B> Service<Request<B>> for RateLimited<S>
where
    S: Service<Request<B>, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that is ready is called, and a clone is made ready next.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let policies = self.policies.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            match check(&policies, &parts).await {
                Ok(told) => {
                    let mut response = inner.call(Request::from_parts(parts, body)).await?;
                    response.headers_mut().extend(told);
                    Ok(response)
                }
                Err(refusal) => Ok(refusal),
            }
        })
    }
}

/// What an answer tells of the limits, or a refusal.
async fn check(policies: &[Policy], parts: &Parts) -> Result<HeaderMap, Response> {
    let mut counted = Vec::new();
    for policy in policies {
        let Some(subject) = (policy.subject)(parts) else {
            continue;
        };
        let decision = policy.limit.check_cost(&subject, (policy.cost)(parts));
        // There is no error with `OnError::Local`, nor with any other but `Return`.
        let decision = decision
            .await
            .map_err(|_| StatusCode::SERVICE_UNAVAILABLE.into_response())?;
        if !decision.allowed {
            return Err(refusal(policy, decision));
        }
        counted.push((policy, decision));
    }
    Ok(told(&counted))
}

/// It tells of the policy that refuses, and of no other one: `Retry-After` should not be earlier than the end
/// of a window that is told beside it.
fn refusal(policy: &Policy, decision: Decision) -> Response {
    let mut headers = told(&[(policy, decision)]);
    let problem = HeaderValue::from_static("application/problem+json");
    headers.insert(CONTENT_TYPE, problem);
    // `None` if it is never allowed: then there is nothing to wait for.
    let title = if let Some(after) = decision.retry_after {
        headers.insert(RETRY_AFTER, seconds(after).into());
        "Too many requests"
    } else {
        "This request alone is above the limit, and is never allowed"
    };
    let body = json!({
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": title,
        "violated-policies": [policy.name],
    });
    (StatusCode::TOO_MANY_REQUESTS, headers, Json(body)).into_response()
}

/// Both headers are lists of structured fields: `"user";q=20;w=3600` and `"user";r=19;t=180`.
fn told(counted: &[(&Policy, Decision)]) -> HeaderMap {
    let policies = counted.iter().map(|(policy, _)| policy.text.clone());
    // The limit fills up evenly, so a client that spreads what is left over the whole time is on the safe side.
    let limits = counted.iter().map(|(policy, decision)| {
        let window = decision.retry_after.unwrap_or(decision.reset_after);
        let (name, left, window) = (policy.name, decision.remaining, seconds(window));
        format!("\"{name}\";r={left};t={window}")
    });
    let lists = [
        (RATE_LIMIT_POLICY, policies.collect::<Vec<_>>()),
        (RATE_LIMIT, limits.collect::<Vec<_>>()),
    ];
    let mut headers = HeaderMap::new();
    for (name, items) in lists {
        // A list is not empty. Names of policies are plain text.
        if let (false, Ok(list)) = (items.is_empty(), items.join(", ").try_into()) {
            headers.insert(name, list);
        }
    }
    headers
}

/// Rounded up: after that time, what was refused is allowed.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
