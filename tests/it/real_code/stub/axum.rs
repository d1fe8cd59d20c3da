//! As much of axum as the fixtures use.

use std::collections::HashMap;

/// As in axum, these are neither `Serialize` nor `Deserialize`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Json<T>(pub(crate) T);

pub(crate) struct State<S>(pub(crate) S);

pub(crate) struct Path<T>(pub(crate) T);

pub(crate) struct Query<T>(pub(crate) T);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct StatusCode(pub(crate) u16);

impl StatusCode {
    pub(crate) const NO_CONTENT: Self = Self(204);
    pub(crate) const UNAUTHORIZED: Self = Self(401);
    pub(crate) const NOT_FOUND: Self = Self(404);
    pub(crate) const INTERNAL_SERVER_ERROR: Self = Self(500);
}

/// The head of a request.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) headers: HashMap<&'static str, String>,
}

pub(crate) trait FromRequestParts<S>: Sized {
    type Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection>;
}

pub(crate) trait FromRef<T> {
    fn from_ref(input: &T) -> Self;
}
