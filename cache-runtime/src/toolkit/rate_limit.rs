//! Rate limits: so many of something in so much time, counted for all processes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::memory::Place;
use super::verb;
use crate::Cache;
use crate::clock;
use crate::core::Core;
use crate::driver::Reply;
use crate::error::Error;
use crate::tier::Room;

const GCRA: &str = include_str!("scripts/gcra.lua");
const WINDOW: &str = include_str!("scripts/window.lua");

/// What a clock of milliseconds may be behind.
const A_TICK: Duration = Duration::from_millis(1);

/// How many of something are allowed in how much time.
///
/// By default, the limit fills up again evenly: of 60 a minute, one is allowed again each second, and up to 60
/// at once after a minute without any ([`burst`](Self::burst)). This is the generic cell rate algorithm; it
/// takes one small key. [`sliding`](Self::sliding) counts exactly those of the last minute, and keeps each.
///
/// ```
/// use std::time::Duration;
/// use cache_runtime::Rate;
///
/// let rate = Rate::per_minute(60).burst(10);
/// assert_eq!(rate, Rate::new(60, Duration::from_secs(60)).burst(10));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    window: Duration,
    burst: u32,
    is_sliding: bool,
}

impl Rate {
    /// So many in each window of time. A count of zero allows nothing. The window is at least a millisecond,
    /// and at most a hundred years.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cache_runtime::Rate;
    ///
    /// let rate = Rate::new(1_000, Duration::from_secs(24 * 60 * 60));
    /// # let _ = rate;
    /// ```
    #[must_use]
    pub const fn new(count: u32, window: Duration) -> Self {
        Self {
            count,
            window,
            burst: count,
            is_sliding: false,
        }
    }

    /// So many a second.
    ///
    /// ```
    /// let rate = cache_runtime::Rate::per_second(5);
    /// # let _ = rate;
    /// ```
    #[must_use]
    pub const fn per_second(count: u32) -> Self {
        Self::new(count, Duration::from_secs(1))
    }

    /// So many a minute.
    ///
    /// ```
    /// let rate = cache_runtime::Rate::per_minute(100);
    /// # let _ = rate;
    /// ```
    #[must_use]
    pub const fn per_minute(count: u32) -> Self {
        Self::new(count, Duration::from_secs(60))
    }

    /// So many an hour.
    ///
    /// ```
    /// let rate = cache_runtime::Rate::per_hour(1_000);
    /// # let _ = rate;
    /// ```
    #[must_use]
    pub const fn per_hour(count: u32) -> Self {
        Self::new(count, Duration::from_secs(60 * 60))
    }

    /// Sets how many are allowed at once, after some time without any. Default: as many as in a window. It may
    /// be less or more than that. A sliding window has none of its own. A burst that the limit would take more
    /// than a hundred years to fill up again is cut to what it fills up in that time.
    ///
    /// ```
    /// let rate = cache_runtime::Rate::per_minute(100).burst(20);
    /// # let _ = rate;
    /// ```
    #[must_use]
    pub const fn burst(mut self, burst: u32) -> Self {
        self.burst = burst;
        self
    }

    /// Counts exactly what was allowed within the last window of time, at each moment. It keeps a number for
    /// each of those, so it is for limits of some hundreds.
    ///
    /// ```
    /// let rate = cache_runtime::Rate::per_minute(5).sliding();
    /// # let _ = rate;
    /// ```
    #[must_use]
    pub const fn sliding(mut self) -> Self {
        self.is_sliding = true;
        self
    }

    /// How many are allowed at once.
    fn most(&self) -> u32 {
        if self.is_sliding || self.count == 0 {
            return self.count;
        }
        let fills_up = micros(clock::FOREVER) / self.each_micros();
        self.burst.min(u32::try_from(fills_up).unwrap_or(u32::MAX))
    }

    fn window_micros(&self) -> u64 {
        micros(self.window.clamp(Duration::from_millis(1), clock::FOREVER))
    }

    /// How long it takes until one more is allowed, in microseconds, rounded up: so never more are allowed.
    fn each_micros(&self) -> u64 {
        self.window_micros().div_ceil(u64::from(self.count.max(1)))
    }
}

