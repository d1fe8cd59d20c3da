//! How long loads take, in buckets whose width grows with the time.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::{Serialize, Serializer};

/// How long loads took: the loads of one function, or of all.
///
/// Only loads that ended with a value count, also if it was not stored. One load of a function with
/// `each`, which is for several keys, counts once.
///
/// The quantiles are estimates from buckets: each is at most an eighth (12.5 %) away from the time of
/// the load that it stands for, or half a microsecond, if that is more; and `p99` is never more than
/// `max`. Times over nine hours count as nine hours in the quantiles. `total` and `max` are exact.
///
/// Serialized in seconds: `count`, `total_seconds`, `p50_seconds`, `p99_seconds`, `max_seconds`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use cache_runtime::{Cache, Options};
///
/// let cache = Cache::builder().url("memory:").build().unwrap();
/// let load = async { Ok::<_, std::io::Error>(7) };
/// cache.get_or_load("lucky", Options::new(), load).await.unwrap();
///
/// let times = cache.stats().load_time;
/// assert_eq!(times.count, 1);
/// assert!(times.p50 <= times.max && times.max == times.total);
/// println!("half of the loads took at most {:?}, on average {:?}", times.p50, times.mean());
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LoadTimes {
    /// How many loads there were.
    pub count: u64,
    /// How long they took together.
    #[serde(rename = "total_seconds", serialize_with = "seconds")]
    pub total: Duration,
    /// The time within which half of them ended.
    #[serde(rename = "p50_seconds", serialize_with = "seconds")]
    pub p50: Duration,
    /// The time within which 99 of 100 ended.
    #[serde(rename = "p99_seconds", serialize_with = "seconds")]
    pub p99: Duration,
    /// The longest.
    #[serde(rename = "max_seconds", serialize_with = "seconds")]
    pub max: Duration,
}

impl LoadTimes {
    /// How long one load took on average; zero if there was none.
    ///
    /// ```
    /// # use std::time::Duration;
    /// assert_eq!(cache_runtime::LoadTimes::default().mean(), Duration::ZERO);
    /// ```
    pub fn mean(&self) -> Duration {
        share(self.total, 1, self.count)
    }
}

/// Writes a duration as a number of seconds.
pub(crate) fn seconds<S: Serializer>(length: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(length.as_secs_f64())
}

/// `parts` of the parts of `whole`; zero if there are none.
fn share(whole: Duration, parts: u64, of: u64) -> Duration {
    let share = whole
        .as_nanos()
        .saturating_mul(parts.into())
        .checked_div(of.into());
    nanos(share.unwrap_or_default())
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The first octave begins here, at 1.024 µs. All that is shorter shares the first bucket.
const FIRST_OCTAVE: u32 = 10;
/// From 1 µs to 9 hours.
const OCTAVES: u32 = 35;
/// How many buckets an octave has, as a power of two. They are equally wide, so one is at most a
/// quarter of its lower end wide, and its middle at most an eighth away from what is in it.
const BITS_IN_OCTAVE: u32 = 2;

const BUCKETS: usize = 1 + ((OCTAVES as usize) << BITS_IN_OCTAVE);

/// The times of loads. Counted without a lock, by all threads at one place: a load takes much longer
/// than an atomic addition.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    /// Nanoseconds.
    total: AtomicU64,
    /// Nanoseconds.
    max: AtomicU64,
    /// For how many keys the loads were. One load of a function with `each` is for several.
    keys: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: array::from_fn(|_| AtomicU64::new(0)),
            total: AtomicU64::new(0),
            max: AtomicU64::new(0),
            keys: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Records a load for so many keys.
    pub(crate) fn record(&self, took: Duration, keys: u64) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(took)].fetch_add(1, Relaxed);
        self.total.fetch_add(took, Relaxed);
        self.max.fetch_max(took, Relaxed);
        self.keys.fetch_add(keys, Relaxed);
    }
}

/// The times of the loads of several histograms, as they are at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Times {
    buckets: [u64; BUCKETS],
    total: u128,
    max: u64,
    keys: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            buckets: [0; BUCKETS],
            total: 0,
            max: 0,
            keys: 0,
        }
    }
}

impl Times {
    pub(crate) fn add(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += bucket.load(Relaxed);
        }
        self.total += u128::from(histogram.total.load(Relaxed));
        self.max = self.max.max(histogram.max.load(Relaxed));
        self.keys += histogram.keys.load(Relaxed);
    }

    pub(crate) fn load_times(&self) -> LoadTimes {
        let count = self.buckets.iter().sum();
        LoadTimes {
            count,
            total: nanos(self.total),
            p50: self.quantile(count, 50),
            p99: self.quantile(count, 99),
            max: Duration::from_nanos(self.max),
        }
    }

    /// The time that so many hits have saved: as many times as a load for one key took on average.
    pub(crate) fn saved_by(&self, hits: u64) -> Duration {
        share(nanos(self.total), hits, self.keys)
    }

    /// The middle of the bucket in which the load is within whose time so many percent of `count` ended.
    fn quantile(&self, count: u64, percent: u64) -> Duration {
        let rank = (u128::from(count) * u128::from(percent)).div_ceil(100);
        let mut seen = 0;
        for (at, bucket) in self.buckets.iter().enumerate() {
            seen += u128::from(*bucket);
            if seen >= rank && *bucket > 0 {
                return Duration::from_nanos(middle(at).min(self.max));
            }
        }
        Duration::ZERO
    }
}

