//! Time: deadlines, limits of what waits, and the jitter that keeps entries from expiring all at
//! once.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod asleep;
#[cfg(feature = "test-util")]
mod test_clock;
#[cfg(not(shuttle))]
mod timer;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

#[cfg(feature = "test-util")]
pub use self::test_clock::TestClock;
pub(crate) use self::timer::{Alarm, Sleep, wake_at};
use crate::unique;

/// A hundred years: longer than any process or server runs, and short enough to be added to any
/// moment without overflow.
pub(crate) const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A moment, as the local tier keeps it: milliseconds of this machine's monotonic clock, with the time for
/// which the machine was asleep, where the system tells it. It means nothing to other machines, nor after
/// a restart.
pub(crate) type Moment = u64;

/// The clock by which what a local tier keeps grows old: the system's, except in tests.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    #[cfg(feature = "test-util")]
    test: Option<TestClock>,
}

/// The present, read from a clock that is fast and coarse. The precise clock is read only for a
/// comparison with a moment that is no more than [`LAG`] later.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// What the coarse clock shows. The present is at most [`LAG`] later.
    at_least: Moment,
    /// True in tests that choose the present: `at_least` is then exact, and not the real time.
    fixed: bool,
}

/// The longest, in milliseconds, that the coarse clock is taken to be behind. It is behind by up to
/// one tick of the system, 1 to 10 ms, and by more while a hypervisor does not run the processor
/// that counts the ticks. After the machine was asleep, it is further behind for a quarter of a second.
const LAG: Moment = 250;

#[cfg_attr(
    not(feature = "test-util"),
    expect(clippy::unused_self, reason = "only a test's clock is another")
)]
impl Clock {
    /// The system's clock, or that of a Tokio runtime whose time a test has paused.
    pub(crate) const SYSTEM: Self = Self {
        #[cfg(feature = "test-util")]
        test: None,
    };

    #[inline]
    pub(crate) fn now(&self) -> Now {
        #[cfg(feature = "test-util")]
        if let Some(test) = &self.test {
            return Now::at(test.moment());
        }
        Now::read()
    }

    /// The moment from which an entry that is stored now is not served any more.
    pub(crate) fn expiry(&self, ttl: Duration) -> Moment {
        self.precise() + millis(ttl.min(FOREVER))
    }

    /// The time until `moment`; zero if it has passed.
    pub(crate) fn until(&self, moment: Moment) -> Duration {
        Duration::from_millis(moment.saturating_sub(self.precise()))
    }

    /// The present moment.
    pub(crate) fn moment(&self) -> Moment {
        self.precise()
    }

    fn precise(&self) -> Moment {
        #[cfg(feature = "test-util")]
        if let Some(test) = &self.test {
            return test.moment();
        }
        paused::moment().unwrap_or_else(system::precise)
    }
}

#[cfg(feature = "test-util")]
impl From<TestClock> for Clock {
    fn from(test: TestClock) -> Self {
        Self { test: Some(test) }
    }
}

impl Now {
    #[inline]
    fn read() -> Self {
        if let Some(moment) = paused::moment() {
            return Self::at(moment);
        }
        Self {
            at_least: system::coarse(),
            fixed: false,
        }
    }

    /// Exactly this moment, of a clock that a test moves.
    pub(crate) fn at(moment: Moment) -> Self {
        Self {
            at_least: moment,
            fixed: true,
        }
    }

    /// The moment, unless a test moves its clock. The present is at most [`LAG`] later.
    #[inline]
    pub(crate) fn real(self) -> Option<Moment> {
        (!self.fixed).then_some(self.at_least)
    }

    /// Whether the present, in real time whatever a test's clock shows, is before a moment.
    #[inline]
    pub(crate) fn is_really_before(self, moment: Moment) -> bool {
        let is_surely = !self.fixed && self.at_least + LAG < moment;
        is_surely || system::precise() < moment
    }

    #[inline]
    pub(crate) fn is_before(self, moment: Moment) -> bool {
        if self.fixed {
            return self.at_least < moment;
        }
        self.at_least + LAG < moment || system::precise() < moment
    }
}

/// The present in real time, up to [`LAG`] late.
pub(crate) fn real() -> Moment {
    system::coarse()
}

/// A duration in whole milliseconds, rounded up.
pub(crate) fn millis_rounded_up(duration: Duration) -> u64 {
    millis(duration).saturating_add(1)
}

/// The present in real time, exact. It costs three times as much as [`real`].
pub(crate) fn monotonic() -> Moment {
    system::precise()
}