/// Whether something is allowed now, and when more will be.
///
/// ```
/// # fn headers(decision: &cache_runtime::Decision) -> Vec<(&'static str, String)> {
/// let mut headers = vec![
///     ("RateLimit-Limit", decision.limit.to_string()),
///     ("RateLimit-Remaining", decision.remaining.to_string()),
///     ("RateLimit-Reset", decision.reset_after.as_secs().to_string()),
/// ];
/// if let Some(after) = decision.retry_after {
///     headers.push(("Retry-After", after.as_secs_f64().ceil().to_string()));
/// }
/// # headers }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// Whether it is allowed. Then it is counted.
    pub allowed: bool,
    /// How many are allowed at once, at most.
    pub limit: u32,
    /// How many more are allowed now.
    pub remaining: u32,
    /// After how long it will be allowed, if nothing else is until then. `None` if it is allowed now, or never:
    /// its cost is above the limit.
    pub retry_after: Option<Duration>,
    /// After how long the limit is whole again, if nothing else is counted until then.
    pub reset_after: Duration,
    /// Whether no count was asked: the server failed, and [`on_error`](RateLimit::on_error) decided.
    pub is_uncounted: bool,
}

/// What a limit decides while it cannot count, since the server fails.
///
/// ```
/// use cache_runtime::{Cache, OnError, Rate};
///
/// # fn main() -> Result<(), cache_runtime::Error> {
/// let cache = Cache::builder().url("memory:").build()?;
/// let logins = cache.rate_limit("login", Rate::per_minute(5)).on_error(OnError::Deny);
/// # let _ = logins;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnError {
    /// It returns the error.
    Return,
    /// All is allowed.
    Allow,
    /// Nothing is.
    Deny,
    /// Each process counts for itself.
    Local,
}

/// A rate limit, from [`Cache::rate_limit`]. Clones are the same limit.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
/// use cache_runtime::{Cache, Rate};
///
/// let cache = Cache::builder().url("memory:").build()?;
/// let logins = cache.rate_limit("login", Rate::per_minute(2));
/// assert_eq!(logins.check("ada").await?.remaining, 1);
/// assert!(logins.check("ada").await?.allowed);
///
/// let third = logins.check("ada").await?;
/// assert!(!third.allowed && third.retry_after.is_some());
/// // Another subject has a count of its own.
/// assert!(logins.check("grace").await?.allowed);
/// # Ok(()) }
/// ```
///
/// # Cancellation
///
/// If a future of it is dropped, it may have counted.
#[derive(Clone)]
pub struct RateLimit {
    core: Arc<Core>,
    name: String,
    rate: Rate,
    on_error: OnError,
}

impl Cache {
    /// A limit of how often something may happen, counted by the clock of the server for all processes; without
    /// a server, in this process. If that clock is put back, a subject is refused for no longer than the limit
    /// takes to fill up. Limits of one name with different rates count together, so use one rate for
    /// each name. If the cache is off, each process counts for itself, as without a server.
    ///
    /// On a server, a count lies at `<namespace>:q:<name>:<subject>`, that of a sliding window at
    /// `<namespace>:w:<name>:<subject>`, and expires once the limit is whole
    /// again. In the name, `%` and `:` are written as `%25` and `%3A`.
    ///
    /// ```
    /// # fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::{Cache, Rate};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// let searches = cache.rate_limit("search", Rate::per_second(10).burst(30));
    /// # let _ = searches;
    /// # Ok(()) }
    /// ```
    pub fn rate_limit(&self, name: &str, rate: Rate) -> RateLimit {
        RateLimit {
            core: self.core().clone(),
            name: super::escaped(name),
            rate,
            on_error: OnError::Return,
        }
    }
}

/// What a count said. Times are in microseconds.
struct Counted {
    allowed: bool,
    remaining: u64,
    /// Until the cost is allowed, if it is not.
    retry: u64,
    reset: u64,
}

impl RateLimit {
    /// Sets what is decided while the server fails. Default: [`OnError::Return`].
    ///
    /// ```
    /// use cache_runtime::{Cache, OnError, Rate};
    ///
    /// # fn main() -> Result<(), cache_runtime::Error> {
    /// let cache = Cache::builder().url("memory:").build()?;
    /// let searches = cache.rate_limit("search", Rate::per_second(10)).on_error(OnError::Local);
    /// # let _ = searches;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }

