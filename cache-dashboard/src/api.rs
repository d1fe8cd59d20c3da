//! The JSON API.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, to_bytes};
use axum::extract::{RawQuery, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use cache_runtime::registry::{self, Role};
use cache_runtime::{Cache, Options, ShownValue, SiteStats, Status, StoreKind};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::problem::Problem;

/// The longest body that is read, in bytes.
pub(crate) const BODY_LIMIT: usize = 1 << 20;

/// The most names in one request.
const MOST_NAMES: usize = 1000;

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) cache: Cache,
    pub(crate) is_editable: bool,
    pub(crate) shows_values: bool,
}

type Answered = Result<Json, Problem>;

/// An answer.
pub(crate) struct Json(Value);

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        ([(CONTENT_TYPE, json)], self.0.to_string()).into_response()
    }
}

pub(crate) async fn stats(State(shared): State<Arc<Shared>>) -> Answered {
    let stats = shared.cache.stats();
    let rate = json!(stats.hit_rate());
    let mut stats = object(&stats, "api/stats")?;
    stats.remove("sites");
    stats.insert("hit_rate".to_owned(), rate);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_millis();
    stats.insert(
        "at".to_owned(),
        json!(u64::try_from(now).unwrap_or(u64::MAX)),
    );
    Ok(Json(Value::Object(stats)))
}

pub(crate) async fn health(State(shared): State<Arc<Shared>>) -> Answered {
    let health = shared.cache.health();
    let how_to_mend = how_to_mend(&health.status);
    let mut health = object(&health, "api/health")?;
    health.insert("how_to_mend".to_owned(), json!(how_to_mend));
    let dashboard = json!({
        "editable": shared.is_editable,
        "shows_values": shared.shows_values,
        "version": env!("CARGO_PKG_VERSION"),
    });
    health.insert("dashboard".to_owned(), dashboard);
    Ok(Json(Value::Object(health)))
}

pub(crate) async fn functions(State(shared): State<Arc<Shared>>) -> Answered {
    let stats = shared.cache.stats();
    let never_hit = shared.cache.health().never_hit;
    let mut functions = Vec::new();
    for function in registry::all() {
        let Role::Caches { key, value, tags } = function.role else {
            continue;
        };
        let is_it = |path: &str, file: &str, line: u32| {
            (path, file, line) == (function.path, function.file, function.line)
        };
        let site = stats
            .sites
            .iter()
            .find(|it| is_it(it.function, it.file, it.line));
        let mut shown = match site {
            Some(site) => object(site, "api/functions")?,
            None => Map::new(),
        };
        let never = never_hit
            .iter()
            .find(|it| is_it(it.function, it.file, it.line));
        let tags: Vec<&str> = tags.iter().map(|tag| tag.text).collect();
        for (name, value) in [
            ("function", json!(function.path)),
            ("file", json!(function.file)),
            ("line", json!(function.line)),
            ("template", json!(key.text)),
            ("value", json!(value)),
            ("tags", json!(tags)),
            ("options", json!(function.options)),
            ("cache", json!(function.cache)),
            ("called", json!(site.is_some())),
            ("hit_rate", json!(site.and_then(SiteStats::hit_rate))),
            (
                "never_hit",
                never.map_or(
                    Value::Null,
                    |it| json!({ "loads": it.loads, "reason": it.reason }),
                ),
            ),
        ] {
            shown.insert(name.to_owned(), value);
        }
        functions.push(Value::Object(shown));
    }
    functions.sort_by(|one, other| one["function"].as_str().cmp(&other["function"].as_str()));
    Ok(Json(json!({ "functions": functions })))
}

pub(crate) async fn servers(State(shared): State<Arc<Shared>>) -> Answered {
    let state = shared.cache.servers();
    let mends: Vec<_> = state
        .nodes
        .iter()
        .map(|node| how_to_mend(&node.status))
        .collect();
    let is_off = state.store == StoreKind::Off;
    let mut shown = object(&state, "api/servers")?;
    if let Some(Value::Array(nodes)) = shown.get_mut("nodes") {
        for (node, mend) in nodes.iter_mut().zip(mends) {
            node["how_to_mend"] = json!(mend);
        }
    }
    shown.insert("how_to_mend".to_owned(), json!(how_to_mend(&state.status)));
    shown.insert("is_off".to_owned(), json!(is_off));
    Ok(Json(Value::Object(shown)))
}

