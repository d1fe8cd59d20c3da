//! The program behind the dashboard: a few functions with a cache.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use cache_dashboard::{Authorise, Dashboard, Open};
use cache_runtime::{Cache, cached};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) roles: Vec<String>,
    pub(crate) balance: i128,
}

#[cached(key = "user:<id>", ttl = "10m", version = 2, invalidate_on = ["users", "tenant:<tenant>"], cache = cache, skip(cache, tenant))]
pub(crate) async fn find_user(id: u64, tenant: u64, cache: &Cache) -> User {
    tokio::time::sleep(Duration::from_millis(3)).await;
    User {
        name: if id == 13 {
            "<script>document.title = 'run'</script>".to_owned()
        } else {
            format!("Ada {id}")
        },
        email: format!("ada{id}@example.org"),
        roles: vec!["reader".to_owned(), "editor".to_owned()],
        // More digits than a number in JavaScript has.
        balance: 123_456_789_012_345_678_901_234_567,
    }
}

#[cached(key = "order:<id>", ttl = "1m", invalidate_on = "orders", cache = cache, skip(cache))]
pub(crate) async fn list_orders(id: u64, cache: &Cache) -> Vec<u64> {
    tokio::time::sleep(Duration::from_millis(25)).await;
    (0..id % 7).collect()
}

#[cached(key = "price:<currency>:<day>", ttl = 3600, cache = cache, skip(cache))]
pub(crate) async fn exchange_rate(currency: &str, day: u64, cache: &Cache) -> Result<f64, String> {
    tokio::time::sleep(Duration::from_millis(120)).await;
    Ok(1.0
        + f64::from(u8::try_from(currency.len() + usize::try_from(day).unwrap_or(0)).unwrap_or(1))
            / 100.0)
}

/// NaN is not in JSON, so this never hits on a server.
#[cached(key = "average:<of>", ttl = 60, cache = cache, skip(cache))]
pub(crate) async fn average_rating(of: u64, cache: &Cache) -> f64 {
    f64::NAN
}

#[cached(key = "page:<path>", ttl = 30, stale_while_revalidate = 60, cache = cache, skip(cache))]
pub(crate) async fn render_page(path: &str, cache: &Cache) -> String {
    format!("<h1>{path}</h1>")
}

/// A program that serves a dashboard. It ends when this is dropped.
pub(crate) struct Program {
    pub(crate) cache: Cache,
    address: SocketAddr,
    server: JoinHandle<()>,
    traffic: JoinHandle<()>,
    is_busy: Arc<AtomicBool>,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.server.abort();
        self.traffic.abort();
    }
}

impl Program {
    /// One that shows and changes everything.
    pub(crate) async fn start(url: &str) -> Self {
        Self::with(url, Open, |dashboard| {
            dashboard.show_values(true).editable(true)
        })
        .await
    }

    pub(crate) async fn with(
        url: &str,
        authorise: impl Authorise,
        change: impl FnOnce(Dashboard) -> Dashboard,
    ) -> Self {
        let soon = Duration::from_millis(500);
        let builder = Cache::builder()
            .url(url)
            .jitter(0.0)
            .op_timeout(soon)
            .connect_timeout(soon);
        let cache = builder.build().expect("a cache");
        let dashboard = change(Dashboard::new(cache.clone(), authorise));
        let app: Router = Router::new().nest("/ops/cache", dashboard.router());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move {
            let app = app.into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(listener, app).await.expect("served");
        });
        let is_busy = Arc::new(AtomicBool::new(false));
        let traffic = tokio::spawn(traffic(cache.clone(), is_busy.clone()));
        Self {
            cache,
            address,
            server,
            traffic,
            is_busy,
        }
    }

    /// The address of a view.
    pub(crate) fn at(&self, view: &str) -> String {
        format!("http://{}/ops/cache{view}", self.address)
    }

    /// Begins to call the functions, over and over.
    pub(crate) fn work(&self) {
        self.is_busy.store(true, Relaxed);
    }

    /// Ends to serve. Connections are closed.
    pub(crate) fn stop(&self) {
        self.server.abort();
    }

    /// Calls each function a few times.
    pub(crate) async fn warm_up(&self) {
        let cache = &self.cache;
        for id in 0..40 {
            find_user(id % 9, 1, cache).await;
            list_orders(id % 5, cache).await;
            average_rating(id % 3, cache).await;
            render_page(["/", "/about"][usize::from(id % 2 == 0)], cache).await;
        }
        for day in 0..4 {
            let _ = exchange_rate("EUR", day % 3, cache).await;
        }
    }
}

async fn traffic(cache: Cache, is_busy: Arc<AtomicBool>) {
    let mut turn: u64 = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if !is_busy.load(Relaxed) {
            continue;
        }
        turn += 1;
        // More at some times than at others.
        let calls = 2 + (turn / 40) % 4;
        for call in 0..calls {
            find_user((turn + call) % 60, 1, &cache).await;
        }
        if turn.is_multiple_of(6) {
            list_orders(turn % 300, &cache).await;
        }
    }
}
