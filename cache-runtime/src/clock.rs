//! Time: deadlines, and the jitter that keeps entries from expiring all at once.

use std::time::Duration;

use crate::unique;

/// Longer than any process or server runs, and short enough for every clock to add.
pub(crate) const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A moment, as the local tier keeps it: milliseconds on a clock that only this process reads.
pub(crate) type Moment = u64;

/// Now: at once to within [`LAG`], and to the millisecond where that matters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    at_least: Moment,
    /// In tests.
    fixed: bool,
}

/// The coarse clock is behind by a tick of the system, which is 1 to 10 ms, and by more where
/// a hypervisor keeps the processor that ticks waiting.
const LAG: Moment = 250;

impl Now {
    #[inline]
    pub(crate) fn read() -> Self {
        Self {
            at_least: system::coarse(),
            fixed: false,
        }
    }

    #[cfg(test)]
    pub(crate) fn at(moment: Moment) -> Self {
        Self {
            at_least: moment,
            fixed: true,
        }
    }

    #[inline]
    pub(crate) fn is_before(self, moment: Moment) -> bool {
        if self.fixed {
            return self.at_least < moment;
        }
        self.at_least + LAG < moment || system::precise() < moment
    }
}

/// When what is stored now stops being served.
pub(crate) fn expiry(ttl: Duration) -> Moment {
    system::precise() + millis(ttl.min(FOREVER))
}

/// How long it is until `moment`.
pub(crate) fn until(moment: Moment) -> Duration {
    Duration::from_millis(moment.saturating_sub(system::precise()))
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The coarse clock is what the kernel noted at its last tick; to read it takes a third of the time.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use rustix::time::{ClockId, Timespec, clock_gettime};

    #[inline]
    pub(super) fn coarse() -> u64 {
        whole_millis(clock_gettime(ClockId::MonotonicCoarse))
    }

    pub(super) fn precise() -> u64 {
        whole_millis(clock_gettime(ClockId::Monotonic))
    }

    #[inline]
    #[expect(clippy::cast_sign_loss, reason = "the clock begins at zero")]
    fn whole_millis(time: Timespec) -> u64 {
        time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::sync::LazyLock;
    use std::time::Instant;

    pub(super) fn coarse() -> u64 {
        precise()
    }

    pub(super) fn precise() -> u64 {
        static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
        super::millis(BEGIN.elapsed())
    }
}

/// Runs `future` for at most `limit`; `None` if it did not end.
///
/// Outside of a Tokio runtime there is no timer, so there the limit does not hold.
pub(crate) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    if tokio::runtime::Handle::try_current().is_ok() {
        tokio::time::timeout(limit, future).await.ok()
    } else {
        Some(future.await)
    }
}

/// Pauses. Outside of a Tokio runtime there is no timer, and no pause.
pub(crate) async fn pause(length: Duration) {
    if tokio::runtime::Handle::try_current().is_ok() {
        tokio::time::sleep(length).await;
    }
}

/// Shortens `ttl` by a random part of `jitter`, so that it stays the upper bound.
pub(crate) fn jittered(ttl: Duration, jitter: f64) -> Duration {
    ttl.min(FOREVER)
        .mul_f64(1.0 - jitter * unique::fraction())
        .max(Duration::from_millis(1))
}

/// A pause of `base`, give or take a half, so that processes do not poll in step.
pub(crate) fn around(base: Duration) -> Duration {
    base.mul_f64(0.5 + unique::fraction())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_served_past_its_ttl() {
        let ttl = Duration::from_millis(30);
        let expiry = expiry(ttl);
        let stored = std::time::Instant::now();
        loop {
            // In this order: we may be stopped between the two looks at a clock.
            let age = stored.elapsed();
            let served = Now::read().is_before(expiry);
            assert!(age < ttl || !served, "served after {age:?}");
            if !served {
                break;
            }
        }
        assert!(stored.elapsed() + Duration::from_millis(1) >= ttl);
        assert!(until(expiry).is_zero());
    }

    #[test]
    fn jitter_only_shortens() {
        let ttl = Duration::from_secs(60);
        for _ in 0..1_000 {
            let jittered = jittered(ttl, 0.1);
            assert!(jittered <= ttl && jittered >= Duration::from_secs(54));
        }
        assert_eq!(jittered(ttl, 0.0), ttl);
        assert_eq!(jittered(Duration::MAX, 0.0), FOREVER);
        assert_eq!(
            jittered(Duration::from_nanos(1), 1.0),
            Duration::from_millis(1)
        );
    }
}
