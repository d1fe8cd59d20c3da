//! The options of each attribute, and how each of them is written.

/// An option.
pub(super) struct Usage {
    pub(super) name: &'static str,
    /// Shows how to write it.
    pub(super) help: &'static str,
    /// It is asked only of a duration.
    pub(super) zero: Zero,
}

/// Whether a duration may be zero.
#[derive(Clone, Copy)]
pub(super) enum Zero {
    Allowed,
    /// With the help that says what to do in its place.
    Refused(&'static str),
}

impl Usage {
    const fn new(name: &'static str, help: &'static str) -> Self {
        Self::of_duration(name, help, Zero::Refused("leave it out"))
    }

    const fn of_duration(name: &'static str, help: &'static str, zero: Zero) -> Self {
        Self { name, help, zero }
    }
}

pub(super) const CACHED: &[Usage] = &[
    Usage::new("key", "write a string: `key = \"user:<id>\"`"),
    TTL,
    Usage::of_duration(
        "none_ttl",
        "write seconds, `none_ttl = 5`, or a string with units of `d`, `h`, `m`, `s`, `ms`: \
         `none_ttl = \"1m30s\"`",
        Zero::Refused("leave it out, and `None` is not cached"),
    ),
    Usage::of_duration(
        "local_ttl",
        "write how long a process may keep a copy, `local_ttl = 10`, or a string with units of `d`, `h`, \
         `m`, `s`, `ms`: `local_ttl = \"500ms\"`; with `0` it keeps none",
        Zero::Allowed,
    ),
    Usage::new("local", "write it alone: `key = \"rules:<tenant>\", local`"),
    Usage::of_duration(
        "hedge",
        "write longer than a load waits for an answer: seconds, `hedge = 2`, or a string with units \
         of `d`, `h`, `m`, `s`, `ms`: `hedge = \"500ms\"`",
        Zero::Refused(
            "write longer than a load waits for an answer, or leave it out for the cache's default",
        ),
    ),
    Usage::new(
        "early_refresh",
        "write how eagerly entries are refreshed before their ttl ends, above zero: `early_refresh = 1.0`",
    ),
    Usage::of_duration(
        "stale_while_revalidate",
        "write for how long after the ttl: seconds, `stale_while_revalidate = 30`, or a string with units \
         of `d`, `h`, `m`, `s`, `ms`: `stale_while_revalidate = \"1m30s\"`",
        Zero::Refused("leave it out, and nothing old is served for it"),
    ),
    Usage::of_duration(
        "stale_if_error",
        "write for how long after the ttl, `stale_if_error = \"1h\"`, and perhaps for which errors: \
         `stale_if_error(\"1h\", if = |error| !error.is_not_found())`",
        Zero::Refused("leave it out, and nothing old is served for it"),
    ),
    Usage::of_duration(
        "stale_if_slow",
        "write after how long: seconds, `stale_if_slow = 1`, or a string with units of `d`, `h`, `m`, `s`, \
         `ms`: `stale_if_slow = \"200ms\"`",
        Zero::Refused("leave it out, and nothing old is served for it"),
    ),
    Usage::of_duration(
        "retry_after",
        "write for how long: seconds, `retry_after = 2`, or a string with units of `d`, `h`, `m`, `s`, \
         `ms`: `retry_after = \"500ms\"`",
        Zero::Refused("leave it out for the cache's default"),
    ),
    Usage::new("detach", "write it alone: `key = \"user:<id>\", detach`"),
    Usage::new("handle", "write it alone: `key = \"user:<id>\", handle`"),
    Usage::new(
        "invalidate_on",
        "write a template, `invalidate_on = \"users\"`, a value of a `CacheTag` type, a closure over the \
         value, which yields tags, or several: \
         `invalidate_on = [\"users\", TenantUsers(tenant), |user| user.teams.iter().map(|team| Team(team.id))]`",
    ),
    Usage::new(
        "each",
        "name an element, and the parameter that it is in: `key = \"user:<id>\", each(id in ids)`",
    ),
    Usage::new(
        "by",
        "write a closure over a value, which yields its element: `by = |user| user.id`",
    ),
    SKIP,
    CACHE,
    Usage::new(
        "condition",
        "write an expression over the parameters: `condition = page < 10`",
    ),
    Usage::new(
        "unless",
        "write a closure over the value: `unless = |user| user.is_guest()`",
    ),
    Usage::new("version", "write an integer: `version = 2`"),
    Usage::new(
        "codec",
        "write an expression: `codec = Codec::JSON.zstd(3)`",
    ),
    CRATE,
];

pub(super) const CACHE_INVALIDATE: &[Usage] = &[
    EACH,
    CACHE,
    Usage::new(
        "condition",
        "write an expression over the parameters: `condition = name.is_some()`",
    ),
    Usage::new(
        "on",
        "write `on = ok`, to invalidate after success only, or leave it out",
    ),
    Usage::new(
        "on_err",
        "write a closure over the error, false if nothing can have been committed: \
         `on_err = |error| !error.is_not_found()`",
    ),
    Usage::of_duration(
        "fence",
        "write longer than the longest write takes: seconds, `fence = 30`, a string with units of \
         `d`, `h`, `m`, `s`, `ms`, `fence = \"1m30s\"`, or a `Duration`",
        Zero::Refused("leave it out, and there is no fence"),
    ),
    Usage::new(
        FENCE_REQUIRED,
        "write it alone, beside `fence`: `fence = \"30s\", fence_required`",
    ),
    CRATE,
];

pub(super) const CACHE_DEFAULTS: &[Usage] = &[CACHE, TTL, SKIP];

const EACH: Usage = Usage::new(
    "each",
    "name an element, and the list that it is in: `\"user:<id>\", each(id in ids)`",
);

pub(super) const FENCE_REQUIRED: &str = "fence_required";

const CACHE: Usage = Usage::new("cache", "write an expression: `cache = self.cache`");

const TTL: Usage = Usage::of_duration(
    "ttl",
    "write seconds, `ttl = 60`, a string with units of `d`, `h`, `m`, `s`, `ms`, `ttl = \"1h30m\"`, \
     a `Duration`, or a closure: `ttl = |user| user.lifetime()`",
    Zero::Refused("leave it out for the cache's default, or remove `#[cached]` to cache nothing"),
);

const SKIP: Usage = Usage::new(
    "skip",
    "write names of parameters, or fields of `self`: `skip(pool, self.limit)`",
);

pub(super) const CRATE: Usage = Usage::new(
    "crate",
    "write where `cache_runtime` is: `crate = my_crate::cache_runtime`",
);

/// What other caches call these options.
pub(super) const ELSEWHERE: &[(&str, &str)] = &[
    ("tag", "invalidate_on"),
    ("tags", "invalidate_on"),
    ("swr", "stale_while_revalidate"),
    ("time", "ttl"),
    ("expire", "ttl"),
];