/// The bucket of a time in nanoseconds.
fn bucket(nanos: u64) -> usize {
    let Some(octave) = nanos
        .checked_ilog2()
        .and_then(|log| log.checked_sub(FIRST_OCTAVE))
    else {
        return 0;
    };
    // The highest bits after the first.
    let within = (nanos >> (octave + FIRST_OCTAVE - BITS_IN_OCTAVE)) & ((1 << BITS_IN_OCTAVE) - 1);
    let at = (u64::from(octave) << BITS_IN_OCTAVE) + within + 1;
    usize::try_from(at).map_or(BUCKETS - 1, |at| at.min(BUCKETS - 1))
}

/// Where a bucket begins, in nanoseconds.
fn begin(bucket: usize) -> u64 {
    let Some(at) = bucket.checked_sub(1) else {
        return 0;
    };
    let (octave, within) = (at >> BITS_IN_OCTAVE, at & ((1 << BITS_IN_OCTAVE) - 1));
    let parts = (1_u64 << BITS_IN_OCTAVE) + within as u64;
    parts << (octave + (FIRST_OCTAVE - BITS_IN_OCTAVE) as usize)
}

fn middle(bucket: usize) -> u64 {
    u64::midpoint(begin(bucket), begin(bucket + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times_of(nanos: impl IntoIterator<Item = u64>) -> LoadTimes {
        let histogram = Histogram::default();
        for it in nanos {
            histogram.record(Duration::from_nanos(it), 1);
        }
        let mut times = Times::default();
        times.add(&histogram);
        times.load_times()
    }

    #[test]
    fn a_time_is_in_the_bucket_that_begins_at_or_before_it() {
        let exact = (0..63).flat_map(|power| [(1_u64 << power) - 1, 1 << power]);
        for nanos in exact.chain((0..2_000_000).step_by(97)) {
            let at = bucket(nanos);
            assert!(begin(at) <= nanos, "{nanos} in {at}");
            assert!(
                nanos < begin(at + 1) || at == BUCKETS - 1,
                "{nanos} in {at}"
            );
        }
        assert!((1..BUCKETS).all(|at| begin(at) > begin(at - 1)));
        let nine_hours = Duration::from_secs(9 * 3600).as_nanos();
        assert!(u128::from(begin(BUCKETS)) > nine_hours);
    }

    #[test]
    fn a_quantile_is_at_most_an_eighth_away() {
        for nanos in (2_000..50_000_000).step_by(7_919) {
            // The longest does not bound the estimate.
            let times = times_of([nanos, nanos, nanos, nanos * 10]);
            let off = times.p50.as_nanos().abs_diff(nanos.into());
            assert!(off * 8 <= nanos.into(), "{nanos}: {:?}", times.p50);
        }
    }

    #[test]
    fn quantiles_are_those_of_the_loads() {
        let millisecond = 1_000_000;
        let times = times_of((1..=100).map(|it| it * millisecond));
        assert_eq!(times.count, 100);
        assert_eq!(times.total, Duration::from_millis(5050));
        assert_eq!(times.mean(), Duration::from_micros(50_500));
        assert_eq!(times.max, Duration::from_millis(100));
        let near = |time: Duration, expected: u64| {
            let expected = Duration::from_millis(expected);
            time.abs_diff(expected) * 8 <= expected
        };
        assert!(near(times.p50, 50), "{times:?}");
        assert!(near(times.p99, 99), "{times:?}");
        assert_eq!(times_of([]), LoadTimes::default());
        let one = times_of([5]);
        assert_eq!((one.p50, one.p99), (one.max, one.max));
    }

    #[test]
    fn a_load_for_several_keys_saves_each_of_them_a_part() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_secs(8), 4);
        let mut times = Times::default();
        times.add(&histogram);
        assert_eq!(times.load_times().count, 1);
        assert_eq!(times.saved_by(3), Duration::from_secs(6));
        assert_eq!(Times::default().saved_by(3), Duration::ZERO);
    }

    #[test]
    fn any_time_is_recorded() {
        let times = times_of([0, u64::MAX]);
        assert_eq!(
            (times.count, times.max),
            (2, Duration::from_nanos(u64::MAX))
        );
        let json = serde_json::to_value(times_of([1_500_000_000])).unwrap();
        assert_eq!(json["max_seconds"], 1.5);
        assert_eq!(json["count"], 1);
    }
}