/// A duration in whole milliseconds, rounded down.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The coarse clock shows the time of the kernel's last tick. Reading it takes a third of the time
/// that the precise one takes.
///
/// The precise clock counts the time for which the machine is asleep. No coarse clock does, so that time is
/// added: see [`Asleep`](asleep::Asleep).
#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use rustix::time::{ClockId, Timespec, clock_gettime};

    use super::asleep::Asleep;

    static ASLEEP: Asleep = Asleep::new();

    #[inline]
    pub(super) fn coarse() -> u64 {
        let awake = whole_millis(clock_gettime(ClockId::MonotonicCoarse));
        ASLEEP.added_to(awake, measure)
    }

    pub(super) fn precise() -> u64 {
        whole_millis(clock_gettime(ClockId::Boottime))
    }

    /// How long the machine was asleep. Between the two readings only the second clock goes on, so what is
    /// measured is never too long.
    fn measure() -> u64 {
        let all = precise();
        all.saturating_sub(whole_millis(clock_gettime(ClockId::Monotonic)) + 1)
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

/// The clock of a Tokio runtime, where a test has paused it: `tokio::time::pause`, or `start_paused`.
/// Only in debug builds, and with the feature `test-util`.
#[cfg(all(any(debug_assertions, feature = "test-util"), not(shuttle)))]
mod paused {
    use std::sync::LazyLock;
    use std::time::{Duration, Instant};

    use super::{Moment, millis, system};

    /// The same moment by both clocks. With it, moments of a paused clock are comparable to others,
    /// and stand as still as it does.
    static BOTH: LazyLock<(Instant, Moment)> =
        LazyLock::new(|| (Instant::now(), system::precise()));

    const ALMOST_A_MILLISECOND: Duration = Duration::from_nanos(999_999);

    /// What the clock of this thread's runtime shows, if that is not the real time. Where time was
    /// paused and goes on, it is not: it stays behind by the pause.
    pub(super) fn moment() -> Option<Moment> {
        let before = Instant::now();
        // Without a runtime, and unless time was paused in this process, this is the real time.
        let shown = tokio::time::Instant::now().into_std();
        if before <= shown && shown <= Instant::now() {
            return None;
        }
        let (instant, moment) = *BOTH;
        Some(match shown.checked_duration_since(instant) {
            Some(later) => moment + millis(later),
            // Rounded down too: else the clock would stand still for a millisecond longer there.
            None => moment.saturating_sub(millis(instant - shown + ALMOST_A_MILLISECOND)),
        })
    }
}

#[cfg(not(all(any(debug_assertions, feature = "test-util"), not(shuttle))))]
mod paused {
    #[inline]
    pub(super) fn moment() -> Option<super::Moment> {
        None
    }
}

/// Runs `future` for at most `limit`; `None` if it did not end in that time.
pub(crate) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    within_until(Instant::now() + limit.min(FOREVER), future).await
}

/// Runs `future` until `at`; `None` if it had not ended by then. Works on any executor.
///
/// Under the scheduler of `interleavings.rs` there is no time, and so no limit.
pub(crate) async fn within_until<T>(at: Instant, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut end = pin!(Sleep::until(at));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => end.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// Pauses, on any executor. Under the scheduler of `interleavings.rs`, returns at once.
pub(crate) async fn pause(length: Duration) {
    if !cfg!(shuttle) {
        Sleep::until(Instant::now() + length.min(FOREVER)).await;
    }
}

/// Under the scheduler of `interleavings.rs`, which has no time: alarms never go off.
#[cfg(shuttle)]
mod timer {
    use std::future::{Pending, pending};
    use std::task::Waker;
    use std::time::Instant;

    #[derive(Debug)]
    pub(crate) struct Alarm;

    impl Alarm {
        pub(crate) fn set(_: Instant, _: Waker) -> Self {
            Self
        }
    }

    pub(crate) struct Sleep;

    impl Sleep {
        pub(crate) fn until(_: Instant) -> Pending<()> {
            pending()
        }
    }

    pub(crate) fn wake_at(_: Instant, _: Waker) {}
}

/// Puts this task behind those that are ready to run, where any thread of the runtime finds it.
/// (A task that calls Tokio's `yield_now` stays with its thread, which another task may block.)
pub(crate) async fn let_others_run() {
    let mut is_behind = false;
    poll_fn(|context| {
        if std::mem::replace(&mut is_behind, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Shortens `ttl` at random, by up to `jitter` times its length, but to no less than 1 ms.
pub(crate) fn jittered(ttl: Duration, jitter: f64) -> Duration {
    ttl.min(FOREVER)
        .mul_f64(1.0 - jitter * unique::fraction())
        .max(Duration::from_millis(1))
}

/// A random pause from half of `base` to one and a half of it, so that processes do not poll in
/// step.
pub(crate) fn around(base: Duration) -> Duration {
    base.mul_f64(0.5 + unique::fraction())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_served_past_its_ttl() {
        let clock = Clock::SYSTEM;
        let ttl = Duration::from_millis(30);
        let expiry = clock.expiry(ttl);
        let stored = std::time::Instant::now();
        loop {
            // The age is read first: the thread may be stopped between the two readings, and an age
            // that is too small proves nothing wrong.
            let age = stored.elapsed();
            let served = clock.now().is_before(expiry);
            assert!(age < ttl || !served, "served after {age:?}");
            if !served {
                break;
            }
        }
        assert!(stored.elapsed() + Duration::from_millis(1) >= ttl);
        assert!(clock.until(expiry).is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn paused_time_stands_still_until_a_test_moves_it() {
        let clock = Clock::SYSTEM;
        let (almost, rest) = (Duration::from_millis(59_999), Duration::from_millis(1));
        let ttl = almost + rest;
        let expiry = clock.expiry(ttl);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(clock.until(expiry), ttl);
        tokio::time::advance(almost).await;
        assert!(clock.now().is_before(expiry));
        assert_eq!(clock.until(expiry), rest);
        tokio::time::advance(rest).await;
        assert!(!clock.now().is_before(expiry));
        // The moments of other threads are about the same.
        let elsewhere = std::thread::spawn(|| Clock::SYSTEM.expiry(Duration::ZERO));
        assert!(elsewhere.join().expect("a moment").abs_diff(expiry) < 120_000);
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