pub(crate) async fn inspect(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Answered {
    const AT: &str = "api/inspect";
    #[derive(Deserialize)]
    struct Asked {
        name: String,
    }
    let asked = axum::http::Uri::try_from(format!("/?{}", query.unwrap_or_default()))
        .ok()
        .and_then(|uri| axum::extract::Query::<Asked>::try_from_uri(&uri).ok());
    let Some(axum::extract::Query(Asked { name })) = asked else {
        let what = "the request has no name";
        return Err(Problem::request(
            AT,
            what,
            "ask for `api/inspect?name=…`, with the key or the tag",
        ));
    };
    let inspected = shared.cache.inspect(name).await;
    let mut inspection = inspected.map_err(|error| Problem::cache(AT, &error))?;
    if let Some(entry) = &mut inspection.entry
        && !shared.shows_values
        && entry.value != ShownValue::None
    {
        let why =
            "this dashboard does not show values; it does if it is made with `.show_values(true)`";
        entry.value = ShownValue::Hidden {
            why: why.to_owned(),
        };
    }
    Ok(Json(Value::Object(object(&inspection, AT)?)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Invalidate {
    names: Option<Vec<String>>,
    pattern: Option<String>,
    clear: Option<bool>,
}

pub(crate) async fn invalidate(State(shared): State<Arc<Shared>>, request: Request) -> Answered {
    const AT: &str = "api/invalidate";
    let asked: Invalidate = edit(&shared, request, AT).await?;
    let cache = &shared.cache;
    let failed = |error| Problem::cache(AT, &error);
    match (asked.names, asked.pattern, asked.clear) {
        (Some(names), None, None) => {
            let count = names.len();
            check_names(&names, AT)?;
            cache.invalidate(names).await.map_err(failed)?;
            Ok(Json(json!({ "invalidated": count })))
        }
        (None, Some(pattern), None) => {
            let removed = cache.invalidate_matching(pattern).await.map_err(failed)?;
            Ok(Json(json!({ "removed": removed })))
        }
        (None, None, Some(true)) => {
            cache.clear().await.map_err(failed)?;
            Ok(Json(json!({ "cleared": true })))
        }
        _ => Err(Problem::request(
            AT,
            "the request does not say one thing to invalidate",
            "send one of `{\"names\": […]}`, `{\"pattern\": \"…\"}` and `{\"clear\": true}`",
        )),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expire {
    names: Vec<String>,
}

pub(crate) async fn expire(State(shared): State<Arc<Shared>>, request: Request) -> Answered {
    const AT: &str = "api/expire";
    let Expire { names } = edit(&shared, request, AT).await?;
    let count = names.len();
    check_names(&names, AT)?;
    let expired = shared.cache.expire(names).await;
    expired.map_err(|error| Problem::cache(AT, &error))?;
    Ok(Json(json!({ "expired": count })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    name: String,
    /// As text: a client that reads numbers as 64-bit floats would change them.
    json: String,
    /// Seconds.
    ttl: Option<f64>,
    #[serde(default)]
    tags: Vec<String>,
}

pub(crate) async fn set(State(shared): State<Arc<Shared>>, request: Request) -> Answered {
    const AT: &str = "api/set";
    let asked: Set = edit(&shared, request, AT).await?;
    let mut options = Options::new();
    for tag in asked.tags {
        options = options.tag(tag);
    }
    if let Some(ttl) = asked.ttl {
        let ttl = Duration::try_from_secs_f64(ttl)
            .ok()
            .filter(|ttl| !ttl.is_zero());
        let Some(ttl) = ttl else {
            return Err(Problem::request(
                AT,
                "the ttl is not a number of seconds above zero",
                "send the seconds as a number, such as `\"ttl\": 60`",
            ));
        };
        options = options.ttl(ttl);
    }
    let stored = shared
        .cache
        .set_json(asked.name.clone(), &asked.json, options)
        .await;
    stored.map_err(|error| Problem::cache(AT, &error))?;
    let inspected = shared.cache.inspect(asked.name).await;
    let why = inspected.map_or_else(|error| error.to_string(), |inspection| inspection.why);
    Ok(Json(json!({ "set": true, "why": why })))
}

pub(crate) async fn not_found(request: Request) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        request.uri().path(),
        "there is nothing here",
        "the page is at the path that the router is nested at, without a `/` at its end",
    )
}

pub(crate) async fn wrong_method(request: Request) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        request.uri().path(),
        format!("this path has no {}", request.method()),
        "what shows something is a GET, what changes something a POST",
    )
}

/// The body of a request that changes something, if this dashboard may change anything.
async fn edit<T: DeserializeOwned>(
    shared: &Shared,
    request: Request<Body>,
    at: &str,
) -> Result<T, Problem> {
    if !shared.is_editable {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            at,
            "this dashboard changes nothing",
            "make it with `.editable(true)`",
        ));
    }
    let Ok(body) = to_bytes(request.into_body(), BODY_LIMIT).await else {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            at,
            format!("the body has more than {BODY_LIMIT} bytes, or was cut off"),
            "send less at a time",
        ));
    };
    serde_json::from_slice(&body).map_err(|error| {
        let what = format!("the body is not the JSON that is read here: {error}");
        Problem::request(
            at,
            what,
            "the documentation of `cache-dashboard` shows each body",
        )
    })
}

fn check_names(names: &[String], at: &str) -> Result<(), Problem> {
    if names.is_empty() || names.len() > MOST_NAMES {
        let what = format!("the request has {} names", names.len());
        let how_to_mend = "send between 1 and 1000 names at a time";
        return Err(Problem::request(at, what, how_to_mend));
    }
    Ok(())
}

/// The share of look-ups that were hits; `null` without any.
/// What an operator can do about a state of a server.
fn how_to_mend(status: &Status) -> Option<&'static str> {
    match status {
        Status::Working => None,
        Status::Unknown => Some(
            "Nothing was asked yet, or the connection was just lost. The next call shows what is so.",
        ),
        Status::Unreachable(_) => Some(
            "See that the server runs, and that its address, its port and the network are right. Calls go on \
             without the cache meanwhile, and it connects again by itself.",
        ),
        Status::Denied(_) => Some(
            "Give the cache a user and a password that the server accepts, with the commands that the \
             documentation lists (`cache_runtime::servers`).",
        ),
        Status::WritesRefused(_) => Some(
            "Give the server memory or an eviction policy (`maxmemory-policy`), mend its disk, or make it a \
             primary. What is stored is served meanwhile.",
        ),
        _ => Some("See what the error says."),
    }
}

fn object(value: &impl serde::Serialize, at: &str) -> Result<Map<String, Value>, Problem> {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => Ok(object),
        other => {
            let what = format!(
                "what is to be shown cannot be written as JSON: {:?}",
                other.err()
            );
            Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                at,
                what,
                "report it",
            ))
        }
    }
}
