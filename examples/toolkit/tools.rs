//! Tools that work in process and on a server: texts, sessions, locks, rate limits and budgets.

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use cache_runtime::{Cache, Options, Rate};
use tower_sessions::SessionStore as _;
use tower_sessions::cookie::time::{self, OffsetDateTime};
use tower_sessions::session::{Id, Record};

use super::{Done, Output};

const HOUR: Duration = Duration::from_hours(1);
const OFF: &str = "the cache is off";

pub(crate) async fn texts(cache: &Cache, output: &mut Output<impl Write>) -> Done {
    let tokens = cache.strings("tokens").ok_or(OFF)?;
    tokens.set("ada", "8f14e45f", HOUR).await?;
    let taken = tokens.take("ada").await?;
    let again = tokens.take("ada").await?;
    output.line(format_args!(
        "texts: a token is taken once: {taken:?}, then {again:?}"
    ))?;

    let visits = cache.strings("visits").ok_or(OFF)?;
    visits.delete("today").await?;
    for _ in 0..3 {
        visits.increment("today", 1, HOUR).await?;
    }
    let today = visits.get("today").await?.unwrap_or_default();
    output.line(format_args!("texts: {today} visits are counted"))?;
    Ok(())
}

pub(crate) async fn sessions(cache: &Cache, output: &mut Output<impl Write>) -> Done {
    let sessions = cache.sessions("web").ok_or(OFF)?;
    let mut session = Record {
        id: Id::default(),
        data: HashMap::from([("user".to_owned(), "ada".into())]),
        expiry_date: OffsetDateTime::now_utc() + time::Duration::days(7),
    };
    sessions.create(&mut session).await?;
    let loaded = sessions.load(&session.id).await?.ok_or("no session")?;
    output.line(format_args!(
        "sessions: {} is logged in",
        loaded.data["user"]
    ))?;

    // A request that began before the log-out saves its session after it.
    sessions.delete(&session.id).await?;
    sessions.save(&session).await?;
    let is_there = sessions.load(&session.id).await?.is_some();
    let said = if is_there { "is back" } else { "stays away" };
    output.line(format_args!(
        "sessions: after the log-out, the session {said}"
    ))?;
    Ok(())
}

/// A place that is written to under a lock, and refuses a token below the greatest that it has seen.
#[derive(Default)]
struct Report {
    token: u64,
    text: &'static str,
}

impl Report {
    fn write(&mut self, token: u64, text: &'static str) -> bool {
        let is_newest = token >= self.token;
        if is_newest {
            *self = Self { token, text };
        }
        is_newest
    }
}

pub(crate) async fn lock(cache: &Cache, output: &mut Output<impl Write>) -> Done {
    let lock = cache.lock("report", Duration::from_secs(30));
    let mut report = Report::default();

    let first = lock.acquire("worker 1").await?.ok_or("the lock is held")?;
    let is_free = lock.try_lock().await?.is_some();
    output.line(format_args!(
        "lock: held by worker 1, so for others it is free: {is_free}"
    ))?;

    // Worker 1 is stopped, an operator gives its lock back, and worker 2 writes.
    lock.release("worker 1").await?;
    let held = lock.try_lock().await?.ok_or("the lock is held")?;
    let second = held.token();
    let is_written = held.while_held(async { report.write(second, "by worker 2") });
    let is_written = is_written.await;
    // Worker 1 goes on, and does not know.
    let is_overwritten = report.write(first, "by worker 1");
    output.line(format_args!(
        "lock: worker 2 wrote: {is_written:?}, worker 1 with its older token: {is_overwritten}"
    ))?;
    output.line(format_args!("lock: the report is {}", report.text))?;
    held.release().await?;
    Ok(())
}

pub(crate) async fn rate_limit(cache: &Cache, output: &mut Output<impl Write>) -> Done {
    let exports = cache.rate_limit("exports", Rate::per_hour(3).sliding());
    exports.reset("ada").await?;
    let mut left = Vec::new();
    for _ in 0..3 {
        left.push(exports.check("ada").await?.remaining);
    }
    let fourth = exports.check("ada").await?;
    output.line(format_args!(
        "rate limit: after three exports, {left:?} more were allowed"
    ))?;
    let minutes = fourth
        .retry_after
        .unwrap_or_default()
        .as_secs()
        .div_ceil(60);
    let said = if fourth.allowed { "allowed" } else { "refused" };
    output.line(format_args!(
        "rate limit: the fourth is {said}, for another {minutes} minutes"
    ))?;
    Ok(())
}

pub(crate) async fn budget(cache: &Cache, output: &mut Output<impl Write>) -> Done {
    const MOST: u64 = 30_000;
    let reports = cache.scope("reports");
    let budget = reports.budget(MOST);
    for id in 0..100 {
        let report = "x".repeat(1_000);
        reports.set(id.to_string(), &report, Options::new()).await?;
    }
    let swept = budget.sweep().await?.ok_or("another process sweeps")?;
    let within = swept.bytes - swept.freed <= MOST;
    output.line(format_args!(
        "budget: of {} reports, {} are left; they take 30 kB at most: {within}",
        swept.entries,
        reports.count().await?
    ))?;
    Ok(())
}
