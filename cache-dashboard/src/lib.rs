//! A page that shows what a [`cache_runtime`] cache does: an axum [`Router`] with everything embedded.
//!
//! ```no_run
//! use std::net::SocketAddr;
//! use axum::Router;
//! use cache_dashboard::{Dashboard, loopback_only};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let dashboard = Dashboard::new(cache_runtime::global()?.clone(), loopback_only());
//!     let app = Router::new().nest("/cache", dashboard.router());
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
//!     Ok(())
//! }
//! ```
//!
//! The page is at `http://localhost:3000/cache`. It shows hits, misses, loads and errors as they come; each
//! annotated function; each server, and how to mend what is wrong with it; and what is stored under a
//! name, with a sentence that says why it would be served or why not. It loads nothing from elsewhere,
//! and asks the program every two seconds while it can be seen.
//!
#![doc = concat!("![The overview: the hit rate, look-ups per second, counters, and a function that never hits](data:image/png;base64,", include_str!("../docs/overview.base64"), ")")]
//!
//! # What it may do
//!
//! | | |
//! |---|---|
//! | [`Dashboard::new(cache, authorise)`](Dashboard::new) | shows figures, names and states to each request that `authorise` allows |
//! | [`.show_values(true)`](Dashboard::show_values) | shows the values, too |
//! | [`.editable(true)`](Dashboard::editable) | invalidates, expires and replaces what is stored, if it is asked to |
//!
//! The authoriser is asked first, for the page and its assets too. [`basic_auth`] and [`bearer`] compare
//! secrets, [`loopback_only`] is for development, and a function of the request's head can ask whatever the
//! program knows of its sessions. [`Open`] lets everyone in.
//!
//! # Security
//!
//! * A request that changes something must come from the page itself (`Sec-Fetch-Site`, else `Origin`),
//!   and must be JSON. So another site cannot have a browser send it.
//! * The page has a content security policy without inline scripts or styles, and cannot be framed.
//!   Nothing of it is kept by a browser's or a proxy's cache.
//! * Keys and values are shown as text, whatever is in them.
//! * No password of a URL is in any response: the runtime shows addresses without credentials.
//! * A body of more than 1 MiB is refused.
//! * [`Open`] has no defence against a page that reaches it under a name of its own (DNS rebinding), since
//!   every name is as good as another. [`loopback_only`] looks at the name; credentials do not go to
//!   another one.
//!
//! Serve it over TLS wherever it leaves the machine.
#![doc = include_str!("../docs/api.md")]

mod api;
mod authorise;
mod guard;
mod page;
mod problem;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use cache_runtime::Cache;

pub use self::authorise::{Authorise, Open, Verdict, basic_auth, bearer, loopback_only};

/// A dashboard of one cache. [`router`](Self::router) makes it a part of a program.
///
/// ```
/// use cache_dashboard::{Dashboard, basic_auth};
/// use cache_runtime::Cache;
///
/// let cache = Cache::builder().url("memory:").build()?;
/// let dashboard = Dashboard::new(cache, basic_auth("ops", "a password from the environment"))
///     .show_values(true)
///     .editable(true);
/// let app: axum::Router = axum::Router::new().nest("/cache", dashboard.router());
/// # let _ = app;
/// # Ok::<_, cache_runtime::Error>(())
/// ```
#[must_use = "a dashboard does nothing until its router is served"]
pub struct Dashboard {
    cache: Cache,
    authorise: Arc<dyn Authorise>,
    is_editable: bool,
    shows_values: bool,
}

impl Dashboard {
    /// A dashboard that shows figures, names and states of `cache` to the requests that `authorise`
    /// allows. It shows no values, and changes nothing.
    ///
    /// For the cache of annotated functions without `cache = …`, give it
    /// [`cache_runtime::global()?.clone()`](cache_runtime::global).
    ///
    /// ```
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// use cache_dashboard::{Dashboard, loopback_only};
    ///
    /// let dashboard = Dashboard::new(cache, loopback_only());
    /// # let _ = dashboard;
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn new(cache: Cache, authorise: impl Authorise) -> Self {
        Self {
            cache,
            authorise: Arc::new(authorise),
            is_editable: false,
            shows_values: false,
        }
    }

    /// Whether it may invalidate, expire and replace what is stored. Default: false. Each request that the
    /// authoriser allows may then do so.
    ///
    /// ```
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// # use cache_dashboard::{Dashboard, loopback_only};
    /// let dashboard = Dashboard::new(cache, loopback_only()).editable(cfg!(debug_assertions));
    /// # let _ = dashboard;
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn editable(mut self, is_editable: bool) -> Self {
        self.is_editable = is_editable;
        self
    }

    /// Whether it shows the values that are stored. Default: false, since they may be personal data.
    /// Names are shown in any case.
    ///
    /// ```
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// # use cache_dashboard::{Dashboard, loopback_only};
    /// let dashboard = Dashboard::new(cache, loopback_only()).show_values(true);
    /// # let _ = dashboard;
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn show_values(mut self, shows_values: bool) -> Self {
        self.shows_values = shows_values;
        self
    }

    /// The page and the API. Nest it at any path; the page is at that path.
    ///
    /// ```
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// # use cache_dashboard::{Dashboard, loopback_only};
    /// #[derive(Clone)]
    /// struct AppState;
    ///
    /// let dashboard = Dashboard::new(cache, loopback_only());
    /// let app = axum::Router::new()
    ///     .nest("/ops/cache", dashboard.router())
    ///     .with_state::<()>(AppState);
    /// # let _ = app;
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        let shared = Arc::new(api::Shared {
            cache: self.cache,
            is_editable: self.is_editable,
            shows_values: self.shows_values,
        });
        Router::new()
            .route("/", get(page::page))
            .route("/page.js", get(page::script))
            .route("/page.css", get(page::style))
            .route("/icon.svg", get(page::icon))
            .route("/api/stats", get(api::stats))
            .route("/api/health", get(api::health))
            .route("/api/functions", get(api::functions))
            .route("/api/servers", get(api::servers))
            .route("/api/inspect", get(api::inspect))
            .route("/api/invalidate", post(api::invalidate))
            .route("/api/expire", post(api::expire))
            .route("/api/set", post(api::set))
            .method_not_allowed_fallback(api::wrong_method)
            .fallback(api::not_found)
            .layer(DefaultBodyLimit::disable())
            // The outermost: it is before all else, and its headers are on every response.
            .layer(from_fn_with_state(self.authorise, guard::guard))
            .with_state(shared)
    }
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard")
            .field("cache", &self.cache)
            .field("is_editable", &self.is_editable)
            .field("shows_values", &self.shows_values)
            .finish_non_exhaustive()
    }
}
