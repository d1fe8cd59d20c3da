//! What went wrong, as JSON.

use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use cache_runtime::Error;
use serde_json::json;

/// An error of the API: what failed, where, and how to mend it.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) what: String,
    pub(crate) at: String,
    pub(crate) how_to_mend: String,
    /// The scheme of credentials that the client is asked for.
    pub(crate) scheme: Option<&'static str>,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        at: &str,
        what: impl Into<String>,
        how_to_mend: impl Into<String>,
    ) -> Self {
        Self {
            status,
            what: what.into(),
            at: at.to_owned(),
            how_to_mend: how_to_mend.into(),
            scheme: None,
        }
    }

    /// A request that makes no sense.
    pub(crate) fn request(at: &str, what: impl Into<String>, how_to_mend: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, at, what, how_to_mend)
    }

    /// An error of the cache. Its message says what failed, and has no secret.
    pub(crate) fn cache(at: &str, error: &Error) -> Self {
        let (status, how_to_mend) = if error.is_key() || error.is_config() || error.is_codec() {
            (
                StatusCode::UNPROCESSABLE_ENTITY,
                "change what was sent, and send it again",
            )
        } else if error.is_refused() {
            (
                StatusCode::BAD_GATEWAY,
                "let the server's user do this, or free what the server lacks; then try again",
            )
        } else {
            (
                StatusCode::BAD_GATEWAY,
                "see that the server runs and is reached; the cache connects again by itself",
            )
        };
        Self::new(status, at, error.to_string(), how_to_mend)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "error": { "what": self.what, "where": self.at, "how_to_mend": self.how_to_mend },
        });
        let mut response = (
            self.status,
            [(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
            body.to_string(),
        )
            .into_response();
        if let Some(scheme) = self.scheme {
            let challenge = format!("{scheme} realm=\"cache dashboard\", charset=\"UTF-8\"");
            if let Ok(challenge) = HeaderValue::try_from(challenge) {
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
        }
        response
    }
}