    /// Whether one more is allowed for `subject`: a user, an address, a route, or several of them, such as
    /// `format!("{user}:{route}")`. If it is, it is counted.
    ///
    /// # Errors
    ///
    /// If the server fails, and [`on_error`](Self::on_error) says nothing else. It may have counted then.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # use cache_runtime::{Cache, Rate};
    /// # let cache = Cache::builder().url("memory:").build()?;
    /// let uploads = cache.rate_limit("upload", Rate::per_hour(100));
    /// if !uploads.check("203.0.113.7").await?.allowed {
    ///     println!("429 Too Many Requests");
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn check(&self, subject: &str) -> Result<Decision, Error> {
        self.check_cost(subject, 1).await
    }

    /// As [`check`](Self::check), for something that counts as several. A cost of zero is always allowed, and
    /// tells how many more are. One above the limit never is: [`Decision::retry_after`] is `None` then, and
    /// nothing is counted.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # use cache_runtime::{Cache, Rate};
    /// # let cache = Cache::builder().url("memory:").build()?;
    /// let exports = cache.rate_limit("export", Rate::per_hour(100));
    /// assert_eq!(exports.check_cost("ada", 30).await?.remaining, 70);
    /// let never = exports.check_cost("ada", 101).await?;
    /// assert!(!never.allowed && never.retry_after.is_none());
    /// # Ok(()) }
    /// ```
    pub async fn check_cost(&self, subject: &str, cost: u32) -> Result<Decision, Error> {
        let most = self.rate.most();
        // Asked with a cost that is allowed, to tell how many more are.
        let asked = if cost > most { 0 } else { cost };
        let counted = match self.count(subject, asked).await {
            Ok(counted) => counted,
            Err(error) => match self.on_error {
                OnError::Return => return Err(error),
                OnError::Allow => return Ok(self.uncounted(true)),
                OnError::Deny => return Ok(self.uncounted(false)),
                OnError::Local => self.count_here(subject, asked),
            },
        };
        let allowed = counted.allowed && asked == cost;
        let can_be = cost <= most;
        Ok(Decision {
            allowed,
            limit: most,
            remaining: u32::try_from(counted.remaining).unwrap_or(u32::MAX),
            retry_after: (!allowed && can_be).then(|| Duration::from_micros(counted.retry)),
            reset_after: Duration::from_micros(counted.reset),
            is_uncounted: false,
        })
    }

    /// Forgets what was counted for `subject`: after a login that succeeded, for example.
    ///
    /// # Errors
    ///
    /// If the server fails.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # use cache_runtime::{Cache, Rate};
    /// # let cache = Cache::builder().url("memory:").build()?;
    /// let logins = cache.rate_limit("login", Rate::per_minute(1));
    /// assert!(logins.check("ada").await?.allowed);
    /// logins.reset("ada").await?;
    /// assert!(logins.check("ada").await?.allowed);
    /// # Ok(()) }
    /// ```
    pub async fn reset(&self, subject: &str) -> Result<(), Error> {
        let place = self.place(subject);
        let ended = match self.core.tier.room() {
            Room::Server(server) => server.run_script(super::UNLINK, &place, Vec::new()).await,
            Room::InProcess(_) | Room::None => Ok(Reply::Nil),
        };
        self.core.memory.at(&place, |place| drop(place.take()));
        self.core.failed(ended).map(drop)
    }

    fn uncounted(&self, allowed: bool) -> Decision {
        Decision {
            allowed,
            limit: self.rate.most(),
            remaining: 0,
            retry_after: None,
            reset_after: Duration::ZERO,
            is_uncounted: true,
        }
    }

    fn place(&self, subject: &str) -> String {
        let algorithm = if self.rate.is_sliding { "w" } else { "q" };
        format!("{algorithm}:{}:{subject}", self.name)
    }

