//! Contestants take turns, so that a busy machine slows all of them alike. Ratios then matter
//! more than times.
//!
//! A turn is a few short slices, after one that warms the processor's caches and
//! is not measured. A slice is shorter than the time slice of the system's scheduler,
//! so most slices run without an interruption. The result is the lower quartile of all
//! slices: the time of a slice that was not interrupted.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use crate::allocations;
use crate::value::Ids;

/// How a contestant is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Ours,
    /// Another project's cache. The fastest of these is the best peer.
    Peer,
    /// It does less than a cache must, so no cache can be faster.
    Floor,
    /// It is shown, and no ratio refers to it.
    Shown,
}

/// One contestant. Its function makes this many calls, and returns how long they took.
pub(crate) struct Contestant<'a> {
    name: String,
    role: Role,
    run: Box<dyn FnMut(u64) -> Duration + 'a>,
}

impl<'a> Contestant<'a> {
    pub(crate) fn new(
        name: impl Into<String>,
        role: Role,
        run: impl FnMut(u64) -> Duration + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            role,
            run: Box::new(run),
        }
    }

    pub(crate) fn run(&mut self, calls: u64) -> Duration {
        (self.run)(calls)
    }
}

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) slice: Duration,
    /// Whether to measure what needs gigabytes, too.
    pub(crate) huge: bool,
}

impl Effort {
    pub(crate) const FULL: Self = Self {
        rounds: 25,
        slice: Duration::from_millis(3),
        huge: false,
    };
    pub(crate) const QUICK: Self = Self {
        rounds: 5,
        slice: Duration::from_millis(2),
        huge: false,
    };

    /// The same effort with fewer turns, for slow groups.
    pub(crate) fn fewer(mut self) -> Self {
        self.rounds = (self.rounds / 4).max(3);
        self
    }
}

/// The number of measured slices in a turn.
const SLICES: usize = 4;

/// One line of the table.
pub(crate) struct Row {
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) value: f64,
    pub(crate) unit: Unit,
    pub(crate) allocations: Option<f64>,
    pub(crate) note: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Nanoseconds,
    Bytes,
}

/// Lets the contestants take turns. Returns one row for each.
pub(crate) fn compare(
    group: &str,
    effort: Effort,
    mut contestants: Vec<Contestant<'_>>,
) -> Vec<Row> {
    eprintln!("{group} …");
    let calls: Vec<u64> = contestants
        .iter_mut()
        .map(|contestant| calls_in_a_slice(contestant, effort.slice))
        .collect();
    let mut times = vec![Vec::new(); contestants.len()];
    for round in 0..effort.rounds {
        for turn in 0..contestants.len() {
            // Each round begins with another contestant.
            let i = (turn + round) % contestants.len();
            (contestants[i].run)(calls[i]);
            for _ in 0..SLICES {
                let time = (contestants[i].run)(calls[i]);
                times[i].push(time.as_secs_f64() * 1e9 / calls[i] as f64);
            }
        }
    }
    let rows = contestants.into_iter().zip(times).zip(calls);
    rows.map(|((mut contestant, mut times), calls)| {
        let calls = calls.min(1000);
        let ((), allocated, _) = allocations::count(|| {
            black_box((contestant.run)(calls));
        });
        Row {
            group: group.to_owned(),
            name: contestant.name,
            role: contestant.role,
            value: lower_quartile(&mut times),
            unit: Unit::Nanoseconds,
            // The slice itself makes a few allocations, which this division and rounding hide.
            allocations: Some((allocated as f64 / calls as f64 * 10.0).round() / 10.0),
            note: String::new(),
        }
    })
    .collect()
}

fn calls_in_a_slice(contestant: &mut Contestant<'_>, slice: Duration) -> u64 {
    let mut calls = 1;
    loop {
        let took = (contestant.run)(calls);
        if took > slice / 4 {
            let scaled = calls as f64 * slice.as_secs_f64() / took.as_secs_f64();
            return (scaled as u64).max(1);
        }
        calls *= 4;
    }
}

fn lower_quartile(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 4]
}

/// The runtime that the futures of all contestants run on.
pub(crate) fn runtime(threads: usize) -> Runtime {
    let mut builder = if threads == 1 {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build().expect("a runtime")
}

/// One thread that awaits one call after the other.
pub(crate) fn one_after_the_other<T>(
    ids: &Ids,
    find: impl AsyncFn(u64) -> T,
) -> impl FnMut(u64) -> Duration {
    let runtime = runtime(1);
    move |calls| {
        runtime.block_on(async {
            let start = Instant::now();
            for id in ids.take(calls) {
                black_box(find(black_box(id)).await);
            }
            start.elapsed()
        })
    }
}

/// Several such threads at the same time. Returns the time of the slowest.
pub(crate) fn in_threads<T>(
    threads: usize,
    ids: &Ids,
    find: impl AsyncFn(u64) -> T + Sync,
) -> impl FnMut(u64) -> Duration {
    move |calls| {
        let start_line = Barrier::new(threads);
        let run = |thread: usize| {
            let runtime = runtime(1);
            start_line.wait();
            let start = Instant::now();
            runtime.block_on(async {
                for id in ids.take_from(thread * 7919, calls) {
                    black_box(find(black_box(id)).await);
                }
            });
            start.elapsed()
        };
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|thread| scope.spawn(move || run(thread)))
                .collect();
            let times = running
                .into_iter()
                .map(|thread| thread.join().expect("no panic"));
            times.max().unwrap_or_default()
        })
    }
}
