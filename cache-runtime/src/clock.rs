//! Time: deadlines, and the jitter that keeps entries from expiring all at once.

use std::time::Duration;

use crate::unique;

/// Longer than any process or server runs, and short enough for every clock to add.
pub(crate) const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

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
#[cfg(feature = "redis")]
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
#[cfg(feature = "redis")]
pub(crate) fn around(base: Duration) -> Duration {
    base.mul_f64(0.5 + unique::fraction())
}

#[cfg(test)]
mod tests {
    use super::*;

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