    async fn count(&self, subject: &str, cost: u32) -> Result<Counted, Error> {
        let Room::Server(server) = self.core.tier.room() else {
            return Ok(self.count_here(subject, cost));
        };
        let rate = &self.rate;
        let (script, arguments) = if rate.is_sliding {
            (
                WINDOW,
                [rate.window_micros(), rate.count.into(), cost.into()],
            )
        } else {
            (GCRA, [rate.each_micros(), rate.most().into(), cost.into()])
        };
        let arguments = arguments.map(Into::into).into();
        let reply = server
            .run_script(script, &self.place(subject), arguments)
            .await;
        let reply = self.core.failed(reply)?;
        let numbers = verb::numbers(reply);
        let counted = match numbers[..] {
            [allowed, taken, reset, retry] => {
                Some(rate.of_window(allowed == 1, taken, reset, retry))
            }
            [allowed, whole] => Some(rate.of_cells(allowed == 1, whole, cost)),
            _ => None,
        };
        let reason = "its answer to a script makes no sense";
        counted.ok_or_else(|| Error::codec(subject, "counted", &reason))
    }

    /// Counts in this process.
    fn count_here(&self, subject: &str, cost: u32) -> Counted {
        let now = self.core.memory.moment() * 1_000;
        let rate = &self.rate;
        self.core.memory.at(&self.place(subject), |place| {
            if rate.is_sliding {
                rate.take_from_window(place, now, cost)
            } else {
                rate.take_cells(place, now, cost)
            }
        })
    }
}

impl Rate {
    /// In the process, what `gcra.lua` does.
    fn take_cells(&self, place: &mut Place<'_>, now: u64, cost: u32) -> Counted {
        let each = self.each_micros();
        let held = place.text().and_then(|text| text.parse().ok());
        let all = each.saturating_mul(self.most().into());
        let whole_at = held.unwrap_or(now).clamp(now, now.saturating_add(all));
        let next_at = whole_at.saturating_add(each.saturating_mul(cost.into()));
        let is_allowed = next_at - now <= all;
        if is_allowed && next_at > now {
            let ttl = Duration::from_micros(next_at - now) + A_TICK;
            place.set(&next_at.to_string(), Some(ttl));
        }
        let whole = if is_allowed { next_at } else { whole_at } - now;
        self.of_cells(is_allowed, whole, cost)
    }

    /// What follows from how long it takes until the limit is whole.
    fn of_cells(&self, allowed: bool, whole: u64, cost: u32) -> Counted {
        let each = self.each_micros();
        let all = each.saturating_mul(self.most().into());
        let needed = whole.saturating_add(each.saturating_mul(cost.into()));
        Counted {
            allowed,
            remaining: all.saturating_sub(whole) / each,
            retry: needed.saturating_sub(all),
            reset: whole,
        }
    }

    /// In the process, what `window.lua` does.
    fn take_from_window(&self, place: &mut Place<'_>, now: u64, cost: u32) -> Counted {
        let window = self.window_micros();
        let text = place.text().unwrap_or_default();
        let mut taken: Vec<u64> = text.split(' ').filter_map(|at| at.parse().ok()).collect();
        taken.retain(|at| at.saturating_add(window) > now);
        let cost = cost as usize;
        let most = self.count as usize;
        let is_allowed = cost == 0 || taken.len() + cost <= most;
        let retry = if is_allowed {
            0
        } else {
            let gone = taken.len() + cost - most;
            taken.get(gone - 1).map_or(0, |at| at + window - now)
        };
        if is_allowed {
            taken.extend(std::iter::repeat_n(now, cost));
            let text: Vec<String> = taken.iter().map(ToString::to_string).collect();
            place.set(
                &text.join(" "),
                Some(Duration::from_micros(window) + A_TICK),
            );
        }
        let reset = taken.last().map_or(0, |at| at + window - now);
        self.of_window(is_allowed, taken.len() as u64, reset, retry)
    }

    fn of_window(&self, allowed: bool, taken: u64, reset: u64, retry: u64) -> Counted {
        Counted {
            allowed,
            remaining: u64::from(self.count).saturating_sub(taken),
            retry,
            reset,
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("name", &self.name)
            .field("rate", &self.rate)
            .field("on_error", &self.on_error)
            .finish_non_exhaustive()
    }
}
