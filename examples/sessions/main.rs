//! Sessions of logged-in users, by the middleware of `tower-sessions`, where the cache is.
//!
//! ```sh
//! cargo run --example sessions
//! curl -i -c jar localhost:3000/login/ada -X POST
//! curl -i -b jar localhost:3000/me
//! curl -i -b jar localhost:3000/pay -X POST &
//! curl -i -b jar localhost:3000/logout -X POST
//! curl -i -b jar localhost:3000/me
//! ```
//!
//! The payment takes some seconds, and its request saves its session after the log-out. The session does not
//! come back by that. With `CACHE_URL=redis://…`, sessions outlive the program, and all its processes share
//! them.

#[cfg(test)]
mod tests;

use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use cache_runtime::Cache;
use tokio::sync::{mpsc, oneshot};
use tower_sessions::cookie::time;
use tower_sessions::session::Error;
use tower_sessions::{Expiry, Session, SessionManagerLayer};

/// What the provider of payments is sent. It answers once it is paid.
struct Payment {
    is_made: oneshot::Sender<()>,
}

type Payments = mpsc::Sender<Payment>;

/// The session store failed. A program logs the error.
fn failed(_: Error) -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}

async fn user(session: &Session) -> Result<String, StatusCode> {
    let user = session.get("user").await.map_err(failed)?;
    user.ok_or(StatusCode::UNAUTHORIZED)
}

/// In the place of a form with a password.
async fn log_in(session: Session, Path(user): Path<String>) -> Result<(), StatusCode> {
    // An id that was known before the log-in is not that of the session after it.
    session.cycle_id().await.map_err(failed)?;
    session.insert("user", user).await.map_err(failed)
}

async fn log_out(session: Session) -> Result<(), StatusCode> {
    session.flush().await.map_err(failed)
}

async fn me(session: Session) -> Result<String, StatusCode> {
    user(&session).await
}

/// Takes long: the user may log out meanwhile.
async fn pay(State(payments): State<Payments>, session: Session) -> Result<String, StatusCode> {
    let user = user(&session).await?;
    let away = StatusCode::BAD_GATEWAY;
    let (is_made, answer) = oneshot::channel();
    payments.send(Payment { is_made }).await.map_err(|_| away)?;
    answer.await.map_err(|_| away)?;
    session.insert("paid", true).await.map_err(failed)?;
    Ok(format!("{user} has paid"))
}

fn service(cache: &Cache, payments: Payments) -> Result<Router, &'static str> {
    // Without sessions, no user could log in: so the program does not start.
    let sessions = cache.sessions("web");
    let sessions = sessions.ok_or("with CACHE_URL=off: there are no sessions; use memory:")?;
    let sessions = SessionManagerLayer::new(sessions)
        // This example has no TLS.
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(time::Duration::days(7)));
    Ok(Router::new()
        .route("/login/{user}", post(log_in))
        .route("/logout", post(log_out))
        .route("/me", get(me))
        .route("/pay", post(pay))
        .layer(sessions)
        .with_state(payments))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (payments, mut orders) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Some(Payment { is_made }) = orders.recv().await {
            tokio::spawn(async {
                tokio::time::sleep(Duration::from_secs(10)).await;
                // The request may have ended.
                let _ = is_made.send(());
            });
        }
    });
    let service = service(&Cache::from_env()?, payments)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("http://{}/me", listener.local_addr()?);
    axum::serve(listener, service).await?;
    Ok(())
}
